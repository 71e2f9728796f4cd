/*
 * The MLP of a transformer block with its norm, dropout and residual (see layer.h):
 *
 *   mlp_layer  x (R, C), norm weight and bias (C), fc weight (F, C), fc bias (F), proj weight
 *              (C, F), proj bias (C) -> (R, C): x + dropout(gelu(normed·fcᵀ + fc bias)·projᵀ + …)
 *
 * number[0] is the norm's eps, number[1] the share that is dropped; the key decides which, from row
 * index[1] of its own on.
 */
#include "autograd/operators/layer.h"
#include "autograd/operators/operators.h"
#include "base/error.h"

enum { SAVED_HIDDEN = LAYER_SAVED }; /* gelu(first) */

static int mlp_layer_prepare(node *n)
{
    if (layer_prepare(n)) return ICOT_FAILED;
    const layer_shape s = layer_shape_of(n);
    if (s.first == s.inner) return factor_save(n, SAVED_HIDDEN, s.rows, s.inner);
    return fail("mlp_layer: got weights of %lld and %lld hidden channels, expected as many",
                (long long)s.first, (long long)s.inner);
}

/* first and hidden, in one product */
static int forward_hidden(node *n, const factor *hidden)
{
    const backend *k = kernels(n);
    ready_right weight = {0}, bias = {0};
    const int status = right_of_weight(n, n->inputs[FIRST_WEIGHT], &weight) ||
                       right_of_bias(n, n->inputs[FIRST_BIAS], &bias) ||
                       k->layers->gelu_product(
                           layer_shape_of(n).rows, factor_saved(n, SAVED_NORMED).data, &weight.b,
                           bias_of(&bias), factor_saved(n, SAVED_FIRST).data, hidden->data);
    right_done(k, &bias);
    right_done(k, &weight);
    return status ? ICOT_FAILED : ICOT_OK;
}

static int mlp_layer_forward(node *n)
{
    const factor hidden = factor_saved(n, SAVED_HIDDEN);
    layer_forward_norm(n);
    return forward_hidden(n, &hidden) || layer_forward_second(n, &hidden);
}

/* The gradient of first from that of the second product, d */
static int backward_hidden(node *n, const factor *d, factor *dfirst)
{
    const backend *k = kernels(n);
    const layer_shape s = layer_shape_of(n);
    ready_right weight = {0};
    const int status =
        factor_new(k, s.rows, s.first, dfirst) ||
        right_of_weight_backward(n, n->inputs[SECOND_WEIGHT], s.rows, &weight) ||
        k->layers->gelu_product_backward(s.rows, d->data, &weight.b,
                                         factor_saved(n, SAVED_FIRST).data, dfirst->data);
    right_done(k, &weight);
    return status ? ICOT_FAILED : ICOT_OK;
}

static int mlp_layer_backward(node *n, tensor *grad)
{
    const backend *k = kernels(n);
    const factor hidden = factor_saved(n, SAVED_HIDDEN);
    factor d = {0}, dfirst = {0};
    const int status = layer_backward_dropout(n, grad, &d) || backward_hidden(n, &d, &dfirst) ||
                       layer_backward_first(n, grad, &d, &hidden, &dfirst);
    factor_done(k, &dfirst);
    factor_done(k, &d);
    return status;
}

const operator_entry op_mlp_layer = {.name = "mlp_layer",
                                     .min_inputs = LAYER_INPUTS,
                                     .max_inputs = LAYER_INPUTS,
                                     .unread = UNREAD_OUTPUT,
                                     .prepare = mlp_layer_prepare,
                                     .forward = mlp_layer_forward,
                                     .backward = mlp_layer_backward};
