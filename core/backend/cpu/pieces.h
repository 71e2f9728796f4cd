/*
 * oneDNN's products in pieces of few sizes.
 *
 * oneDNN makes code for every shape that it meets, which takes longer than a product. The number of
 * tokens differs from batch to batch, so rows are taken in pieces of so many.
 */
#ifndef ICOT_BACKEND_CPU_PIECES_H
#define ICOT_BACKEND_CPU_PIECES_H

#include "backend/cpu/onednn/onednn.h"

enum { SMALL_PIECE = 64, LARGE_PIECE = 256 }; /* rows */

/* Whole pieces of p.m rows of a, which is not transposed, times b; *done is how many rows that is.
 * Fails without a message if oneDNN refuses. */
int multiply_pieces(onednn_type type, onednn_product p, const void *a, const void *b, float *c,
                    int64_t *done);

#endif
