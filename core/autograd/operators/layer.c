#include "autograd/operators/layer.h"

#include "base/error.h"

layer_shape layer_shape_of(const node *n)
{
    const tensor *first = n->inputs[FIRST_WEIGHT], *second = n->inputs[SECOND_WEIGHT];
    return (layer_shape){.rows = n->inputs[LAYER_X]->shape[0],
                         .width = first->shape[1],
                         .first = first->shape[0],
                         .inner = second->shape[1],
                         .picked = picked_of(n, LAYER_PICKED, n->inputs[LAYER_X]->shape[0])};
}

/* ---- Before ---------------------------------------------------------------------------------- */

static int check_shapes(const node *n)
{
    tensor *const *in = n->inputs;
    const tensor *x = in[LAYER_X], *first = in[FIRST_WEIGHT], *second = in[SECOND_WEIGHT];
    const bool matrices = x->ndim == 2 && first->ndim == 2 && second->ndim == 2;
    const int64_t width = matrices ? x->shape[1] : 0;
    if (matrices && width > 0 && tensor_has_shape(in[NORM_WEIGHT], 1, width, 0) &&
        tensor_has_shape(in[NORM_BIAS], 1, width, 0) &&
        tensor_has_shape(first, 2, first->shape[0], width) &&
        tensor_has_shape(in[FIRST_BIAS], 1, first->shape[0], 0) &&
        tensor_has_shape(second, 2, width, second->shape[1]) &&
        tensor_has_shape(in[SECOND_BIAS], 1, width, 0)) {
        return ICOT_OK;
    }
    return fail("%s: got input %s and weights %s and %s, expected (R, C), (F, C) and (C, I) with "
                "biases (F) and (C) and a norm of (C)",
                n->op->name, tensor_shape_text(x), tensor_shape_text(first),
                tensor_shape_text(second));
}

static int check_parameters(const node *n)
{
    const double eps = n->params.number[LAYER_EPS];
    if (!(eps > 0.0)) return fail("%s: got eps = %g, expected more than 0", n->op->name, eps);
    if (node_check_dropout(n, LAYER_DROPOUT)) return ICOT_FAILED;
    if (n->params.index[LAYER_FIRST_ROW] < 0) {
        return fail("%s: got %lld as the first row, expected 0 or more", n->op->name,
                    (long long)n->params.index[LAYER_FIRST_ROW]);
    }
    return ICOT_OK;
}

int layer_prepare(node *n)
{
    if (!kernels(n)->layers) {
        return fail("%s: there are no kernels of layers for this device and precision",
                    n->op->name);
    }
    if (check_shapes(n) || check_parameters(n)) return ICOT_FAILED;
    const layer_shape s = layer_shape_of(n);
    const shape statistics = {.ndim = 2, .size = {s.rows, 2}};
    const shape size = {.ndim = 2, .size = {s.picked.count, s.width}};
    if (picked_check(n, LAYER_PICKED, s.rows) ||
        tensor_new(n->engine, ICOT_FLOAT32, &statistics, &n->saved[SAVED_STATISTICS]) ||
        factor_save(n, SAVED_NORMED, s.rows, s.width) ||
        factor_save(n, SAVED_FIRST, s.rows, s.first)) {
        return ICOT_FAILED;
    }
    return node_output(n, &size);
}

/* ---- Forward --------------------------------------------------------------------------------- */

/* left·weightᵀ + bias, of two inputs */
static int multiply(const node *n, int64_t rows, const factor *left, int weight, int bias,
                    const factor *out)
{
    const backend *k = kernels(n);
    ready_right right = {0}, added = {0};
    const int status = right_of_weight(n, n->inputs[weight], &right) ||
                       right_of_bias(n, n->inputs[bias], &added) ||
                       k->matmul_factor(rows, left->data, &right.b, bias_of(&added), out->data);
    right_done(k, &added);
    right_done(k, &right);
    return status ? ICOT_FAILED : ICOT_OK;
}

void layer_forward_norm(node *n)
{
    const layer_shape s = layer_shape_of(n);
    kernels(n)->layers->layer_norm(
        s.rows, s.width, n->params.number[LAYER_EPS], tensor_floats(n->inputs[LAYER_X]),
        tensor_floats(n->inputs[NORM_WEIGHT]), tensor_floats(n->inputs[NORM_BIAS]),
        factor_saved(n, SAVED_NORMED).data, tensor_floats(n->saved[SAVED_STATISTICS]));
}

int layer_forward_first(node *n)
{
    const factor normed = factor_saved(n, SAVED_NORMED), first = factor_saved(n, SAVED_FIRST);
    return multiply(n, layer_shape_of(n).rows, &normed, FIRST_WEIGHT, FIRST_BIAS, &first);
}

/* The number of the output's first element among those that the key decides about. */
static int64_t first_element(const node *n)
{
    return n->params.index[LAYER_FIRST_ROW] * n->output->shape[1];
}

/* y = x + dropout(product), of the rows that are picked */
static int add_onto_input(node *n, layer_shape s, const factor *product)
{
    const backend *k = kernels(n);
    const float *x;
    void *own;
    if (picked_take_floats(n, s.picked, s.width, tensor_floats(n->inputs[LAYER_X]), &x, &own)) {
        return ICOT_FAILED;
    }
    k->layers->dropout(s.picked.count * s.width, n->params.number[LAYER_DROPOUT], n->params.key,
                       first_element(n), product->data, x, tensor_floats(n->output));
    k->memory->release(own);
    return ICOT_OK;
}

int layer_forward_second(node *n, const factor *inner)
{
    const backend *k = kernels(n);
    const layer_shape s = layer_shape_of(n);
    factor left = {0}, product = {0};
    const int status = picked_take(n, s.picked, s.inner, inner, &left) ||
                       factor_new(k, s.picked.count, s.width, &product) ||
                       multiply(n, s.picked.count, &left, SECOND_WEIGHT, SECOND_BIAS, &product) ||
                       add_onto_input(n, s, &product);
    factor_done(k, &product);
    factor_done(k, &left);
    return status ? ICOT_FAILED : ICOT_OK;
}

/* ---- Backward -------------------------------------------------------------------------------- */

int layer_backward_dropout(node *n, const tensor *grad, factor *d)
{
    const backend *k = kernels(n);
    const layer_shape s = layer_shape_of(n);
    const int64_t rows = s.picked.count;
    grad_target dbias;
    if (grad_of_input(n, SECOND_BIAS, &dbias) || factor_new(k, rows, s.width, d)) {
        return ICOT_FAILED;
    }
    return k->layers->dropout_backward(rows, s.width, n->params.number[LAYER_DROPOUT],
                                       n->params.key, first_element(n), tensor_floats(grad),
                                       d->data, dbias.accumulate, dbias.data);
}

int layer_backward_second(node *n, const factor *d, factor *dinner)
{
    const backend *k = kernels(n);
    const layer_shape s = layer_shape_of(n);
    const int64_t rows = s.picked.count;
    ready_right weight = {0};
    const int status = factor_new(k, rows, s.inner, dinner) ||
                       right_of_weight_backward(n, n->inputs[SECOND_WEIGHT], rows, &weight) ||
                       k->matmul_factor(rows, d->data, &weight.b, NULL, dinner->data);
    right_done(k, &weight);
    return status ? ICOT_FAILED : picked_spread(n, s.picked, s.inner, dinner);
}

/* The sums of dfirst over the rows */
static int first_bias_backward(node *n, layer_shape s, const factor *dfirst)
{
    grad_target dbias;
    if (grad_of_input(n, FIRST_BIAS, &dbias)) return ICOT_FAILED;
    if (!dbias.data) return ICOT_OK;
    return kernels(n)->sum_rows_factor(s.rows, s.first, dfirst->data, dbias.accumulate, dbias.data);
}

/* The gradient of the second weight; inner is what layer_forward_second was given. */
static int second_weight_backward(node *n, layer_shape s, const factor *d, const factor *inner)
{
    factor right = {0};
    const int status = picked_take(n, s.picked, s.inner, inner, &right) ||
                       weight_gradient(n, SECOND_WEIGHT, s.picked.count, d, &right);
    factor_done(kernels(n), &right);
    return status ? ICOT_FAILED : ICOT_OK;
}

/* The gradient of x by way of the residual: grad, or where rows were picked, grad in these. */
static int residual_backward(node *n, layer_shape s, tensor *grad)
{
    const backend *k = kernels(n);
    const int64_t numel = s.rows * s.width;
    grad_target dx;
    void *spread;
    if (!s.picked.ids) return grad_hand_on(n, LAYER_X, grad);
    if (grad_of_input(n, LAYER_X, &dx)) return ICOT_FAILED;
    if (!dx.data) return ICOT_OK;
    if (!dx.accumulate) {
        return picked_spread_floats(n, s.picked, s.width, tensor_floats(grad), dx.data);
    }
    if (k->memory->allocate((size_t)numel * sizeof(float), &spread)) return ICOT_FAILED;
    const int status = picked_spread_floats(n, s.picked, s.width, tensor_floats(grad), spread);
    if (!status) k->affine(numel, 1.0, 0.0, spread, true, dx.data);
    k->memory->release(spread);
    return status;
}

/* The gradient of x by way of the norm, on top of that by way of the residual */
static int norm_backward(node *n, layer_shape s, const factor *dnormed)
{
    grad_target target[3];
    for (int i = 0; i < 3; i++) {
        if (grad_of_input(n, LAYER_X + i, &target[i])) return ICOT_FAILED;
    }
    const bool accumulate[3] = {target[0].accumulate, target[1].accumulate, target[2].accumulate};
    return kernels(n)->layers->layer_norm_backward(
        s.rows, s.width, tensor_floats(n->inputs[LAYER_X]), tensor_floats(n->inputs[NORM_WEIGHT]),
        tensor_floats(n->saved[SAVED_STATISTICS]), dnormed->data, accumulate, target[0].data,
        target[1].data, target[2].data);
}

int layer_backward_first(node *n, tensor *grad, const factor *d, const factor *inner,
                         const factor *dfirst)
{
    const backend *k = kernels(n);
    const layer_shape s = layer_shape_of(n);
    const factor normed = factor_saved(n, SAVED_NORMED);
    factor dnormed = {0};
    ready_right weight = {0};
    int status = ICOT_FAILED;
    if (second_weight_backward(n, s, d, inner)) goto done;
    if (first_bias_backward(n, s, dfirst)) goto done;
    if (weight_gradient(n, FIRST_WEIGHT, s.rows, dfirst, &normed)) goto done;
    if (factor_new(k, s.rows, s.width, &dnormed)) goto done;
    if (right_of_weight_backward(n, n->inputs[FIRST_WEIGHT], s.rows, &weight)) goto done;
    if (k->matmul_factor(s.rows, dfirst->data, &weight.b, NULL, dnormed.data)) goto done;
    if (residual_backward(n, s, grad) || norm_backward(n, s, &dnormed)) goto done;
    status = ICOT_OK;

done:
    right_done(k, &weight);
    factor_done(k, &dnormed);
    return status;
}
