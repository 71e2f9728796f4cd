/* Factors of matrix products: rounding to them, and what takes and gives them. */
#include "backend/cuda/approximate.h"
#include "backend/cuda/elementary.h"
#include "backend/cuda/elements.h"
#include "backend/cuda/kernels.h"
#include "backend/cuda/reduce.h"

void cuda_round_bf16(int64_t n, const float *x, void *factor)
{
    map(
        "round", n, [] __device__(float v) { return element_of<bf16>(v); }, (bf16 *)factor, x);
}

/* ---- gelu ------------------------------------------------------------------------------------ */

/* gelu(x) = x·s(x) at a point, and the slope there. */
struct gelu_point {
    float value, slope;
};

static __device__ gelu_point gelu_at(float x, float)
{
    const float s = sigmoid(gelu_argument(x));
    return {x * s, gelu_slope_at(x, s)};
}

/* No more exact than bfloat16 can tell, in as few instructions as it takes: with more, they and
 * not the memory say how long it takes. */
static __device__ gelu_point gelu_at(float x, bf16)
{
    constexpr float CUBIC = GELU_SCALE * GELU_CUBIC;
    const float square = x * x;
    const float power = power_of_two(x * (-LOG2_E * GELU_SCALE + -LOG2_E * CUBIC * square));
    const float s = reciprocal(1.0f + power), y = x * s;
    return {y, s + (y - y * s) * (GELU_SCALE + 3.0f * CUBIC * square)};
}

template <typename Element> struct gelu_of {
    __device__ Element operator()(Element x) const
    {
        return element_of<Element>(gelu_at(value_of(x), Element()).value);
    }
};

void cuda_gelu_float32(int64_t n, const void *x, void *y)
{
    map("gelu", n, gelu_of<float>(), (float *)y, (const float *)x);
}

void cuda_gelu_bf16(int64_t n, const void *x, void *y)
{
    map("gelu", n, gelu_of<bf16>(), (bf16 *)y, (const bf16 *)x);
}

/* The terms of the bias' gradient are those of u's; both these and gelu(u) are written. */
template <typename Element> struct gelu_gradients {
    static constexpr int AT_ONCE = 16 / sizeof(Element);
    const Element *x;
    const float *dy;
    Element *y, *dx;

    bool together() const
    {
        return begins_few<AT_ONCE>(x) && begins_few<AT_ONCE>(dy) && begins_few<AT_ONCE>(y) &&
               begins_few<AT_ONCE>(dx);
    }

    template <int N> struct inputs {
        few<N, Element> x;
        few<N, float> dy;

        __device__ void load(const gelu_gradients &from, int64_t i)
        {
            x = few<N, Element>::load(from.x, i);
            dy = few<N, float>::load(from.dy, i);
        }
    };

    template <int N> __device__ void at(int64_t i, const inputs<N> &in, float values[N]) const
    {
        float out[N];
#pragma unroll
        for (int k = 0; k < N; k++) {
            const gelu_point point = gelu_at(value_of(in.x.at[k]), Element());
            values[k] = in.dy.at[k] * point.slope;
            out[k] = point.value;
        }
        store_rounded<N>(out, y, i);
        store_rounded<N>(values, dx, i);
    }
};

template <typename Element>
static int gelu_backward(int64_t rows, int64_t columns, const void *x, const float *dy, void *y,
                         void *dx, bool accumulate, float *sums)
{
    const gelu_gradients<Element> terms = {(const Element *)x, dy, (Element *)y, (Element *)dx};
    return column_sums("gelu", rows, columns, terms, accumulate, sums);
}

int cuda_gelu_backward_float32(int64_t rows, int64_t columns, const void *x, const float *dy,
                               void *y, void *dx, bool accumulate, float *sums)
{
    return gelu_backward<float>(rows, columns, x, dy, y, dx, accumulate, sums);
}

int cuda_gelu_backward_bf16(int64_t rows, int64_t columns, const void *x, const float *dy, void *y,
                            void *dx, bool accumulate, float *sums)
{
    return gelu_backward<bf16>(rows, columns, x, dy, y, dx, accumulate, sums);
}

/* dy becomes the gradient of x. */
template <typename Element> struct times_gelu_slope {
    __device__ Element operator()(Element dy, Element x) const
    {
        return element_of<Element>(value_of(dy) * gelu_at(value_of(x), Element()).slope);
    }
};

void cuda_gelu_slopes_float32(int64_t n, const void *x, void *dy)
{
    map("gelu", n, times_gelu_slope<float>(), (float *)dy, (const float *)dy, (const float *)x);
}

void cuda_gelu_slopes_bf16(int64_t n, const void *x, void *dy)
{
    map("gelu", n, times_gelu_slope<bf16>(), (bf16 *)dy, (const bf16 *)dy, (const bf16 *)x);
}

/* ---- Attention, where a factor is the array itself; and sums --------------------------------- */

int cuda_attention_factor_float32(const packed_shape *shape, const void *qkv, void *y,
                                  float *logsumexp)
{
    return cuda_attention(shape, (const float *)qkv, (float *)y, logsumexp);
}

int cuda_attention_factor_backward_float32(const packed_shape *shape, const void *qkv,
                                           const void *y, const float *logsumexp, const void *dy,
                                           void *dqkv)
{
    return cuda_attention_backward(shape, (const float *)qkv, (const float *)y, logsumexp,
                                   (const float *)dy, false, (float *)dqkv);
}

int cuda_sum_rows_float32(int64_t rows, int64_t columns, const void *x, bool accumulate, float *y)
{
    return cuda_sum_rows(rows, columns, (const float *)x, accumulate, y);
}

int cuda_sum_rows_bf16(int64_t rows, int64_t columns, const void *x, bool accumulate, float *y)
{
    return column_sums("sum_rows", rows, columns, elements<bf16>{(const bf16 *)x}, accumulate, y);
}
