/* Factors of matrix products: rounding to them, and what takes and gives them. */
#include "backend/cuda/elementary.h"
#include "backend/cuda/elements.h"
#include "backend/cuda/kernels.h"
#include "backend/cuda/reduce.h"

/* s(x) of gelu(x) = x·s(x): no more exact than the element can tell */
template <typename Element> __device__ float gelu_share(float x)
{
    if constexpr (sizeof(Element) == sizeof(float)) return sigmoid(gelu_argument(x));
    return __fdividef(1.0f, 1.0f + __expf(-gelu_argument(x)));
}

void cuda_round_bf16(int64_t n, const float *x, void *factor)
{
    map(
        "round", n, [] __device__(float v) { return element_of<bf16>(v); }, (bf16 *)factor, x);
}

/* ---- gelu ------------------------------------------------------------------------------------ */

template <typename Element> struct gelu_of {
    __device__ Element operator()(Element x) const
    {
        const float u = value_of(x);
        return element_of<Element>(u * gelu_share<Element>(u));
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
template <typename Element, typename Gradient> struct gelu_gradients {
    static constexpr int AT_ONCE = 16 / sizeof(Element);
    const Element *x;
    const Gradient *dy;
    Element *y, *dx;

    bool together() const
    {
        return begins_few<AT_ONCE>(x) && begins_few<AT_ONCE>(dy) && begins_few<AT_ONCE>(y) &&
               begins_few<AT_ONCE>(dx);
    }

    template <int N> __device__ void at(int64_t i, float values[N]) const
    {
        const auto in = few<N, Element>::load(x, i);
        const auto slope = few<N, Gradient>::load(dy, i);
        few<N, Element> out, gradient;
#pragma unroll
        for (int k = 0; k < N; k++) {
            const float u = value_of(in.at[k]), s = gelu_share<Element>(u);
            values[k] = value_of(slope.at[k]) * gelu_slope(u, s);
            out.at[k] = element_of<Element>(u * s);
            gradient.at[k] = element_of<Element>(values[k]);
        }
        out.store(y, i);
        gradient.store(dx, i);
    }
};

template <typename Element, typename Gradient>
static int gelu_backward(int64_t rows, int64_t columns, const void *x, const Gradient *dy, void *y,
                         void *dx, bool accumulate, float *sums)
{
    const gelu_gradients<Element, Gradient> terms = {(const Element *)x, dy, (Element *)y,
                                                     (Element *)dx};
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

int cuda_gelu_backward_of_factors(int64_t rows, int64_t columns, const void *x, const void *dy,
                                  void *y, void *dx, bool accumulate, float *sums)
{
    return gelu_backward<bf16>(rows, columns, x, (const bf16 *)dy, y, dx, accumulate, sums);
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
