/*
 * Factors of matrix products, in the form in which the backend takes them: the left one float32 as
 * it is, or rounded into memory of its own; the right one made ready by `make_ready` (backend.h).
 */
#ifndef ICOT_AUTOGRAD_OPERATORS_FACTOR_H
#define ICOT_AUTOGRAD_OPERATORS_FACTOR_H

#include "autograd/operator.h"

/* ---- Left factors ---- */

typedef struct factor {
    void *data; /* elements of backend->factor_bytes each, row-major, without gaps */
    void *own;  /* what factor_done frees; NULL: data is a tensor's */
} factor;

/* A factor of the float32 numbers x (rows, columns); it may point to x itself. After a failure,
 * here and below, there is nothing to free. */
int factor_of(const backend *kernels, int64_t rows, int64_t columns, const float *x, factor *out);

/* Memory for a factor (rows, columns) that a kernel will fill; the rows behind it are cleared. */
int factor_new(const backend *kernels, int64_t rows, int64_t columns, factor *out);

/* Room for a factor in saved[which] of a node: a tensor of as many bytes, since all that the tape
 * keeps are tensors. */
int factor_save(node *n, int which, int64_t rows, int64_t columns);
factor factor_saved(const node *n, int which);

/* Clears the rows that fill the memory up behind the last one: sums over the rows read them. */
int factor_clear_rest(const backend *kernels, int64_t rows, int64_t columns, const factor *f);

/* Where a row of it begins. */
void *factor_row(const backend *kernels, const factor *f, int64_t columns, int64_t row);

void factor_done(const backend *kernels, factor *f); /* also for one that is all zeros */

/* ---- Right factors ---- */

typedef struct ready_right {
    right_factor b;
    bool kept; /* the form belongs to a weight, which frees it */
} ready_right;

/* A weight (out, in), ready for x·weightᵀ. Where the form will be read again, that is without
 * gradients, as in decoding, or if backward takes it too, the weight keeps it until it changes. */
int right_of_weight(const node *n, const tensor *weight, ready_right *out);

/* A bias (out) as matmul_factor takes it. */
int right_of_bias(const node *n, const tensor *bias, ready_right *out);
const void *bias_of(const ready_right *p);

/* A weight (out, in), ready for dy·weight, where dy has so many rows. */
int right_of_weight_backward(const node *n, const tensor *weight, int64_t rows, ready_right *out);

/* The gradient of input `which`, a weight (out, in): dyᵀ·x, both of so many rows. */
int weight_gradient(node *n, int which, int64_t rows, const factor *dy, const factor *x);

/* The gradient of input `which`, a bias (width): the sums of dy (rows, width) over the rows. */
int bias_gradient(node *n, int which, int64_t rows, int64_t width, const float *dy);
int bias_gradient_of_factor(node *n, int which, int64_t rows, int64_t width, const factor *dy);

/* Both gradients of x·weightᵀ, dy·weight and dyᵀ·x, where x is an input in float32. */
int product_gradients(node *n, int x, int weight, int64_t rows, const factor *dy);

void right_done(const backend *kernels, ready_right *p); /* also for one that is all zeros */

/* ---- Products of an input x in float32: x·weightᵀ + bias, as a factor ---- */

/* How many rows from `first` on are worked on together: few enough that what one product gives is
 * in the cache for the next. */
int64_t rows_together(const node *n, int64_t rows, int64_t first);

/* The first computes those rows; the second all rows, and makes the weight ready itself. */
int product_rows(node *n, int x, const ready_right *weight, int bias, int64_t first,
                 const factor *out);
int product_of_input(node *n, int x, int weight, int bias, const factor *out);

#endif
