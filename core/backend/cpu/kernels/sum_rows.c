/* Sums over rows, as the gradients of biases are; also of factors, with CPU_ISA=bf16. */
#include "backend/cpu/kernels.h"
#include "backend/cpu/kernels/lanes.h"
#include "base/counting.h"
#include "base/error.h"

enum { STRIP = 64, CHUNK = 64 }; /* columns of a strip; rows summed in float32 at a time */

/* sums (STRIP) of so many rows, of which `width` columns are there */
INLINED void sum_chunk(int64_t rows, int64_t columns, int64_t width, const element *x, float *sums)
{
    lanes partial[STRIP / LANES] = {0};
    for (int64_t r = 0; r < rows; r++, x += columns) {
        for (int v = 0; v < STRIP / LANES; v++) {
            const int64_t there = width - v * LANES;
            if (there > 0) partial[v] += load_some(there, x + v * LANES);
        }
    }
    for (int v = 0; v < STRIP / LANES; v++) store(sums + v * LANES, partial[v]);
}

static void sum_strip(int64_t rows, int64_t columns, int64_t width, const element *x,
                      bool accumulate, float *y)
{
    double totals[STRIP] = {0};
    for (int64_t first = 0; first < rows; first += CHUNK) {
        const int64_t some = smaller(rows - first, CHUNK);
        float partial[STRIP];
        if (width == STRIP) /* known to the compiler, which leaves out the rest */
            sum_chunk(some, columns, STRIP, x + first * columns, partial);
        else
            sum_chunk(some, columns, width, x + first * columns, partial);
        for (int c = 0; c < STRIP; c++) totals[c] += (double)partial[c];
    }
    for (int64_t c = 0; c < width; c++) y[c] = (accumulate ? y[c] : 0.0f) + (float)totals[c];
}

/* Threads share the columns, not the rows: each sum is made by one thread, in a fixed order. */
int KERNEL(sum_rows)(int64_t rows, int64_t columns, const element *x, bool accumulate, float *y)
{
#pragma omp parallel for schedule(static) if (rows * columns > PARALLEL_ELEMENTS)
    for (int64_t start = 0; start < columns; start += STRIP) {
        const int64_t width = smaller(columns - start, STRIP);
        sum_strip(rows, columns, width, x + start, accumulate, y + start);
    }
    return ICOT_OK;
}
