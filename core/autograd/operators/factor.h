/*
 * Factors of matrix products, in the form in which the backend takes them: float32 as it is, or
 * rounded into memory of its own. A weight's rounded form is kept beside it until it changes.
 */
#ifndef ICOT_AUTOGRAD_OPERATORS_FACTOR_H
#define ICOT_AUTOGRAD_OPERATORS_FACTOR_H

#include "autograd/operator.h"

typedef struct factor {
    void *data; /* elements of backend->factor_bytes each, row-major, without gaps */
    void *own;  /* what factor_done frees; NULL: the memory of a tensor */
} factor;

/* A factor from float32 numbers (rows, columns); it may stand on them. */
int factor_of(const backend *kernels, int64_t rows, int64_t columns, const float *x, factor *out);

/* A factor from a whole tensor of two dimensions that is read more often than it is written. */
int factor_of_weight(const backend *kernels, const tensor *weight, factor *out);

/* Memory for a factor (rows, columns) that a kernel will fill; the rows behind it are cleared. */
int factor_new(const backend *kernels, int64_t rows, int64_t columns, factor *out);

/* Where a row of it begins. */
void *factor_row(const backend *kernels, const factor *f, int64_t columns, int64_t row);

void factor_done(const backend *kernels, factor *f); /* also for one that is all zeros */

#endif
