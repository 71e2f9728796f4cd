/*
 * Where a block's halves meet: dropout, the residual and the next norm, in one kernel each way, for
 * rows that stay in a warp's registers. For others nothing is done here.
 */
#include "backend/cuda/elementary.h"
#include "backend/cuda/norm_rows.h"

using namespace norm_rows;

/* The runs of a lane, if words and runs begin together. */
static int runs_to_drop(int64_t columns, const dropout_draw *drawn,
                        std::initializer_list<const float *> arrays)
{
    return drawn->first % RUN == 0 ? runs_of_lane(columns, arrays) : 0;
}

/* ---- Forward --------------------------------------------------------------------------------- */

template <int K, typename Element>
__global__ void __launch_bounds__(THREADS)
    add_and_normalize(int64_t rows, int64_t columns, matrix_dropout dropout, const Element *x,
                      const float *onto, float *y, norm_arrays<Element> to)
{
    const int64_t row = own_row();
    if (row >= rows) return;
    lane_row<K> sum, added;
    sum.load(onto + row * columns, columns);
    added.load(x + row * columns, columns);
#pragma unroll
    for (int k = 0; k < K; k++) {
        const int64_t column = (lane_id() + k * WARP) * RUN;
        const run_of<float> kept = dropout.kept(added.run[k], row * columns + column);
        for (int i = 0; i < RUN; i++) sum.run[k].at[i] += kept.at[i];
    }
    sum.store(y + row * columns, columns);
    normalize(to, row, columns, sum);
}

/* Whether the rows are such that it was done. */
template <typename Element>
static bool residual_norm(int64_t rows, int64_t columns, const dropout_draw *drawn,
                          const Element *x, const float *onto, float *y,
                          const norm_arrays<Element> &to)
{
    const int runs = begins_a_run(x) && begins_a_run(to.y)
                         ? runs_to_drop(columns, drawn, {onto, to.weight, to.bias, y})
                         : 0;
    if (runs == 0 || rows == 0) return rows == 0;
    with_runs(runs, [=](auto K) {
        add_and_normalize<K><<<blocks_for(rows), THREADS, 0, cuda_stream>>>(
            rows, columns, matrix_dropout_of(drawn), x, onto, y, to);
    });
    cuda_launched("residual_norm");
    return true;
}

bool cuda_residual_norm_float32(int64_t rows, int64_t columns, const dropout_draw *drawn,
                                const void *x, const float *onto, double eps, const float *weight,
                                const float *bias, float *y, void *normed, float *statistics)
{
    return residual_norm<float>(rows, columns, drawn, (const float *)x, onto, y,
                                {eps, weight, bias, (float *)normed, statistics});
}

bool cuda_residual_norm_bf16(int64_t rows, int64_t columns, const dropout_draw *drawn,
                             const void *x, const float *onto, double eps, const float *weight,
                             const float *bias, float *y, void *normed, float *statistics)
{
    return residual_norm<bf16>(rows, columns, drawn, (const bf16 *)x, onto, y,
                               {eps, weight, bias, (bf16 *)normed, statistics});
}

/* ---- Backward -------------------------------------------------------------------------------- */

template <typename Element> struct joined_arrays {
    const float *y, *weight, *statistics, *onto;
    const Element *dnormed;
    float *dy;
    Element *dx;
};

/* dy and dx of a row; what dx is made of, before it is rounded, is added to dsum. */
template <int K, typename Element>
__device__ void store_joined(const row_gradient<K> &gradient, const matrix_dropout &dropout,
                             const joined_arrays<Element> &arrays, int64_t row, int64_t columns,
                             lane_row<K> &dsum)
{
#pragma unroll
    for (int k = 0; k < K; k++) {
        const int64_t i = row * columns + (lane_id() + k * WARP) * RUN;
        if (!is_there(k, columns)) continue;
        run_of<float> dy = run_of<float>::load(arrays.onto, i);
        for (int e = 0; e < RUN; e++) dy.at[e] += gradient.at(k, e);
        dy.store(arrays.dy, i);
        const run_of<float> kept = dropout.kept(dy, i);
        store_rounded<RUN>(kept.at, arrays.dx, i);
        for (int e = 0; e < RUN; e++) dsum.run[k].at[e] += kept.at[e];
    }
}

/* partial (blocks, 3, columns): of dweight, dbias and the sums of dx; NULL: nobody wants them */
template <int K, typename Element>
__global__ void __launch_bounds__(THREADS, K <= 6 ? 3 : 2)
    joined_gradients(joined_arrays<Element> arrays, matrix_dropout dropout, int64_t rows,
                     int64_t columns, float *partial)
{
    lane_row<K> dweight = {}, dbias = {}, dsum = {};
    for (int64_t row = own_row(); row < rows; row += (int64_t)gridDim.x * WARPS) {
        lane_row<K> y, dnormed;
        y.load(arrays.y + row * columns, columns);
        dnormed.load(arrays.dnormed + row * columns, columns);
        const row_gradient<K> gradient = gradient_of_row(
            y, dnormed, arrays.weight, arrays.statistics + 2 * row, columns, dweight, dbias);
        store_joined(gradient, dropout, arrays, row, columns, dsum);
    }
    if (!partial) return;
    float *own = partial + 3 * blockIdx.x * columns;
    store_block_sums(dweight, columns, own);
    store_block_sums(dbias, columns, own + columns);
    store_block_sums(dsum, columns, own + 2 * columns);
}

template <typename Element>
static int joined_backward(int64_t rows, int64_t columns, const joined_arrays<Element> &arrays,
                           const dropout_draw *drawn, const grad_target sums[3], bool *done)
{
    const int64_t blocks = blocks_of_sums(rows);
    const int runs =
        begins_a_run(arrays.dnormed) && begins_a_run(arrays.dx)
            ? runs_to_drop(columns, drawn, {arrays.y, arrays.weight, arrays.onto, arrays.dy})
            : 0;
    *done = runs > 0 && rows > 0;
    if (!*done) return OK;
    float *partial;
    if (start_columns(blocks, columns, 3, sums, &partial)) return FAILED;
    with_runs(runs, [=](auto K) {
        joined_gradients<K><<<(unsigned)blocks, THREADS, 0, cuda_stream>>>(
            arrays, matrix_dropout_of(drawn), rows, columns, partial);
    });
    const int status = cuda_launched("residual_norm") ||
                       finish_columns("residual_norm", blocks, columns, partial, 3, sums);
    cuda_memory.release(partial);
    return status;
}

int cuda_residual_norm_backward_float32(int64_t rows, int64_t columns, const float *y,
                                        const float *weight, const float *statistics,
                                        const void *dnormed, const float *onto,
                                        const dropout_draw *drawn, float *dy, void *dx,
                                        const grad_target sums[3], bool *done)
{
    return joined_backward<float>(
        rows, columns, {y, weight, statistics, onto, (const float *)dnormed, dy, (float *)dx},
        drawn, sums, done);
}

int cuda_residual_norm_backward_bf16(int64_t rows, int64_t columns, const float *y,
                                     const float *weight, const float *statistics,
                                     const void *dnormed, const float *onto,
                                     const dropout_draw *drawn, float *dy, void *dx,
                                     const grad_target sums[3], bool *done)
{
    return joined_backward<bf16>(
        rows, columns, {y, weight, statistics, onto, (const bf16 *)dnormed, dy, (bf16 *)dx}, drawn,
        sums, done);
}
