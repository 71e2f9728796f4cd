/*
 * What the layers of a transformer block have in common: norm first, a linear layer, something of
 * their own, another linear layer, dropout, and the residual:
 *
 *   normed = layer_norm(x),  first = normed·first weightᵀ + first bias,  inner = f(first),
 *   y = x + dropout(inner·second weightᵀ + second bias)
 *
 * An operator may have an input that picks rows of y (see picked.h): then the second layer and all
 * behind it are only of these.
 *
 * x and y are float32, and so are all gradients of inputs; what the products are made of and what
 * they give, forward and backward, are factors.
 */
#ifndef ICOT_AUTOGRAD_OPERATORS_LAYER_H
#define ICOT_AUTOGRAD_OPERATORS_LAYER_H

#include "autograd/operators/factor.h"
#include "autograd/operators/picked.h"

enum {
    LAYER_X, /* (T, C) */
    NORM_WEIGHT,
    NORM_BIAS,     /* (C) */
    FIRST_WEIGHT,  /* (F, C) */
    FIRST_BIAS,    /* (F) */
    SECOND_WEIGHT, /* (C, I) */
    SECOND_BIAS,   /* (C) */
    LAYER_INPUTS,
    LAYER_PICKED = LAYER_INPUTS + 1 /* int32 (R), where an operator picks rows */
};
enum { SAVED_STATISTICS, SAVED_NORMED, SAVED_FIRST, LAYER_SAVED };

/* Of the parameters: number[LAYER_EPS] of the norm, number[LAYER_DROPOUT] the share that is
 * dropped, and index[LAYER_FIRST_ROW] the number of y's first row in the batch of the update. */
enum { LAYER_EPS, LAYER_DROPOUT, LAYER_NUMBERS };
enum { LAYER_FIRST_ROW = 1 };

typedef struct layer_shape {
    int64_t rows, width, first, inner; /* T, C, F, I */
    picked_rows picked;                /* of y: R of them, T where none are picked */
} layer_shape;

layer_shape layer_shape_of(const node *n);

/* Checks inputs and parameters, and makes the output and what LAYER_SAVED says. */
int layer_prepare(node *n);

/* normed, which is saved; first, which is, too; then, with inner (T, I), the output (R, C) */
void layer_forward_norm(node *n);
int layer_forward_first(node *n);
int layer_forward_second(node *n, const factor *inner);

/*
 * Backward, in this order: d (R, C) is the gradient of the second product, as a factor, and
 * dinner (T, I) that of its left side; then, once inner and the gradient of first are known, what
 * is left of both layers.
 */
int layer_backward_dropout(node *n, const tensor *grad, factor *d);
int layer_backward_second(node *n, const factor *d, factor *dinner);
int layer_backward_first(node *n, tensor *grad, const factor *d, const factor *inner,
                         const factor *dfirst);

#endif
