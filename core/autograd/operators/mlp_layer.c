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

static int mlp_layer_prepare(node *n)
{
    if (layer_prepare(n)) return ICOT_FAILED;
    const layer_shape s = layer_shape_of(n);
    if (s.first == s.inner) return ICOT_OK;
    return fail("mlp_layer: got weights of %lld and %lld hidden channels, expected as many",
                (long long)s.first, (long long)s.inner);
}

static int mlp_layer_forward(node *n)
{
    const backend *k = kernels(n);
    const layer_shape s = layer_shape_of(n);
    factor hidden;
    if (layer_forward_first(n) || factor_new(k, s.rows, s.inner, &hidden)) return ICOT_FAILED;
    k->gelu_factor(s.rows * s.inner, factor_saved(n, SAVED_FIRST).data, hidden.data);
    const int status = layer_forward_second(n, &hidden);
    factor_done(k, &hidden);
    return status;
}

/* gelu(first) once more, and the gradient of first */
static int hidden_backward(node *n, const factor *dhidden, factor *hidden, factor *dfirst)
{
    const backend *k = kernels(n);
    const layer_shape s = layer_shape_of(n);
    grad_target dbias;
    if (grad_of_input(n, FIRST_BIAS, &dbias)) return ICOT_FAILED;
    if (factor_new(k, s.rows, s.inner, hidden) || factor_new(k, s.rows, s.inner, dfirst)) {
        return ICOT_FAILED;
    }
    return k->layers->gelu_backward(s.rows, s.inner, factor_saved(n, SAVED_FIRST).data,
                                    dhidden->data, hidden->data, dfirst->data, dbias.accumulate,
                                    dbias.data);
}

static int mlp_layer_backward(node *n, tensor *grad)
{
    const backend *k = kernels(n);
    factor d = {0}, dhidden = {0}, hidden = {0}, dfirst = {0};
    const int status = layer_backward_second(n, grad, &d, &dhidden) ||
                       hidden_backward(n, &dhidden, &hidden, &dfirst) ||
                       layer_backward_first(n, grad, &d, &hidden, &dfirst);
    factor_done(k, &dfirst);
    factor_done(k, &hidden);
    factor_done(k, &dhidden);
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
