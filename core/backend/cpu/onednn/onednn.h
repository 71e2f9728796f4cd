/* What libicot_onednn.so exports; core/backend/cpu/onednn_loader.c finds it at run time. */
#ifndef ICOT_BACKEND_CPU_ONEDNN_H
#define ICOT_BACKEND_CPU_ONEDNN_H

#include <stdint.h>

typedef enum onednn_type { ONEDNN_FLOAT32, ONEDNN_BFLOAT16 } onednn_type;

/*
 * The right factor (k,n) of a product lies in tiles, those of the same columns one after the other.
 * A tile has TILE_ROWS x TILE_COLUMNS units of 32 bits, row by row; a unit is a float32, or two
 * bfloat16 of a column, one below the other. Where k and n leave something of a tile it is zeros.
 */
enum { TILE_ROWS = 16, TILE_COLUMNS = 64 };

/* c (m,n) = op(a) (m,k) · b (k,n), plus bias (n), or added to what c holds: one of these, or
 * neither. Rows of a and c have no gaps between them. */
typedef struct onednn_product {
    int transpose_a, accumulate;
    int rounded; /* c is bfloat16 */
    int64_t m, n, k;
    const float *bias; /* NULL: none */
} onednn_product;

/* Whether oneDNN has its fast kernels for tiles of this type, on this CPU. */
__attribute__((visibility("default"))) int onednn_takes_tiles(onednn_type type);

/* `type` is that of a and b. Not 0: oneDNN refused it. */
__attribute__((visibility("default"))) int onednn_matmul(onednn_type type, const onednn_product *p,
                                                         const void *a, const void *tiles, void *c);

__attribute__((visibility("default"))) void onednn_describe(int *major, int *minor, int *patch);

#endif
