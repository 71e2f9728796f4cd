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

#include <cuda_runtime.h>

extern const cuda_core *cuda_lent; /* what the core lends */
extern cudaStream_t cuda_stream;
extern const device cuda_memory;

constexpr int OK = 0, FAILED = 1, WARP = 32;

/* As in base/error.h. */
#define fail(...) (cuda_lent->error(__VA_ARGS__), FAILED)

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

/* ---- Launching ------------------------------------------------------------------------------- */

static inline int64_t parts_of(int64_t n, int64_t size)
{
    return (n + size - 1) / size;
}

/* Threads for a block that works on one row of so many columns. */
static inline unsigned row_threads(int64_t columns)
{
    return columns >= 256 ? 256u : (unsigned)(parts_of(columns ? columns : 1, WARP) * WARP);
}

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
    run_for_each<<<(unsigned)(blocks < MOST_BLOCKS ? blocks : MOST_BLOCKS), THREADS, 0,
                   cuda_stream>>>(n, body);
    return cuda_launched(what);
}

#endif
