/* The functions of the CUDA backend's tables. See backend/backend.h for what they do. */
#ifndef ICOT_BACKEND_CUDA_KERNELS_H
#define ICOT_BACKEND_CUDA_KERNELS_H

#include "backend/cuda/cuda.h"

/* matmul.cu */
int cuda_matmul_start(void); /* once */
int cuda_make_ready_float32(bool transpose_a, int64_t m, right_factor *b);
int cuda_make_ready_bf16(bool transpose_a, int64_t m, right_factor *b);
int cuda_matmul_float32(bool transpose_a, int64_t m, const void *a, const right_factor *b,
                        const float *bias, bool accumulate, float *c);
int cuda_matmul_tf32(bool transpose_a, int64_t m, const void *a, const right_factor *b,
                     const float *bias, bool accumulate, float *c);
int cuda_matmul_bf16(bool transpose_a, int64_t m, const void *a, const right_factor *b,
                     const float *bias, bool accumulate, float *c);
int cuda_matmul_factor_float32(int64_t m, const void *a, const right_factor *b, const void *bias,
                               void *c);
int cuda_matmul_factor_tf32(int64_t m, const void *a, const right_factor *b, const void *bias,
                            void *c);
int cuda_matmul_factor_bf16(int64_t m, const void *a, const right_factor *b, const void *bias,
                            void *c);

/* h = gelu(u), u = a·op(b) + bias, and du = a·op(b) ∘ slope of gelu(u); nothing is done where
 * cuBLASLt cannot do it in one */
int cuda_matmul_gelu_bf16(int64_t m, const void *a, const right_factor *b, const void *bias,
                          void *u, void *h, bool *done);
int cuda_matmul_gelu_backward_bf16(int64_t m, const void *a, const right_factor *b, const void *u,
                                   void *du, bool *done);

/* factors.cu */
void cuda_round_bf16(int64_t n, const float *x, void *factor);
void cuda_gelu_float32(int64_t n, const void *x, void *y);
void cuda_gelu_bf16(int64_t n, const void *x, void *y);
int cuda_gelu_backward_float32(int64_t rows, int64_t columns, const void *x, const float *dy,
                               void *y, void *dx, bool accumulate, float *sums);
int cuda_gelu_backward_bf16(int64_t rows, int64_t columns, const void *x, const float *dy, void *y,
                            void *dx, bool accumulate, float *sums);
int cuda_attention_factor_float32(const packed_shape *shape, const void *qkv, void *y,
                                  float *logsumexp);
int cuda_attention_factor_backward_float32(const packed_shape *shape, const void *qkv,
                                           const void *y, const float *logsumexp, const void *dy,
                                           void *dqkv);
int cuda_sum_rows_float32(int64_t rows, int64_t columns, const void *x, bool accumulate, float *y);
int cuda_sum_rows_bf16(int64_t rows, int64_t columns, const void *x, bool accumulate, float *y);

/* pointwise.cu */
void cuda_unary(unary_kind kind, int64_t n, const float *x, float *y);
void cuda_unary_backward(unary_kind kind, int64_t n, const float *x, const float *y,
                         const float *dy, bool accumulate, float *dx);
void cuda_number_as_double(const float *x, double *y);
void cuda_affine(int64_t n, double scale, double shift, const float *x, bool accumulate, float *y);
void cuda_power(int64_t n, double exponent, const float *x, float *y);
void cuda_power_backward(int64_t n, double exponent, const float *x, const float *dy,
                         bool accumulate, float *dx);
void cuda_dropout(int64_t n, double p, icot_random_key key, int64_t first, const float *x,
                  const float *onto, float *y);

/* strided.cu */
void cuda_binary(binary_kind kind, const strided_loop *loop, const float *a, const float *b,
                 float *y);
void cuda_binary_backward(binary_kind kind, int which, const strided_loop *loop, const float *a,
                          const float *b, const float *dy, float *d);
void cuda_strided_copy(const strided_loop *loop, const float *source, bool accumulate,
                       float *target);

/* rows.cu */
void cuda_add_bias(int64_t rows, int64_t columns, const float *x, const float *bias, float *y);
void cuda_pick_rows(int64_t rows, int64_t bytes, const void *x, const int32_t *ids, void *y);
void cuda_place_rows(int64_t rows, int64_t bytes, const void *x, const int32_t *ids, void *y);
int cuda_sum_rows(int64_t rows, int64_t columns, const float *x, bool accumulate, float *y);
void cuda_sum(int64_t outer, int64_t n, int64_t inner, double scale, const float *x, float *y);
void cuda_sum_backward(int64_t outer, int64_t n, int64_t inner, double scale, const float *dy,
                       bool accumulate, float *dx);
void cuda_softmax(int64_t rows, int64_t columns, bool logarithm, const float *x, float *y);
void cuda_softmax_backward(int64_t rows, int64_t columns, bool logarithm, const float *y,
                           const float *dy, bool accumulate, float *dx);
int cuda_argmax(int64_t rows, int64_t columns, const float *x, int32_t *out);
int cuda_count_hits(int64_t rows, int64_t columns, const float *x, const int32_t *targets,
                    double *count);

/* loss.cu */
int cuda_cross_entropy(int64_t rows, int64_t vocabulary, const float *logits,
                       const int32_t *targets, float *loss, float *logsumexp);
void cuda_cross_entropy_backward(int64_t rows, int64_t vocabulary, const float *logits,
                                 const int32_t *targets, const float *logsumexp, const float *dloss,
                                 bool accumulate, float *dlogits);

/* embedding.cu */
void cuda_gather_rows(int64_t rows, int64_t columns, const float *weight, const int32_t *ids,
                      bool accumulate, float *y);
int cuda_scatter_rows(int64_t rows, int64_t columns, const float *dy, const index_array *ids,
                      float *dweight);

/* layer_norm.cu */
void cuda_layer_norm(int64_t rows, int64_t columns, double eps, const float *x, const float *weight,
                     const float *bias, float *y, float *statistics);
int cuda_layer_norm_backward(int64_t rows, int64_t columns, const float *x, const float *weight,
                             const float *statistics, const float *dy, const bool accumulate[3],
                             float *dx, float *dweight, float *dbias);

/* attention.cu, attention_backward.cu, attention_past.cu, attention_cached.cu; in bfloat16
 * attention_bf16… */
int cuda_attention(const packed_shape *shape, const float *qkv, float *y, float *logsumexp);
int cuda_attention_backward(const packed_shape *shape, const float *qkv, const float *y,
                            const float *logsumexp, const float *dy, bool accumulate, float *dqkv);
int cuda_attention_bf16(const packed_shape *shape, const float *qkv, float *y, float *logsumexp);
int cuda_attention_backward_bf16(const packed_shape *shape, const float *qkv, const float *y,
                                 const float *logsumexp, const float *dy, bool accumulate,
                                 float *dqkv);
int cuda_attention_factor_bf16(const packed_shape *shape, const void *qkv, void *y,
                               float *logsumexp);
int cuda_attention_factor_backward_bf16(const packed_shape *shape, const void *qkv, const void *y,
                                        const float *logsumexp, const void *dy, void *dqkv);
int cuda_attention_past(const packed_shape *shape, const past_rows *past, const float *qkv,
                        float *rows, float *y, float *logsumexp);
int cuda_attention_past_backward(const packed_shape *shape, const past_rows *past,
                                 const float *rows, const float *y, const float *logsumexp,
                                 const float *dy, float *drows, grad_target dqkv);
int cuda_attention_cached(const packed_shape *shape, const float *qkv, const kv_cache *cache,
                          float *y);

/* The same of factors, for layers.cu */
void cuda_layer_norm_to_bf16(int64_t rows, int64_t columns, double eps, const float *x,
                             const float *weight, const float *bias, void *y, float *statistics);
int cuda_layer_norm_backward_of_bf16(int64_t rows, int64_t columns, const float *x,
                                     const float *weight, const float *statistics, const void *dy,
                                     const bool accumulate[3], float *dx, float *dweight,
                                     float *dbias);
void cuda_dropout_of_bf16(int64_t n, double p, icot_random_key key, int64_t first, const void *x,
                          const float *onto, float *y);
void cuda_gelu_slopes_float32(int64_t n, const void *x, void *dy);
void cuda_gelu_slopes_bf16(int64_t n, const void *x, void *dy);

/* residual_norm.cu; nothing is done where *done, or what is returned, is false. */
bool cuda_residual_norm_float32(int64_t rows, int64_t columns, const dropout_draw *drawn,
                                const void *x, const float *onto, double eps, const float *weight,
                                const float *bias, float *y, void *normed, float *statistics);
bool cuda_residual_norm_bf16(int64_t rows, int64_t columns, const dropout_draw *drawn,
                             const void *x, const float *onto, double eps, const float *weight,
                             const float *bias, float *y, void *normed, float *statistics);
int cuda_residual_norm_backward_float32(int64_t rows, int64_t columns, const float *y,
                                        const float *weight, const float *statistics,
                                        const void *dnormed, const float *onto,
                                        const dropout_draw *drawn, float *dy, void *dx,
                                        const grad_target sums[3], bool *done);
int cuda_residual_norm_backward_bf16(int64_t rows, int64_t columns, const float *y,
                                     const float *weight, const float *statistics,
                                     const void *dnormed, const float *onto,
                                     const dropout_draw *drawn, float *dy, void *dx,
                                     const grad_target sums[3], bool *done);

/* layers.cu */
extern const layer_kernels cuda_layers_float32, cuda_layers_tf32, cuda_layers_bf16;

/* optimizer.cu */
int cuda_norm(int64_t count, const number_array *arrays, double *norm);
int cuda_adamw(int64_t count, const adamw_arrays *arrays, const icot_adamw_options *options);

#endif
