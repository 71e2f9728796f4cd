/*
 * Layer normalization over the last dimension, a warp per row. Rows that do not fit into a warp's
 * registers (norm_rows.h) are read again and again.
 */
#include "backend/cuda/norm_rows.h"

using namespace norm_rows;

/* ---- Forward --------------------------------------------------------------------------------- */

template <int K, typename Element>
__global__ void __launch_bounds__(THREADS)
    normalize_short(int64_t rows, int64_t columns, const float *x, norm_arrays<Element> to)
{
    const int64_t row = own_row();
    if (row >= rows) return;
    lane_row<K> in;
    in.load(x + row * columns, columns);
    normalize(to, row, columns, in);
}

/* A row of any width. */
template <typename Element>
__global__ void normalize_rows(int64_t rows, int64_t columns, double eps, const float *x,
                               const float *weight, const float *bias, Element *y,
                               float *statistics)
{
    const int64_t row = own_row();
    const int lane = lane_id();
    if (row >= rows) return;
    const float *in = x + row * columns;
    Element *out = y + row * columns;
    float sum = 0.0f, squares = 0.0f;
    for (int64_t c = lane; c < columns; c += WARP) sum += in[c];
    const float mean = warp_sum(sum) / (float)columns;
    for (int64_t c = lane; c < columns; c += WARP) squares += (in[c] - mean) * (in[c] - mean);
    squares = warp_sum(squares);
    const float inverse = (float)(1.0 / sqrt((double)squares / (double)columns + eps));
    for (int64_t c = lane; c < columns; c += WARP) {
        out[c] = element_of<Element>((in[c] - mean) * inverse * weight[c] + bias[c]);
    }
    if (lane > 0) return;
    statistics[2 * row] = mean;
    statistics[2 * row + 1] = inverse;
}

template <typename Element>
static void launch_normalize(int64_t rows, int64_t columns, const float *x,
                             const norm_arrays<Element> &to)
{
    const int runs = begins_a_run(to.y) ? runs_of_lane(columns, {x, to.weight, to.bias}) : 0;
    if (rows == 0) return;
    if (runs > 0) {
        with_runs(runs, [=](auto K) {
            normalize_short<K><<<blocks_for(rows), THREADS, 0, cuda_stream>>>(rows, columns, x, to);
        });
    } else {
        normalize_rows<<<blocks_for(rows), THREADS, 0, cuda_stream>>>(
            rows, columns, to.eps, x, to.weight, to.bias, to.y, to.statistics);
    }
    cuda_launched("layer_norm");
}

void cuda_layer_norm(int64_t rows, int64_t columns, double eps, const float *x, const float *weight,
                     const float *bias, float *y, float *statistics)
{
    launch_normalize<float>(rows, columns, x, {eps, weight, bias, y, statistics});
}

void cuda_layer_norm_to_bf16(int64_t rows, int64_t columns, double eps, const float *x,
                             const float *weight, const float *bias, void *y, float *statistics)
{
    launch_normalize<bf16>(rows, columns, x, {eps, weight, bias, (bf16 *)y, statistics});
}

/* ---- Backward, a row in registers ------------------------------------------------------------ */

template <typename Gradient> struct gradient_arrays {
    const float *x, *weight, *statistics;
    const Gradient *dy;
    bool accumulate;
    float *dx; /* NULL: not wanted */
};

template <int K>
__device__ void store_gradient(const row_gradient<K> &gradient, int64_t columns, bool accumulate,
                               float *place)
{
    lane_row<K> dx = {};
    if (accumulate) dx.load(place, columns);
#pragma unroll
    for (int k = 0; k < K; k++) {
        for (int i = 0; i < RUN; i++) dx.run[k].at[i] += gradient.at(k, i);
    }
    dx.store(place, columns);
}

/* partial (blocks, 2, columns): of dweight and dbias */
template <int K, typename Gradient>
__global__ void __launch_bounds__(THREADS, K <= 6 ? 3 : 2)
    gradients_of_short(gradient_arrays<Gradient> arrays, int64_t rows, int64_t columns,
                       float *partial)
{
    lane_row<K> dweight = {}, dbias = {};
    for (int64_t row = own_row(); row < rows; row += (int64_t)gridDim.x * WARPS) {
        lane_row<K> x, dy;
        x.load(arrays.x + row * columns, columns);
        dy.load(arrays.dy + row * columns, columns);
        const row_gradient<K> gradient = gradient_of_row(
            x, dy, arrays.weight, arrays.statistics + 2 * row, columns, dweight, dbias);
        if (!arrays.dx) continue;
        store_gradient(gradient, columns, arrays.accumulate, arrays.dx + row * columns);
    }
    if (!partial) return;
    store_block_sums(dweight, columns, partial + 2 * blockIdx.x * columns);
    store_block_sums(dbias, columns, partial + (2 * blockIdx.x + 1) * columns);
}

template <typename Gradient>
static int backward_of_short(int runs, const gradient_arrays<Gradient> &arrays, int64_t rows,
                             int64_t columns, const grad_target sums[2])
{
    const int64_t blocks = blocks_of_sums(rows);
    float *partial;
    if (start_columns(blocks, columns, 2, sums, &partial)) return FAILED;
    with_runs(runs, [=](auto K) {
        gradients_of_short<K>
            <<<(unsigned)blocks, THREADS, 0, cuda_stream>>>(arrays, rows, columns, partial);
    });
    const int status = cuda_launched("layer_norm") ||
                       finish_columns("layer_norm", blocks, columns, partial, 2, sums);
    cuda_memory.release(partial);
    return status;
}

/* ---- Backward, a row of any width ------------------------------------------------------------ */

template <typename Gradient>
__global__ void input_gradient(gradient_arrays<Gradient> arrays, int64_t rows, int64_t columns)
{
    const int64_t row = own_row();
    const int lane = lane_id();
    if (row >= rows) return;
    const float *in = arrays.x + row * columns;
    const Gradient *slope = arrays.dy + row * columns;
    const float *weight = arrays.weight;
    const float mean = arrays.statistics[2 * row], inverse = arrays.statistics[2 * row + 1];
    float *to = arrays.dx + row * columns, sum_g = 0.0f, sum_gn = 0.0f;
    for (int64_t c = lane; c < columns; c += WARP) {
        const float g = value_of(slope[c]) * weight[c];
        sum_g += g;
        sum_gn += g * (in[c] - mean) * inverse;
    }
    const float mean_g = warp_sum(sum_g) / (float)columns;
    const float mean_gn = warp_sum(sum_gn) / (float)columns;
    for (int64_t c = lane; c < columns; c += WARP) {
        const float n = (in[c] - mean) * inverse;
        const float d = inverse * (value_of(slope[c]) * weight[c] - mean_g - n * mean_gn);
        to[c] = arrays.accumulate ? to[c] + d : d;
    }
}

template <typename Gradient> struct weight_terms {
    static constexpr int AT_ONCE = 1;
    gradient_arrays<Gradient> arrays;
    int64_t columns;

    bool together() const
    {
        return false;
    }

    template <int N> struct inputs {
        float x, dy, mean, inverse;

        __device__ void load(const weight_terms &from, int64_t i)
        {
            const float *statistics = from.arrays.statistics + 2 * (i / from.columns);
            x = from.arrays.x[i], dy = value_of(from.arrays.dy[i]);
            mean = statistics[0], inverse = statistics[1];
        }
    };

    template <int N> __device__ void at(int64_t, const inputs<N> &in, float values[N]) const
    {
        values[0] = in.dy * (in.x - in.mean) * in.inverse;
    }
};

template <typename Gradient>
static int backward_of_any(const gradient_arrays<Gradient> &arrays, int64_t rows, int64_t columns,
                           const grad_target sums[2])
{
    if (arrays.dx && rows > 0) {
        input_gradient<<<blocks_for(rows), THREADS, 0, cuda_stream>>>(arrays, rows, columns);
        if (cuda_launched("layer_norm")) return FAILED;
    }
    if (sums[0].data &&
        column_sums("layer_norm", rows, columns, weight_terms<Gradient>{arrays, columns},
                    sums[0].accumulate, sums[0].data)) {
        return FAILED;
    }
    return column_sums("layer_norm", rows, columns, elements<Gradient>{arrays.dy},
                       sums[1].accumulate, sums[1].data);
}

template <typename Gradient>
static int backward(const gradient_arrays<Gradient> &arrays, int64_t rows, int64_t columns,
                    const grad_target sums[2])
{
    const int runs =
        begins_a_run(arrays.dy) ? runs_of_lane(columns, {arrays.x, arrays.weight, arrays.dx}) : 0;
    return rows == 0 || runs == 0 ? backward_of_any(arrays, rows, columns, sums)
                                  : backward_of_short(runs, arrays, rows, columns, sums);
}

int cuda_layer_norm_backward(int64_t rows, int64_t columns, const float *x, const float *weight,
                             const float *statistics, const float *dy, const bool accumulate[3],
                             float *dx, float *dweight, float *dbias)
{
    const gradient_arrays<float> arrays = {x, weight, statistics, dy, accumulate[0], dx};
    const grad_target sums[] = {{dweight, accumulate[1]}, {dbias, accumulate[2]}};
    return backward(arrays, rows, columns, sums);
}

int cuda_layer_norm_backward_of_bf16(int64_t rows, int64_t columns, const float *x,
                                     const float *weight, const float *statistics, const void *dy,
                                     const bool accumulate[3], float *dx, float *dweight,
                                     float *dbias)
{
    const gradient_arrays<bf16> arrays = {x, weight, statistics, (const bf16 *)dy, accumulate[0],
                                          dx};
    const grad_target sums[] = {{dweight, accumulate[1]}, {dbias, accumulate[2]}};
    return backward(arrays, rows, columns, sums);
}
