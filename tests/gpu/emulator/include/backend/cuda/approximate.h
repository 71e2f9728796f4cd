/* In place of backend/cuda/approximate.h: the same functions, without instructions of a card. */
#ifndef ICOT_BACKEND_CUDA_APPROXIMATE_H
#define ICOT_BACKEND_CUDA_APPROXIMATE_H

#include <math.h>

constexpr float LOG2_E = 1.44269504f;

static inline float power_of_two(float x)
{
    return exp2f(x);
}

static inline float reciprocal(float x)
{
    return 1.0f / x;
}

#endif
