/*
 * attention: qkv (T,3C), cu_seqlens (B+1) -> (T,C); index[0] is the number of heads, number[0] the
 * share of the weights that is dropped. The key decides which, by a token's place: row + index[1]
 * (0 if not given).
 */
#include "autograd/attention_inputs.h"
#include "autograd/operators/operators.h"
#include "base/error.h"

static int attention_shape(const node *n, packed_shape *out)
{
    const shape qkv = tensor_shape(n->inputs[0]);
    return packed_shape_of_node(n, &qkv, 1, out);
}

static int attention_prepare(node *n)
{
    if (packed_check_parameters(n)) return ICOT_FAILED;
    const shape qkv = tensor_shape(n->inputs[0]);
    if (packed_check("attention", &qkv, n->inputs[1], n->params.index[0])) return ICOT_FAILED;
    if (node_save(n, 0, qkv.size[0], n->params.index[0])) return ICOT_FAILED;
    shape size = {.ndim = 2, .size = {qkv.size[0], qkv.size[1] / 3}};
    return node_output(n, &size);
}

static int attention_forward(node *n)
{
    packed_shape packed;
    if (attention_shape(n, &packed)) return ICOT_FAILED;
    return kernels(n)->attention(&packed, tensor_floats(n->inputs[0]), tensor_floats(n->output),
                                 tensor_floats(n->saved[0]));
}

static int attention_backward(node *n, tensor *grad)
{
    packed_shape packed;
    grad_target dqkv;
    if (attention_shape(n, &packed)) return ICOT_FAILED;
    if (grad_of_input(n, 0, &dqkv)) return ICOT_FAILED;
    if (!dqkv.data) return ICOT_OK;
    return kernels(n)->attention_backward(&packed, tensor_floats(n->inputs[0]),
                                          tensor_floats(n->output), tensor_floats(n->saved[0]),
                                          tensor_floats(grad), dqkv.accumulate, dqkv.data);
}

const operator_entry op_attention = {.name = "attention",
                                     .min_inputs = 2,
                                     .max_inputs = 2,
                                     .int32_inputs = 1u << 1,
                                     .prepare = attention_prepare,
                                     .forward = attention_forward,
                                     .backward = attention_backward};
