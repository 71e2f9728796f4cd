/* Sums and maxima over the threads of a warp or block, always in the same order: the same bits. */
#ifndef ICOT_BACKEND_CUDA_REDUCE_H
#define ICOT_BACKEND_CUDA_REDUCE_H

#include "backend/cuda/cuda.h"
#include "backend/cuda/elements.h"

struct add_up {
    template <typename T> __device__ T operator()(T a, T b) const
    {
        return a + b;
    }
};

struct take_larger {
    template <typename T> __device__ T operator()(T a, T b) const
    {
        return b > a ? b : a;
    }
};

/* The value of `width` neighbouring threads together, which all of them get. */
template <int width, typename T, typename Join> __device__ T lanes_joined(T value, Join join)
{
    for (int distance = width / 2; distance > 0; distance /= 2) {
        value = join(value, __shfl_xor_sync(0xffffffffu, value, distance));
    }
    return value;
}

template <typename T> __device__ T warp_sum(T value)
{
    return lanes_joined<WARP>(value, add_up());
}

/* The same for a block, whose threads must all come here. */
template <typename T, typename Join> __device__ T block_joined(T value, Join join)
{
    __shared__ T parts[WARP];
    const int warps = (int)blockDim.x / WARP, warp = (int)threadIdx.x / WARP;
    value = lanes_joined<WARP>(value, join);
    __syncthreads(); /* parts may still be read from the call before */
    if (threadIdx.x % WARP == 0) parts[warp] = value;
    __syncthreads();
    value = parts[0];
    for (int w = 1; w < warps; w++) value = join(value, parts[w]);
    return value;
}

template <typename T> __device__ T block_sum(T value)
{
    return block_joined(value, add_up());
}

template <typename T> __device__ T block_max(T value)
{
    return block_joined(value, take_larger());
}

/* Whether sums are so few that a thread each would leave most of a card idle, and have so many
 * terms that a block each is worth it. */
static inline bool are_few_long_sums(int64_t sums, int64_t terms)
{
    constexpr int64_t FEW = 65536, LONG = 256;
    return sums > 0 && sums < FEW && terms >= LONG;
}

/* ---- Sums over the rows of a matrix, column by column ---------------------------------------- */

constexpr int COLUMN_LANES = 8, COLUMN_CHUNK = 128; /* rows added side by side; rows of a block */
constexpr int64_t MOST_CHUNKS = 65535;              /* of a launch: what a grid's y may be */

/* Several sums that lie side by side in each part. */
constexpr int MOST_SUMS = 3;

struct sums_of_columns {
    grad_target at[MOST_SUMS];
};

/* Sums over the parts, (parts, sums, columns), to where each of them goes. A block has a warp's
 * worth of columns of one of them, and PART_LANES parts at a time. */
constexpr int PART_LANES = 32;

static __global__ void add_column_parts(int64_t parts, int64_t columns, const float *partial,
                                        sums_of_columns sums)
{
    constexpr int AT_ONCE = 4; /* loads on their way */
    __shared__ double of_lanes[PART_LANES][WARP];
    const int64_t column = (int64_t)blockIdx.x * WARP + threadIdx.x;
    const int64_t stride = gridDim.y * columns;
    const float *own = partial + blockIdx.y * columns + column;
    const grad_target to = sums.at[blockIdx.y];
    double sum = 0.0;
    if (!to.data) return;
    for (int64_t p = threadIdx.y; p < parts && column < columns; p += AT_ONCE * PART_LANES) {
        float values[AT_ONCE];
#pragma unroll
        for (int k = 0; k < AT_ONCE; k++) {
            const int64_t part = p + k * PART_LANES;
            values[k] = part < parts ? own[part * stride] : 0.0f;
        }
#pragma unroll
        for (int k = 0; k < AT_ONCE; k++) sum += (double)values[k];
    }
    of_lanes[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y > 0 || column >= columns) return;
    for (int lane = 1; lane < PART_LANES; lane++) sum += of_lanes[lane][threadIdx.x];
    to.data[column] = (to.accumulate ? to.data[column] : 0.0f) + (float)sum;
}

static inline bool is_any_wanted(int count, const grad_target *targets)
{
    for (int i = 0; i < count; i++) {
        if (targets[i].data) return true;
    }
    return false;
}

/* Memory for the parts of several sums, (parts, count, columns); NULL if nobody wants one. */
static inline int start_columns(int64_t parts, int64_t columns, int count,
                                const grad_target *targets, float **out)
{
    *out = NULL;
    if (!is_any_wanted(count, targets)) return OK;
    *out = (float *)cuda_scratch((size_t)(parts * count * columns) * sizeof(float));
    return *out ? OK : FAILED;
}

/* partial (parts, count, columns) -> count sums, of those that are wanted */
static inline int finish_columns(const char *what, int64_t parts, int64_t columns,
                                 const float *partial, int count, const grad_target *targets)
{
    sums_of_columns sums = {};
    if (columns == 0 || !is_any_wanted(count, targets)) return OK;
    for (int i = 0; i < count; i++) sums.at[i] = targets[i];
    const dim3 grid((unsigned)parts_of(columns, WARP), (unsigned)count), block(WARP, PART_LANES);
    add_column_parts<<<grid, block, 0, cuda_stream>>>(parts, columns, partial, sums);
    return cuda_launched(what);
}

/* partial (chunks, columns) = sums over COLUMN_CHUNK rows each, for the chunks from `first_chunk`
 * on; a thread has N columns. What terms write may lie where they read, so the compiler would let
 * no row begin before the one above it is done: several rows are read first. */
template <int N, typename Terms>
__global__ void __launch_bounds__(WARP *COLUMN_LANES, 3) /* blocks at a time */
    sum_column_chunks(int64_t rows, int64_t columns, int64_t first_chunk, Terms terms,
                      float *partial)
{
    __shared__ float sums[COLUMN_LANES][WARP][N];
    const int64_t column = ((int64_t)blockIdx.x * WARP + threadIdx.x) * N;
    const int64_t chunk = first_chunk + blockIdx.y, first = chunk * COLUMN_CHUNK;
    int64_t end = first + COLUMN_CHUNK;
    constexpr int AHEAD = 2; /* rows on their way */
    float sum[N] = {};
    if (end > rows) end = rows;
    for (int64_t r = first + threadIdx.y; r < end && column < columns; r += AHEAD * COLUMN_LANES) {
        typename Terms::template inputs<N> in[AHEAD];
#pragma unroll
        for (int a = 0; a < AHEAD; a++) {
            const int64_t row = r + a * COLUMN_LANES;
            if (row < end) in[a].load(terms, row * columns + column);
        }
#pragma unroll
        for (int a = 0; a < AHEAD; a++) {
            const int64_t row = r + a * COLUMN_LANES;
            float values[N];
            if (row >= end) break;
            terms.template at<N>(row * columns + column, in[a], values);
#pragma unroll
            for (int k = 0; k < N; k++) sum[k] += values[k];
        }
    }
    for (int k = 0; k < N; k++) sums[threadIdx.y][threadIdx.x][k] = sum[k];
    __syncthreads();
    if (threadIdx.y > 0 || column >= columns) return;
    for (int k = 0; k < N; k++) {
        for (int lane = 1; lane < COLUMN_LANES; lane++) sum[k] += sums[lane][threadIdx.x][k];
        partial[chunk * columns + column + k] = sum[k];
    }
}

/*
 * out (columns), if it is not NULL, = Σ_rows terms, on top of what is there if accumulate is set.
 * Terms are a struct: inputs<N> holds what load(terms, i) reads of the elements i to i + N-1 of the
 * matrix, and at<N>(i, in, values) makes their terms of it, and may write elsewhere what it finds
 * on the way; AT_ONCE is the N that they want, and together() says whether the matrix begins where
 * so many can be read together; else N is 1.
 */
template <typename Terms>
int column_sums(const char *what, int64_t rows, int64_t columns, Terms terms, bool accumulate,
                float *out)
{
    const int64_t chunks = parts_of(rows, COLUMN_CHUNK);
    constexpr int N = Terms::AT_ONCE;
    const bool together = columns % N == 0 && terms.together();
    if (columns == 0) return OK;
    float *partial = (float *)cuda_scratch((size_t)(chunks * columns) * sizeof(float));
    if (!partial) return FAILED;
    for (int64_t done = 0; done < chunks; done += MOST_CHUNKS) {
        const int64_t now = smaller(chunks - done, MOST_CHUNKS);
        const dim3 grid((unsigned)parts_of(columns, together ? WARP * N : WARP), (unsigned)now);
        const dim3 block(WARP, COLUMN_LANES);
        if (together) {
            sum_column_chunks<N>
                <<<grid, block, 0, cuda_stream>>>(rows, columns, done, terms, partial);
        } else {
            sum_column_chunks<1>
                <<<grid, block, 0, cuda_stream>>>(rows, columns, done, terms, partial);
        }
    }
    const grad_target to = {out, accumulate};
    const int status =
        cuda_launched(what) || finish_columns(what, chunks, columns, partial, 1, &to);
    cuda_memory.release(partial);
    return status;
}

/* Terms that are the elements of a matrix. */
template <typename Element> struct elements {
    static constexpr int AT_ONCE = 16 / sizeof(Element);
    const Element *x;

    bool together() const
    {
        return begins_few<AT_ONCE>(x);
    }

    template <int N> struct inputs {
        few<N, Element> x;

        __device__ void load(const elements &from, int64_t i)
        {
            x = few<N, Element>::load(from.x, i);
        }
    };

    template <int N> __device__ void at(int64_t, const inputs<N> &in, float values[N]) const
    {
#pragma unroll
        for (int k = 0; k < N; k++) values[k] = value_of(in.x.at[k]);
    }
};

#endif
