/* cross_entropy: logits (R,V), targets (R) -> mean loss, a scalar. */
#include "autograd/operators/operators.h"
#include "base/error.h"

static int cross_entropy_prepare(node *n)
{
    const tensor *logits = n->inputs[0], *targets = n->inputs[1];
    if (logits->ndim != 2 || targets->ndim != 1 || logits->shape[0] != targets->shape[0] ||
        tensor_numel(logits) == 0) {
        return fail("cross_entropy: got logits %s and targets %s, expected (R,V) and (R), R > 0",
                    tensor_shape_text(logits), tensor_shape_text(targets));
    }
    if (node_check_ids(n, 1, "target", logits->shape[1])) return ICOT_FAILED;
    if (node_save(n, 0, logits->shape[0], 1)) return ICOT_FAILED;
    const shape scalar = {0};
    return node_output(n, &scalar);
}

static int cross_entropy_forward(node *n)
{
    const tensor *logits = n->inputs[0];
    index_array targets;
    if (tensor_indices(n->inputs[1], &targets)) return ICOT_FAILED;
    return kernels(n)->cross_entropy(logits->shape[0], logits->shape[1], tensor_floats(logits),
                                     targets.device, tensor_floats(n->output),
                                     tensor_floats(n->saved[0]));
}

static int cross_entropy_backward(node *n, tensor *grad)
{
    const tensor *logits = n->inputs[0];
    grad_target target;
    index_array targets;
    if (grad_of_input(n, 0, &target)) return ICOT_FAILED;
    if (!target.data) return ICOT_OK;
    if (tensor_indices(n->inputs[1], &targets)) return ICOT_FAILED;
    kernels(n)->cross_entropy_backward(logits->shape[0], logits->shape[1], tensor_floats(logits),
                                       targets.device, tensor_floats(n->saved[0]),
                                       tensor_floats(grad), target.accumulate, target.data);
    return ICOT_OK;
}

const operator_entry op_cross_entropy = {.name = "cross_entropy",
                                         .min_inputs = 2,
                                         .max_inputs = 2,
                                         .int32_inputs = 1u << 1,
                                         .prepare = cross_entropy_prepare,
                                         .forward = cross_entropy_forward,
                                         .backward = cross_entropy_backward};
