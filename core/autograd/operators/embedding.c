/*
 * Rows of matrices, by their numbers:
 *
 * embedding: weight (V,C), ids (…) -> (…,C); also picks rows of any matrix.
 *
 * token_position_embedding: wte (V,C), wpe (P,C), tokens (T), positions (T) -> (T,C).
 */
#include "autograd/operators/operators.h"
#include "base/error.h"

static int embedding_prepare(node *n)
{
    const tensor *weight = n->inputs[0], *ids = n->inputs[1];
    if (weight->ndim != 2 || ids->ndim >= ICOT_MAX_DIMS) {
        return fail("embedding: got weight %s and ids %s, expected (rows, columns) and (...)",
                    tensor_shape_text(weight), tensor_shape_text(ids));
    }
    if (node_check_ids(n, 1, "id", weight->shape[0])) return ICOT_FAILED;
    shape size = tensor_shape(ids);
    size.size[size.ndim++] = weight->shape[1];
    return node_output(n, &size);
}

/* Writes the rows of input `weight` that input `ids` names to the output, or adds them to it. */
static int gather_from(node *n, int weight, int ids, bool accumulate)
{
    index_array rows;
    if (tensor_indices(n->inputs[ids], &rows)) return ICOT_FAILED;
    kernels(n)->gather_rows(tensor_numel(n->inputs[ids]), n->inputs[weight]->shape[1],
                            tensor_floats(n->inputs[weight]), rows.device, accumulate,
                            tensor_floats(n->output));
    return ICOT_OK;
}

static int embedding_forward(node *n)
{
    return gather_from(n, 0, 1, false);
}

static int scatter_into(node *n, const tensor *grad, int weight, int ids)
{
    grad_target target;
    index_array rows;
    if (grad_of_input_cleared(n, weight, &target)) return ICOT_FAILED;
    if (!target.data) return ICOT_OK;
    if (tensor_indices(n->inputs[ids], &rows)) return ICOT_FAILED;
    return kernels(n)->scatter_rows(tensor_numel(n->inputs[ids]), n->inputs[weight]->shape[1],
                                    tensor_floats(grad), &rows, target.data);
}

static int embedding_backward(node *n, tensor *grad)
{
    return scatter_into(n, grad, 0, 1);
}

const operator_entry op_embedding = {.name = "embedding",
                                     .min_inputs = 2,
                                     .max_inputs = 2,
                                     .int32_inputs = 1u << 1,
                                     .unread = UNREAD_INPUTS | UNREAD_OUTPUT,
                                     .prepare = embedding_prepare,
                                     .forward = embedding_forward,
                                     .backward = embedding_backward};

static int token_position_prepare(node *n)
{
    const tensor *wte = n->inputs[0], *wpe = n->inputs[1];
    const tensor *tokens = n->inputs[2], *positions = n->inputs[3];
    if (wte->ndim != 2 || wpe->ndim != 2 || wte->shape[1] != wpe->shape[1]) {
        return fail("token_position_embedding: got wte %s and wpe %s, expected (V,C) and (P,C)",
                    tensor_shape_text(wte), tensor_shape_text(wpe));
    }
    if (tokens->ndim != 1 || positions->ndim != 1 || tokens->shape[0] != positions->shape[0]) {
        return fail("token_position_embedding: got tokens %s and positions %s, expected (T) twice",
                    tensor_shape_text(tokens), tensor_shape_text(positions));
    }
    if (node_check_ids(n, 2, "token", wte->shape[0])) return ICOT_FAILED;
    if (node_check_ids(n, 3, "position", wpe->shape[0])) return ICOT_FAILED;
    shape size = {.ndim = 2, .size = {tokens->shape[0], wte->shape[1]}};
    return node_output(n, &size);
}

static int token_position_forward(node *n)
{
    if (gather_from(n, 0, 2, false)) return ICOT_FAILED; /* the token's row, */
    return gather_from(n, 1, 3, true);                   /* the position's on top */
}

static int token_position_backward(node *n, tensor *grad)
{
    if (scatter_into(n, grad, 0, 2)) return ICOT_FAILED;
    return scatter_into(n, grad, 1, 3);
}

const operator_entry op_token_position_embedding = {.name = "token_position_embedding",
                                                    .min_inputs = 4,
                                                    .max_inputs = 4,
                                                    .int32_inputs = 1u << 2 | 1u << 3,
                                                    .unread = UNREAD_INPUTS | UNREAD_OUTPUT,
                                                    .prepare = token_position_prepare,
                                                    .forward = token_position_forward,
                                                    .backward = token_position_backward};
