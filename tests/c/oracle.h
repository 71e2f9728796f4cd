/*
 * The slow oracle: what every operator of the core means, in float64 and without any trick.
 *
 * Arrays are row-major and contiguous; ids and sequence starts are kept as float64 too, which holds
 * every int32 exactly. Nothing here is shared with the core but the meaning of the parameters.
 */
#ifndef ICOT_TESTS_ORACLE_H
#define ICOT_TESTS_ORACLE_H

#include "icot.h"

#include <stdint.h>

typedef struct array {
    int ndim;
    int64_t size[ICOT_MAX_DIMS];
    double *at;
} array;

int64_t array_numel(const array *x);
array array_zeros(int ndim, const int64_t *size);
void array_free(array *x);

/* One application of an operator. */
typedef struct oracle_call {
    const array *inputs;
    int n_inputs;
    const icot_op_params *params;
    const double *mask; /* of dropout: factor on every element (attention: see there); or NULL */
} oracle_call;

/* Makes and computes the output. */
typedef array oracle(const oracle_call *call);

oracle *oracle_find(const char *operator_name); /* NULL: there is none */

/* Tokens of the longest sequence; starts (B+1) as in cu_seqlens. */
int64_t longest_of(const array *starts);

#endif
