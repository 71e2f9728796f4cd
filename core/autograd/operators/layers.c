/*
 * What a GPT-2 is made of, beside linear and mlp.
 *
 * embedding: weight (V,C), ids (…) -> (…,C); also picks rows of any matrix.
 *
 * token_position_embedding: wte (V,C), wpe (P,C), tokens (T), positions (T) -> (T,C).
 *
 * layer_norm: x (…,C), weight (C), bias (C); number[0] is eps.
 *
 * attention: qkv (T,3C), cu_seqlens (B+1) -> (T,C); index[0] is the number of heads, number[0] the
 * share of the weights that is dropped. The key decides which, by a token's place: row + index[1]
 * (0 if not given).
 *
 * cross_entropy: logits (R,V), targets (R) -> mean loss, a scalar.
 */
#include "autograd/operators/operators.h"
#include "autograd/packed.h"
#include "base/error.h"

static int saved_tensor(node *n, int64_t rows, int64_t columns)
{
    shape size = {.ndim = 2, .size = {rows, columns}};
    return tensor_new(n->engine, ICOT_FLOAT32, &size, &n->saved[0]);
}

/* Every index must name a row: the kernels do not look. */
static int check_ids(const char *who, const char *what, const tensor *ids, int64_t count)
{
    const int32_t *id = tensor_ints(ids);
    for (int64_t i = 0, numel = tensor_numel(ids); i < numel; i++) {
        if (id[i] < 0 || id[i] >= count) {
            return fail("%s: %s %lld is %d, expected 0 to %lld", who, what, (long long)i, id[i],
                        (long long)count - 1);
        }
    }
    return ICOT_OK;
}

/* ---- embedding ------------------------------------------------------------------------------- */

static int embedding_prepare(node *n)
{
    const tensor *weight = n->inputs[0], *ids = n->inputs[1];
    if (weight->ndim != 2 || ids->ndim >= ICOT_MAX_DIMS) {
        return fail("embedding: got weight %s and ids %s, expected (rows, columns) and (...)",
                    tensor_shape_text(weight), tensor_shape_text(ids));
    }
    if (check_ids("embedding", "id", ids, weight->shape[0])) return ICOT_FAILED;
    shape size = tensor_shape(ids);
    size.size[size.ndim++] = weight->shape[1];
    return node_output(n, &size);
}

/* Rows of input `weight`, those that input `ids` names, to the output or, if told so, onto it. */
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
    if (check_ids("token_position_embedding", "token", tokens, wte->shape[0])) return ICOT_FAILED;
    if (check_ids("token_position_embedding", "position", positions, wpe->shape[0])) {
        return ICOT_FAILED;
    }
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

/* ---- layer norm ------------------------------------------------------------------------------ */

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
    if (saved_tensor(n, tensor_numel(x) / columns, 2)) return ICOT_FAILED;
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

/* ---- attention ------------------------------------------------------------------------------- */

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
    if (saved_tensor(n, qkv.size[0], n->params.index[0])) return ICOT_FAILED;
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

/* ---- loss ------------------------------------------------------------------------------------ */

static int cross_entropy_prepare(node *n)
{
    const tensor *logits = n->inputs[0], *targets = n->inputs[1];
    if (logits->ndim != 2 || targets->ndim != 1 || logits->shape[0] != targets->shape[0] ||
        tensor_numel(logits) == 0) {
        return fail("cross_entropy: got logits %s and targets %s, expected (R,V) and (R), R > 0",
                    tensor_shape_text(logits), tensor_shape_text(targets));
    }
    if (check_ids("cross_entropy", "target", targets, logits->shape[1])) return ICOT_FAILED;
    if (saved_tensor(n, logits->shape[0], 1)) return ICOT_FAILED;
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
