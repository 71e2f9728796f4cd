/* Left factors of matrix products: rounding to them, and gelu, which is only ever multiplied. */
#include "backend/cuda/elementary.h"
#include "backend/cuda/kernels.h"
#include "backend/cuda/reduce.h"

#include <cuda_bf16.h>

static __device__ float get(const float *from)
{
    return *from;
}

static __device__ float get(const __nv_bfloat16 *from)
{
    return __bfloat162float(*from);
}

static __device__ void put(float value, float *to)
{
    *to = value;
}

static __device__ void put(float value, __nv_bfloat16 *to)
{
    *to = __float2bfloat16_rn(value);
}

void cuda_round_bf16(int64_t n, const float *x, void *factor)
{
    __nv_bfloat16 *y = (__nv_bfloat16 *)factor;
    for_each("round", n, [=] __device__(int64_t i) { put(x[i], y + i); });
}

template <typename Element> void gelu_to(int64_t n, const Element *x, Element *y)
{
    for_each("gelu", n, [=] __device__(int64_t i) { put(gelu(get(x + i)), y + i); });
}

void cuda_gelu_float32(int64_t n, const void *x, void *y)
{
    gelu_to(n, (const float *)x, (float *)y);
}

void cuda_gelu_bf16(int64_t n, const void *x, void *y)
{
    gelu_to(n, (const __nv_bfloat16 *)x, (__nv_bfloat16 *)y);
}

template <typename Element>
int gelu_backward_to(int64_t rows, int64_t columns, const Element *x, const float *dy, Element *y,
                     Element *dx, bool accumulate, float *sums)
{
    return column_sums("gelu", rows, columns, accumulate, sums,
                       [=] __device__(int64_t row, int64_t column) {
                           const int64_t i = row * columns + column;
                           const float u = get(x + i), d = dy[i] * gelu_slope(u);
                           put(gelu(u), y + i);
                           put(d, dx + i);
                           return d;
                       });
}

int cuda_gelu_backward_float32(int64_t rows, int64_t columns, const void *x, const float *dy,
                               void *y, void *dx, bool accumulate, float *sums)
{
    return gelu_backward_to(rows, columns, (const float *)x, dy, (float *)y, (float *)dx,
                            accumulate, sums);
}

int cuda_gelu_backward_bf16(int64_t rows, int64_t columns, const void *x, const float *dy, void *y,
                            void *dx, bool accumulate, float *sums)
{
    return gelu_backward_to(rows, columns, (const __nv_bfloat16 *)x, dy, (__nv_bfloat16 *)y,
                            (__nv_bfloat16 *)dx, accumulate, sums);
}
