/*
 * attention: qkv (T,3C), cu_seqlens (B+1) -> (T,C). Its parameters stand in attention_inputs.h;
 * which attention weights are dropped is drawn by the number of the token.
 */
#include "autograd/attention_inputs.h"
#include "autograd/operators/operators.h"
#include "base/error.h"

enum { QKV, CU_SEQLENS };
enum { SAVED_LOGSUMEXP };

static int attention_shape(const node *n, packed_shape *out)
{
    const shape qkv = tensor_shape(n->inputs[QKV]);
    return packed_shape_of_node(n, &qkv, CU_SEQLENS, out);
}

static int attention_prepare(node *n)
{
    if (packed_check_parameters(n)) return ICOT_FAILED;
    const shape qkv = tensor_shape(n->inputs[QKV]);
    const int64_t heads = n->params.index[INDEX_HEADS];
    if (packed_check("attention", &qkv, n->inputs[CU_SEQLENS], heads)) return ICOT_FAILED;
    if (node_save(n, SAVED_LOGSUMEXP, qkv.size[0], heads)) return ICOT_FAILED;
    shape size = {.ndim = 2, .size = {qkv.size[0], qkv.size[1] / 3}};
    return node_output(n, &size);
}

static int attention_forward(node *n)
{
    packed_shape packed;
    if (attention_shape(n, &packed)) return ICOT_FAILED;
    return kernels(n)->attention(&packed, tensor_floats(n->inputs[QKV]), tensor_floats(n->output),
                                 tensor_floats(n->saved[SAVED_LOGSUMEXP]));
}

static int attention_backward(node *n, tensor *grad)
{
    packed_shape packed;
    grad_target dqkv;
    if (attention_shape(n, &packed)) return ICOT_FAILED;
    if (grad_of_input(n, QKV, &dqkv)) return ICOT_FAILED;
    if (!dqkv.data) return ICOT_OK;
    return kernels(n)->attention_backward(
        &packed, tensor_floats(n->inputs[QKV]), tensor_floats(n->output),
        tensor_floats(n->saved[SAVED_LOGSUMEXP]), tensor_floats(grad), dqkv.accumulate, dqkv.data);
}

const operator_entry op_attention = {.name = "attention",
                                     .min_inputs = 2,
                                     .max_inputs = 2,
                                     .int32_inputs = 1u << CU_SEQLENS,
                                     .prepare = attention_prepare,
                                     .forward = attention_forward,
                                     .backward = attention_backward};
