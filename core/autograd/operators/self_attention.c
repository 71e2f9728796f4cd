/*
 * The self-attention of a transformer block, with the linear layers around it, as one operator:
 *
 *   self_attention  x (T, C), c_attn weight (3C, C) and bias (3C), c_proj weight (C, C) and bias
 *                   (C), cu_seqlens (B+1), residual (T, C) or none ->
 *                   (T, C): attention(x·c_attnᵀ + …)·c_projᵀ + … + residual
 *   the same        …, residual (R, C), rows (R) -> (R, C): c_proj only of these rows, which ascend
 *
 * Its parameters stand in attention_inputs.h; which attention weights are dropped is drawn by the
 * number of the token. Queries, keys and values are kept as factors, and so is what attention makes
 * of them, unless the backend computes it once more in backward.
 */
#include "autograd/attention_inputs.h"
#include "autograd/operators/factor.h"
#include "autograd/operators/operators.h"
#include "autograd/operators/picked.h"
#include "autograd/operators/residual.h"
#include "base/error.h"

enum { X, ATTN_WEIGHT, ATTN_BIAS, PROJ_WEIGHT, PROJ_BIAS, CU_SEQLENS, RESIDUAL, ROWS };
enum { SAVED_QKV, SAVED_LOGSUMEXP, SAVED_MIXED };

static int64_t rows_of(const node *n)
{
    return n->inputs[X]->shape[0];
}

static int64_t width_of(const node *n)
{
    return n->inputs[X]->shape[1];
}

/* The rows of the output. */
static picked_rows picked(const node *n)
{
    return picked_of(n, ROWS, rows_of(n));
}

/* The shape of queries, keys and values, which have no tensor of their own. */
static shape qkv_shape(const node *n)
{
    return (shape){.ndim = 2, .size = {rows_of(n), 3 * width_of(n)}};
}

static int sequences_of(const node *n, packed_shape *out)
{
    const shape qkv = qkv_shape(n);
    return packed_shape_of_node(n, &qkv, CU_SEQLENS, out);
}

/* ---- Before ---------------------------------------------------------------------------------- */

static int check_shapes(const node *n)
{
    tensor *const *in = n->inputs;
    const int64_t width = in[X]->ndim == 2 ? in[X]->shape[1] : 0;
    if (width > 0 && tensor_has_shape(in[ATTN_WEIGHT], 2, 3 * width, width) &&
        tensor_has_shape(in[ATTN_BIAS], 1, 3 * width, 0) &&
        tensor_has_shape(in[PROJ_WEIGHT], 2, width, width) &&
        tensor_has_shape(in[PROJ_BIAS], 1, width, 0)) {
        return ICOT_OK;
    }
    return fail("self_attention: got input %s and weights %s and %s, expected (T, C), (3C, C) and "
                "(C, C) with biases (3C) and (C)",
                tensor_shape_text(in[X]), tensor_shape_text(in[ATTN_WEIGHT]),
                tensor_shape_text(in[PROJ_WEIGHT]));
}

static int self_attention_prepare(node *n)
{
    if (check_shapes(n) || packed_check_parameters(n) || picked_check(n, ROWS, rows_of(n))) {
        return ICOT_FAILED;
    }
    const int64_t rows = rows_of(n), width = width_of(n), heads = n->params.index[INDEX_HEADS];
    const shape qkv = qkv_shape(n), size = {.ndim = 2, .size = {picked(n).count, width}};
    if (packed_check("self_attention", &qkv, n->inputs[CU_SEQLENS], heads) ||
        residual_check(n, RESIDUAL, &size) || factor_save(n, SAVED_QKV, rows, 3 * width) ||
        node_save(n, SAVED_LOGSUMEXP, rows, heads)) {
        return ICOT_FAILED;
    }
    const bool keeps = !kernels(n)->attention_factor_backward_anew;
    if (keeps && factor_save(n, SAVED_MIXED, rows, width)) return ICOT_FAILED;
    return node_output(n, &size);
}

/* ---- Forward --------------------------------------------------------------------------------- */

/* Memory for what attention makes of queries, keys and values: (T, C) */
static int mixed_new(const node *n, factor *out)
{
    if (!n->saved[SAVED_MIXED]) return factor_new(kernels(n), rows_of(n), width_of(n), out);
    *out = factor_saved(n, SAVED_MIXED);
    return ICOT_OK;
}

static int attend(node *n, factor *mixed)
{
    const factor qkv = factor_saved(n, SAVED_QKV);
    packed_shape sequences;
    if (product_of_input(n, X, ATTN_WEIGHT, ATTN_BIAS, &qkv) || sequences_of(n, &sequences) ||
        mixed_new(n, mixed)) {
        return ICOT_FAILED;
    }
    return kernels(n)->attention_factor(&sequences, qkv.data, mixed->data,
                                        tensor_floats(n->saved[SAVED_LOGSUMEXP]));
}

static int self_attention_forward_saved(node *n)
{
    factor mixed = {0};
    const int status = attend(n, &mixed);
    factor_done(kernels(n), &mixed);
    return status;
}

/* Replaces mixed (T, C) by those of its rows that are asked for. */
static int pick_rows(const node *n, factor *mixed)
{
    factor all = *mixed;
    if (!picked(n).ids) return ICOT_OK;
    const int status = picked_take(n, picked(n), width_of(n), &all, mixed);
    factor_done(kernels(n), &all);
    return status;
}

static int self_attention_forward(node *n)
{
    const backend *k = kernels(n);
    factor mixed = {0};
    ready_right weight = {0};
    const int status = attend(n, &mixed) || pick_rows(n, &mixed) ||
                       right_of_weight(n, n->inputs[PROJ_WEIGHT], &weight) ||
                       multiply_onto_residual(n, RESIDUAL, 0, picked(n).count, &mixed, &weight,
                                              tensor_floats(n->inputs[PROJ_BIAS]));
    right_done(k, &weight);
    factor_done(k, &mixed);
    return status;
}

/* ---- Backward -------------------------------------------------------------------------------- */

/* dmixed (T, C) = dy·c_proj, with zeros in the rows that were not asked for */
static int gradient_of_mixed(const node *n, const factor *dy, factor *dmixed)
{
    const backend *k = kernels(n);
    const int64_t rows = picked(n).count;
    ready_right weight;
    if (right_of_weight_backward(n, n->inputs[PROJ_WEIGHT], rows, &weight)) return ICOT_FAILED;
    const int status = factor_new(k, rows, width_of(n), dmixed) ||
                       k->matmul_factor(rows, dy->data, &weight.b, NULL, dmixed->data);
    right_done(k, &weight);
    return status || picked_spread(n, picked(n), width_of(n), dmixed);
}

/* dqkv, the gradient of queries, keys and values; and mixed, which attention made of them */
static int attend_backward(const node *n, const factor *dmixed, factor *mixed, factor *dqkv)
{
    const backend *k = kernels(n);
    const void *qkv = factor_saved(n, SAVED_QKV).data;
    const float *logsumexp = tensor_floats(n->saved[SAVED_LOGSUMEXP]);
    packed_shape sequences;
    if (sequences_of(n, &sequences) || mixed_new(n, mixed) ||
        factor_new(k, rows_of(n), 3 * width_of(n), dqkv)) {
        return ICOT_FAILED;
    }
    if (n->saved[SAVED_MIXED]) {
        return k->attention_factor_backward(&sequences, qkv, mixed->data, logsumexp, dmixed->data,
                                            dqkv->data);
    }
    return k->attention_factor_backward_anew(&sequences, qkv, logsumexp, dmixed->data, mixed->data,
                                             dqkv->data);
}

/* dqkv from dy, and the gradients of c_proj: dyᵀ·mixed and, of its bias, Σ_rows dy */
static int projection_backward(node *n, const tensor *grad, factor *dqkv)
{
    const backend *k = kernels(n);
    const int64_t rows = picked(n).count, width = width_of(n);
    const float *slopes = tensor_floats(grad);
    factor dy = {0}, dmixed = {0}, mixed = {0};
    int status = factor_of(k, rows, width, slopes, &dy) || gradient_of_mixed(n, &dy, &dmixed) ||
                 attend_backward(n, &dmixed, &mixed, dqkv);
    factor_done(k, &dmixed);
    status = status || pick_rows(n, &mixed) || weight_gradient(n, PROJ_WEIGHT, rows, &dy, &mixed);
    factor_done(k, &mixed);
    factor_done(k, &dy);
    return status ? ICOT_FAILED : bias_gradient(n, PROJ_BIAS, rows, width, slopes);
}

/* From dqkv, the gradients of c_attn and x */
static int qkv_backward(node *n, const factor *dqkv)
{
    const int64_t rows = rows_of(n), width = width_of(n);
    if (product_gradients(n, X, ATTN_WEIGHT, rows, dqkv)) return ICOT_FAILED;
    return bias_gradient_of_factor(n, ATTN_BIAS, rows, 3 * width, dqkv);
}

static int self_attention_backward(node *n, tensor *grad)
{
    factor dqkv = {0};
    const int status = projection_backward(n, grad, &dqkv) || qkv_backward(n, &dqkv);
    factor_done(kernels(n), &dqkv);
    if (status) return ICOT_FAILED;
    return n->n_inputs > RESIDUAL ? grad_hand_on(n, RESIDUAL, grad) : ICOT_OK;
}

const operator_entry op_self_attention = {.name = "self_attention",
                                          .min_inputs = 6,
                                          .max_inputs = 8,
                                          .int32_inputs = 1u << CU_SEQLENS | 1u << ROWS,
                                          .unread = UNREAD_OUTPUT,
                                          .prepare = self_attention_prepare,
                                          .forward = self_attention_forward,
                                          .forward_saved = self_attention_forward_saved,
                                          .backward = self_attention_backward};
