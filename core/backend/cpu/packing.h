/*
 * Which products are done with packed right factors, and in which pieces.
 *
 * oneDNN makes code for every shape that it meets, which takes about as long as a product. The
 * number of tokens differs from batch to batch, so it gets rows in pieces of few sizes; the few
 * that are left, and in decoding that may be all, are done by a kernel of our own.
 */
#ifndef ICOT_BACKEND_CPU_PACKING_H
#define ICOT_BACKEND_CPU_PACKING_H

#include "backend/backend.h"
#include "backend/cpu/onednn/onednn.h"

/* Sums over tokens take so many at a time. */
enum { SUMMED_ROWS = 64 };

/* How many rows of op(b) are to be packed for products of m rows: in bfloat16 all, and those that
 * fill it up; in float32 those that oneDNN is the faster one for. 0: none. */
int64_t packed_depth(onednn_type type, bool transpose_a, int64_t m, const right_factor *b);

/* c = a·b of up to FEW_ROWS rows (kernels/few_rows.c). */
enum { FEW_ROWS = 4 };
typedef void few_rows_kernel(const onednn_product *p, const void *a, const void *tiles, void *c);

/* Says once, before the first product, which kernel is the one for this CPU. */
void packing_use(onednn_type type, few_rows_kernel *kernel);

/* Fails without a message if oneDNN refuses. */
int multiply_packed(onednn_type type, onednn_product p, const void *a, const void *tiles, void *c);

#endif
