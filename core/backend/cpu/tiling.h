/*
 * Which products are done with right factors in tiles, and by whom.
 *
 * By kernels of our own (kernels/tile_product.c), unless the CPU has an AMX unit for bfloat16: that
 * is oneDNN's, if it is there. oneDNN makes code for every shape that it meets, which takes about
 * as long as a product. The number of tokens differs from batch to batch, so it gets rows in pieces
 * of few sizes; the few that are left are done by the kernel.
 */
#ifndef ICOT_BACKEND_CPU_TILING_H
#define ICOT_BACKEND_CPU_TILING_H

#include "backend/backend.h"
#include "backend/cpu/tiles.h"

/* The multiple of rows up to which factors of this type have to be filled with zeros. */
int64_t tiled_multiple(tile_type type);

/* How many rows of op(b) are to go into tiles for products of m rows, those that fill it up
 * included; 0: none, for the product is OpenBLAS's, or empty. */
int64_t tiled_depth(tile_type type, bool transpose_a, int64_t m, const right_factor *b);

/* Does p, of which m, n and k are greater than 0, with a left factor a and the tiles of the right
 * one. */
typedef int tile_kernel(const tile_product *p, const void *a, const void *tiles, void *c);

/* Says once, before the first product, which kernel is the one for this CPU; where it is NULL,
 * OpenBLAS is quicker. */
void tiling_use(tile_type type, tile_kernel *kernel);

/* Leaves b as it is: for instruction sets without such a kernel. */
int make_no_tiles(bool transpose_a, int64_t m, right_factor *b);

int multiply_tiled(tile_type type, const tile_product *p, const void *a, const void *tiles,
                   void *c);

#endif
