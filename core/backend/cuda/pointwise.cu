/* Elementwise kernels: y_i depends on x_i alone. */
#include "backend/cuda/elementary.h"
#include "backend/cuda/kernels.h"

/* ---- One array ------------------------------------------------------------------------------- */

static __device__ float value_of(unary_kind kind, float x)
{
    switch (kind) {
    case UNARY_NEG:
        return -x;
    case UNARY_EXP:
        return expf(x);
    case UNARY_LOG:
        return logf(x);
    case UNARY_SQRT:
        return sqrtf(x);
    case UNARY_TANH:
        return tanhf(x);
    case UNARY_SIGMOID:
        return sigmoid(x);
    case UNARY_RELU:
        return x < 0.0f ? 0.0f : x; /* NaN stays */
    default:
        return gelu(x);
    }
}

/* dy/dx where y is the value at x */
static __device__ float slope_of(unary_kind kind, float x, float y)
{
    switch (kind) {
    case UNARY_NEG:
        return -1.0f;
    case UNARY_EXP:
        return y;
    case UNARY_LOG:
        return 1.0f / x;
    case UNARY_SQRT:
        return 0.5f / y;
    case UNARY_TANH:
        return 1.0f - y * y;
    case UNARY_SIGMOID:
        return y * (1.0f - y);
    case UNARY_RELU:
        return x > 0.0f ? 1.0f : 0.0f;
    default:
        return gelu_slope(x);
    }
}

void cuda_unary(unary_kind kind, int64_t n, const float *x, float *y)
{
    for_each("unary", n, [=] __device__(int64_t i) { y[i] = value_of(kind, x[i]); });
}

void cuda_unary_backward(unary_kind kind, int64_t n, const float *x, const float *y,
                         const float *dy, bool accumulate, float *dx)
{
    for_each("unary", n, [=] __device__(int64_t i) {
        const float d = dy[i] * slope_of(kind, x[i], y[i]);
        dx[i] = accumulate ? dx[i] + d : d;
    });
}

void cuda_affine(int64_t n, double scale, double shift, const float *x, bool accumulate, float *y)
{
    const float a = (float)scale, b = (float)shift;
    for_each("affine", n, [=] __device__(int64_t i) {
        const float value = a * x[i] + b;
        y[i] = accumulate ? y[i] + value : value;
    });
}

void cuda_power(int64_t n, double exponent, const float *x, float *y)
{
    const float e = (float)exponent;
    for_each("power", n, [=] __device__(int64_t i) { y[i] = powf(x[i], e); });
}

void cuda_power_backward(int64_t n, double exponent, const float *x, const float *dy,
                         bool accumulate, float *dx)
{
    const float e = (float)exponent;
    for_each("power", n, [=] __device__(int64_t i) {
        const float d = dy[i] * (e == 0.0f ? 0.0f : e * powf(x[i], e - 1.0f));
        dx[i] = accumulate ? dx[i] + d : d;
    });
}

/* ---- Dropout --------------------------------------------------------------------------------- */

/* The very numbers of the CPU: element i hangs on word first + i of the key's sequence. */
void cuda_dropout(int64_t n, double p, icot_random_key key, int64_t first, const float *x,
                  bool accumulate, float *y)
{
    const dropout_rule rule = dropout_rule_of(p);
    const int64_t end = first + n, first_block = first / PHILOX_WORDS;
    const int64_t blocks = n ? parts_of(end, PHILOX_WORDS) - first_block : 0;
    for_each("dropout", blocks, [=] __device__(int64_t b) {
        uint32_t words[PHILOX_WORDS];
        philox_words(key, (uint32_t)(first_block + b), words);
        for (int k = 0; k < PHILOX_WORDS; k++) {
            const int64_t i = (first_block + b) * PHILOX_WORDS + k - first;
            if (i < 0 || i >= n) continue;
            const float kept = kept_share(rule, words[k]);
            const float value = kept == 0.0f ? 0.0f : kept * x[i]; /* NaN is dropped, too */
            y[i] = accumulate ? y[i] + value : value;
        }
    });
}
