/* Layer normalization over the last dimension, a warp per row. */
#include "backend/cuda/kernels.h"
#include "backend/cuda/reduce.h"

constexpr int THREADS = 128;

static unsigned blocks_for(int64_t rows)
{
    return (unsigned)parts_of(rows * WARP, THREADS);
}

static __device__ int64_t own_row(void)
{
    return ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) / WARP;
}

static __global__ void normalize_rows(int64_t rows, int64_t columns, double eps, const float *x,
                                      const float *weight, const float *bias, float *y,
                                      float *statistics)
{
    const int64_t row = own_row();
    const int lane = (int)threadIdx.x % WARP;
    if (row >= rows) return;
    const float *in = x + row * columns;
    float *out = y + row * columns, sum = 0.0f, squares = 0.0f;
    for (int64_t c = lane; c < columns; c += WARP) sum += in[c];
    const float mean = warp_sum(sum) / (float)columns;
    for (int64_t c = lane; c < columns; c += WARP) squares += (in[c] - mean) * (in[c] - mean);
    squares = warp_sum(squares);
    const float inverse = (float)(1.0 / sqrt((double)squares / (double)columns + eps));
    for (int64_t c = lane; c < columns; c += WARP) {
        out[c] = (in[c] - mean) * inverse * weight[c] + bias[c];
    }
    if (lane > 0) return;
    statistics[2 * row] = mean;
    statistics[2 * row + 1] = inverse;
}

void cuda_layer_norm(int64_t rows, int64_t columns, double eps, const float *x, const float *weight,
                     const float *bias, float *y, float *statistics)
{
    if (rows == 0) return;
    normalize_rows<<<blocks_for(rows), THREADS, 0, cuda_stream>>>(rows, columns, eps, x, weight,
                                                                  bias, y, statistics);
    cuda_launched("layer_norm");
}

/*
 * With n = (x - mean)·inverse and g = dy·weight:
 *   dx = inverse · (g - mean(g) - n · mean(g·n)),  dweight = Σ_rows dy·n,  dbias = Σ_rows dy
 */
static __global__ void input_gradient(int64_t rows, int64_t columns, const float *x,
                                      const float *weight, const float *statistics, const float *dy,
                                      bool accumulate, float *dx)
{
    const int64_t row = own_row();
    const int lane = (int)threadIdx.x % WARP;
    if (row >= rows) return;
    const float *in = x + row * columns, *slope = dy + row * columns;
    const float mean = statistics[2 * row], inverse = statistics[2 * row + 1];
    float *to = dx + row * columns, sum_g = 0.0f, sum_gn = 0.0f;
    for (int64_t c = lane; c < columns; c += WARP) {
        const float g = slope[c] * weight[c];
        sum_g += g;
        sum_gn += g * (in[c] - mean) * inverse;
    }
    const float mean_g = warp_sum(sum_g) / (float)columns;
    const float mean_gn = warp_sum(sum_gn) / (float)columns;
    for (int64_t c = lane; c < columns; c += WARP) {
        const float n = (in[c] - mean) * inverse;
        const float d = inverse * (slope[c] * weight[c] - mean_g - n * mean_gn);
        to[c] = accumulate ? to[c] + d : d;
    }
}

static int parameter_gradients(int64_t rows, int64_t columns, const float *x,
                               const float *statistics, const float *dy, const bool accumulate[3],
                               float *dweight, float *dbias)
{
    if (dweight && column_sums("layer_norm", rows, columns, accumulate[1], dweight,
                               [=] __device__(int64_t row, int64_t column) {
                                   const int64_t i = row * columns + column;
                                   const float centered = x[i] - statistics[2 * row];
                                   return dy[i] * centered * statistics[2 * row + 1];
                               })) {
        return FAILED;
    }
    return dbias ? cuda_sum_rows(rows, columns, dy, accumulate[2], dbias) : OK;
}

int cuda_layer_norm_backward(int64_t rows, int64_t columns, const float *x, const float *weight,
                             const float *statistics, const float *dy, const bool accumulate[3],
                             float *dx, float *dweight, float *dbias)
{
    if (dx && rows > 0) {
        input_gradient<<<blocks_for(rows), THREADS, 0, cuda_stream>>>(
            rows, columns, x, weight, statistics, dy, accumulate[0], dx);
        if (cuda_launched("layer_norm")) return FAILED;
    }
    return parameter_gradients(rows, columns, x, statistics, dy, accumulate, dweight, dbias);
}
