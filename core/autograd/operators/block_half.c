/* What both halves of a transformer block do; see block.h. */
#include "autograd/operators/block.h"

#include "base/error.h"

/* ---- Before ---------------------------------------------------------------------------------- */

int half_check(const node *n, const char *name, const tensor *x, int parameters)
{
    tensor *const *in = n->inputs + parameters;
    const tensor *first = in[FIRST_WEIGHT], *second = in[SECOND_WEIGHT];
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
    return fail("%s, %s: got input %s and weights %s and %s, expected (R, C), (F, C) and (C, I) "
                "with biases (F) and (C) and a norm of (C)",
                n->op->name, name, tensor_shape_text(x), tensor_shape_text(first),
                tensor_shape_text(second));
}

int half_save(const block_half *h)
{
    return node_save(h->n, h->saved + STATISTICS, h->rows, 2) ||
           factor_save(h->n, h->saved + NORMED, h->rows, h->width) ||
           factor_save(h->n, h->saved + FIRST, h->rows, h->first) ||
           factor_save(h->n, h->saved + INNER, h->rows, h->inner);
}

/* ---- Forward --------------------------------------------------------------------------------- */

/* left·weightᵀ + bias */
static int multiply(const block_half *h, int64_t rows, const factor *left, int weight, int bias,
                    const factor *out)
{
    const node *n = h->n;
    const backend *k = kernels(n);
    ready_right right = {0}, added = {0};
    const int status = right_of_weight(n, n->inputs[half_input(h, weight)], &right) ||
                       right_of_bias(n, n->inputs[half_input(h, bias)], &added) ||
                       k->matmul_factor(rows, left->data, &right.b, bias_of(&added), out->data);
    right_done(k, &added);
    right_done(k, &right);
    return status ? ICOT_FAILED : ICOT_OK;
}

int half_first(const block_half *h)
{
    const factor normed = half_factor(h, NORMED), first = half_factor(h, FIRST);
    return multiply(h, h->rows, &normed, FIRST_WEIGHT, FIRST_BIAS, &first);
}

int half_product(const block_half *h, factor *product)
{
    const backend *k = kernels(h->n);
    const factor inner = half_factor(h, INNER);
    factor left = {0};
    const int status = picked_take(h->n, h->picked, h->inner, &inner, &left) ||
                       factor_new(k, h->picked.count, h->width, product) ||
                       multiply(h, h->picked.count, &left, SECOND_WEIGHT, SECOND_BIAS, product);
    factor_done(k, &left);
    return status ? ICOT_FAILED : ICOT_OK;
}

/* ---- Backward -------------------------------------------------------------------------------- */

int half_first_backward(const block_half *h, const factor *dfirst, factor *dnormed)
{
    node *n = h->n;
    const backend *k = kernels(n);
    const int weight = half_input(h, FIRST_WEIGHT);
    const factor normed = half_factor(h, NORMED);
    ready_right right = {0};
    const int status =
        bias_gradient_of_factor(n, half_input(h, FIRST_BIAS), h->rows, h->first, dfirst) ||
        weight_gradient(n, weight, h->rows, dfirst, &normed) ||
        factor_new(k, h->rows, h->width, dnormed) ||
        right_of_weight_backward(n, n->inputs[weight], h->rows, &right) ||
        k->matmul_factor(h->rows, dfirst->data, &right.b, NULL, dnormed->data);
    right_done(k, &right);
    return status ? ICOT_FAILED : ICOT_OK;
}

int half_inner_backward(const block_half *h, const factor *d, factor *dinner)
{
    node *n = h->n;
    const backend *k = kernels(n);
    const int64_t rows = h->picked.count;
    ready_right right = {0};
    const int status =
        factor_new(k, rows, h->inner, dinner) ||
        right_of_weight_backward(n, n->inputs[half_input(h, SECOND_WEIGHT)], rows, &right) ||
        k->matmul_factor(rows, d->data, &right.b, NULL, dinner->data);
    right_done(k, &right);
    return status ? ICOT_FAILED : picked_spread(n, h->picked, h->inner, dinner);
}

int half_second_weight_backward(const block_half *h, const factor *d)
{
    const factor inner = half_factor(h, INNER);
    factor right = {0};
    const int status =
        picked_take(h->n, h->picked, h->inner, &inner, &right) ||
        weight_gradient(h->n, half_input(h, SECOND_WEIGHT), h->picked.count, d, &right);
    factor_done(kernels(h->n), &right);
    return status ? ICOT_FAILED : ICOT_OK;
}
