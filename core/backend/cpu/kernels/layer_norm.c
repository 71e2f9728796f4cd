/* Layer normalization over the last dimension (Ba, Kiros, Hinton 2016). */
#include "backend/cpu/kernels.h"
#include "base/error.h"
#include "base/memory.h"

#include <math.h>
#include <omp.h>
#include <string.h>

static void norm_rows(int64_t rows, int64_t columns, double eps, const float *x,
                      const float *weight, const float *bias, float *y, float *statistics)
{
#pragma omp for schedule(static) nowait
    for (int64_t r = 0; r < rows; r++) {
        const float *in = x + r * columns;
        float *out = y + r * columns, sum = 0.0f, squares = 0.0f;
#pragma omp simd reduction(+ : sum)
        for (int64_t c = 0; c < columns; c++) sum += in[c];
        float mean = sum / (float)columns;
#pragma omp simd reduction(+ : squares)
        for (int64_t c = 0; c < columns; c++) squares += (in[c] - mean) * (in[c] - mean);
        float inverse = (float)(1.0 / sqrt((double)squares / (double)columns + eps));
        for (int64_t c = 0; c < columns; c++) {
            out[c] = (in[c] - mean) * inverse * weight[c] + bias[c];
        }
        statistics[2 * r] = mean;
        statistics[2 * r + 1] = inverse;
    }
}

void KERNEL(layer_norm)(int64_t rows, int64_t columns, double eps, const float *x,
                        const float *weight, const float *bias, float *y, float *statistics)
{
    BY_THREADS(rows * columns > PARALLEL_ELEMENTS,
               norm_rows(rows, columns, eps, x, weight, bias, y, statistics));
}

/*
 * With n = (x - mean)·inverse and g = dy·weight:
 *   dx = inverse · (g - mean(g) - n · mean(g·n)),  dweight = Σ_rows dy·n,  dbias = Σ_rows dy
 */
static void backward_row(int64_t columns, const float *x, const float *weight, float mean,
                         float inverse, const float *dy, bool accumulate, float *dx)
{
    float sum_g = 0.0f, sum_gn = 0.0f;
#pragma omp simd reduction(+ : sum_g, sum_gn)
    for (int64_t c = 0; c < columns; c++) {
        float g = dy[c] * weight[c];
        sum_g += g;
        sum_gn += g * (x[c] - mean) * inverse;
    }
    float mean_g = sum_g / (float)columns, mean_gn = sum_gn / (float)columns;
    for (int64_t c = 0; c < columns; c++) {
        float n = (x[c] - mean) * inverse;
        float d = inverse * (dy[c] * weight[c] - mean_g - n * mean_gn);
        dx[c] = (accumulate ? dx[c] : 0.0f) + d;
    }
}

static void add_parameter_row(int64_t columns, const float *x, float mean, float inverse,
                              const float *dy, float *dweight, float *dbias)
{
    for (int64_t c = 0; c < columns; c++) {
        dweight[c] += dy[c] * (x[c] - mean) * inverse;
        dbias[c] += dy[c];
    }
}

static void collect(int64_t columns, int threads, int64_t stride, const float *partial,
                    bool accumulate, float *out)
{
    if (!out) return;
    for (int64_t c = 0; c < columns; c++) {
        double total = 0.0;
        for (int t = 0; t < threads; t++) total += (double)partial[t * stride + c];
        out[c] = (accumulate ? out[c] : 0.0f) + (float)total;
    }
}

/* Each thread sums its own rows into its own partial sums, which are then added in thread order. */
int KERNEL(layer_norm_backward)(int64_t rows, int64_t columns, const float *x, const float *weight,
                                const float *statistics, const float *dy, const bool accumulate[3],
                                float *dx, float *dweight, float *dbias)
{
    int threads = rows * columns > PARALLEL_ELEMENTS ? omp_get_max_threads() : 1;
    void *memory;
    if (memory_alloc_zero((size_t)threads * 2 * (size_t)columns, sizeof(float), &memory)) {
        return ICOT_FAILED;
    }
    float *partial = memory; /* (threads, 2, C) */

#pragma omp parallel num_threads(threads)
    {
        float *own_dweight = partial + omp_get_thread_num() * 2 * columns;
        float *own_dbias = own_dweight + columns;
#pragma omp for schedule(static)
        for (int64_t r = 0; r < rows; r++) {
            const float *in = x + r * columns, *slope = dy + r * columns;
            float mean = statistics[2 * r], inverse = statistics[2 * r + 1];
            if (dx) {
                backward_row(columns, in, weight, mean, inverse, slope, accumulate[0],
                             dx + r * columns);
            }
            add_parameter_row(columns, in, mean, inverse, slope, own_dweight, own_dbias);
        }
    }
    collect(columns, threads, 2 * columns, partial, accumulate[1], dweight);
    collect(columns, threads, 2 * columns, partial + columns, accumulate[2], dbias);
    memory_free(memory);
    return ICOT_OK;
}
