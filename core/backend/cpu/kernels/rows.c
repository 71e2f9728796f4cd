/* Kernels along rows: bias, sums, softmax, argmax and hits, gathering rows, loss. */
#include "backend/cpu/kernels.h"
#include "backend/cpu/vector_math.h"
#include "base/counting.h"
#include "base/error.h"
#include "base/memory.h"

#include <math.h>
#include <string.h>

static void add_bias_to_rows(int64_t rows, int64_t columns, const float *x, const float *bias,
                             float *y)
{
#pragma omp for schedule(static) nowait
    for (int64_t r = 0; r < rows; r++) {
        const float *from = x + r * columns;
        float *to = y + r * columns;
        for (int64_t c = 0; c < columns; c++) to[c] = from[c] + bias[c];
    }
}

void KERNEL(add_bias)(int64_t rows, int64_t columns, const float *x, const float *bias, float *y)
{
    BY_THREADS(rows * columns > PARALLEL_ELEMENTS, add_bias_to_rows(rows, columns, x, bias, y));
}

void KERNEL(pick_rows)(int64_t rows, int64_t bytes, const void *x, const int32_t *ids, void *y)
{
    for (int64_t i = 0; i < rows; i++) {
        memcpy((char *)y + i * bytes, (const char *)x + ids[i] * bytes, (size_t)bytes);
    }
}

void KERNEL(place_rows)(int64_t rows, int64_t bytes, const void *x, const int32_t *ids, void *y)
{
    for (int64_t i = 0; i < rows; i++) {
        memcpy((char *)y + ids[i] * bytes, (const char *)x + i * bytes, (size_t)bytes);
    }
}

void KERNEL(sum)(int64_t outer, int64_t n, int64_t inner, double scale, const float *x, float *y)
{
#pragma omp parallel for schedule(static) if (outer * n * inner > PARALLEL_ELEMENTS)
    for (int64_t o = 0; o < outer; o++) {
        for (int64_t k = 0; k < inner; k++) {
            double total = 0.0;
            for (int64_t i = 0; i < n; i++) total += (double)x[(o * n + i) * inner + k];
            y[o * inner + k] = (float)(scale * total);
        }
    }
}

void KERNEL(sum_backward)(int64_t outer, int64_t n, int64_t inner, double scale, const float *dy,
                          bool accumulate, float *dx)
{
#pragma omp parallel for schedule(static) if (outer * n * inner > PARALLEL_ELEMENTS)
    for (int64_t row = 0; row < outer * n; row++) {
        const float *from = dy + row / n * inner;
        float *to = dx + row * inner;
        for (int64_t k = 0; k < inner; k++) {
            to[k] = (accumulate ? to[k] : 0.0f) + (float)scale * from[k];
        }
    }
}

/* ---- Softmax --------------------------------------------------------------------------------- */

static float row_maximum(int64_t n, const float *x)
{
    float maximum = x[0];
#pragma omp simd reduction(max : maximum)
    for (int64_t i = 0; i < n; i++) maximum = x[i] > maximum ? x[i] : maximum;
    return maximum;
}

/* log Σ exp(x - maximum): the maximum is taken out first, so that nothing overflows. */
static float row_log_sum(int64_t n, const float *x, float maximum)
{
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += vector_exp(x[i] - maximum);
    return logf(sum);
}

void KERNEL(softmax)(int64_t rows, int64_t columns, bool logarithm, const float *x, float *y)
{
#pragma omp parallel for schedule(static) if (rows * columns > PARALLEL_ELEMENTS)
    for (int64_t r = 0; r < rows; r++) {
        const float *in = x + r * columns;
        float *out = y + r * columns;
        float maximum = row_maximum(columns, in), log_sum = row_log_sum(columns, in, maximum);
        /* not in - (maximum + log_sum): that sum loses digits when the maximum is large */
        for (int64_t c = 0; c < columns; c++) out[c] = (in[c] - maximum) - log_sum;
        if (logarithm) continue;
        for (int64_t c = 0; c < columns; c++) out[c] = vector_exp(out[c]);
    }
}

/* softmax: dx = y (dy - Σ y dy);  log_softmax: dx = dy - exp(y) Σ dy */
void KERNEL(softmax_backward)(int64_t rows, int64_t columns, bool logarithm, const float *y,
                              const float *dy, bool accumulate, float *dx)
{
#pragma omp parallel for schedule(static) if (rows * columns > PARALLEL_ELEMENTS)
    for (int64_t r = 0; r < rows; r++) {
        const float *out = y + r * columns, *slope = dy + r * columns;
        float *to = dx + r * columns, sum = 0.0f;
#pragma omp simd reduction(+ : sum)
        for (int64_t c = 0; c < columns; c++) sum += logarithm ? slope[c] : out[c] * slope[c];
        for (int64_t c = 0; c < columns; c++) {
            float d = logarithm ? slope[c] - vector_exp(out[c]) * sum : out[c] * (slope[c] - sum);
            to[c] = (accumulate ? to[c] : 0.0f) + d;
        }
    }
}

/* The first of equal values wins, as in PyTorch on the CPU. */
static void find_largest(int64_t rows, int64_t columns, const float *x, int32_t *out)
{
#pragma omp for schedule(static) nowait
    for (int64_t r = 0; r < rows; r++) {
        const float *row = x + r * columns;
        int64_t best = 0;
        for (int64_t c = 1; c < columns; c++) best = row[c] > row[best] ? c : best;
        out[r] = (int32_t)best;
    }
}

int KERNEL(argmax)(int64_t rows, int64_t columns, const float *x, int32_t *out)
{
    BY_THREADS(rows * columns > PARALLEL_ELEMENTS, find_largest(rows, columns, x, out));
    return ICOT_OK;
}

int KERNEL(count_hits)(int64_t rows, int64_t columns, const float *x, const int32_t *targets,
                       double *count)
{
    int64_t hits = 0;
    void *list;
    if (memory_alloc((size_t)rows * sizeof(int32_t), &list)) return ICOT_FAILED;
    int32_t *best = list;
    KERNEL(argmax)(rows, columns, x, best);
    for (int64_t r = 0; r < rows; r++) hits += best[r] == targets[r];
    *count = (double)hits;
    memory_free(list);
    return ICOT_OK;
}

/* ---- Rows by index --------------------------------------------------------------------------- */

static void copy_rows(int64_t rows, int64_t columns, const float *weight, const int32_t *ids,
                      bool accumulate, float *y)
{
#pragma omp for schedule(static) nowait
    for (int64_t r = 0; r < rows; r++) {
        const float *from = weight + ids[r] * columns;
        float *to = y + r * columns;
        if (accumulate) {
            for (int64_t c = 0; c < columns; c++) to[c] += from[c];
        } else {
            memcpy(to, from, (size_t)columns * sizeof *to);
        }
    }
}

void KERNEL(gather_rows)(int64_t rows, int64_t columns, const float *weight, const int32_t *ids,
                         bool accumulate, float *y)
{
    BY_THREADS(rows * columns > PARALLEL_ELEMENTS,
               copy_rows(rows, columns, weight, ids, accumulate, y));
}

/* Threads share the columns, so that the order in which rows are added never depends on them. */
int KERNEL(scatter_rows)(int64_t rows, int64_t columns, const float *dy, const index_array *ids,
                         float *dweight)
{
    enum { STRIP = 64 };
#pragma omp parallel for schedule(static) if (rows * columns > PARALLEL_ELEMENTS)
    for (int64_t start = 0; start < columns; start += STRIP) {
        int64_t end = smaller(start + STRIP, columns);
        for (int64_t r = 0; r < rows; r++) {
            float *to = dweight + ids->host[r] * columns;
            const float *from = dy + r * columns;
            for (int64_t c = start; c < end; c++) to[c] += from[c];
        }
    }
    return ICOT_OK;
}

/* ---- Loss ------------------------------------------------------------------------------------ */

int KERNEL(cross_entropy)(int64_t rows, int64_t vocabulary, const float *logits,
                          const int32_t *targets, float *loss, float *logsumexp)
{
#pragma omp parallel for schedule(static) if (rows * vocabulary > PARALLEL_ELEMENTS)
    for (int64_t r = 0; r < rows; r++) {
        float maximum = row_maximum(vocabulary, logits + r * vocabulary);
        logsumexp[r] = maximum + row_log_sum(vocabulary, logits + r * vocabulary, maximum);
    }
    double total = 0.0;
    for (int64_t r = 0; r < rows; r++) {
        total += (double)logsumexp[r] - (double)logits[r * vocabulary + targets[r]];
    }
    *loss = (float)(total / (double)rows);
    return ICOT_OK;
}

/* d loss / d logit = (softmax - [column is the target]) / rows */
void KERNEL(cross_entropy_backward)(int64_t rows, int64_t vocabulary, const float *logits,
                                    const int32_t *targets, const float *logsumexp,
                                    const float *dloss, bool accumulate, float *dlogits)
{
    float scale = *dloss / (float)rows;
#pragma omp parallel for schedule(static) if (rows * vocabulary > PARALLEL_ELEMENTS)
    for (int64_t r = 0; r < rows; r++) {
        const float *row = logits + r * vocabulary;
        float *to = dlogits + r * vocabulary;
        for (int64_t v = 0; v < vocabulary; v++) {
            float d = scale * vector_exp(row[v] - logsumexp[r]);
            to[v] = (accumulate ? to[v] : 0.0f) + d;
        }
        to[targets[r]] -= scale;
    }
}
