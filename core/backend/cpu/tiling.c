#include "backend/cpu/tiling.h"

#include "backend/cpu/onednn_loader.h"
#include "base/counting.h"
#include "base/error.h"

static tile_kernel *kernels[2]; /* by tile_type */

void tiling_use(tile_type type, tile_kernel *kernel)
{
    kernels[type] = kernel;
}

static const onednn_library *onednn_for(tile_type type)
{
    return type == TILES_BFLOAT16 ? onednn_load() : NULL;
}

/* Sums over tokens by oneDNN take so many at a time. */
enum { SUMMED_ROWS = 64 };

int64_t tiled_multiple(tile_type type)
{
    return onednn_for(type) ? SUMMED_ROWS : 1;
}

/*
 * In bfloat16 there is no other way. In float32 tiling takes longer than it saves where a side is
 * short; but what OpenBLAS may share among threads, which decides about the last bits, is put
 * into tiles all the same: it does so above 9,216 products for a vector, and above 262,144 for a
 * matrix.
 */
static bool worth_tiling(tile_type type, int64_t m, const right_factor *b)
{
    enum { FEWEST = 16, MOST_ALONE = 8192 };
    if (m <= 0 || b->rows <= 0 || b->columns <= 0) return false;
    if (type == TILES_BFLOAT16) return true;
    if (!kernels[type]) return false;
    if ((double)m * (double)b->rows * (double)b->columns > MOST_ALONE) return true;
    return m >= FEWEST && b->rows >= FEWEST && b->columns >= FEWEST;
}

int64_t tiled_depth(tile_type type, bool transpose_a, int64_t m, const right_factor *b)
{
    if (!worth_tiling(type, m, b)) return 0;
    if (!transpose_a || b->transpose) return right_rows(b);
    return rounded_up(b->rows, tiled_multiple(type));
}

int make_no_tiles(bool transpose_a, int64_t m, right_factor *b)
{
    (void)transpose_a, (void)m;
    b->ready_form = NULL;
    return ICOT_OK;
}

/* ---- Products -------------------------------------------------------------------------------- */

/* Rows in pieces of few sizes; the rest, and what oneDNN refuses, by the kernel. */
static int multiply_in_pieces(const onednn_library *onednn, tile_product p, const uint16_t *a,
                              const void *tiles, char *c)
{
    static const int64_t sizes[] = {256, 16};
    enum { SIZES = sizeof sizes / sizeof *sizes };
    const int64_t c_bytes = p.rounded ? sizeof(uint16_t) : sizeof(float);
    int64_t left = p.m;
    for (int i = 0; i < SIZES; i++) {
        p.m = left / sizes[i] * sizes[i];
        if (p.m == 0) continue;
        if (onednn->matmul(&p, a, tiles, c)) break;
        a += p.m * p.k, c += p.m * p.n * c_bytes, left -= p.m;
    }
    p.m = left;
    return left > 0 ? kernels[TILES_BFLOAT16](&p, a, tiles, c) : ICOT_OK;
}

int multiply_tiled(tile_type type, const tile_product *p, const void *a, const void *tiles, void *c)
{
    const onednn_library *onednn = onednn_for(type);
    if (onednn && !p->transpose_a) return multiply_in_pieces(onednn, *p, a, tiles, c);
    if (onednn && !onednn->matmul(p, a, tiles, c)) return ICOT_OK;
    return kernels[type](p, a, tiles, c);
}
