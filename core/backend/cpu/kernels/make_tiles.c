/*
 * Right factors of matrix products, put into tiles (tiles.h).
 *
 * Compiled as the other kernels are, where a unit is a float32, and once more with CPU_ISA=bf16,
 * where it is a pair of bfloat16, rounded on the way if they come as float32.
 */
#include "backend/cpu/kernels/transpose.h"
#include "backend/cpu/tiling.h"
#include "base/counting.h"
#include "base/error.h"
#include "base/memory.h"

#include <string.h>
#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

enum { AHEAD = 64 }; /* numbers of a row that are fetched ahead */

typedef struct source {
    const right_factor *b;
    int64_t k, n; /* of op(b), as far as the tiles hold it; rows that b does not have are zeros */
} source;

/* ---- LANES units at a time ---------------------------------------------------------------------
 *
 * Of the numbers `count` are there, the rest is zeros. Memory is not read in a row, so what comes
 * next is fetched ahead: this took three times as long without that.
 */

#ifdef __AVX512BF16__
#define TILE_TYPE TILES_BFLOAT16

static inline __mmask16 first(int64_t count)
{
    return (__mmask16)(count >= LANES ? 0xFFFF : count <= 0 ? 0 : (1u << count) - 1);
}

/* LANES numbers from element `at` on, as bfloat16; those `ahead` of them are fetched. */
static inline __m256i numbers(const right_factor *b, int64_t at, int64_t count, int64_t ahead)
{
    if (b->is_factor) return _mm256_maskz_loadu_epi16(first(count), (const uint16_t *)b->data + at);
    const float *from = (const float *)b->data + at;
    __builtin_prefetch(from + ahead);
    __m512 x = _mm512_maskz_loadu_ps(first(count), from);
    return (__m256i)_mm512_cvtneps_pbh(x);
}

/* From one row of b, of which op(b) has a column. */
static inline void units_along(const right_factor *b, int64_t at, int64_t count, void *units)
{
    __m256i *halves = units;
    _mm256_storeu_si256(halves, numbers(b, at, count, AHEAD));
    _mm256_storeu_si256(halves + 1, numbers(b, at + LANES, count - LANES, AHEAD));
}

/* From two rows of b, the second of which may be missing. */
static inline void units_across(const right_factor *b, int64_t at, int64_t rows, int64_t count,
                                void *units)
{
    __m512i upper = _mm512_cvtepu16_epi32(numbers(b, at, count, 2 * b->columns)),
            lower = _mm512_setzero_si512();
    if (rows > 1) lower = _mm512_cvtepu16_epi32(numbers(b, at + b->columns, count, 2 * b->columns));
    _mm512_storeu_si512(units, _mm512_or_si512(upper, _mm512_slli_epi32(lower, 16)));
}
#else
#define TILE_TYPE TILES_FLOAT32

static inline void copy_units(const float *from, int64_t count, void *units)
{
    const size_t bytes = (size_t)(count < LANES ? count : LANES) * sizeof(uint32_t);
    memcpy(units, from, bytes);
    memset((char *)units + bytes, 0, sizeof(lanes) - bytes);
}

static inline void units_along(const right_factor *b, int64_t at, int64_t count, void *units)
{
    const float *from = (const float *)b->data + at;
    __builtin_prefetch(from + AHEAD);
    copy_units(from, count, units);
}

static inline void units_across(const right_factor *b, int64_t at, int64_t rows, int64_t count,
                                void *units)
{
    const float *from = (const float *)b->data + at;
    (void)rows;
    __builtin_prefetch(from + b->columns);
    copy_units(from, count, units);
}
#endif

/* ---- Tiles ----------------------------------------------------------------------------------- */

typedef uint32_t tile[TILE_ROWS][TILE_COLUMNS];

/* Those of op(b), `down` below each other and then `across`. */
typedef struct tiling {
    int64_t down, across;
    tile *tiles;
} tiling;

/* LANES units of a band of tiles. */
static inline void *units_at(const tiling *t, int64_t band, int64_t row, int64_t column)
{
    return &t->tiles[column / TILE_COLUMNS * t->down + band][row][column % TILE_COLUMNS];
}

/* b lies as op(b) does: each row of the tiles of a band comes out of PER_UNIT rows of b, which are
 * read from end to end; columns from `first` up to `end`. */
static void rows_of_band(const source *s, const tiling *t, int64_t band, int64_t first, int64_t end)
{
    const int64_t rows = smaller(s->b->rows, s->k);
    for (int64_t i = 0; i < TILE_ROWS; i++) {
        const int64_t row = (band * TILE_ROWS + i) * PER_UNIT;
        for (int64_t j = first; j < end; j += LANES) {
            void *units = units_at(t, band, i, j);
            if (row < rows && j < s->n) {
                units_across(s->b, row * s->b->columns + j, rows - row, s->n - j, units);
            } else {
                memset(units, 0, sizeof(lanes));
            }
        }
    }
}

/* Narrow tiles are many, too far apart for the cache to hold the place in each that comes next; so
 * few of them at a time. */
static void band_of_rows(const source *s, const tiling *t, int64_t band)
{
    const int64_t all = t->across * TILE_COLUMNS, width = TILE_COLUMNS;
    const int64_t most = width < WIDE_TILE_COLUMNS ? WIDE_TILE_COLUMNS : all;
    for (int64_t j = 0; j < all; j += most) {
        rows_of_band(s, t, band, j, smaller(j + most, all));
    }
}

/* b lies transposed: each column of the tiles comes out of one row of b; LANES of them are read
 * from end to end. */
static void columns_of_rows(const source *s, const tiling *t, int64_t column)
{
    const int64_t rows = s->n - column;
    for (int64_t row = 0; row < t->down * TILE_ROWS; row += LANES) {
        const int64_t at = row * PER_UNIT;
        lanes units[LANES]; /* only moved, so it does not matter that they are no float32 */
        for (int64_t l = 0; l < LANES; l++) {
            if (l < rows && at < s->k) {
                units_along(s->b, (column + l) * s->b->columns + at, s->k - at, &units[l]);
            } else {
                memset(&units[l], 0, sizeof units[l]);
            }
        }
        transpose_block(units);
        for (int64_t i = 0; i < LANES; i++) {
            store(units_at(t, row / TILE_ROWS, row % TILE_ROWS + i, column), units[i]);
        }
    }
}

static void fill_tiles(const source *s, const tiling *t)
{
    const bool wide = s->k * s->n > PARALLEL_ELEMENTS;
    if (s->b->transpose) {
#pragma omp parallel for schedule(static) if (wide)
        for (int64_t j = 0; j < t->across * TILE_COLUMNS / LANES; j++) {
            columns_of_rows(s, t, j * LANES);
        }
    } else {
#pragma omp parallel for schedule(static) if (wide)
        for (int64_t band = 0; band < t->down; band++) band_of_rows(s, t, band);
    }
}

int KERNEL(make_tiles)(bool transpose_a, int64_t m, right_factor *b)
{
    const source s = {
        .b = b, .k = tiled_depth(TILE_TYPE, transpose_a, m, b), .n = right_columns(b)};
    b->ready_form = NULL;
    if (s.k == 0) return ICOT_OK;
    tiling t = {.down = parts_of(s.k, TILE_ROWS * PER_UNIT), .across = parts_of(s.n, TILE_COLUMNS)};
    if (memory_alloc((size_t)(t.down * t.across) * sizeof(tile), &b->ready_form))
        return ICOT_FAILED;
    t.tiles = b->ready_form;
    fill_tiles(&s, &t);
    return ICOT_OK;
}
