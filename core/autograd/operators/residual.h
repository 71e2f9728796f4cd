/* What ends in a residual stream, as GPT-2's layers do: a product y = x·weightᵀ + bias + residual,
 * or dropout of one. */
#ifndef ICOT_AUTOGRAD_OPERATORS_RESIDUAL_H
#define ICOT_AUTOGRAD_OPERATORS_RESIDUAL_H

#include "autograd/operators/factor.h"

/* Input `which` is the residual, if there is one: it must have the shape of the output. */
int residual_check(const node *n, int which, const shape *output);

/* Rows `first` to first + rows of the node's output, (…, out): x (rows, in) is a factor, bias may
 * be NULL where there is no residual. */
int multiply_onto_residual(node *n, int which, int64_t first, int64_t rows, const factor *x,
                           const ready_right *weight, const float *bias);

#endif
