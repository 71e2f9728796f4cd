/* Operators that end in a residual stream, as GPT-2's layers do: y = x·weightᵀ + bias + residual,
 * or y = dropout(x) + residual. */
#ifndef ICOT_AUTOGRAD_OPERATORS_RESIDUAL_H
#define ICOT_AUTOGRAD_OPERATORS_RESIDUAL_H

#include "autograd/operators/factor.h"

/* Fails if there is a residual, input `which`, that does not have the shape of the output. */
int residual_check(const node *n, int which, const shape *output);

/* Computes so many rows of the output (…, out), from `first` on. x (rows, in) is a factor; bias may
 * be NULL where there is no residual. */
int multiply_onto_residual(node *n, int which, int64_t first, int64_t rows, const factor *x,
                           const ready_right *weight, const float *bias);

#endif
