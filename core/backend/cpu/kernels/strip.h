/*
 * Small matrix products, as attention has them: a strip of a few rows at a time, kept in registers.
 *
 * All work is done LANES numbers at a time; what is multiplied is padded to whole LANES.
 */
#ifndef ICOT_BACKEND_CPU_KERNELS_STRIP_H
#define ICOT_BACKEND_CPU_KERNELS_STRIP_H

#include "backend/cpu/kernels.h"

#include <string.h>

/* As long as the registers are: a longer vector would lie in memory. */
#if defined __AVX512F__
enum { LANES = 16 };
#elif defined __AVX__
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif

enum { STRIP_ROWS = 4 };

/* A vector of the compiler's, so that sums stay in registers. */
typedef float lanes __attribute__((vector_size(LANES * sizeof(float))));

static inline lanes load(const float *from)
{
    lanes v;
    memcpy(&v, from, sizeof v);
    return v;
}

static inline void store(float *to, lanes v)
{
    memcpy(to, &v, sizeof v);
}

/* Up to LANES elements (elements.h), 0 behind them. */
static inline lanes load_some(int64_t count, const element *from)
{
    float all[GROUP];
    if (count >= LANES) /* known to the compiler: a vector */
        get(LANES, from, all);
    else
        get(count, from, all);
    return load(all);
}

static inline void store_some(int64_t count, lanes v, element *to)
{
    float all[GROUP] = {0};
    store(all, v);
    if (count >= LANES)
        put(LANES, all, to);
    else
        put(count, all, to);
}

static inline int64_t padded(int64_t n)
{
    return (n + LANES - 1) / LANES * LANES;
}

/* The rows of a strip that are there. */
static inline int64_t strip_rows(int64_t first, int64_t rows)
{
    return rows - first < STRIP_ROWS ? rows - first : STRIP_ROWS;
}

/* A matrix: element (i, j) lies at data[i·down + j·across]. */
typedef struct matrix {
    const float *data;
    int64_t down, across;
} matrix;

/* c (rows, n) = scale · a (rows, k) · b (k, n): 1 to STRIP_ROWS rows; n whole LANES; b has
 * across = 1, and so has c, whose rows lie c_down apart. */
void KERNEL(multiply_strip)(int64_t rows, int64_t n, int64_t k, float scale, matrix a, matrix b,
                            float *c, int64_t c_down);
#define multiply_strip KERNEL(multiply_strip) /* its name from here on, also in strip.c */

#endif
