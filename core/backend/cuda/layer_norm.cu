/*
 * Layer normalization over the last dimension, a warp per row. Rows of up to MOST_RUNS·128 columns,
 * a multiple of 4, stay in a warp's registers; wider and odd ones are read again and again.
 */
#include "backend/cuda/kernels.h"
#include "backend/cuda/reduce.h"

#include <initializer_list>
#include <type_traits>

constexpr int WARPS = 4, THREADS = WARPS * WARP, MOST_RUNS = 8;
/* Of backward: each sums up what the rows of its warps give. Three for each of the 132
 * multiprocessors of an H100 or H200: as many as run at a time. */
constexpr int MOST_BLOCKS = 396;

static unsigned blocks_for(int64_t rows)
{
    return (unsigned)parts_of(rows, WARPS);
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
static int runs_of_lane(int64_t columns, std::initializer_list<const float *> arrays)
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

template <int K, typename Element>
__global__ void __launch_bounds__(THREADS)
    normalize_short(int64_t rows, int64_t columns, double eps, const float *x, const float *weight,
                    const float *bias, Element *y, float *statistics)
{
    const int64_t row = own_row();
    if (row >= rows) return;
    lane_row<K> in, scale, shift;
    in.load(x + row * columns, columns);
    scale.load(weight, columns);
    shift.load(bias, columns);
    float sum = 0.0f, squares = 0.0f;
#pragma unroll
    for (int k = 0; k < K; k++) {
        for (int i = 0; i < RUN; i++) sum += in.run[k].at[i];
    }
    const float mean = warp_sum(sum) / (float)columns;
#pragma unroll
    for (int k = 0; k < K; k++) {
        for (int i = 0; i < RUN; i++) {
            const float centered = in.run[k].at[i] - mean;
            squares += is_there(k, columns) ? centered * centered : 0.0f;
        }
    }
    squares = warp_sum(squares);
    const float inverse = (float)(1.0 / sqrt((double)squares / (double)columns + eps));
#pragma unroll
    for (int k = 0; k < K; k++) {
        for (int i = 0; i < RUN; i++) {
            in.run[k].at[i] =
                (in.run[k].at[i] - mean) * inverse * scale.run[k].at[i] + shift.run[k].at[i];
        }
    }
    in.store(y + row * columns, columns);
    if (lane_id() > 0) return;
    statistics[2 * row] = mean;
    statistics[2 * row + 1] = inverse;
}

/* ---- A row of any width ---------------------------------------------------------------------- */

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
static void normalize(int64_t rows, int64_t columns, double eps, const float *x,
                      const float *weight, const float *bias, Element *y, float *statistics)
{
    const int runs = begins_a_run(y) ? runs_of_lane(columns, {x, weight, bias}) : 0;
    if (rows == 0) return;
    if (runs > 0) {
        with_runs(runs, [=](auto K) {
            normalize_short<K><<<blocks_for(rows), THREADS, 0, cuda_stream>>>(
                rows, columns, eps, x, weight, bias, y, statistics);
        });
    } else {
        normalize_rows<<<blocks_for(rows), THREADS, 0, cuda_stream>>>(rows, columns, eps, x, weight,
                                                                      bias, y, statistics);
    }
    cuda_launched("layer_norm");
}

void cuda_layer_norm(int64_t rows, int64_t columns, double eps, const float *x, const float *weight,
                     const float *bias, float *y, float *statistics)
{
    normalize(rows, columns, eps, x, weight, bias, y, statistics);
}

void cuda_layer_norm_to_bf16(int64_t rows, int64_t columns, double eps, const float *x,
                             const float *weight, const float *bias, void *y, float *statistics)
{
    normalize(rows, columns, eps, x, weight, bias, (bf16 *)y, statistics);
}

/* ---- Backward, a row in registers ------------------------------------------------------------ */

/*
 * With n = (x - mean)·inverse and g = dy·weight:
 *   dx = inverse · (g - mean(g) - n · mean(g·n)),  dweight = Σ_rows dy·n,  dbias = Σ_rows dy
 */
template <typename Gradient> struct gradient_arrays {
    const float *x, *weight, *statistics;
    const Gradient *dy;
    bool accumulate;
    float *dx; /* NULL: not wanted */
};

/* x and dy of a row become n and, where it is wanted, dx goes to its place. */
template <int K, typename Gradient>
__device__ void gradient_of_row(const gradient_arrays<Gradient> &arrays, int64_t row,
                                int64_t columns, lane_row<K> *x, const lane_row<K> &dy)
{
    const float mean = arrays.statistics[2 * row], inverse = arrays.statistics[2 * row + 1];
    lane_row<K> weight;
    weight.load(arrays.weight, columns);
    float sum_g = 0.0f, sum_gn = 0.0f;
#pragma unroll
    for (int k = 0; k < K; k++) {
        for (int i = 0; i < RUN; i++) {
            float &n = x->run[k].at[i];
            n = (n - mean) * inverse;
            sum_g += dy.run[k].at[i] * weight.run[k].at[i]; /* both 0 behind the row's end */
            sum_gn += dy.run[k].at[i] * weight.run[k].at[i] * n;
        }
    }
    if (!arrays.dx) return;
    const float mean_g = warp_sum(sum_g) / (float)columns;
    const float mean_gn = warp_sum(sum_gn) / (float)columns;
    lane_row<K> dx = {};
    if (arrays.accumulate) dx.load(arrays.dx + row * columns, columns);
#pragma unroll
    for (int k = 0; k < K; k++) {
        for (int i = 0; i < RUN; i++) {
            const float g = dy.run[k].at[i] * weight.run[k].at[i];
            dx.run[k].at[i] += inverse * (g - mean_g - x->run[k].at[i] * mean_gn);
        }
    }
    dx.store(arrays.dx + row * columns, columns);
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
        gradient_of_row(arrays, row, columns, &x, dy);
#pragma unroll
        for (int k = 0; k < K; k++) {
            for (int i = 0; i < RUN; i++) {
                dweight.run[k].at[i] += dy.run[k].at[i] * x.run[k].at[i];
                dbias.run[k].at[i] += dy.run[k].at[i];
            }
        }
    }
    if (!partial) return;
    store_block_sums<K>(dweight, columns, partial + 2 * blockIdx.x * columns);
    store_block_sums<K>(dbias, columns, partial + (2 * blockIdx.x + 1) * columns);
}

template <typename Gradient>
static int backward_of_short(int runs, const gradient_arrays<Gradient> &arrays, int64_t rows,
                             int64_t columns, const bool accumulate[3], float *dweight,
                             float *dbias)
{
    const int64_t most = MOST_BLOCKS, wanted = blocks_for(rows);
    const int64_t blocks = wanted < most ? wanted : most;
    float *partial = NULL;
    if (dweight || dbias) {
        partial = (float *)cuda_scratch((size_t)(2 * blocks * columns) * sizeof(float));
        if (!partial) return FAILED;
    }
    with_runs(runs, [=](auto K) {
        gradients_of_short<K>
            <<<(unsigned)blocks, THREADS, 0, cuda_stream>>>(arrays, rows, columns, partial);
    });
    int status = cuda_launched("layer_norm");
    if (!status && dweight) {
        status = finish_columns("layer_norm", blocks, columns, 2 * columns, partial, accumulate[1],
                                dweight);
    }
    if (!status && dbias) {
        status = finish_columns("layer_norm", blocks, columns, 2 * columns, partial + columns,
                                accumulate[2], dbias);
    }
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
                           const bool accumulate[3], float *dweight, float *dbias)
{
    if (arrays.dx && rows > 0) {
        input_gradient<<<blocks_for(rows), THREADS, 0, cuda_stream>>>(arrays, rows, columns);
        if (cuda_launched("layer_norm")) return FAILED;
    }
    if (dweight && column_sums("layer_norm", rows, columns, weight_terms<Gradient>{arrays, columns},
                               accumulate[1], dweight)) {
        return FAILED;
    }
    return column_sums("layer_norm", rows, columns, elements<Gradient>{arrays.dy}, accumulate[2],
                       dbias);
}

template <typename Gradient>
static int backward(const gradient_arrays<Gradient> &arrays, int64_t rows, int64_t columns,
                    const bool accumulate[3], float *dweight, float *dbias)
{
    const int runs =
        begins_a_run(arrays.dy) ? runs_of_lane(columns, {arrays.x, arrays.weight, arrays.dx}) : 0;
    if (rows == 0 || runs == 0) {
        return backward_of_any(arrays, rows, columns, accumulate, dweight, dbias);
    }
    return backward_of_short(runs, arrays, rows, columns, accumulate, dweight, dbias);
}

int cuda_layer_norm_backward(int64_t rows, int64_t columns, const float *x, const float *weight,
                             const float *statistics, const float *dy, const bool accumulate[3],
                             float *dx, float *dweight, float *dbias)
{
    const gradient_arrays<float> arrays = {x, weight, statistics, dy, accumulate[0], dx};
    return backward(arrays, rows, columns, accumulate, dweight, dbias);
}

int cuda_layer_norm_backward_of_bf16(int64_t rows, int64_t columns, const float *x,
                                     const float *weight, const float *statistics, const void *dy,
                                     const bool accumulate[3], float *dx, float *dweight,
                                     float *dbias)
{
    const gradient_arrays<bf16> arrays = {x, weight, statistics, (const bf16 *)dy, accumulate[0],
                                          dx};
    return backward(arrays, rows, columns, accumulate, dweight, dbias);
}
