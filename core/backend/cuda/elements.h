/* What arrays consist of: float32, or bfloat16 where they are factors. */
#ifndef ICOT_BACKEND_CUDA_ELEMENTS_H
#define ICOT_BACKEND_CUDA_ELEMENTS_H

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

#endif
