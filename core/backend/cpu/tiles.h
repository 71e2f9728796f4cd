/* Matrix products with a right factor in tiles: how it lies, and what there is to multiply. */
#ifndef ICOT_BACKEND_CPU_TILES_H
#define ICOT_BACKEND_CPU_TILES_H

#include <stdint.h>

/* What tiles consist of, and the left factor of a product. */
typedef enum tile_type { TILES_FLOAT32, TILES_BFLOAT16 } tile_type;

/*
 * The right factor (k,n) of a product lies in tiles, those of the same columns one after the other.
 * A tile has TILE_ROWS rows of as many units of 32 bits as registers can sum at a time: with
 * AVX-512, and of bfloat16 whoever multiplies, WIDE_TILE_COLUMNS, else NARROW_TILE_COLUMNS. A unit
 * is a float32, or two bfloat16 of a column, one below the other. Where k and n leave something of
 * a tile it is zeros.
 */
enum { TILE_ROWS = 16, WIDE_TILE_COLUMNS = 64, NARROW_TILE_COLUMNS = 16 };

/* c (m,n) = op(a) (m,k) · b (k,n), plus bias (n), or added to what c holds: one of these, or
 * neither. Rows of a and c have no gaps between them. */
typedef struct tile_product {
    int transpose_a, accumulate;
    int rounded; /* c is bfloat16 */
    int64_t m, n, k;
    const float *bias; /* NULL: none */
} tile_product;

#endif
