/*
 * Operators that compute only some rows of their result. An int32 input (R) names them in ascending
 * order: none comes twice, so backward may write rows instead of adding to them. Without that input
 * they are all T rows, and nothing is copied.
 */
#ifndef ICOT_AUTOGRAD_OPERATORS_PICKED_H
#define ICOT_AUTOGRAD_OPERATORS_PICKED_H

#include "autograd/operators/factor.h"

/* The rows that an input of a node picks, of so many. */
typedef struct picked_rows {
    const tensor *ids; /* NULL: all */
    int64_t all, count;
} picked_rows;

picked_rows picked_of(const node *n, int which, int64_t all);
int picked_check(const node *n, int which, int64_t all);

/* out (R, columns): these rows of a factor (T, columns); with all rows, out is on the same data. */
int picked_take(const node *n, picked_rows rows, int64_t columns, const factor *from, factor *out);

/* f, a factor (R, columns), becomes (T, columns), with zeros in the rows that were not picked. */
int picked_spread(const node *n, picked_rows rows, int64_t columns, factor *f);

/* The same two for float32 arrays. With all rows, take gives the array itself, and *own is NULL;
 * otherwise the caller releases *own. */
int picked_take_floats(const node *n, picked_rows rows, int64_t columns, const float *from,
                       const float **out, void **own);
int picked_spread_floats(const node *n, picked_rows rows, int64_t columns, const float *from,
                         float *out);

#endif
