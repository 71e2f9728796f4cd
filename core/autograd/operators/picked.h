/*
 * Operators that work out only some rows of their result: an int32 input (R) names them, which
 * ascend, so that no two are the same; in backward each is written, none added to. Without that
 * input they are all T rows, and nothing is moved.
 */
#ifndef ICOT_AUTOGRAD_OPERATORS_PICKED_H
#define ICOT_AUTOGRAD_OPERATORS_PICKED_H

#include "autograd/operators/factor.h"

/* The rows that input `which` of a node picks of so many. */
typedef struct picked_rows {
    const tensor *ids; /* NULL: all */
    int64_t all, count;
} picked_rows;

picked_rows picked_of(const node *n, int which, int64_t all);
int picked_check(const node *n, int which, int64_t all);

/* out: these rows of a factor (T, columns), (R, columns); it stands on `from` where it is all. */
int picked_take(const node *n, picked_rows rows, int64_t columns, const factor *from, factor *out);

/* f, a factor (R, columns), becomes (T, columns), with zeros in the rows that were not picked. */
int picked_spread(const node *n, picked_rows rows, int64_t columns, factor *f);

/* The same two of float32 arrays; where it is all, take gives the array itself. Memory that *own
 * gets is the caller's to release. */
int picked_take_floats(const node *n, picked_rows rows, int64_t columns, const float *from,
                       const float **out, void **own);
int picked_spread_floats(const node *n, picked_rows rows, int64_t columns, const float *from,
                         float *out);

#endif
