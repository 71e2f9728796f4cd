/*
 * What kernels of layer normalization share: a warp works on a row, of up to MOST_RUNS·128 columns,
 * a multiple of 4, which stays in its registers.
 */
#ifndef ICOT_BACKEND_CUDA_NORM_ROWS_H
#define ICOT_BACKEND_CUDA_NORM_ROWS_H

#include "backend/cuda/kernels.h"
#include "backend/cuda/reduce.h"

#include <initializer_list>
#include <type_traits>

namespace norm_rows
{

constexpr int WARPS = 4, THREADS = WARPS * WARP, MOST_RUNS = 8;
/* Of backward: each sums up what the rows of its warps give. Three for each of the 132
 * multiprocessors of an H100 or H200: as many as run at a time, or with MOST_RUNS two thirds of
 * them. */
constexpr int MOST_BLOCKS = 3 * 132;

static inline unsigned blocks_for(int64_t rows)
{
    return (unsigned)parts_of(rows, WARPS);
}

static inline int64_t blocks_of_sums(int64_t rows)
{
    return smaller(blocks_for(rows), MOST_BLOCKS);
}

static __device__ int64_t own_row()
{
    return (int64_t)blockIdx.x * WARPS + threadIdx.x / WARP;
}

static __device__ int lane_id()
{
    return (int)threadIdx.x % WARP;
}

/* Runs of a lane, of which the kernels know some counts; 0: the rows are none for them. */
static inline int runs_of_lane(int64_t columns, std::initializer_list<const float *> arrays)
{
    const int64_t runs = parts_of(columns, WARP * RUN);
    if (columns % RUN != 0 || runs > MOST_RUNS) return 0;
    for (const float *array : arrays) {
        if (!begins_a_run(array)) return 0;
    }
    return runs <= 4 ? (int)runs : runs <= 6 ? 6 : 8;
}

/* Calls what(K) with the count as a constant. */
template <typename What> static void with_runs(int runs, What what)
{
    switch (runs) {
    case 1:
        return what(std::integral_constant<int, 1>());
    case 2:
        return what(std::integral_constant<int, 2>());
    case 3:
        return what(std::integral_constant<int, 3>());
    case 4:
        return what(std::integral_constant<int, 4>());
    case 6:
        return what(std::integral_constant<int, 6>());
    default:
        return what(std::integral_constant<int, 8>());
    }
}

/* ---- A row in registers ---------------------------------------------------------------------- */

/* What a lane has of a row: runs lane, lane + 32 …; zeros behind the row's end. It is float32 here,
 * whatever elements it is written as. */
template <int K> struct lane_row {
    run_of<float> run[K];

    template <typename Element> __device__ void load(const Element *row, int64_t columns)
    {
#pragma unroll
        for (int k = 0; k < K; k++) {
            const int r = lane_id() + k * WARP;
            run[k] = {};
            if (r >= columns / RUN) continue;
            const run_of<Element> in = load_run(row, r);
            for (int i = 0; i < RUN; i++) run[k].at[i] = value_of(in.at[i]);
        }
    }

    template <typename Element> __device__ void store(Element *row, int64_t columns) const
    {
#pragma unroll
        for (int k = 0; k < K; k++) {
            const int r = lane_id() + k * WARP;
            if (r >= columns / RUN) continue;
            run_of<Element> out;
            for (int i = 0; i < RUN; i++) out.at[i] = element_of<Element>(run[k].at[i]);
            ((run_of<Element> *)row)[r] = out;
        }
    }
};

/* Whether run k of a lane lies within the row. */
static __device__ bool is_there(int k, int64_t columns)
{
    return lane_id() + k * WARP < columns / RUN;
}

/* ---- Forward --------------------------------------------------------------------------------- */

/* What a norm is made of, and where it goes. */
template <typename Element> struct norm_arrays {
    double eps;
    const float *weight, *bias;
    Element *y;
    float *statistics; /* (R, 2) */
};

/* y of a row, x, which it takes the place of. */
template <int K, typename Element>
__device__ void normalize(const norm_arrays<Element> &to, int64_t row, int64_t columns,
                          lane_row<K> &x)
{
    lane_row<K> scale, shift;
    scale.load(to.weight, columns);
    shift.load(to.bias, columns);
    float sum = 0.0f, squares = 0.0f;
#pragma unroll
    for (int k = 0; k < K; k++) {
        for (int i = 0; i < RUN; i++) sum += x.run[k].at[i];
    }
    const float mean = warp_sum(sum) / (float)columns;
#pragma unroll
    for (int k = 0; k < K; k++) {
        for (int i = 0; i < RUN; i++) {
            const float centered = x.run[k].at[i] - mean;
            squares += is_there(k, columns) ? centered * centered : 0.0f;
        }
    }
    squares = warp_sum(squares);
    const float inverse = (float)(1.0 / sqrt((double)squares / (double)columns + to.eps));
#pragma unroll
    for (int k = 0; k < K; k++) {
        for (int i = 0; i < RUN; i++) {
            x.run[k].at[i] =
                (x.run[k].at[i] - mean) * inverse * scale.run[k].at[i] + shift.run[k].at[i];
        }
    }
    x.store(to.y + row * columns, columns);
    if (lane_id() > 0) return;
    to.statistics[2 * row] = mean;
    to.statistics[2 * row + 1] = inverse;
}

/* ---- Backward -------------------------------------------------------------------------------- */

/*
 * With n = (x - mean)·inverse and g = dy·weight:
 *   dx = inverse · (g - mean(g) - n · mean(g·n)),  dweight = Σ_rows dy·n,  dbias = Σ_rows dy
 */
template <int K> struct row_gradient {
    lane_row<K> n, g;
    float inverse, mean_g, mean_gn;

    __device__ float at(int k, int i) const
    {
        return inverse * (g.run[k].at[i] - mean_g - n.run[k].at[i] * mean_gn);
    }
};

/* Adds what a row, x with the gradient dy of its norm, gives to dweight and dbias, of which a lane
 * has its own columns. */
template <int K>
__device__ row_gradient<K>
gradient_of_row(const lane_row<K> &x, const lane_row<K> &dy, const float *weight,
                const float *statistics, int64_t columns, lane_row<K> &dweight, lane_row<K> &dbias)
{
    const float mean = statistics[0];
    row_gradient<K> out;
    float sum_g = 0.0f, sum_gn = 0.0f;
    out.inverse = statistics[1];
    out.g.load(weight, columns);
#pragma unroll
    for (int k = 0; k < K; k++) {
        for (int i = 0; i < RUN; i++) {
            const float n = (x.run[k].at[i] - mean) * out.inverse;
            out.n.run[k].at[i] = n;
            dweight.run[k].at[i] += dy.run[k].at[i] * n;
            dbias.run[k].at[i] += dy.run[k].at[i];
            out.g.run[k].at[i] *= dy.run[k].at[i]; /* both 0 behind the row's end */
            sum_g += out.g.run[k].at[i];
            sum_gn += out.g.run[k].at[i] * n;
        }
    }
    out.mean_g = warp_sum(sum_g) / (float)columns;
    out.mean_gn = warp_sum(sum_gn) / (float)columns;
    return out;
}

/* Sums of the block's warps, column by column, to partial (columns). */
template <int K>
__device__ void store_block_sums(const lane_row<K> &sums, int64_t columns, float *partial)
{
    __shared__ run_of<float> parts[WARPS][WARP];
    const int warp = (int)threadIdx.x / WARP;
#pragma unroll
    for (int k = 0; k < K; k++) {
        __syncthreads(); /* parts may still be read from the turn before */
        parts[warp][lane_id()] = sums.run[k];
        __syncthreads();
        if (warp > 0 || !is_there(k, columns)) continue;
        run_of<float> total = parts[0][lane_id()];
        for (int w = 1; w < WARPS; w++) {
            for (int i = 0; i < RUN; i++) total.at[i] += parts[w][lane_id()].at[i];
        }
        ((run_of<float> *)partial)[lane_id() + k * WARP] = total;
    }
}

} /* namespace norm_rows */

#endif
