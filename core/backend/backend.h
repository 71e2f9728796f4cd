/*
 * The backend: the table of kernels that a device must supply.
 *
 * Whoever calls one, mostly an operator, has checked shape, dtype and device before: a kernel
 * checks nothing. All arrays are float32, row-major and contiguous unless strides are given, and
 * lie in the device's memory. Kernels of a backward pass add to what a gradient holds when
 * `accumulate` is set, and overwrite it otherwise. A device may work behind the host's back: what
 * goes wrong there is told by the next function that returns a status. Letters in the shapes: R
 * rows, C columns (channels), T tokens of all sequences together, B sequences, H heads, D = C / H,
 * V vocabulary.
 */
#ifndef ICOT_BACKEND_BACKEND_H
#define ICOT_BACKEND_BACKEND_H

#include "backend/packed.h"
#include "icot.h"
#include "tensor/device.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum unary_kind {
    UNARY_NEG,
    UNARY_EXP,
    UNARY_LOG,
    UNARY_SQRT,
    UNARY_TANH,
    UNARY_SIGMOID,
    UNARY_RELU,
    UNARY_GELU, /* the tanh form of GPT-2 */
    UNARY_COUNT
} unary_kind;

typedef enum binary_kind { BINARY_ADD, BINARY_SUB, BINARY_MUL, BINARY_DIV } binary_kind;

/* A walk over an index space along two or three arrays; a stride of 0 repeats an element. */
typedef struct strided_loop {
    int ndim;
    int64_t size[ICOT_MAX_DIMS];
    int64_t strides[3][ICOT_MAX_DIMS]; /* per array, in elements */
} strided_loop;

/* Keys and values of earlier tokens, (slots, capacity, C) each. */
typedef struct kv_cache {
    float *keys, *values;
    int64_t capacity;
    index_array slots;   /* (B) */
    index_array lengths; /* (B) tokens in the cache before this call */
} kv_cache;

/* The right factor of matrix products, op(b): b (rows, columns) as it lies, without gaps. */
typedef struct right_factor {
    bool transpose;
    bool is_factor; /* elements of `factor_bytes`; else float32 */
    int64_t rows, columns;
    const void *data;
    void *ready_form; /* what make_ready made: in tiles, or rounded; NULL: products read `data` */
} right_factor;

/* The sizes of op(b) (k,n). */
static inline int64_t right_rows(const right_factor *b)
{
    return b->transpose ? b->columns : b->rows;
}

static inline int64_t right_columns(const right_factor *b)
{
    return b->transpose ? b->rows : b->columns;
}

/* n numbers that lie one behind the other. */
typedef struct number_array {
    int64_t n;
    const float *data;
} number_array;

/* A parameter of n numbers with what AdamW knows of it. */
typedef struct adamw_arrays {
    int64_t n;
    const float *grad;
    float *parameter, *exp_avg, *exp_avg_sq;
    void *rounded; /* NULL, or where `rounds_parameters` is set its factor, to be made anew */
} adamw_arrays;

/* Where a gradient is written. */
typedef struct grad_target {
    float *data;     /* contiguous, in the shape of what it is of; NULL: no gradient is wanted */
    bool accumulate; /* add to what is there; otherwise overwrite */
} grad_target;

/*
 * Kernels of whole layers, between whose products only factors lie (see factor_bytes): what they
 * write is read where it lies, and never float32. Sums go over the rows, and may be NULL.
 */
typedef struct layer_kernels {
    /* y a factor; the rest as of layer_norm */
    void (*layer_norm)(int64_t rows, int64_t columns, double eps, const float *x,
                       const float *weight, const float *bias, void *y, float *statistics);
    /* as layer_norm_backward, where dy is a factor */
    int (*layer_norm_backward)(int64_t rows, int64_t columns, const float *x, const float *weight,
                               const float *statistics, const void *dy, const bool accumulate[3],
                               float *dx, float *dweight, float *dbias);
    /* u = a·op(b) + bias and h = gelu(u), as matmul_factor */
    int (*gelu_product)(int64_t m, const void *a, const right_factor *b, const void *bias, void *u,
                        void *h);
    /* du = a·op(b) ∘ the slopes of gelu at u */
    int (*gelu_product_backward)(int64_t m, const void *a, const right_factor *b, const void *u,
                                 void *du);
    /* y = onto + what dropout keeps of x, a factor */
    void (*dropout)(int64_t n, const dropout_draw *drawn, const void *x, const float *onto,
                    float *y);
    /* y = what dropout keeps of x, a factor, and the sums of that */
    int (*dropout_backward)(int64_t rows, int64_t columns, const dropout_draw *drawn,
                            const float *x, void *y, bool accumulate, float *sums);
    /* dropout, and at once the norm of what it gives: normed, a factor */
    void (*residual_norm)(int64_t rows, int64_t columns, const dropout_draw *drawn, const void *x,
                          const float *onto, double eps, const float *weight, const float *bias,
                          float *y, void *normed, float *statistics);
    /* Both backward: dy is onto and, by way of the norm, what dnormed, a factor, gives; dx, a
     * factor, is what dropout keeps of it. The sums are dweight, dbias and those of dx. */
    int (*residual_norm_backward)(int64_t rows, int64_t columns, const float *y,
                                  const float *weight, const float *statistics, const void *dnormed,
                                  const float *onto, const dropout_draw *drawn, float *dy, void *dx,
                                  const grad_target sums[3]);
} layer_kernels;

typedef struct backend {
    const device *memory;
    const char *(*description)(void); /* instruction set or card, for people */
    int64_t rows_at_a_time; /* of fused operators: what one kernel gives is near for the next */

    /* ---- matrix products ---- */

    /* The left factor is an array of `factor_bytes` per element: float32 as it is where `round` is
     * NULL, else what `round` makes of it. Rows of zeros fill it up to a multiple of `factor_rows`.
     */
    size_t factor_bytes;
    int64_t factor_rows;
    void (*round)(int64_t n, const float *x, void *factor);
    /* Makes b ready for products of so many rows: sets b->ready_form, which memory->release takes
     * back. b->data must stay as it is until the last of them. */
    int (*make_ready)(bool transpose_a, int64_t m, right_factor *b);
    bool ready_for_all; /* for products of all kinds: a weight's form is kept until it changes */
    /* c (m,n) = op(a)·op(b) + bias (n) or, if that is NULL, + (accumulate ? c : 0). Rows have no
     * gaps between them; b was made ready with the same transpose_a. */
    int (*matmul)(bool transpose_a, int64_t m, const void *a, const right_factor *b,
                  const float *bias, bool accumulate, float *c);
    /* The ready form of a parameter is just that, rounded: AdamW keeps it up to date, and the bias
     * of matmul_factor is given as a factor. */
    bool rounds_parameters;
    /* c = a·op(b) + bias, itself a factor: to keep, in half the memory, what is read but once more
     */
    int (*matmul_factor)(int64_t m, const void *a, const right_factor *b, const void *bias,
                         void *c);
    /* gelu(x) of a factor, a factor */
    void (*gelu_factor)(int64_t n, const void *x, void *y);
    /* For a factor x and dy (R,C), the gradient of gelu(x): y = gelu(x) and dx, both factors, and
     * the sums of dx over the rows, which are added to sums (C) if accumulate is set. dx may be x.
     */
    int (*gelu_factor_backward)(int64_t rows, int64_t columns, const void *x, const float *dy,
                                void *y, void *dx, bool accumulate, float *sums);
    /* As attention and attention_backward, where qkv (T,3C), y and dy (T,C) and dqkv, which is
     * overwritten, are factors. */
    int (*attention_factor)(const packed_shape *shape, const void *qkv, void *y, float *logsumexp);
    int (*attention_factor_backward)(const packed_shape *shape, const void *qkv, const void *y,
                                     const float *logsumexp, const void *dy, void *dqkv);
    /* The same where y was not kept: it is written once more. NULL: it has to be kept. */
    int (*attention_factor_backward_anew)(const packed_shape *shape, const void *qkv,
                                          const float *logsumexp, const void *dy, void *y,
                                          void *dqkv);
    int (*sum_rows_factor)(int64_t rows, int64_t columns, const void *x, bool accumulate, float *y);
    /* Row i of y is row ids[i] of x, and the other way round; rows of so many bytes, an even
     * number.
     */
    void (*pick_rows)(int64_t rows, int64_t bytes, const void *x, const int32_t *ids, void *y);
    void (*place_rows)(int64_t rows, int64_t bytes, const void *x, const int32_t *ids, void *y);

    /* ---- pointwise ---- */
    void (*unary)(unary_kind kind, int64_t n, const float *x, float *y);
    void (*unary_backward)(unary_kind kind, int64_t n, const float *x, const float *y,
                           const float *dy, bool accumulate, float *dx);
    void (*number_as_double)(const float *x, double *y); /* one; both on the device */
    /* y = scale·x + shift */
    void (*affine)(int64_t n, double scale, double shift, const float *x, bool accumulate,
                   float *y);
    void (*power)(int64_t n, double exponent, const float *x, float *y);
    void (*power_backward)(int64_t n, double exponent, const float *x, const float *dy,
                           bool accumulate, float *dx);
    /* arrays of the loop: a, b, y */
    void (*binary)(binary_kind kind, const strided_loop *loop, const float *a, const float *b,
                   float *y);
    /* dy · ∂y/∂a (which = 0) or dy · ∂y/∂b (which = 1) into d, in the shape of y */
    void (*binary_backward)(binary_kind kind, int which, const strided_loop *loop, const float *a,
                            const float *b, const float *dy, float *d);
    /* arrays of the loop: source, target; a target stride of 0 sums when accumulating */
    void (*strided_copy)(const strided_loop *loop, const float *source, bool accumulate,
                         float *target);
    /* y = onto + what is kept of x; onto may be y itself, or NULL for nothing. Element i of x is
     * number first + i of what the key decides about. */
    void (*dropout)(int64_t n, double p, icot_random_key key, int64_t first, const float *x,
                    const float *onto, float *y);

    /* ---- rows ---- */
    /* y = x + bias */
    void (*add_bias)(int64_t rows, int64_t columns, const float *x, const float *bias, float *y);
    int (*sum_rows)(int64_t rows, int64_t columns, const float *x, bool accumulate, float *y);
    /* (outer, n, inner) -> (outer, inner), times scale */
    void (*sum)(int64_t outer, int64_t n, int64_t inner, double scale, const float *x, float *y);
    void (*sum_backward)(int64_t outer, int64_t n, int64_t inner, double scale, const float *dy,
                         bool accumulate, float *dx);
    void (*softmax)(int64_t rows, int64_t columns, bool logarithm, const float *x, float *y);
    void (*softmax_backward)(int64_t rows, int64_t columns, bool logarithm, const float *y,
                             const float *dy, bool accumulate, float *dx);
    int (*argmax)(int64_t rows, int64_t columns, const float *x, int32_t *out); /* on the host */
    /* *count, in the device's memory: rows whose first largest element is in the column that
     * targets (R) says */
    int (*count_hits)(int64_t rows, int64_t columns, const float *x, const int32_t *targets,
                      double *count);

    /* ---- GPT-2 ---- */
    /* weight (V,C), ids (R) -> y (R,C); accumulate adds to y */
    void (*gather_rows)(int64_t rows, int64_t columns, const float *weight, const int32_t *ids,
                        bool accumulate, float *y);
    /* dweight (V,C); always adds */
    int (*scatter_rows)(int64_t rows, int64_t columns, const float *dy, const index_array *ids,
                        float *dweight);
    /* statistics (R,2): mean and 1/standard deviation of each row */
    void (*layer_norm)(int64_t rows, int64_t columns, double eps, const float *x,
                       const float *weight, const float *bias, float *y, float *statistics);
    /* each of dx, dweight, dbias may be NULL; accumulate[i] belongs to the ith of them */
    int (*layer_norm_backward)(int64_t rows, int64_t columns, const float *x, const float *weight,
                               const float *statistics, const float *dy, const bool accumulate[3],
                               float *dx, float *dweight, float *dbias);
    /*
     * qkv (T,3C) -> y (T,C); logsumexp (T,H) of the scores. Of each head, with scale = 1/√D, the
     * mask M of dropout (without it: ones), ∘ element by element, and what comes later masked out:
     *   P = softmax(scale·QKᵀ),  Y = (P∘M)V
     * Backward, where G = (dY Vᵀ)∘M and, of row i, δ_i = dY_i·Y_i, which is the same as P_i·G_i:
     *   dV = (P∘M)ᵀ dY,  dS = scale · P∘(G - δ),  dQ = dS K,  dK = dSᵀ Q
     */
    int (*attention)(const packed_shape *shape, const float *qkv, float *y, float *logsumexp);
    int (*attention_backward)(const packed_shape *shape, const float *qkv, const float *y,
                              const float *logsumexp, const float *dy, bool accumulate,
                              float *dqkv);
    /* Rows qkv (T,3C) are written to `rows` (P,3C), behind their past, and attend to both there. */
    int (*attention_past)(const packed_shape *shape, const past_rows *past, const float *qkv,
                          float *rows, float *y, float *logsumexp);
    /* Adds to drows (P,3C); what its rows that were written have got by then, here and before,
     * moves on to dqkv, if that has data, and is 0 from then on. */
    int (*attention_past_backward)(const packed_shape *shape, const past_rows *past,
                                   const float *rows, const float *y, const float *logsumexp,
                                   const float *dy, float *drows, grad_target dqkv);
    int (*attention_cached)(const packed_shape *shape, const float *qkv, const kv_cache *cache,
                            float *y);
    /* logits (R,V), targets (R) -> mean of the losses; logsumexp (R) */
    int (*cross_entropy)(int64_t rows, int64_t vocabulary, const float *logits,
                         const int32_t *targets, float *loss, float *logsumexp);
    void (*cross_entropy_backward)(int64_t rows, int64_t vocabulary, const float *logits,
                                   const int32_t *targets, const float *logsumexp,
                                   const float *dloss, bool accumulate, float *dlogits);

    const layer_kernels *layers; /* NULL: none in this precision */
    bool fuses_layers;           /* they are quicker than the operators that layers consist of */

    /* ---- optimizer ---- */
    /* *norm, in the device's memory: the 2-norm of all elements of all arrays */
    int (*norm)(int64_t count, const number_array *arrays, double *norm);
    int (*adamw)(int64_t count, const adamw_arrays *arrays, const icot_adamw_options *options);
} backend;

/* How precise the factors of matrix products are. */
typedef enum product_precision { IN_FLOAT32, IN_TF32, IN_BF16, PRECISIONS } product_precision;

/* That of a device ("cpu", "cuda") in a precision ("float32", "tf32", "bf16"); fails with what is
 * not known, or what the machine lacks for it. */
int backend_find(const char *name, const char *precision, const backend **out);

#endif
