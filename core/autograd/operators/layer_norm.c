/* layer_norm: x (…,C), weight (C), bias (C) -> (…,C); number[0] is eps. */
#include "autograd/operators/operators.h"
#include "base/error.h"

static int layer_norm_prepare(node *n)
{
    const tensor *x = n->inputs[0];
    int64_t columns = x->ndim ? x->shape[x->ndim - 1] : 0;
    for (int i = 1; i < 3; i++) {
        if (columns == 0 || n->inputs[i]->ndim != 1 || n->inputs[i]->shape[0] != columns) {
            return fail("layer_norm: got input %s, weight %s and bias %s, expected (..., C), (C) "
                        "and (C)",
                        tensor_shape_text(x), tensor_shape_text(n->inputs[1]),
                        tensor_shape_text(n->inputs[2]));
        }
    }
    if (!(n->params.number[0] > 0.0)) {
        return fail("layer_norm: got eps = %g, expected more than 0", n->params.number[0]);
    }
    if (node_save(n, 0, tensor_numel(x) / columns, 2)) return ICOT_FAILED;
    return node_output_like(n, x);
}

static int layer_norm_forward(node *n)
{
    int64_t columns = n->inputs[1]->shape[0];
    kernels(n)->layer_norm(tensor_numel(n->output) / columns, columns, n->params.number[0],
                           tensor_floats(n->inputs[0]), tensor_floats(n->inputs[1]),
                           tensor_floats(n->inputs[2]), tensor_floats(n->output),
                           tensor_floats(n->saved[0]));
    return ICOT_OK;
}

static int layer_norm_backward(node *n, tensor *grad)
{
    int64_t columns = n->inputs[1]->shape[0];
    grad_target target[3];
    for (int i = 0; i < 3; i++) {
        if (grad_of_input(n, i, &target[i])) return ICOT_FAILED;
    }
    const bool accumulate[3] = {target[0].accumulate, target[1].accumulate, target[2].accumulate};
    return kernels(n)->layer_norm_backward(
        tensor_numel(grad) / columns, columns, tensor_floats(n->inputs[0]),
        tensor_floats(n->inputs[1]), tensor_floats(n->saved[0]), tensor_floats(grad), accumulate,
        target[0].data, target[1].data, target[2].data);
}

const operator_entry op_layer_norm = {.name = "layer_norm",
                                      .min_inputs = 3,
                                      .max_inputs = 3,
                                      .cheap = true,
                                      .unread = UNREAD_OUTPUT,
                                      .prepare = layer_norm_prepare,
                                      .forward = layer_norm_forward,
                                      .backward = layer_norm_backward};
