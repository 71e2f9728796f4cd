/*
 * A transformer block of GPT-2 as one operator:
 *
 *   mid = x + dropout(c_proj(attention(c_attn(ln_1(x)))))
 *   y = mid + dropout(c_proj(gelu(c_fc(ln_2(mid)))))
 *
 * Its halves have most in common: a norm, a linear layer, something of their own, a second linear
 * layer, dropout and the residual:
 *
 *   normed = norm(x),  first = normed·first weightᵀ + first bias,  inner = f(first),
 *   product = inner·second weightᵀ + second bias,  y = x + dropout(product)
 *
 * x, mid, y and all gradients of inputs are float32; what the products are made of and what they
 * give, forward and backward, are factors. Where the first half ends and the second begins, one
 * kernel does what is to be done for each row.
 */
#ifndef ICOT_AUTOGRAD_OPERATORS_BLOCK_H
#define ICOT_AUTOGRAD_OPERATORS_BLOCK_H

#include "autograd/operators/factor.h"
#include "autograd/operators/picked.h"

/* The parameters of a half, in the order in which they are inputs. */
enum {
    NORM_WEIGHT,
    NORM_BIAS,     /* (C) */
    FIRST_WEIGHT,  /* (F, C) */
    FIRST_BIAS,    /* (F) */
    SECOND_WEIGHT, /* (C, I) */
    SECOND_BIAS,   /* (C) */
    HALF_PARAMETERS
};

/* What a half saves: mean and 1/standard deviation of each row, and three factors. */
enum { STATISTICS, NORMED, FIRST, INNER, HALF_SAVED };

/* One half of an application of the operator. */
typedef struct block_half {
    node *n;
    int parameters, saved;       /* where its own begin, among the inputs and what is saved */
    int64_t rows;                /* of x, normed, first, inner: attention's T, the MLP's R */
    int64_t width, first, inner; /* C, F, I */
    picked_rows picked;          /* rows of product and y: R, of attention's T */
    double eps;
    dropout_draw drawn; /* for the product */
} block_half;

static inline int half_input(const block_half *h, int parameter)
{
    return h->parameters + parameter;
}

static inline factor half_factor(const block_half *h, int which)
{
    return factor_saved(h->n, h->saved + which);
}

/* Fails unless x is (T, C) and the parameters have the shapes given above; to be called before the
 * sizes of a half are read. */
int half_check(const node *n, const char *name, const tensor *x, int parameters);
/* Makes the tensors that a half saves. */
int half_save(const block_half *h);

/* ---- Forward ---- */

/* first, of normed, which is there */
int half_first(const block_half *h);

/* product (R, C), of inner, which is there */
int half_product(const block_half *h, factor *product);

/* ---- Backward ---- */

/* The gradients of the first layer's parameters, and dnormed (T, C), from that of first. */
int half_first_backward(const block_half *h, const factor *dfirst, factor *dnormed);

/* From d (R, C), the gradient of product: dinner (T, I); the gradient of the second weight. */
int half_inner_backward(const block_half *h, const factor *d, factor *dinner);
int half_second_weight_backward(const block_half *h, const factor *d);

#endif
