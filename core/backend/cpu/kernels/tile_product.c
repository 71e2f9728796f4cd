/*
 * Matrix products with a right factor in tiles (tiles.h): a few rows of the result at a time, whose
 * sums stay in registers.
 *
 * Compiled for AVX2 and AVX-512, where a unit of a tile is a float32, and with CPU_ISA=bf16, where
 * it is a pair of bfloat16, of which one lies below the other.
 */
#include "backend/cpu/kernel_sets.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/kernels/lanes.h"
#include "backend/cpu/shares.h"
#include "base/counting.h"
#include "base/error.h"
#include "base/memory.h"

#include <omp.h>

/* HEIGHT rows by WIDE vectors of sums, a row of a tile and a number of the left factor take 29 of
 * the 32 registers of AVX-512, and 15 of the 16 of AVX2. */
enum { HEIGHT = 6, WIDE = TILE_COLUMNS / LANES };

#define UNROLLED _Pragma("GCC unroll 8") /* what is not unrolled early does not get registers */

/* ---- Units: what is multiplied at a time ----------------------------------------------------- */

#ifdef __AVX512BF16__
INLINED void store_rounded(lanes y, element *to)
{
    const __m256i rounded = (__m256i)_mm512_cvtneps_pbh((__m512)y);
    memcpy(to, &rounded, sizeof rounded);
}

INLINED lanes add_product(lanes sum, const element *left, const uint32_t *right)
{
    int pair;
    memcpy(&pair, left, sizeof pair);
    return (lanes)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32(pair),
                                   (__m512bh)_mm512_loadu_si512(right));
}
#else
INLINED void store_rounded(lanes y, element *to)
{
    store(to, y);
}

INLINED lanes add_product(lanes sum, const element *left, const uint32_t *right)
{
    lanes row;
    memcpy(&row, right, sizeof row);
    return sum + *left * row;
}
#endif

/* ---- A strip: up to HEIGHT rows, a column of tiles -------------------------------------------*/

enum { LINE = 64 / sizeof(uint32_t) };

typedef struct strip {
    /* unit i of row r of the left factor lies at left[r·down + i·across] */
    const element *left;
    int64_t down, across;
    const uint32_t *right; /* rows of tiles, TILE_COLUMNS units each */
    int64_t units;
    bool half;             /* behind them there is half a unit more */
    const uint32_t *ahead; /* units to be fetched */
} strip;

/* Where its sums go. */
typedef struct target {
    char *c;            /* float32, or elements if rounded */
    int64_t down, size; /* elements from row to row, bytes of an element */
    const float *bias;  /* NULL: none */
    bool add, rounded;
} target;

INLINED void store_sums(lanes y, int r, int w, const target *t)
{
    char *to = t->c + (r * t->down + w * LANES) * t->size;
    if (t->bias) y += load(t->bias + w * LANES);
    if (t->rounded)
        store_rounded(y, (element *)to);
    else
        store((float *)to, t->add ? y + load((float *)to) : y);
}

/*
 * What the processor does not see coming is fetched ahead: the rows of the result, and of the tiles
 * what will be read next. Whole strips share that, and fetch it into the level 2 cache; where there
 * is but a part of one, all time goes into reading the tiles, and it fetches for itself. Narrow
 * tiles, of one line, come quickly enough without.
 */
enum { LINES = TILE_COLUMNS / LINE, SHARED_LINES = LINES > 1 };

INLINED void multiply_rows(const int rows, const strip *s, const target *t)
{
    enum { TO_READ, TO_WRITE, LEVEL_2 = 2, LEVEL_1 };
    const int lines = rows < HEIGHT ? LINES : SHARED_LINES;
    lanes sum[HEIGHT][WIDE];
    const element *left = s->left;
    const uint32_t *right = s->right, *ahead = s->ahead;
    UNROLLED for (int r = 0; r < rows; r++) UNROLLED for (int w = 0; w < WIDE; w++)
    {
        sum[r][w] = (lanes){0};
        __builtin_prefetch(t->c + (r * t->down + w * LANES) * t->size, TO_WRITE);
    }
    for (int64_t i = 0; i < s->units; i++, left += s->across, right += TILE_COLUMNS) {
        UNROLLED for (int l = 0; l < lines; l++, ahead += LINE)
        {
            if (rows < HEIGHT)
                __builtin_prefetch(ahead, TO_READ, LEVEL_1);
            else
                __builtin_prefetch(ahead, TO_READ, LEVEL_2);
        }
        UNROLLED for (int r = 0; r < rows; r++) UNROLLED for (int w = 0; w < WIDE; w++)
        {
            sum[r][w] = add_product(sum[r][w], left + r * s->down, right + w * LANES);
        }
    }
    if (s->half) {
        UNROLLED for (int r = 0; r < rows; r++)
        {
            const element last[2] = {left[r * s->down], 0};
            UNROLLED for (int w = 0; w < WIDE; w++)
            {
                sum[r][w] = add_product(sum[r][w], last, right + w * LANES);
            }
        }
    }
    UNROLLED for (int r = 0; r < rows; r++) UNROLLED for (int w = 0; w < WIDE; w++)
    {
        store_sums(sum[r][w], r, w, t);
    }
}

static void multiply_some_rows(int64_t rows, const strip *s, const target *t)
{
    switch (rows) {
    case 1:
        multiply_rows(1, s, t);
        break;
    case 2:
        multiply_rows(2, s, t);
        break;
    case 3:
        multiply_rows(3, s, t);
        break;
    case 4:
        multiply_rows(4, s, t);
        break;
    case 5:
        multiply_rows(5, s, t);
        break;
    default:
        multiply_rows(HEIGHT, s, t);
    }
}

/* So many rows, strip by strip. */
static void multiply_strips(int64_t rows, strip s, target t)
{
    const uint32_t *next_tiles = s.ahead;
    for (int64_t i = 0; rows >= HEIGHT; i++, rows -= HEIGHT) {
        s.ahead = next_tiles + i % LINES * LINE * s.units;
        multiply_rows(HEIGHT, &s, &t);
        s.left += HEIGHT * s.down, t.c += HEIGHT * t.down * t.size;
    }
    s.ahead = next_tiles;
    if (rows > 0) multiply_some_rows(rows, &s, &t);
}

/* The same where c does not have all the columns: the sums are made apart. */
static void multiply_last_columns(int64_t rows, int64_t columns, strip s, target t)
{
    float sums[HEIGHT][TILE_COLUMNS];
    const target apart = {.c = (char *)sums, .down = TILE_COLUMNS, .size = sizeof(float)};
    for (int64_t row = 0; row < rows; row++) {
        const int64_t r = row % HEIGHT;
        if (r == 0) {
            multiply_some_rows(rows - row < HEIGHT ? rows - row : HEIGHT, &s, &apart);
            s.left += HEIGHT * s.down;
        }
        for (int64_t j = 0; j < columns; j++) {
            float y = sums[r][j] + (t.bias ? t.bias[j] : 0.0f);
            char *to = t.c + (row * t.down + j) * t.size;
            if (t.rounded)
                elements_write(1, (float[ELEMENT_GROUP]){y}, (element *)to);
            else
                *(float *)to = t.add ? y + *(float *)to : y;
        }
    }
}

/* ---- A piece: some rows, some columns of tiles ------------------------------------------------
 *
 * A piece is what a thread does at a time. Its left rows stay in the level 2 cache while the tiles
 * go by, and so does a column of tiles while the rows go by. Sums over tokens, of which there may
 * be any number, are made of parts: DEEPEST units at a time. With AVX2 all sums are, since so much
 * of a column of its narrow tiles stays even in the level 1 cache.
 */

#ifdef __AVX512F__
enum { DEEPEST = 1024, ONLY_OVER_TOKENS = 1 };
#else
enum { DEEPEST = 384, ONLY_OVER_TOKENS = 0 };
#endif
enum { LARGEST = 48 * 1024 };                        /* units of all left rows of a piece */
enum { HIGHEST = 192, WIDEST = 384 / TILE_COLUMNS }; /* rows, columns of tiles */
/* Of small products there are so many pieces for a thread, of so much work: 1.3 µs at least, where
 * to take one costs 0.1. */
enum { PIECES = 8, LEAST_EFFORT = 1 << 17 };
enum { TEAM_EFFORT = 20 * PARALLEL_ELEMENTS }; /* a team of threads costs 4 µs */

static int64_t between(int64_t least, int64_t n, int64_t most)
{
    return n < least ? least : n > most ? most : n;
}

/* In products of units. To read a unit takes as long as to multiply it by three or four rows. */
static int64_t effort(const tile_product *p)
{
    return (p->m + 3) * p->n * parts_of(p->k, PER_UNIT);
}

typedef struct cutting {
    int64_t units, rows_down; /* of the tiles, and of them with those that fill the last one up */
    int64_t depth;            /* of units at a time */
    int64_t rows, columns;    /* of a piece, in rows and in columns of tiles */
    int64_t down, across;     /* so many pieces */
} cutting;

/* A left factor that has to be transposed is, a piece at a time; so that has all columns. */
static cutting cut(const tile_product *p, int threads)
{
    const int64_t tiles = parts_of(p->n, TILE_COLUMNS), strips = parts_of(p->m, HEIGHT);
    cutting into = {.units = parts_of(p->k, PER_UNIT), .columns = tiles, .across = 1};
    into.rows_down = rounded_up(into.units, TILE_ROWS);
    const bool whole = (ONLY_OVER_TOKENS && !p->transpose_a) || into.units <= DEEPEST;
    into.depth = whole ? into.units : DEEPEST;
    const int64_t pieces = between(1, effort(p) / LEAST_EFFORT, PIECES * threads);
    const int64_t highest = between(1, LARGEST / into.depth / HEIGHT, HIGHEST / HEIGHT);
    if (p->transpose_a) {
        into.rows = between(1, parts_of(strips, pieces), highest) * HEIGHT;
        into.down = parts_of(p->m, into.rows);
    } else {
        into.rows = parts_of(strips, parts_of(strips, highest)) * HEIGHT;
        into.down = parts_of(p->m, into.rows);
        into.columns = between(1, tiles * into.down / pieces, WIDEST);
        into.across = parts_of(tiles, into.columns);
    }
    return into;
}

/* The rows of a piece by the tiles of column `first` of c and those behind it. */
static void multiply_column(const tile_product *p, int64_t rows, int64_t first, strip s, target t)
{
    t.c += first * t.size;
    if (t.bias) t.bias += first;
    if (first + TILE_COLUMNS <= p->n)
        multiply_strips(rows, s, t);
    else
        multiply_last_columns(rows, p->n - first, s, t);
}

/* ---- The left factor, transposed ------------------------------------------------------------- */

#ifdef __AVX512BF16__
/* The first `count` elements of a vector, each in 32 bits. */
INLINED __m512i widened(int64_t count, const element *from)
{
    const __mmask16 some = (__mmask16)(count < LANES ? (1u << count) - 1 : 0xFFFF);
    return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(some, from));
}

/* `columns` units of two rows of a, the second of which may be NULL; zeros up to whole LANES. */
static void units_of_rows(int64_t columns, const element *upper, const element *lower,
                          uint32_t *units)
{
    for (int64_t j = 0; j < columns; j += LANES) {
        __m512i pairs = widened(columns - j, upper + j);
        if (lower) {
            const __m512i low = widened(columns - j, lower + j);
            pairs = _mm512_or_si512(pairs, _mm512_slli_epi32(low, 16));
        }
        _mm512_storeu_si512(units + j, pairs);
    }
}
#else
static void units_of_rows(int64_t columns, const element *upper, const element *lower,
                          uint32_t *units)
{
    (void)lower;
    memcpy(units, upper, (size_t)columns * sizeof *upper);
}
#endif

enum { AHEAD = 64 }; /* rows of a: they are too far apart for the processor to see a line in them */

INLINED void prefetch_rows(int64_t columns, int64_t down, const element *from)
{
    for (int r = 0; r < PER_UNIT; r++, from += down) {
        for (int64_t j = 0; j < columns; j += 64 / sizeof *from) __builtin_prefetch(from + j);
    }
}

/* Rows of op(a), unit by unit: `down` units from one to the next. a (k,m) as it lies; of its rows
 * those of `depth` units from `unit` on. */
static void transpose_left(const tile_product *p, const element *a, int64_t row, int64_t rows,
                           int64_t unit, int64_t depth, int64_t down, uint32_t *units)
{
    for (int64_t i = 0; i < depth; i++, units += down) {
        const int64_t k = (unit + i) * PER_UNIT;
        const element *upper = a + k * p->m + row;
        if (k + AHEAD + PER_UNIT <= p->k) prefetch_rows(rows, p->m, upper + AHEAD * p->m);
        units_of_rows(rows, upper, k + 1 < p->k ? upper + p->m : NULL, units);
    }
}

/* ---- All of it ------------------------------------------------------------------------------- */

typedef struct product_work {
    const tile_product *p;
    const element *a;
    const uint32_t *tiles;
    void *c;
    uint32_t *rows; /* transposed left ones: as many for each thread as a piece has */
    cutting cut;
} product_work;

static size_t transposed_units(const cutting *cut)
{
    return (size_t)(padded(cut->rows) * cut->depth);
}

/* To fetch while the tiles at `right`, of column `first` of c, are read: those of the next columns;
 * for one strip alone, two tiles further on, as the processor itself does not look beyond a page of
 * memory, which is one tile. */
static const uint32_t *what_is_next(const tile_product *p, const cutting *cut, int64_t rows,
                                    int64_t first, const uint32_t *right)
{
    if (rows < HEIGHT) return right + 2 * TILE_ROWS * TILE_COLUMNS;
    return first + TILE_COLUMNS < p->n ? right + cut->rows_down * TILE_COLUMNS : right;
}

/* The left factor from row `row` and unit `unit` on, as far as its units are taken at a time. */
static strip left_strip(const product_work *w, int64_t row, int64_t rows, int64_t unit, int thread)
{
    const tile_product *p = w->p;
    const cutting *cut = &w->cut;
    strip s = {.units = smaller(cut->units - unit, cut->depth)};
    if (p->transpose_a) {
        const int64_t down = padded(cut->rows);
        uint32_t *own = w->rows + (size_t)thread * transposed_units(cut);
        transpose_left(p, w->a, row, rows, unit, s.units, down, own);
        s.left = (const element *)own, s.down = PER_UNIT, s.across = down * PER_UNIT;
    } else {
        s.left = w->a + row * p->k + unit * PER_UNIT, s.down = p->k, s.across = PER_UNIT;
        s.half = p->k < (unit + s.units) * PER_UNIT;
        s.units -= s.half;
    }
    return s;
}

static void multiply_piece(const void *work, int64_t piece, int thread)
{
    const product_work *w = work;
    const tile_product *p = w->p;
    const cutting *cut = &w->cut;
    const int64_t row = piece / cut->across * cut->rows, rows = smaller(p->m - row, cut->rows);
    const int64_t from = piece % cut->across * cut->columns * TILE_COLUMNS,
                  to = smaller(from + cut->columns * TILE_COLUMNS, p->n);
    target t = {.down = p->n, .bias = p->bias, .add = p->accumulate, .rounded = p->rounded};
    t.size = p->rounded ? sizeof(element) : sizeof(float);
    t.c = (char *)w->c + row * p->n * t.size;
    for (int64_t unit = 0; unit < cut->units; unit += cut->depth) {
        strip s = left_strip(w, row, rows, unit, thread);
        for (int64_t first = from; first < to; first += TILE_COLUMNS) {
            s.right = w->tiles + first * cut->rows_down + unit * TILE_COLUMNS;
            s.ahead = what_is_next(p, cut, rows, first, s.right);
            multiply_column(p, rows, first, s, t);
        }
        t.bias = NULL, t.add = true;
    }
}

int KERNEL(multiply_tiles)(const tile_product *p, const void *a, const void *tiles, void *c)
{
    const int threads = omp_get_max_threads();
    product_work work_on = {.p = p, .a = a, .tiles = tiles, .c = c, .cut = cut(p, threads)};
    void *transposed = NULL;
    if (p->transpose_a) {
        const size_t units = (size_t)threads * transposed_units(&work_on.cut);
        if (memory_alloc(units * sizeof *work_on.rows, &transposed)) return ICOT_FAILED;
    }
    work_on.rows = transposed;
    const int failed = do_in_shares(effort(p) > TEAM_EFFORT, work_on.cut.down * work_on.cut.across,
                                    multiply_piece, &work_on);
    memory_free(transposed);
    return failed;
}
