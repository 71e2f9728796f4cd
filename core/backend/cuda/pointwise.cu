/* Elementwise kernels: y_i depends on x_i alone. */
#include "backend/cuda/elementary.h"
#include "backend/cuda/elements.h"
#include "backend/cuda/kernels.h"

/* What body gives, on top of what was there before. */
template <typename Body> struct onto_before {
    Body body;

    template <typename... In> __device__ float operator()(float before, In... x) const
    {
        return before + body(x...);
    }
};

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
        return gelu_slope_at(x, sigmoid(gelu_argument(x)));
    }
}

void cuda_unary(unary_kind kind, int64_t n, const float *x, float *y)
{
    map(
        "unary", n, [=] __device__(float v) { return value_of(kind, v); }, y, x);
}

/* dx = body(x …), on top of what is there if accumulate is set */
template <typename Body, typename... In>
static void map_gradient(const char *what, int64_t n, bool accumulate, Body body, float *dx,
                         const In *...x)
{
    if (accumulate) {
        map(what, n, onto_before<Body>{body}, dx, dx, x...);
    } else {
        map(what, n, body, dx, x...);
    }
}

void cuda_unary_backward(unary_kind kind, int64_t n, const float *x, const float *y,
                         const float *dy, bool accumulate, float *dx)
{
    map_gradient(
        "unary", n, accumulate,
        [=] __device__(float in, float out, float d) { return d * slope_of(kind, in, out); }, dx, x,
        y, dy);
}

void cuda_number_as_double(const float *x, double *y)
{
    for_each("number", 1, [=] __device__(int64_t) { *y = (double)*x; });
}

void cuda_affine(int64_t n, double scale, double shift, const float *x, bool accumulate, float *y)
{
    const float a = (float)scale, b = (float)shift;
    map_gradient(
        "affine", n, accumulate, [=] __device__(float v) { return a * v + b; }, y, x);
}

void cuda_power(int64_t n, double exponent, const float *x, float *y)
{
    const float e = (float)exponent;
    map(
        "power", n, [=] __device__(float v) { return powf(v, e); }, y, x);
}

void cuda_power_backward(int64_t n, double exponent, const float *x, const float *dy,
                         bool accumulate, float *dx)
{
    const float e = (float)exponent;
    map_gradient(
        "power", n, accumulate,
        [=] __device__(float v, float d) { return d * (e == 0.0f ? 0.0f : e * powf(v, e - 1.0f)); },
        dx, x, dy);
}

/* ---- Dropout --------------------------------------------------------------------------------- */

/* A block of words decides about so many elements; the first may begin, the last end halfway. */
template <typename Element>
__global__ void drop_blocks(int64_t blocks, int64_t n, dropout_rule rule, icot_random_key key,
                            int64_t first, bool whole, const Element *x, const float *onto,
                            float *y)
{
    const int64_t b = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    const int64_t begin = (first / PHILOX_WORDS + b) * PHILOX_WORDS - first;
    uint32_t words[PHILOX_WORDS];
    if (b >= blocks) return;
    philox_words(key, (uint32_t)(first / PHILOX_WORDS + b), words);
    if (whole && begin + PHILOX_WORDS <= n) {
        const run_of<Element> in = load_run(x, begin / RUN);
        run_of<float> out = {};
        if (onto) out = load_run(onto, begin / RUN);
#pragma unroll
        for (int k = 0; k < RUN; k++) out.at[k] += what_is_kept(rule, words[k], value_of(in.at[k]));
        ((run_of<float> *)y)[begin / RUN] = out;
        return;
    }
    for (int k = 0; k < PHILOX_WORDS; k++) {
        const int64_t i = begin + k;
        if (i < 0 || i >= n) continue;
        y[i] = (onto ? onto[i] : 0.0f) + what_is_kept(rule, words[k], value_of(x[i]));
    }
}

/* The very numbers of the CPU: element i hangs on word first + i of the key's sequence. */
template <typename Element>
static void drop(int64_t n, double p, icot_random_key key, int64_t first, const Element *x,
                 const float *onto, float *y)
{
    static_assert(RUN == PHILOX_WORDS, "a block of words decides about a run");
    constexpr int THREADS = 256;
    const int64_t blocks = parts_of(first + n, PHILOX_WORDS) - first / PHILOX_WORDS;
    const bool whole =
        first % PHILOX_WORDS == 0 && begins_a_run(x) && begins_a_run(y) && begins_a_run(onto);
    if (n == 0) return;
    drop_blocks<<<(unsigned)parts_of(blocks, THREADS), THREADS, 0, cuda_stream>>>(
        blocks, n, dropout_rule_of(p), key, first, whole, x, onto, y);
    cuda_launched("dropout");
}

void cuda_dropout(int64_t n, double p, icot_random_key key, int64_t first, const float *x,
                  const float *onto, float *y)
{
    drop(n, p, key, first, x, onto, y);
}

void cuda_dropout_of_bf16(int64_t n, double p, icot_random_key key, int64_t first, const void *x,
                          const float *onto, float *y)
{
    drop(n, p, key, first, (const bf16 *)x, onto, y);
}
