/*
 * Small matrix products, as attention has them: a strip of a few rows at a time, kept in registers.
 *
 * All work is done LANES numbers at a time; what is multiplied is padded to whole LANES.
 */
#ifndef ICOT_BACKEND_CPU_KERNELS_STRIP_H
#define ICOT_BACKEND_CPU_KERNELS_STRIP_H

#include "backend/cpu/kernels.h"
#include "backend/cpu/kernels/lanes.h"
#include "base/counting.h"

enum { STRIP_ROWS = 4 };

/* The rows from `first` on that are in one strip and there. Strips begin at multiples of
 * STRIP_ROWS, wherever in one the work begins. */
static inline int64_t strip_rows(int64_t first, int64_t rows)
{
    return smaller(rows - first, STRIP_ROWS - first % STRIP_ROWS);
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
