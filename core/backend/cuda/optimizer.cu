/* AdamW, and the norm that gradient clipping needs. Each is a launch for all arrays: a
 * row of PARTS blocks shares one of them. */
#include "backend/adamw.h"
#include "backend/cuda/kernels.h"
#include "backend/cuda/reduce.h"

constexpr int PARTS = 64, THREADS = 256;

/* body(i) for those i below n that are this thread's; they count runs, or elements. */
template <typename Body> static __device__ void walk_part(int64_t n, Body body)
{
    for (int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x; i < n;
         i += (int64_t)PARTS * THREADS) {
        body(i);
    }
}

/* ---- Sum of squares, in float64 -------------------------------------------------------------- */

/* partial (arrays, PARTS) */
static __global__ void squares_of_parts(const number_array *arrays, double *partial)
{
    const number_array mine = arrays[blockIdx.y];
    const int64_t runs = begins_a_run(mine.data) ? mine.n / RUN : 0;
    double sum = 0.0;
    walk_part(runs, [&](int64_t i) {
        const run_of<float> x = load_run(mine.data, i);
        for (int k = 0; k < RUN; k++) sum += (double)x.at[k] * (double)x.at[k];
    });
    walk_part(mine.n - runs * RUN, [&](int64_t i) {
        const double x = (double)mine.data[runs * RUN + i];
        sum += x * x;
    });
    sum = block_sum(sum);
    if (threadIdx.x == 0) partial[blockIdx.y * PARTS + blockIdx.x] = sum;
}

/* One block. */
static __global__ void norm_of_parts(int64_t n, const double *partial, double *norm)
{
    double sum = 0.0;
    for (int64_t i = threadIdx.x; i < n; i += THREADS) sum += partial[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) *norm = sqrt(sum);
}

static int norm_by(int64_t count, const number_array *arrays, double *partial, double *norm)
{
    if (count > 0) {
        squares_of_parts<<<dim3(PARTS, (unsigned)count), THREADS, 0, cuda_stream>>>(arrays,
                                                                                    partial);
    }
    norm_of_parts<<<1, THREADS, 0, cuda_stream>>>(count * PARTS, partial, norm);
    return cuda_launched("norm");
}

int cuda_norm(int64_t count, const number_array *arrays, double *norm)
{
    const number_array *list = on_card(count, arrays);
    double *partial = (double *)cuda_scratch((size_t)(count * PARTS) * sizeof *partial);
    const int status = list && partial ? norm_by(count, list, partial, norm) : FAILED;
    cuda_memory.release(partial);
    cuda_memory.release((void *)list);
    return status;
}

/* ---- AdamW ----------------------------------------------------------------------------------- */

static __device__ bool are_runs(const adamw_arrays &arrays)
{
    return begins_a_run(arrays.grad) && begins_a_run(arrays.parameter) &&
           begins_a_run(arrays.exp_avg) && begins_a_run(arrays.exp_avg_sq) &&
           begins_a_run((const bf16 *)arrays.rounded);
}

template <int N>
static __device__ void update(const adamw_arrays &arrays, const adamw_factors &factors, int64_t i)
{
    const auto grad = few<N, float>::load(arrays.grad, i);
    auto parameter = few<N, float>::load(arrays.parameter, i);
    auto exp_avg = few<N, float>::load(arrays.exp_avg, i);
    auto exp_avg_sq = few<N, float>::load(arrays.exp_avg_sq, i);
#pragma unroll
    for (int k = 0; k < N; k++) {
        adamw_update(factors, grad.at[k], &parameter.at[k], &exp_avg.at[k], &exp_avg_sq.at[k]);
    }
    parameter.store(arrays.parameter, i);
    exp_avg.store(arrays.exp_avg, i);
    exp_avg_sq.store(arrays.exp_avg_sq, i);
    if (arrays.rounded) store_rounded<N>(parameter.at, (bf16 *)arrays.rounded, i);
}

static __global__ void update_parts(const adamw_arrays *arrays, adamw_factors factors)
{
    const adamw_arrays mine = arrays[blockIdx.y];
    const int64_t runs = are_runs(mine) ? mine.n / RUN : 0;
    walk_part(runs, [&](int64_t i) { update<RUN>(mine, factors, i * RUN); });
    walk_part(mine.n - runs * RUN, [&](int64_t i) { update<1>(mine, factors, runs * RUN + i); });
}

int cuda_adamw(int64_t count, const adamw_arrays *arrays, const icot_adamw_options *options)
{
    if (count == 0) return OK;
    adamw_arrays *list = on_card(count, arrays);
    if (!list) return FAILED;
    update_parts<<<dim3(PARTS, (unsigned)count), THREADS, 0, cuda_stream>>>(
        list, adamw_factors_of(options));
    cuda_memory.release(list);
    return cuda_launched("adamw");
}
