/* Layer normalization over the last dimension (Ba, Kiros, Hinton 2016). */
#include "backend/cpu/kernels/reduce.h"
#include "backend/cpu/shares.h"
#include "base/counting.h"
#include "base/error.h"
#include "base/memory.h"

#include <math.h>

/* ---- A row, LANES numbers at a time; what is left of it number by number --------------------- */

typedef struct row_statistics {
    float mean, inverse; /* 1/standard deviation */
} row_statistics;

static float mean_of(int64_t columns, const float *x)
{
    lanes sums[2] = {0};
    float rest = 0.0f;
    int64_t c = 0;
    for (; c + 2 * LANES <= columns; c += 2 * LANES) {
        sums[0] += load(x + c);
        sums[1] += load(x + c + LANES);
    }
    for (; c < columns; c++) rest += x[c];
    return (sum_of(sums[0] + sums[1]) + rest) / (float)columns;
}

static float squares_of(int64_t columns, float mean, const float *x)
{
    lanes sums[2] = {0};
    float rest = 0.0f;
    int64_t c = 0;
    for (; c + 2 * LANES <= columns; c += 2 * LANES) {
        const lanes first = load(x + c) - mean, second = load(x + c + LANES) - mean;
        sums[0] += first * first;
        sums[1] += second * second;
    }
    for (; c < columns; c++) rest += (x[c] - mean) * (x[c] - mean);
    return sum_of(sums[0] + sums[1]) + rest;
}

static row_statistics statistics_of(int64_t columns, double eps, const float *x)
{
    const float mean = mean_of(columns, x), squares = squares_of(columns, mean, x);
    return (row_statistics){mean, (float)(1.0 / sqrt((double)squares / (double)columns + eps))};
}

static void norm_row(int64_t columns, row_statistics s, const float *x, const float *weight,
                     const float *bias, float *y)
{
    int64_t c = 0;
    for (; c + LANES <= columns; c += LANES) {
        const lanes n = (load(x + c) - s.mean) * s.inverse;
        store(y + c, n * load(weight + c) + load(bias + c));
    }
    for (; c < columns; c++) y[c] = (x[c] - s.mean) * s.inverse * weight[c] + bias[c];
}

/* ---- Forward --------------------------------------------------------------------------------- */

static void norm_rows(int64_t rows, int64_t columns, double eps, const float *x,
                      const float *weight, const float *bias, float *y, float *statistics)
{
#pragma omp for schedule(static) nowait
    for (int64_t r = 0; r < rows; r++) {
        const row_statistics s = statistics_of(columns, eps, x + r * columns);
        norm_row(columns, s, x + r * columns, weight, bias, y + r * columns);
        statistics[2 * r] = s.mean;
        statistics[2 * r + 1] = s.inverse;
    }
}

void KERNEL(layer_norm)(int64_t rows, int64_t columns, double eps, const float *x,
                        const float *weight, const float *bias, float *y, float *statistics)
{
    BY_THREADS(rows * columns > PARALLEL_ELEMENTS,
               norm_rows(rows, columns, eps, x, weight, bias, y, statistics));
}

/* ---- Backward --------------------------------------------------------------------------------
 *
 * With n = (x - mean)·inverse and g = dy·weight:
 *   dx = inverse · (g - mean(g) - n · mean(g·n)),  dweight = Σ_rows dy·n,  dbias = Σ_rows dy
 */

typedef struct row_means {
    float g, gn;
} row_means;

/* What dx takes of a row; on the way its terms are added to those of dweight and dbias. */
static row_means add_terms(int64_t columns, row_statistics s, const float *x, const float *weight,
                           const float *dy, float *dweight, float *dbias)
{
    lanes sum_g = {0}, sum_gn = {0};
    row_means rest = {0};
    int64_t c = 0;
    for (; c + LANES <= columns; c += LANES) {
        const lanes slope = load(dy + c), g = slope * load(weight + c);
        const lanes n = (load(x + c) - s.mean) * s.inverse;
        sum_g += g;
        sum_gn += g * n;
        store(dweight + c, load(dweight + c) + slope * n);
        store(dbias + c, load(dbias + c) + slope);
    }
    for (; c < columns; c++) {
        const float n = (x[c] - s.mean) * s.inverse;
        rest.g += dy[c] * weight[c];
        rest.gn += dy[c] * weight[c] * n;
        dweight[c] += dy[c] * n;
        dbias[c] += dy[c];
    }
    return (row_means){(sum_of(sum_g) + rest.g) / (float)columns,
                       (sum_of(sum_gn) + rest.gn) / (float)columns};
}

static void gradient_row(int64_t columns, row_statistics s, row_means mean, const float *x,
                         const float *weight, const float *dy, bool accumulate, float *dx)
{
    int64_t c = 0;
    for (; c + LANES <= columns; c += LANES) {
        const lanes n = (load(x + c) - s.mean) * s.inverse, g = load(dy + c) * load(weight + c);
        const lanes d = s.inverse * (g - mean.g - n * mean.gn);
        store(dx + c, accumulate ? load(dx + c) + d : d);
    }
    for (; c < columns; c++) {
        const float n = (x[c] - s.mean) * s.inverse;
        const float d = s.inverse * (dy[c] * weight[c] - mean.g - n * mean.gn);
        dx[c] = (accumulate ? dx[c] : 0.0f) + d;
    }
}

/* What the backward pass works on. */
typedef struct norm_work {
    int64_t rows, columns;
    const float *x, *weight, *statistics, *dy;
    bool accumulate;
    float *dx;      /* NULL: not wanted */
    float *partial; /* sums of each chunk: (chunks, 2, C) of dweight and dbias */
} norm_work;

enum { CHUNK = 128 }; /* rows */

static void backward_chunk(const void *work, int64_t chunk, int thread)
{
    const norm_work *w = work;
    const int64_t C = w->columns, end = smaller((chunk + 1) * CHUNK, w->rows);
    float *dweight = w->partial + chunk * 2 * C, *dbias = dweight + C;
    (void)thread;
    for (int64_t r = chunk * CHUNK; r < end; r++) {
        const float *x = w->x + r * C, *dy = w->dy + r * C;
        const row_statistics s = {w->statistics[2 * r], w->statistics[2 * r + 1]};
        const row_means mean = add_terms(C, s, x, w->weight, dy, dweight, dbias);
        if (w->dx) gradient_row(C, s, mean, x, w->weight, dy, w->accumulate, w->dx + r * C);
    }
}

int KERNEL(layer_norm_backward)(int64_t rows, int64_t columns, const float *x, const float *weight,
                                const float *statistics, const float *dy, const bool accumulate[3],
                                float *dx, float *dweight, float *dbias)
{
    const int64_t chunks = parts_of(rows, CHUNK);
    void *partial;
    if (memory_alloc_zero((size_t)(chunks * 2 * columns), sizeof(float), &partial)) {
        return ICOT_FAILED;
    }
    norm_work work = {rows, columns, x, weight, statistics, dy, accumulate[0], dx, partial};
    const int failed =
        do_in_shares(rows * columns > PARALLEL_ELEMENTS, chunks, backward_chunk, &work);
    const float *of_bias = work.partial + columns;
    if (!failed && dweight) {
        add_chunks(chunks, columns, 2 * columns, work.partial, accumulate[1], dweight);
    }
    if (!failed && dbias) add_chunks(chunks, columns, 2 * columns, of_bias, accumulate[2], dbias);
    memory_free(work.partial);
    return failed;
}
