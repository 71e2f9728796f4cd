/*
 * Right factors of matrix products, packed into the tiles that oneDNN multiplies by (onednn.h).
 *
 * Compiled as the other kernels are, where a unit is a float32, and once more with CPU_ISA=bf16,
 * where it is a pair of bfloat16, rounded on the way if they come as float32.
 */
#include "backend/cpu/kernels.h"
#include "backend/cpu/packing.h"
#include "base/error.h"
#include "base/memory.h"

#include <string.h>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

enum {
    GROUP = 16, /* units that are made at a time: the rows of a tile */
    AHEAD = 64  /* numbers of a row that are fetched ahead */
};

typedef struct source {
    const right_factor *b;
    int64_t k, n; /* of op(b), as far as it is packed; rows that b does not have are zeros */
} source;

/* ---- Units: `count` of the numbers are there, the rest is zeros --------------------------------
 */

#ifdef __AVX512BF16__
enum { PER_UNIT = 2 };
#define ELEMENT ONEDNN_BFLOAT16

static inline __mmask16 first(int64_t count)
{
    return (__mmask16)(count >= GROUP ? 0xFFFF : count <= 0 ? 0 : (1u << count) - 1);
}

/* Sixteen numbers from element `at` on, as bfloat16; those `ahead` of them are fetched. Memory is
 * not read in a row, and packing took three times as long without that. */
static inline __m256i numbers(const right_factor *b, int64_t at, int64_t count, int64_t ahead)
{
    if (b->is_factor) return _mm256_maskz_loadu_epi16(first(count), (const uint16_t *)b->data + at);
    const float *from = (const float *)b->data + at;
    __builtin_prefetch(from + ahead);
    __m512 x = _mm512_maskz_loadu_ps(first(count), from);
    return (__m256i)_mm512_cvtneps_pbh(x);
}

/* From one row of b, of which op(b) has a column: 2·GROUP numbers. */
static inline void units_along(const right_factor *b, int64_t at, int64_t count,
                               uint32_t units[GROUP])
{
    __m256i *halves = (__m256i *)(void *)units;
    _mm256_storeu_si256(halves, numbers(b, at, count, AHEAD));
    _mm256_storeu_si256(halves + 1, numbers(b, at + GROUP, count - GROUP, AHEAD));
}

/* From two rows of b, the second of which may be missing. */
static inline void units_across(const right_factor *b, int64_t at, int64_t rows, int64_t count,
                                uint32_t units[GROUP])
{
    __m512i upper = _mm512_cvtepu16_epi32(numbers(b, at, count, 2 * b->columns)),
            lower = _mm512_setzero_si512();
    if (rows > 1) lower = _mm512_cvtepu16_epi32(numbers(b, at + b->columns, count, 2 * b->columns));
    _mm512_storeu_si512(units, _mm512_or_si512(upper, _mm512_slli_epi32(lower, 16)));
}
#else
enum { PER_UNIT = 1 };
#define ELEMENT ONEDNN_FLOAT32

static inline void copy_units(const float *from, int64_t count, uint32_t units[GROUP])
{
    const size_t bytes = (size_t)(count < GROUP ? count : GROUP) * sizeof *units;
    memcpy(units, from, bytes);
    memset((char *)units + bytes, 0, GROUP * sizeof *units - bytes);
}

static inline void units_along(const right_factor *b, int64_t at, int64_t count,
                               uint32_t units[GROUP])
{
    const float *from = (const float *)b->data + at;
    __builtin_prefetch(from + AHEAD);
    copy_units(from, count, units);
}

static inline void units_across(const right_factor *b, int64_t at, int64_t rows, int64_t count,
                                uint32_t units[GROUP])
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

/* GROUP units from column `column` on of row `row` of a band of tiles. */
static inline uint32_t *units_at(const tiling *t, int64_t band, int64_t row, int64_t column)
{
    return &t->tiles[column / TILE_COLUMNS * t->down + band][row][column % TILE_COLUMNS];
}

/* b lies as op(b) does: each row of the tiles of a band comes out of PER_UNIT rows of b, which are
 * read from end to end. */
static void band_of_rows(const source *s, const tiling *t, int64_t band)
{
    const int64_t rows = s->b->rows < s->k ? s->b->rows : s->k;
    for (int64_t i = 0; i < TILE_ROWS; i++) {
        const int64_t row = (band * TILE_ROWS + i) * PER_UNIT;
        for (int64_t j = 0; j < t->across * TILE_COLUMNS; j += GROUP) {
            uint32_t *units = units_at(t, band, i, j);
            if (row < rows && j < s->n) {
                units_across(s->b, row * s->b->columns + j, rows - row, s->n - j, units);
            } else {
                memset(units, 0, GROUP * sizeof *units);
            }
        }
    }
}

#ifdef __AVX512F__
/* Rows i and i + width, for each i without that bit, swap what lies beside the diagonal. */
static inline __attribute__((always_inline)) void swap_blocks(__m512i v[GROUP], const int width)
{
    const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __mmask16 right = _mm512_test_epi32_mask(lane, _mm512_set1_epi32(width));
    const __m512i shifted = _mm512_add_epi32(lane, _mm512_set1_epi32(GROUP - width));
    const __m512i upper = _mm512_mask_mov_epi32(lane, right, shifted);
    const __m512i lower = _mm512_add_epi32(upper, _mm512_set1_epi32(width));
#pragma GCC unroll 16
    for (int i = 0; i < GROUP; i++) {
        if (i & width) continue;
        const __m512i a = v[i], b = v[i + width];
        v[i] = _mm512_permutex2var_epi32(a, upper, b);
        v[i + width] = _mm512_permutex2var_epi32(a, lower, b);
    }
}

static void put_transposed(const uint32_t from[GROUP][GROUP], tile *to, int64_t column)
{
    __m512i v[GROUP];
#pragma GCC unroll 16
    for (int i = 0; i < GROUP; i++) v[i] = _mm512_loadu_si512(from[i]);
    swap_blocks(v, 1), swap_blocks(v, 2), swap_blocks(v, 4), swap_blocks(v, 8);
#pragma GCC unroll 16
    for (int i = 0; i < GROUP; i++) _mm512_storeu_si512(&(*to)[i][column], v[i]);
}
#else
static void put_transposed(const uint32_t from[GROUP][GROUP], tile *to, int64_t column)
{
    for (int i = 0; i < GROUP; i++) {
        for (int l = 0; l < GROUP; l++) (*to)[i][column + l] = from[l][i];
    }
}
#endif

/* b lies transposed: each column of the tiles comes out of one row of b; GROUP of them are read
 * from end to end. */
static void columns_of_rows(const source *s, const tiling *t, int64_t column)
{
    const int64_t rows = s->n - column;
    for (int64_t band = 0; band < t->down; band++) {
        const int64_t at = band * TILE_ROWS * PER_UNIT;
        uint32_t units[GROUP][TILE_ROWS];
        for (int64_t l = 0; l < GROUP; l++) {
            if (l < rows) {
                units_along(s->b, (column + l) * s->b->columns + at, s->k - at, units[l]);
            } else {
                memset(units[l], 0, sizeof units[l]);
            }
        }
        put_transposed(units, &t->tiles[column / TILE_COLUMNS * t->down + band],
                       column % TILE_COLUMNS);
    }
}

static void pack_tiles(const source *s, const tiling *t)
{
    const bool wide = s->k * s->n > PARALLEL_ELEMENTS;
    if (s->b->transpose) {
#pragma omp parallel for schedule(static) if (wide)
        for (int64_t j = 0; j < t->across * TILE_COLUMNS / GROUP; j++) {
            columns_of_rows(s, t, j * GROUP);
        }
    } else {
#pragma omp parallel for schedule(static) if (wide)
        for (int64_t band = 0; band < t->down; band++) band_of_rows(s, t, band);
    }
}

int KERNEL(pack)(bool transpose_a, int64_t m, right_factor *b)
{
    const source s = {.b = b, .k = packed_depth(ELEMENT, transpose_a, m, b), .n = right_columns(b)};
    b->packed = NULL;
    if (s.k == 0) return ICOT_OK;
    const int64_t depth = TILE_ROWS * PER_UNIT;
    tiling t = {.down = (s.k + depth - 1) / depth,
                .across = (s.n + TILE_COLUMNS - 1) / TILE_COLUMNS};
    if (memory_alloc((size_t)(t.down * t.across) * sizeof(tile), &b->packed)) return ICOT_FAILED;
    t.tiles = b->packed;
    pack_tiles(&s, &t);
    return ICOT_OK;
}
