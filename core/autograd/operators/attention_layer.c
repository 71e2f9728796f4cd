/*
 * The self-attention of a transformer block with its norm, dropout and residual (see layer.h):
 *
 *   attention_layer  x (T, C), norm weight and bias (C), c_attn weight (3C, C) and bias (3C),
 *                    c_proj weight (C, C) and bias (C), cu_seqlens (B+1), rows (R) or none ->
 *                    (T, C), or (R, C), only these rows, which ascend:
 *                    x + dropout(attention(normed·c_attnᵀ + …)·c_projᵀ + …)
 *
 * index[0] is the number of heads. number[0] is the norm's eps, number[1] the share of the result
 * that is dropped, number[2] that of the attention weights. The key decides which of the result,
 * from row index[1] of its own on, and with stream index[2] instead of its own which of the
 * weights, from token index[3] on.
 */
#include "autograd/operators/layer.h"
#include "autograd/operators/operators.h"
#include "autograd/packed.h"
#include "base/error.h"

enum { CU_SEQLENS = LAYER_INPUTS };
enum { SAVED_MIXED = LAYER_SAVED, SAVED_LOGSUMEXP };
enum { HEADS, WEIGHTS_STREAM = 2, FIRST_TOKEN /* index[…] */ };
enum { WEIGHTS_DROPOUT = LAYER_NUMBERS /* number[…] */ };

/* Of queries, keys and values, which have no tensor of their own. */
static shape qkv_shape(const node *n)
{
    const layer_shape s = layer_shape_of(n);
    return (shape){.ndim = 2, .size = {s.rows, s.first}};
}

static int shape_of(const node *n, packed_shape *out)
{
    const shape qkv = qkv_shape(n);
    if (packed_shape_of(&qkv, n->inputs[CU_SEQLENS], (int)n->params.index[HEADS], out)) {
        return ICOT_FAILED;
    }
    out->dropout = n->params.number[WEIGHTS_DROPOUT];
    out->key = n->params.key;
    out->key.stream = (uint32_t)n->params.index[WEIGHTS_STREAM];
    out->first_token = n->params.index[FIRST_TOKEN];
    return ICOT_OK;
}

static int attention_layer_prepare(node *n)
{
    if (n->params.n_index < 4 || n->params.index[FIRST_TOKEN] < 0) {
        return fail("attention_layer: expected the number of heads, a row, a stream and a token");
    }
    if (layer_prepare(n) || node_check_dropout(n, WEIGHTS_DROPOUT)) return ICOT_FAILED;
    const layer_shape s = layer_shape_of(n);
    if (s.first != 3 * s.width || s.inner != s.width) {
        return fail("attention_layer: got weights %s and %s, expected (3C, C) and (C, C)",
                    tensor_shape_text(n->inputs[FIRST_WEIGHT]),
                    tensor_shape_text(n->inputs[SECOND_WEIGHT]));
    }
    const shape qkv = qkv_shape(n);
    if (packed_check("attention_layer", &qkv, n->inputs[CU_SEQLENS], n->params.index[HEADS])) {
        return ICOT_FAILED;
    }
    const shape logsumexp = {.ndim = 2, .size = {s.rows, n->params.index[HEADS]}};
    if (factor_save(n, SAVED_MIXED, s.rows, s.inner)) return ICOT_FAILED;
    return tensor_new(n->engine, ICOT_FLOAT32, &logsumexp, &n->saved[SAVED_LOGSUMEXP]);
}

static int attention_layer_forward(node *n)
{
    packed_shape sequences;
    layer_forward_norm(n);
    if (shape_of(n, &sequences) || layer_forward_first(n)) return ICOT_FAILED;
    if (kernels(n)->attention_factor(&sequences, factor_saved(n, SAVED_FIRST).data,
                                     factor_saved(n, SAVED_MIXED).data,
                                     tensor_floats(n->saved[SAVED_LOGSUMEXP]))) {
        return ICOT_FAILED;
    }
    const factor mixed = factor_saved(n, SAVED_MIXED);
    return layer_forward_second(n, &mixed);
}

/* From the gradient of what attention gives to that of queries, keys and values. */
static int mixed_backward(node *n, const factor *dmixed, factor *dfirst)
{
    const backend *k = kernels(n);
    const layer_shape s = layer_shape_of(n);
    packed_shape sequences;
    if (shape_of(n, &sequences) || factor_new(k, s.rows, s.first, dfirst)) return ICOT_FAILED;
    return k->attention_factor_backward(
        &sequences, factor_saved(n, SAVED_FIRST).data, factor_saved(n, SAVED_MIXED).data,
        tensor_floats(n->saved[SAVED_LOGSUMEXP]), dmixed->data, dfirst->data);
}

static int attention_layer_backward(node *n, tensor *grad)
{
    const backend *k = kernels(n);
    const factor mixed = factor_saved(n, SAVED_MIXED);
    factor d = {0}, dmixed = {0}, dfirst = {0};
    const int status =
        layer_backward_dropout(n, grad, &d) || layer_backward_second(n, &d, &dmixed) ||
        mixed_backward(n, &dmixed, &dfirst) || layer_backward_first(n, grad, &d, &mixed, &dfirst);
    factor_done(k, &dfirst);
    factor_done(k, &dmixed);
    factor_done(k, &d);
    return status;
}

const operator_entry op_attention_layer = {.name = "attention_layer",
                                           .min_inputs = LAYER_INPUTS + 1,
                                           .max_inputs = LAYER_PICKED + 1,
                                           .int32_inputs = 1u << CU_SEQLENS | 1u << LAYER_PICKED,
                                           .unread = UNREAD_OUTPUT,
                                           .prepare = attention_layer_prepare,
                                           .forward = attention_layer_forward,
                                           .backward = attention_layer_backward};
