/*
 * The gradient harness: one case against the oracle.
 *
 * The reference (float64) is made once per case and compared with every set of kernels. With
 * random weights w, f = Σ w·y; its gradient comes from differences of the oracle.
 */
#ifndef ICOT_TESTS_GRADIENT_CHECK_H
#define ICOT_TESTS_GRADIENT_CHECK_H

#include "autograd/operator.h"
#include "gradient_case.h"
#include "oracle.h"

typedef struct reference {
    int n_inputs;
    array inputs[ICOT_MAX_INPUTS]; /* values, exact in float32 */
    array y, weights;              /* the output; w, in its shape */
    double *mask;                  /* of dropout; NULL: none */
    int64_t n_samples[ICOT_MAX_INPUTS];
    int64_t *samples[ICOT_MAX_INPUTS]; /* elements whose gradient is known (all, if not many) */
    double *gradients[ICOT_MAX_INPUTS];
    double along[ICOT_MAX_INPUTS]; /* derivative along a direction in which all elements move */
} reference;

bool is_float_input(const gradient_case *c, int i);

/* NULL if the operator has no oracle. */
reference *reference_new(const gradient_case *c);
void reference_free(reference *r);
double direction_at(int input, int64_t i); /* of `along` */

enum { MESSAGE_BYTES = 300 };

/*
 * Checks forward, gradients written and added up, and that only those who ask get one. Returns
 * false, with the reason in `message`, as soon as something is wrong. `op` is what is checked: the
 * entry of the table, or one that a test of the harness itself made.
 */
bool gradient_check(const backend *kernels, const operator_entry *op, const gradient_case *c,
                    const reference *r, char message[MESSAGE_BYTES]);

#endif
