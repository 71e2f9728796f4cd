/*
 * Which products oneDNN does, by packed right factors, and in which pieces.
 *
 * oneDNN makes code for every shape that it meets, which takes about as long as a product. The
 * number of tokens differs from batch to batch, so rows are taken in pieces of few sizes.
 */
#ifndef ICOT_BACKEND_CPU_PACKING_H
#define ICOT_BACKEND_CPU_PACKING_H

#include "backend/backend.h"
#include "backend/cpu/onednn/onednn.h"

/* Sums over tokens take so many at a time. */
enum { SUMMED_ROWS = 64 };

/* The sizes of op(b) (k,n). */
static inline int64_t right_rows(const right_factor *b)
{
    return b->transpose ? b->columns : b->rows;
}

static inline int64_t right_columns(const right_factor *b)
{
    return b->transpose ? b->rows : b->columns;
}

/* How many rows of op(b) are to be packed for products of m rows: in bfloat16 all, and those that
 * fill it up; in float32 those that oneDNN is the faster one for. 0: none. */
int64_t packed_depth(onednn_type type, bool transpose_a, int64_t m, const right_factor *b);

/* Products by oneDNN. Fails without a message if it refuses. */
int multiply_packed(onednn_type type, onednn_product p, const void *a, const void *tiles, void *c);

#endif
