/* What arrays consist of: float32, or bfloat16 where they are factors. */
#ifndef ICOT_BACKEND_CUDA_ELEMENTS_H
#define ICOT_BACKEND_CUDA_ELEMENTS_H

#include "backend/cuda/cuda.h"

#include <cuda_bf16.h>

typedef __nv_bfloat16 bf16;

static inline __device__ float value_of(float x)
{
    return x;
}

static inline __device__ float value_of(bf16 x)
{
    return __bfloat162float(x);
}

template <typename Element> __device__ Element element_of(float x);

template <> inline __device__ float element_of(float x)
{
    return x;
}

template <> inline __device__ bf16 element_of(float x)
{
    return __float2bfloat16_rn(x);
}

/* Two numbers, rounded; the first lies first. */
static inline __device__ uint32_t rounded_pair(float first, float second)
{
    const __nv_bfloat162 pair = __floats2bfloat162_rn(first, second);
    return *(const uint32_t *)&pair;
}

/* N numbers, rounded, to y from the ith element on, which begins_few<N>. By the card's functions
 * for vectors: nvcc makes of a vector that is assigned several stores of 2 or 4 bytes, if it sees
 * how it was put together. */
template <int N, typename Element>
__device__ void store_rounded(const float x[N], Element *y, int64_t i)
{
    if constexpr (N == 1) {
        y[i] = element_of<Element>(x[0]);
    } else if constexpr (sizeof(Element) == sizeof(float)) {
        static_assert(N == 4, "16 bytes");
        __stcg((float4 *)(y + i), make_float4(x[0], x[1], x[2], x[3]));
    } else if constexpr (N == 4) {
        __stcg((uint2 *)(y + i), make_uint2(rounded_pair(x[0], x[1]), rounded_pair(x[2], x[3])));
    } else {
        static_assert(N == 8, "16 bytes");
        __stcg((uint4 *)(y + i), make_uint4(rounded_pair(x[0], x[1]), rounded_pair(x[2], x[3]),
                                            rounded_pair(x[4], x[5]), rounded_pair(x[6], x[7])));
    }
}

#endif
