/*
 * GELU(x) = x/2 · (1 + tanh(u)), u = √(2/π)·(x + 0.044715 x³), as in GPT-2. Since
 * (1 + tanh(u))/2 = sigmoid(2u), that is x · sigmoid(2u): one exp, and no cancellation.
 */
#ifndef ICOT_BACKEND_GELU_H
#define ICOT_BACKEND_GELU_H

#include "base/both_sides.h"

#define GELU_SCALE 1.59576912f /* 2√(2/π) */
#define GELU_CUBIC 0.044715f

/* 2u */
static inline ON_BOTH_SIDES float gelu_argument(float x)
{
    return GELU_SCALE * (x + GELU_CUBIC * x * x * x);
}

/* d gelu / dx, where s is the sigmoid of gelu_argument(x) */
static inline ON_BOTH_SIDES float gelu_slope_at(float x, float s)
{
    const float du = GELU_SCALE * (1.0f + 3.0f * GELU_CUBIC * x * x);
    return s + x * s * (1.0f - s) * du;
}

#endif
