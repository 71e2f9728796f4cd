/* Functions of one number, as the CPU has them in vector_math.h, and dropout of one. */
#ifndef ICOT_BACKEND_CUDA_ELEMENTARY_H
#define ICOT_BACKEND_CUDA_ELEMENTARY_H

#include "backend/cuda/cuda.h"
#include "base/philox.h"

static inline __device__ float sigmoid(float x)
{
    return 1.0f / (1.0f + expf(-x));
}

#define GELU_SCALE 1.59576912f /* 2√(2/π) */
#define GELU_CUBIC 0.044715f

/* gelu(x) = x·s(x); the sigmoid is that of this number. */
static inline __device__ float gelu_argument(float x)
{
    return GELU_SCALE * (x + GELU_CUBIC * x * x * x);
}

static inline __device__ float gelu(float x)
{
    return x * sigmoid(gelu_argument(x));
}

/* d gelu / dx, where s is s(x) */
static inline __device__ float gelu_slope(float x, float s)
{
    const float du = GELU_SCALE * (1.0f + 3.0f * GELU_CUBIC * x * x);
    return s + x * s * (1.0f - s) * du;
}

/* What decides about dropping: a word below the threshold is dropped, what stays is scaled. */
struct dropout_rule {
    uint64_t threshold;
    float scale;
};

static inline dropout_rule dropout_rule_of(double p)
{
    return {(uint64_t)(p * 0x1p32), p < 1.0 ? (float)(1.0 / (1.0 - p)) : 0.0f};
}

static inline __device__ float kept_share(dropout_rule rule, uint32_t word)
{
    return word < rule.threshold ? 0.0f : rule.scale;
}

static inline __device__ float what_is_kept(dropout_rule rule, uint32_t word, float x)
{
    return word < rule.threshold ? 0.0f : rule.scale * x; /* NaN is dropped, too */
}

#endif
