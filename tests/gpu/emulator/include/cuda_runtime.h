/*
 * In place of CUDA's header of this name: as much of it as core/backend/cuda uses, for a compiler
 * of plain C++. What the functions do is in runtime.cpp, memory.cpp and threads.cpp.
 */
#ifndef ICOT_EMULATOR_CUDA_RUNTIME_H
#define ICOT_EMULATOR_CUDA_RUNTIME_H

#include "emulator.h"

#include <algorithm>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define CUDART_VERSION 12080

#define __device__
#define __host__
#define __forceinline__ inline
#define __restrict__

using std::max;
using std::min;

/* ---- Types ----------------------------------------------------------------------------------- */

struct alignas(8) float2 {
    float x, y;
};

struct alignas(16) float4 {
    float x, y, z, w;
};

struct alignas(8) uint2 {
    uint32_t x, y;
};

struct alignas(16) uint4 {
    uint32_t x, y, z, w;
};

static inline float4 make_float4(float x, float y, float z, float w)
{
    return {x, y, z, w};
}

static inline uint2 make_uint2(uint32_t x, uint32_t y)
{
    return {x, y};
}

static inline uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w)
{
    return {x, y, z, w};
}

/* Stores a vector; the card keeps it in its larger cache alone. */
template <typename Vector> static inline void __stcg(Vector *place, Vector value)
{
    *place = value;
}

struct dim3 {
    unsigned x, y, z;

    dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_)
    {
    }
};

enum cudaError_t {
    cudaSuccess,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInsufficientDriver = 35,
    cudaErrorNoDevice = 100,
    cudaErrorLaunchFailure = 719,
};

enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2 };

constexpr int cudaFuncAttributeMaxDynamicSharedMemorySize = 8;
constexpr unsigned cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2;

typedef struct emulated_event *cudaEvent_t;

struct cudaDeviceProp {
    char name[256];
    int major, minor;
    size_t totalGlobalMem;
};

/* ---- Called by the host ---------------------------------------------------------------------- */

cudaError_t cudaGetDeviceCount(int *count);
cudaError_t cudaDriverGetVersion(int *version);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *out, int card);

const char *cudaGetErrorString(cudaError_t code);
cudaError_t cudaGetLastError();
cudaError_t cudaPeekAtLastError();

cudaError_t cudaMalloc(void **out, size_t bytes);
cudaError_t cudaMallocHost(void **out, size_t bytes);
cudaError_t cudaFree(void *block);
cudaError_t cudaFreeAsync(void *block, cudaStream_t stream);
cudaError_t cudaMemGetInfo(size_t *unused, size_t *all);

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream);
cudaError_t cudaMemsetAsync(void *block, int value, size_t bytes, cudaStream_t stream);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned flags);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned flags);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);

template <typename Kernel> cudaError_t cudaFuncSetAttribute(Kernel *kernel, int which, int bytes)
{
    const bool is_known = which == cudaFuncAttributeMaxDynamicSharedMemorySize && bytes >= 0;
    return is_known && emulator::allow_shared((const void *)kernel, (size_t)bytes)
               ? cudaSuccess
               : cudaErrorInvalidValue;
}

/* ---- Called by the threads of a kernel ------------------------------------------------------- */

extern dim3 threadIdx, blockIdx, blockDim, gridDim;

void __syncthreads();

template <typename T> T __shfl_xor_sync(unsigned mask, T value, int distance)
{
    if (mask != 0xffffffffu) emulator::stop("a shuffle without some of the lanes");
    const emulator::from_lanes lanes =
        emulator::exchange(emulator::SHUFFLE + distance, &value, sizeof value);
    return lanes.read<T>(emulator::lane() ^ distance, 0);
}

inline float fast_exponential(float x)
{
    return exp2f(x * 1.4426950408889634f);
}

/* The C library has a function of CUDA's name. */
#define __expf fast_exponential

/* Divisors from 2^126 on are flushed, as CUDA says: the quotient is 0, or NaN if a is infinite. */
inline float __fdividef(float a, float b)
{
    return fabsf(b) > 0x1p126f ? 0.0f * a : a * (1.0f / b);
}

#endif
