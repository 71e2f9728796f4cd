/*
 * exp, tanh and gelu in plain arithmetic, so that the compiler can vectorize loops over them (the C
 * library's are calls). Relative error below 2·10⁻⁷ in float32; tests/c/test_kernels.c checks it.
 */
#ifndef ICOT_BACKEND_CPU_VECTOR_MATH_H
#define ICOT_BACKEND_CPU_VECTOR_MATH_H

#include "backend/gelu.h"

#include <stdint.h>
#include <string.h>

/*
 * exp(x) = 2^n · exp(r), n = round(x / ln 2), |r| ≤ ln 2 / 2, with the Taylor polynomial of degree
 * 7 for exp(r), whose remainder is at most 5.4·10⁻⁹ there, and 7.1·10⁻⁹ of exp(r). ln 2 is split in
 * two so that r is exact.
 * Overflows to infinity and underflows to 0 like expf, without subnormal results; NaN stays NaN.
 */
static inline float vector_exp(float x)
{
    const float log2e = 1.44269504f, ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
    const float shifter = 0x1.8p23f; /* adding it rounds to an integer in the low bits */
    float shifted = x * log2e + shifter;
    float n = shifted - shifter;
    float r = (x - n * ln2_high) - n * ln2_low;

    float p = 1.98412698e-4f;
    p = p * r + 1.38888889e-3f;
    p = p * r + 8.33333333e-3f;
    p = p * r + 4.16666667e-2f;
    p = p * r + 1.66666667e-1f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;

    /* times 2^n: the low bits of `shifted`, added to the exponent; nonsense where x is too large,
     * too small or no number, which the last lines mend */
    uint32_t exponent, bits;
    float result;
    memcpy(&exponent, &shifted, sizeof exponent);
    memcpy(&bits, &p, sizeof bits);
    bits += exponent << 23;
    memcpy(&result, &bits, sizeof result);
    const float least = -87.33f;   /* just above ln 2^-126, the smallest normal float32 */
    const float most = 88.722839f; /* ln of the largest float32 */
    result = x < least ? 0.0f : result;
    result = x > most ? __builtin_inff() : result;
    return x != x ? x : result;
}

/*
 * tanh(x) = (1 - e) / (1 + e), e = exp(-2|x|); near 0, where that loses digits, the odd Taylor
 * polynomial x - x³/3 + 2x⁵/15 - 17x⁷/315 + 62x⁹/2835.
 */
static inline float vector_tanh(float x)
{
    float magnitude = x < 0.0f ? -x : x;
    float e = vector_exp(-2.0f * magnitude);
    float large = (1.0f - e) / (1.0f + e);
    large = x < 0.0f ? -large : large;

    float square = x * x;
    float p = 2.18694885e-2f;
    p = p * square - 5.39682540e-2f;
    p = p * square + 1.33333333e-1f;
    p = p * square - 3.33333333e-1f;
    float small = x + x * square * p;
    return magnitude < 0.25f ? small : large;
}

static inline float vector_sigmoid(float x)
{
    return 1.0f / (1.0f + vector_exp(-x));
}

static inline float vector_gelu(float x)
{
    return x * vector_sigmoid(gelu_argument(x));
}

static inline float vector_gelu_slope(float x)
{
    return gelu_slope_at(x, vector_sigmoid(gelu_argument(x)));
}

#endif
