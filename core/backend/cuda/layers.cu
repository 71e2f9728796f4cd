/* Kernels of whole layers: those of other files, with factors for what lies between two products,
 * and dropout, which makes a factor of a gradient and sums it up on the way. */
#include "backend/cuda/elementary.h"
#include "backend/cuda/kernels.h"
#include "backend/cuda/reduce.h"

/* ---- Dropout --------------------------------------------------------------------------------- */

/* What is kept of x */
template <typename Element> struct kept_terms {
    static constexpr int AT_ONCE = RUN;
    const float *x;
    Element *y;
    matrix_dropout dropout;

    bool together() const
    {
        return dropout.first % RUN == 0 && begins_a_run(x) && begins_a_run(y);
    }

    template <int N> struct inputs {
        few<N, float> x;

        __device__ void load(const kept_terms &from, int64_t i)
        {
            x = few<N, float>::load(from.x, i);
        }
    };

    template <int N> __device__ void at(int64_t i, const inputs<N> &in, float values[N]) const
    {
        const few<N, float> kept = dropout.kept(in.x, i);
#pragma unroll
        for (int k = 0; k < N; k++) values[k] = kept.at[k];
        store_rounded<N>(values, y, i);
    }
};

template <typename Element>
static int drop_backward(int64_t rows, int64_t columns, const dropout_draw *drawn, const float *x,
                         void *y, bool accumulate, float *sums)
{
    const kept_terms<Element> terms = {x, (Element *)y, matrix_dropout_of(drawn)};
    return column_sums("dropout", rows, columns, terms, accumulate, sums);
}

/* ---- Products and GELU: one behind the other ------------------------------------------------- */

typedef int factor_product(int64_t m, const void *a, const right_factor *b, const void *bias,
                           void *c);
typedef void factor_kernel(int64_t n, const void *x, void *y);

template <factor_product multiply, factor_kernel gelu>
static int gelu_product(int64_t m, const void *a, const right_factor *b, const void *bias, void *u,
                        void *h)
{
    if (multiply(m, a, b, bias, u)) return FAILED;
    gelu(m * right_columns(b), u, h);
    return OK;
}

template <factor_product multiply, factor_kernel multiply_slopes>
static int gelu_product_backward(int64_t m, const void *a, const right_factor *b, const void *u,
                                 void *du)
{
    if (multiply(m, a, b, NULL, du)) return FAILED;
    multiply_slopes(m * right_columns(b), u, du);
    return OK;
}

/* ---- Residual and norm: in one kernel, or one behind the other ------------------------------- */

template <decltype(cuda_residual_norm_bf16) at_once, decltype(*layer_kernels::dropout) drop,
          decltype(*layer_kernels::layer_norm) normalize>
static void residual_norm(int64_t rows, int64_t columns, const dropout_draw *drawn, const void *x,
                          const float *onto, double eps, const float *weight, const float *bias,
                          float *y, void *normed, float *statistics)
{
    if (at_once(rows, columns, drawn, x, onto, eps, weight, bias, y, normed, statistics)) return;
    drop(rows * columns, drawn, x, onto, y);
    normalize(rows, columns, eps, y, weight, bias, normed, statistics);
}

template <decltype(cuda_residual_norm_backward_bf16) at_once,
          decltype(*layer_kernels::layer_norm_backward) norm_backward,
          decltype(*layer_kernels::dropout_backward) drop_backward>
static int residual_norm_backward(int64_t rows, int64_t columns, const float *y,
                                  const float *weight, const float *statistics, const void *dnormed,
                                  const float *onto, const dropout_draw *drawn, float *dy, void *dx,
                                  const grad_target sums[3])
{
    const bool accumulate[3] = {true, sums[0].accumulate, sums[1].accumulate};
    bool done;
    if (at_once(rows, columns, y, weight, statistics, dnormed, onto, drawn, dy, dx, sums, &done)) {
        return FAILED;
    }
    if (done) return OK;
    cuda_affine(rows * columns, 1.0, 0.0, onto, false, dy);
    return norm_backward(rows, columns, y, weight, statistics, dnormed, accumulate, dy,
                         sums[0].data, sums[1].data) ||
           drop_backward(rows, columns, drawn, dy, dx, sums[2].accumulate, sums[2].data);
}

/* ---- float32 and TF32: a factor is the array itself ------------------------------------------ */

static void normalize(int64_t rows, int64_t columns, double eps, const float *x,
                      const float *weight, const float *bias, void *y, float *statistics)
{
    cuda_layer_norm(rows, columns, eps, x, weight, bias, (float *)y, statistics);
}

static int normalize_backward(int64_t rows, int64_t columns, const float *x, const float *weight,
                              const float *statistics, const void *dy, const bool accumulate[3],
                              float *dx, float *dweight, float *dbias)
{
    return cuda_layer_norm_backward(rows, columns, x, weight, statistics, (const float *)dy,
                                    accumulate, dx, dweight, dbias);
}

static void drop(int64_t n, const dropout_draw *drawn, const void *x, const float *onto, float *y)
{
    cuda_dropout(n, drawn->p, drawn->key, drawn->first, (const float *)x, onto, y);
}

template <factor_product multiply> static constexpr layer_kernels layers_by()
{
    return {normalize,
            normalize_backward,
            gelu_product<multiply, cuda_gelu_float32>,
            gelu_product_backward<multiply, cuda_gelu_slopes_float32>,
            drop,
            drop_backward<float>,
            residual_norm<cuda_residual_norm_float32, drop, normalize>,
            residual_norm_backward<cuda_residual_norm_backward_float32, normalize_backward,
                                   drop_backward<float>>};
}

const layer_kernels cuda_layers_float32 = layers_by<cuda_matmul_factor_float32>();
const layer_kernels cuda_layers_tf32 = layers_by<cuda_matmul_factor_tf32>();

/* ---- bfloat16: with cuBLASLt's own GELU, if it has it for a shape ---------------------------- */

static int gelu_product_bf16(int64_t m, const void *a, const right_factor *b, const void *bias,
                             void *u, void *h)
{
    bool done;
    if (cuda_matmul_gelu_bf16(m, a, b, bias, u, h, &done)) return FAILED;
    return done ? OK : gelu_product<cuda_matmul_factor_bf16, cuda_gelu_bf16>(m, a, b, bias, u, h);
}

static int gelu_product_backward_bf16(int64_t m, const void *a, const right_factor *b,
                                      const void *u, void *du)
{
    bool done;
    if (cuda_matmul_gelu_backward_bf16(m, a, b, u, du, &done)) return FAILED;
    if (done) return OK;
    return gelu_product_backward<cuda_matmul_factor_bf16, cuda_gelu_slopes_bf16>(m, a, b, u, du);
}

static void drop_bf16(int64_t n, const dropout_draw *drawn, const void *x, const float *onto,
                      float *y)
{
    cuda_dropout_of_bf16(n, drawn->p, drawn->key, drawn->first, x, onto, y);
}

const layer_kernels cuda_layers_bf16 = {
    cuda_layer_norm_to_bf16,
    cuda_layer_norm_backward_of_bf16,
    gelu_product_bf16,
    gelu_product_backward_bf16,
    drop_bf16,
    drop_backward<bf16>,
    residual_norm<cuda_residual_norm_bf16, drop_bf16, cuda_layer_norm_to_bf16>,
    residual_norm_backward<cuda_residual_norm_backward_bf16, cuda_layer_norm_backward_of_bf16,
                           drop_backward<bf16>>};
