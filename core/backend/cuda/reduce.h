/* Sums and maxima over the threads of a warp or block, always in the same order: the same bits. */
#ifndef ICOT_BACKEND_CUDA_REDUCE_H
#define ICOT_BACKEND_CUDA_REDUCE_H

#include "backend/cuda/cuda.h"

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

/* ---- Sums over the rows of a matrix, column by column ---------------------------------------- */

constexpr int COLUMN_LANES = 8, COLUMN_CHUNK = 256; /* rows added side by side; rows of a block */

/* partial (chunks, columns) = sums of body(row, column) over COLUMN_CHUNK rows each */
template <typename Body>
__global__ void sum_column_chunks(int64_t rows, int64_t columns, Body body, float *partial)
{
    __shared__ float sums[COLUMN_LANES][WARP];
    const int64_t column = (int64_t)blockIdx.x * WARP + threadIdx.x;
    const int64_t first = (int64_t)blockIdx.y * COLUMN_CHUNK, end = first + COLUMN_CHUNK;
    float sum = 0.0f;
    for (int64_t r = first + threadIdx.y; r < end && r < rows && column < columns;
         r += COLUMN_LANES) {
        sum += body(r, column);
    }
    sums[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y > 0 || column >= columns) return;
    for (int lane = 1; lane < COLUMN_LANES; lane++) sum += sums[lane][threadIdx.x];
    partial[blockIdx.y * columns + column] = sum;
}

/* out (columns) = Σ_rows body(row, column), on top of what is there if accumulate is set */
template <typename Body>
int column_sums(const char *what, int64_t rows, int64_t columns, bool accumulate, float *out,
                Body body)
{
    const int64_t chunks = parts_of(rows, COLUMN_CHUNK);
    if (columns == 0) return OK;
    float *partial = (float *)cuda_scratch((size_t)(chunks * columns) * sizeof(float));
    if (!partial) return FAILED;
    if (chunks > 0) {
        const dim3 grid((unsigned)parts_of(columns, WARP), (unsigned)chunks);
        sum_column_chunks<<<grid, dim3(WARP, COLUMN_LANES), 0, cuda_stream>>>(rows, columns, body,
                                                                              partial);
    }
    int status = cuda_launched(what) || for_each(what, columns, [=] __device__(int64_t c) {
                     double total = 0.0;
                     for (int64_t i = 0; i < chunks; i++) total += (double)partial[i * columns + c];
                     out[c] = (accumulate ? out[c] : 0.0f) + (float)total;
                 });
    cuda_memory.release(partial);
    return status;
}

#endif
