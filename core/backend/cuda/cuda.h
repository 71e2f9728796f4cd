/*
 * What the files of the CUDA backend share. All work goes to one stream, so that each kernel sees
 * what those before it have written; kernels.h lists the functions of the table.
 */
#ifndef ICOT_BACKEND_CUDA_CUDA_H
#define ICOT_BACKEND_CUDA_CUDA_H

extern "C" {
#include "backend/backend.h"
#include "backend/cuda/plugin.h"
}
#include "base/counting.h"

#include <cuda_runtime.h>

extern const cuda_core *cuda_lent; /* what the core lends */
extern cudaStream_t cuda_stream;
extern const device cuda_memory;

constexpr int OK = 0, FAILED = 1, WARP = 32;

/* As in base/error.h. */
#define fail_as(kind, ...) (cuda_lent->error(kind, __VA_ARGS__), FAILED)
#define fail(...)          fail_as(ICOT_ERROR_OTHER, __VA_ARGS__)

/*
 * What goes wrong on the card is noticed late, and stays: the first error is kept, with what the
 * host was at, and told by each function that returns a status from then on.
 */
int cuda_check(cudaError_t code, const char *what);
int cuda_launched(const char *what); /* after a kernel was launched */
int cuda_status(void);               /* fails if anything went wrong so far */

/* Memory of the card for the kernels that are launched before it is released again. NULL: there is
 * none left, as the message says. */
void *cuda_scratch(size_t bytes);

/* A list of the host's, on the card. NULL: there is no memory left for it. */
template <typename Item> Item *on_card(int64_t count, const Item *items)
{
    const size_t bytes = (size_t)count * sizeof *items;
    Item *list = (Item *)cuda_scratch(bytes);
    if (!list || !cuda_memory.copy_in(list, items, bytes)) return list;
    cuda_memory.release(list);
    return NULL;
}

/* ---- Launching ------------------------------------------------------------------------------- */

/* Threads for a block that works on one row of so many columns. */
static inline unsigned row_threads(int64_t columns)
{
    return columns >= 256 ? 256u : (unsigned)rounded_up(columns ? columns : 1, WARP);
}

/* ---- One element after the other ------------------------------------------------------------- */

template <typename Body> __global__ void run_for_each(int64_t n, Body body)
{
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) body(i);
}

/* body(i) for each i below n, in any order. */
template <typename Body> int for_each(const char *what, int64_t n, Body body)
{
    constexpr int THREADS = 256, MOST_BLOCKS = 1 << 20;
    if (n == 0) return OK;
    const int64_t blocks = parts_of(n, THREADS);
    run_for_each<<<(unsigned)smaller(blocks, MOST_BLOCKS), THREADS, 0, cuda_stream>>>(n, body);
    return cuda_launched(what);
}

template <typename Body> __global__ void run_for_rows(int64_t columns, Body body)
{
    for (int64_t c = threadIdx.x; c < columns; c += blockDim.x) body((int64_t)blockIdx.x, c);
}

/* body(row, column) for each element of a matrix, in any order; a block per row. */
template <typename Body>
int for_each_in_rows(const char *what, int64_t rows, int64_t columns, Body body)
{
    if (rows == 0 || columns == 0) return OK;
    run_for_rows<<<(unsigned)rows, row_threads(columns), 0, cuda_stream>>>(columns, body);
    return cuda_launched(what);
}

/* N elements in a row, read or written at once if they begin where `begins_few` says. */
template <int N, typename T> struct alignas(N * sizeof(T) < 16 ? N * sizeof(T) : 16) few {
    T at[N];

    static __device__ few load(const T *x, int64_t i) /* from the ith on */
    {
        return *(const few *)(x + i);
    }

    __device__ void store(T *y, int64_t i) const
    {
        *(few *)(y + i) = *this;
    }
};

template <int N, typename T> __host__ __device__ bool begins_few(const T *x)
{
    return (uintptr_t)x % alignof(few<N, T>) == 0;
}

/* The usual number of them. */
constexpr int RUN = 4;

template <typename T> using run_of = few<RUN, T>;

template <typename T> __host__ __device__ bool begins_a_run(const T *x)
{
    return begins_few<RUN>(x);
}

template <typename T> __device__ run_of<T> load_run(const T *x, int64_t run)
{
    return run_of<T>::load(x, run * RUN);
}

/* As many as 16 bytes of the smallest elements. */
template <typename... T> constexpr int at_once()
{
    size_t least = sizeof(float);
    ((least = sizeof(T) < least ? sizeof(T) : least), ...);
    return (int)(16 / least);
}

template <int N, typename Body, typename Out, typename... In>
__device__ few<N, Out> mapped(Body body, const few<N, In> &...x)
{
    few<N, Out> out;
#pragma unroll
    for (int k = 0; k < N; k++) out.at[k] = body(x.at[k]...);
    return out;
}

/* The first elements N at a time, then the rest one by one. */
template <int N, typename Body, typename Out, typename... In>
__global__ void map_elements(int64_t pieces, int64_t n, Body body, Out *y, const In *...x)
{
    const int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    const int64_t rest = pieces * N + i - pieces;
    if (i < pieces) {
        mapped<N, Body, Out, In...>(body, few<N, In>::load(x, i * N)...).store(y, i * N);
    } else if (rest < n) {
        y[rest] = body(x[rest]...);
    }
}

/* y_i = body(x_i …) for each i below n; y may be one of the arrays x. */
template <typename Body, typename Out, typename... In>
int map(const char *what, int64_t n, Body body, Out *y, const In *...x)
{
    constexpr int THREADS = 256, N = at_once<Out, In...>();
    const bool together = begins_few<N>(y) && (... && begins_few<N>(x));
    const int64_t pieces = together ? n / N : 0, threads = pieces + n - pieces * N;
    if (n == 0) return OK;
    map_elements<N><<<(unsigned)parts_of(threads, THREADS), THREADS, 0, cuda_stream>>>(
        pieces, n, body, y, x...);
    return cuda_launched(what);
}

#endif
