/*
 * Products of few rows, as in decoding one example: all the time goes into reading the right
 * factor, so its tiles (onednn.h) are read once, in the order in which they lie.
 *
 * Compiled as the other kernels are, where a unit of a tile is a float32, and once more with
 * CPU_ISA=bf16, where it is a pair of bfloat16, of which one lies below the other.
 */
#include "backend/cpu/kernels/strip.h"
#include "backend/cpu/packing.h"

/* Vectors of columns: their sums are in registers, and so many only AVX-512 has. */
#if defined __AVX512F__
enum { WIDE = 4 };
#else
enum { WIDE = 2 };
#endif

#define INLINED static inline __attribute__((always_inline))

typedef uint32_t unit_row[TILE_COLUMNS]; /* of a tile; tiles lie one behind the other */

/* ---- A unit of a left row times a row of a tile ---------------------------------------------- */

#ifdef __AVX512BF16__
enum { PER_UNIT = 2 };

INLINED lanes add_product(lanes sum, const element *left, const uint32_t *right)
{
    int pair;
    memcpy(&pair, left, sizeof pair);
    return (lanes)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32(pair),
                                   (__m512bh)_mm512_loadu_si512(right));
}
#else
enum { PER_UNIT = 1 };

INLINED lanes add_product(lanes sum, const element *left, const uint32_t *right)
{
    lanes row;
    memcpy(&row, right, sizeof row);
    return sum + *left * row;
}
#endif

/* ---- Some columns of some rows ----------------------------------------------------------------
 */

/* What lies two tiles further on will be read soon: the processor itself does not look beyond a
 * page of memory, which is one tile. */
INLINED void prefetch(const uint32_t *row)
{
    enum { LINE = 16, AHEAD = 2 * TILE_ROWS * TILE_COLUMNS };
    for (int c = 0; c < WIDE * LANES; c += LINE) __builtin_prefetch(row + AHEAD + c);
}

/* sums (rows, TILE_COLUMNS), WIDE vectors of them, of so many rows of a (…, k). */
INLINED void sum_columns(const int rows, int64_t k, const element *a, const unit_row *right,
                         float *sums)
{
    lanes sum[FEW_ROWS][WIDE] = {0};
    int64_t i = 0;
    for (; i + PER_UNIT <= k; i += PER_UNIT, right++) {
        prefetch(*right);
        for (int w = 0; w < WIDE; w++) {
            for (int r = 0; r < rows; r++) {
                sum[r][w] = add_product(sum[r][w], a + r * k + i, *right + w * LANES);
            }
        }
    }
    for (int r = 0; i < k && r < rows; r++) { /* half a unit is left */
        const element last[2] = {a[r * k + i], 0};
        for (int w = 0; w < WIDE; w++) {
            sum[r][w] = add_product(sum[r][w], last, *right + w * LANES);
        }
    }
    for (int r = 0; r < rows; r++) {
        for (int w = 0; w < WIDE; w++) store(sums + r * TILE_COLUMNS + w * LANES, sum[r][w]);
    }
}

static void sum_rows(int64_t rows, int64_t k, const element *a, const unit_row *right, float *sums)
{
    switch (rows) {
    case 1:
        sum_columns(1, k, a, right, sums);
        break;
    case 2:
        sum_columns(2, k, a, right, sums);
        break;
    case 3:
        sum_columns(3, k, a, right, sums);
        break;
    default:
        sum_columns(FEW_ROWS, k, a, right, sums);
    }
}

/* ---- Rows and columns of the result -----------------------------------------------------------
 */

/* Row `row` of c from column `first` on, so many columns of it. */
static void finish(const onednn_product *p, int64_t row, int64_t first, int64_t columns,
                   const float *sums, void *c)
{
    float *to = (float *)c + row * p->n + first;
    element *rounded = (element *)c + row * p->n + first;
    for (int64_t j = 0; j < columns; j += GROUP) {
        const int64_t n = columns - j < GROUP ? columns - j : GROUP;
        float y[GROUP] = {0};
        memcpy(y, sums + j, (size_t)n * sizeof *y);
        for (int64_t l = 0; l < n && p->bias; l++) y[l] += p->bias[first + j + l];
        for (int64_t l = 0; l < n && p->accumulate; l++) y[l] += to[j + l];
        if (p->rounded)
            put(n, y, rounded + j);
        else
            memcpy(to + j, y, (size_t)n * sizeof *y);
    }
}

static void multiply_columns(const onednn_product *p, const element *a, const unit_row *tiles,
                             void *c)
{
    const int64_t across = (p->n + TILE_COLUMNS - 1) / TILE_COLUMNS, depth = TILE_ROWS * PER_UNIT;
    const int64_t rows_down = (p->k + depth - 1) / depth * TILE_ROWS;
#pragma omp for schedule(static) nowait
    for (int64_t block = 0; block < across; block++) {
        const uint32_t *right = tiles[block * rows_down];
        const int64_t first = block * TILE_COLUMNS;
        const int64_t columns = p->n - first < TILE_COLUMNS ? p->n - first : TILE_COLUMNS;
        float sums[FEW_ROWS][TILE_COLUMNS];
        for (int64_t at = 0; at < columns; at += WIDE * LANES) {
            sum_rows(p->m, p->k, a, (const unit_row *)(right + at), &sums[0][at]);
        }
        for (int64_t r = 0; r < p->m; r++) finish(p, r, first, columns, sums[r], c);
    }
}

/* To read a unit takes as long as to multiply it by three or four rows; a team of threads 4 µs. */
static bool worth_threads(const onednn_product *p)
{
    return (p->m + 3) * p->n * (p->k / PER_UNIT) > 20 * PARALLEL_ELEMENTS;
}

void KERNEL(few_rows)(const onednn_product *p, const void *a, const void *tiles, void *c)
{
    BY_THREADS(worth_threads(p), multiply_columns(p, a, tiles, c));
}
