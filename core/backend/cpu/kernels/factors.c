/*
 * Factors of matrix products: rounding to them, and gelu, which is only ever multiplied.
 *
 * Compiled as the other kernels are, where a factor is float32 as it is, and once more with
 * CPU_ISA=bf16, where it is bfloat16 (elements.h).
 */
#include "backend/cpu/kernels.h"
#include "backend/cpu/kernels/reduce.h"
#include "backend/cpu/vector_math.h"
#include "base/counting.h"
#include "base/error.h"
#include "base/memory.h"

enum { BLOCK = 4096, CHUNK = 64 }; /* numbers of a thread; rows of a thread */

/* gelu of a group of numbers, and its slope */
#ifdef __AVX512BF16__
/*
 * 1 / (1 + 2^t), t = -x / ln 2, to some 22 bits, which is enough for what is rounded to 8: a
 * polynomial of degree 5 for the fraction of t, and one step of Newton's from a reciprocal of 14
 * bits. NaN stays NaN, since that is what min and max give where their second operand is one.
 */
static inline __m512 sigmoid(__m512 x)
{
    __m512 t = _mm512_mul_ps(x, _mm512_set1_ps(-1.44269504f));
    t = _mm512_min_ps(_mm512_set1_ps(125.0f), _mm512_max_ps(_mm512_set1_ps(-125.0f), t));
    __m512 n = _mm512_roundscale_ps(t, _MM_FROUND_TO_NEAREST_INT);
    __m512 r = _mm512_sub_ps(t, n), p = _mm512_set1_ps(1.33336e-3f);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(9.61813e-3f)); /* ln(2)^k / k! */
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.55041e-2f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(2.40226507e-1f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(6.93147181e-1f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
    __m512 sum = _mm512_add_ps(_mm512_set1_ps(1.0f), _mm512_scalef_ps(p, n));
    __m512 inverse = _mm512_rcp14_ps(sum);
    return _mm512_mul_ps(inverse, _mm512_fnmadd_ps(sum, inverse, _mm512_set1_ps(2.0f)));
}

static inline void gelu_group(const float from[ELEMENT_GROUP], float value[ELEMENT_GROUP],
                              float slope[ELEMENT_GROUP])
{
    const __m512 scale = _mm512_set1_ps(GELU_SCALE), one = _mm512_set1_ps(1.0f);
    __m512 x = _mm512_loadu_ps(from);
    __m512 cubic = _mm512_mul_ps(_mm512_mul_ps(x, x), _mm512_set1_ps(GELU_CUBIC));
    __m512 s = sigmoid(_mm512_mul_ps(_mm512_mul_ps(scale, x), _mm512_add_ps(one, cubic)));
    __m512 y = _mm512_mul_ps(x, s);
    __m512 du = _mm512_mul_ps(scale, _mm512_fmadd_ps(cubic, _mm512_set1_ps(3.0f), one));
    __m512 rise = _mm512_mul_ps(_mm512_sub_ps(one, s), du);
    _mm512_storeu_ps(value, y);
    _mm512_storeu_ps(slope, _mm512_fmadd_ps(y, rise, s));
}
#else
static inline void gelu_group(const float from[ELEMENT_GROUP], float value[ELEMENT_GROUP],
                              float slope[ELEMENT_GROUP])
{
    for (int l = 0; l < ELEMENT_GROUP; l++) {
        value[l] = vector_gelu(from[l]);
        slope[l] = vector_gelu_slope(from[l]);
    }
}
#endif

#ifdef __AVX512BF16__
static void round_block(int64_t n, const float *x, element *y)
{
    int64_t i = 0;
    for (; i + ELEMENT_GROUP <= n; i += ELEMENT_GROUP) elements_write(ELEMENT_GROUP, x + i, y + i);
    float rest[ELEMENT_GROUP] = {0};
    for (int64_t k = i; k < n; k++) rest[k - i] = x[k];
    if (i < n) elements_write(n - i, rest, y + i);
}

static void round_blocks(int64_t n, const float *x, element *y)
{
#pragma omp for schedule(static) nowait
    for (int64_t i = 0; i < n; i += BLOCK) round_block(smaller(n - i, BLOCK), x + i, y + i);
}

void KERNEL(round)(int64_t n, const float *x, void *factor)
{
    BY_THREADS(n > PARALLEL_ELEMENTS, round_blocks(n, x, factor));
}
#endif

/* The first n of a group: inlined, whole groups are done in vectors, since their n is known. */
INLINED void gelu_part(int64_t n, const element *x, element *y)
{
    float from[ELEMENT_GROUP], value[ELEMENT_GROUP], slope[ELEMENT_GROUP];
    elements_read(n, x, from);
    gelu_group(from, value, slope);
    elements_write(n, value, y);
}

static void gelu_block(int64_t n, const element *x, element *y)
{
    int64_t i = 0;
    for (; i + ELEMENT_GROUP <= n; i += ELEMENT_GROUP) gelu_part(ELEMENT_GROUP, x + i, y + i);
    if (i < n) gelu_part(n - i, x + i, y + i);
}

static void gelu_blocks(int64_t n, const element *x, element *y)
{
#pragma omp for schedule(static) nowait
    for (int64_t i = 0; i < n; i += BLOCK) gelu_block(smaller(n - i, BLOCK), x + i, y + i);
}

void KERNEL(gelu_factor)(int64_t n, const void *factor, void *result)
{
    BY_THREADS(n > PARALLEL_ELEMENTS, gelu_blocks(n, factor, result));
}

/* y = gelu(x), dx = dy·gelu'(x), sums += dx, for the first n of a group. Arrays of our own overlap
 * with no others: in the given ones the compiler would take one number at a time. */
INLINED void backward_group(int64_t n, const element *x, const float *dy, element *y, element *dx,
                            float *sums)
{
    const size_t bytes = (size_t)n * sizeof(float);
    float from[ELEMENT_GROUP], value[ELEMENT_GROUP], slope[ELEMENT_GROUP], d[ELEMENT_GROUP] = {0},
                                                                           sum[ELEMENT_GROUP] = {0};
    elements_read(n, x, from);
    memcpy(d, dy, bytes);
    memcpy(sum, sums, bytes);
    gelu_group(from, value, slope);
    for (int l = 0; l < ELEMENT_GROUP; l++) d[l] *= slope[l];
    for (int l = 0; l < ELEMENT_GROUP; l++) sum[l] += d[l];
    memcpy(sums, sum, bytes);
    elements_write(n, value, y);
    elements_write(n, d, dx);
}

static void backward_row(int64_t columns, const element *x, const float *dy, element *y,
                         element *dx, float *sums)
{
    int64_t c = 0;
    for (; c + ELEMENT_GROUP <= columns; c += ELEMENT_GROUP) {
        backward_group(ELEMENT_GROUP, x + c, dy + c, y + c, dx + c, sums + c);
    }
    if (c < columns) backward_group(columns - c, x + c, dy + c, y + c, dx + c, sums + c);
}

int KERNEL(gelu_factor_backward)(int64_t rows, int64_t columns, const void *x, const float *dy,
                                 void *y, void *dx, bool accumulate, float *sums)
{
    int64_t chunks = parts_of(rows, CHUNK);
    void *memory;
    if (memory_alloc_zero((size_t)(chunks * columns), sizeof(float), &memory)) return ICOT_FAILED;
    float *partial = memory; /* (chunks, C) */
    const element *from = x;
    element *values = y, *slopes = dx;

#pragma omp parallel for schedule(static) if (rows * columns > PARALLEL_ELEMENTS)
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
        int64_t end = smaller((chunk + 1) * CHUNK, rows);
        for (int64_t r = chunk * CHUNK; r < end; r++) {
            int64_t at = r * columns;
            backward_row(columns, from + at, dy + at, values + at, slopes + at,
                         partial + chunk * columns);
        }
    }
    add_chunks(chunks, columns, columns, partial, accumulate, sums);
    memory_free(memory);
    return ICOT_OK;
}
