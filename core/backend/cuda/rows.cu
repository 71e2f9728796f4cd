/* Kernels along rows: bias, sums, softmax, argmax and hits. */
#include "backend/cuda/kernels.h"
#include "backend/cuda/reduce.h"

void cuda_add_bias(int64_t rows, int64_t columns, const float *x, const float *bias, float *y)
{
    for_each_in_rows("add_bias", rows, columns, [=] __device__(int64_t row, int64_t column) {
        const int64_t i = row * columns + column;
        y[i] = x[i] + bias[column];
    });
}

int cuda_sum_rows(int64_t rows, int64_t columns, const float *x, bool accumulate, float *y)
{
    return column_sums("sum_rows", rows, columns, elements<float>{x}, accumulate, y);
}

void cuda_pick_rows(int64_t rows, int64_t bytes, const void *x, const int32_t *ids, void *y)
{
    const int64_t units = bytes / (int64_t)sizeof(uint16_t);
    const uint16_t *from = (const uint16_t *)x;
    uint16_t *to = (uint16_t *)y;
    for_each_in_rows("pick_rows", rows, units, [=] __device__(int64_t row, int64_t unit) {
        to[row * units + unit] = from[ids[row] * units + unit];
    });
}

void cuda_place_rows(int64_t rows, int64_t bytes, const void *x, const int32_t *ids, void *y)
{
    const int64_t units = bytes / (int64_t)sizeof(uint16_t);
    const uint16_t *from = (const uint16_t *)x;
    uint16_t *to = (uint16_t *)y;
    for_each_in_rows("place_rows", rows, units, [=] __device__(int64_t row, int64_t unit) {
        to[ids[row] * units + unit] = from[row * units + unit];
    });
}

/* ---- Sums ------------------------------------------------------------------------------------ */

/* Where the terms of sum number i begin: x (outer, n, inner), y (outer, inner) */
static __device__ const float *terms_of(int64_t i, int64_t n, int64_t inner, const float *x)
{
    return x + i / inner * n * inner + i % inner;
}

/* A block per sum. */
static __global__ void sum_by_blocks(int64_t n, int64_t inner, double scale, const float *x,
                                     float *y)
{
    const float *from = terms_of(blockIdx.x, n, inner, x);
    double total = 0.0;
    for (int64_t k = threadIdx.x; k < n; k += blockDim.x) total += (double)from[k * inner];
    total = block_sum(total);
    if (threadIdx.x == 0) y[blockIdx.x] = (float)(scale * total);
}

void cuda_sum(int64_t outer, int64_t n, int64_t inner, double scale, const float *x, float *y)
{
    const int64_t sums = outer * inner;
    if (sums == 0) return;
    if (inner == 1 || are_few_long_sums(sums, n)) {
        sum_by_blocks<<<(unsigned)sums, row_threads(n), 0, cuda_stream>>>(n, inner, scale, x, y);
        cuda_launched("sum");
        return;
    }
    for_each("sum", sums, [=] __device__(int64_t i) {
        const float *from = terms_of(i, n, inner, x);
        double total = 0.0;
        for (int64_t k = 0; k < n; k++) total += (double)from[k * inner];
        y[i] = (float)(scale * total);
    });
}

void cuda_sum_backward(int64_t outer, int64_t n, int64_t inner, double scale, const float *dy,
                       bool accumulate, float *dx)
{
    for_each("sum", outer * n * inner, [=] __device__(int64_t i) {
        const float d = (float)scale * dy[i / inner / n * inner + i % inner];
        dx[i] = accumulate ? dx[i] + d : d;
    });
}

/* ---- Softmax: a block per row ---------------------------------------------------------------- */

static __global__ void softmax_of_rows(int64_t columns, bool logarithm, const float *x, float *y)
{
    const float *in = x + blockIdx.x * columns;
    float *out = y + blockIdx.x * columns, maximum = in[0], sum = 0.0f;
    for (int64_t c = threadIdx.x; c < columns; c += blockDim.x) {
        maximum = in[c] > maximum ? in[c] : maximum;
    }
    maximum = block_max(maximum);
    for (int64_t c = threadIdx.x; c < columns; c += blockDim.x) sum += expf(in[c] - maximum);
    const float log_sum = logf(block_sum(sum));
    for (int64_t c = threadIdx.x; c < columns; c += blockDim.x) {
        const float value = (in[c] - maximum) - log_sum; /* the larger digits first, as the CPU */
        out[c] = logarithm ? value : expf(value);
    }
}

void cuda_softmax(int64_t rows, int64_t columns, bool logarithm, const float *x, float *y)
{
    if (rows == 0) return;
    softmax_of_rows<<<(unsigned)rows, row_threads(columns), 0, cuda_stream>>>(columns, logarithm, x,
                                                                              y);
    cuda_launched("softmax");
}

/* softmax: dx = y (dy - Σ y dy);  log_softmax: dx = dy - exp(y) Σ dy */
static __global__ void softmax_backward_of_rows(int64_t columns, bool logarithm, const float *y,
                                                const float *dy, bool accumulate, float *dx)
{
    const int64_t start = blockIdx.x * columns;
    const float *out = y + start, *slope = dy + start;
    float *to = dx + start, sum = 0.0f;
    for (int64_t c = threadIdx.x; c < columns; c += blockDim.x) {
        sum += logarithm ? slope[c] : out[c] * slope[c];
    }
    sum = block_sum(sum);
    for (int64_t c = threadIdx.x; c < columns; c += blockDim.x) {
        const float d = logarithm ? slope[c] - expf(out[c]) * sum : out[c] * (slope[c] - sum);
        to[c] = accumulate ? to[c] + d : d;
    }
}

void cuda_softmax_backward(int64_t rows, int64_t columns, bool logarithm, const float *y,
                           const float *dy, bool accumulate, float *dx)
{
    if (rows == 0) return;
    softmax_backward_of_rows<<<(unsigned)rows, row_threads(columns), 0, cuda_stream>>>(
        columns, logarithm, y, dy, accumulate, dx);
    cuda_launched("softmax");
}

/* ---- Argmax ---------------------------------------------------------------------------------- */

struct candidate {
    float value;
    int column;
};

/* The first of equal values wins; NaN never does, unless it is the first of its row. */
static __device__ candidate better_of(candidate a, candidate b)
{
    const bool second = b.value > a.value || (b.value == a.value && b.column < a.column);
    return second ? b : a;
}

/* A warp per row. */
static __global__ void argmax_of_rows(int64_t rows, int64_t columns, const float *x, int32_t *best)
{
    const int64_t row = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) / WARP;
    const int lane = (int)threadIdx.x % WARP;
    if (row >= rows) return;
    candidate found = {x[row * columns], 0};
    for (int64_t c = lane; c < columns; c += WARP) {
        found = better_of(found, {x[row * columns + c], (int)c});
    }
    for (int distance = WARP / 2; distance > 0; distance /= 2) {
        const candidate other = {__shfl_xor_sync(0xffffffffu, found.value, distance),
                                 __shfl_xor_sync(0xffffffffu, found.column, distance)};
        found = better_of(found, other);
    }
    if (lane == 0) best[row] = found.column;
}

/* best (rows), in the card's memory */
static int find_best(int64_t rows, int64_t columns, const float *x, int32_t *best)
{
    constexpr int THREADS = 256;
    if (rows == 0) return OK;
    argmax_of_rows<<<(unsigned)parts_of(rows * WARP, THREADS), THREADS, 0, cuda_stream>>>(
        rows, columns, x, best);
    return cuda_launched("argmax");
}

int cuda_argmax(int64_t rows, int64_t columns, const float *x, int32_t *out)
{
    const size_t bytes = (size_t)rows * sizeof *out;
    int32_t *best = (int32_t *)cuda_scratch(bytes);
    if (!best) return FAILED;
    const int status = find_best(rows, columns, x, best) || cuda_memory.copy_out(out, best, bytes);
    cuda_memory.release(best);
    return status;
}

/* One block. */
static __global__ void count_equal(int64_t n, const int32_t *a, const int32_t *b, double *count)
{
    double found = 0.0;
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x) found += a[i] == b[i] ? 1.0 : 0.0;
    found = block_sum(found);
    if (threadIdx.x == 0) *count = found;
}

int cuda_count_hits(int64_t rows, int64_t columns, const float *x, const int32_t *targets,
                    double *count)
{
    constexpr int THREADS = 1024;
    int32_t *best = (int32_t *)cuda_scratch((size_t)rows * sizeof *best);
    if (!best || find_best(rows, columns, x, best)) {
        cuda_memory.release(best);
        return FAILED;
    }
    count_equal<<<1, THREADS, 0, cuda_stream>>>(rows, best, targets, count);
    cuda_memory.release(best);
    return cuda_launched("count_hits");
}
