/* Arrays of float64 for the oracle: row-major, contiguous, ids and sequence starts included. */
#ifndef ICOT_TESTS_ARRAY_H
#define ICOT_TESTS_ARRAY_H

#include "icot.h"

#include <stdint.h>

typedef struct array {
    int ndim;
    int64_t size[ICOT_MAX_DIMS];
    double *at;
} array;

array array_zeros(int ndim, const int64_t *size);
array array_zeros_like(const array *x);
void array_free(array *x);

int64_t array_numel(const array *x);
int64_t array_rows(const array *x); /* all dimensions but the last */
int64_t array_columns(const array *x);
int array_dimension(int64_t given, int ndim); /* -1 is the last */

/* Row-major index -> index per dimension, and back. */
void array_unravel(const array *x, int64_t flat, int64_t index[ICOT_MAX_DIMS]);
int64_t array_ravel(const array *x, const int64_t index[ICOT_MAX_DIMS]);

/* The element of x that broadcasting puts at element `flat` of y. */
double array_broadcast_at(const array *x, const array *y, int64_t flat);

#endif
