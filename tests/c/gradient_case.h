/* Cases of the gradient harness: an operator, its parameters, and what its inputs look like. */
#ifndef ICOT_TESTS_GRADIENT_CASE_H
#define ICOT_TESTS_GRADIENT_CASE_H

#include "icot.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum input_values {
    NO_INPUT,
    NORMAL,   /* standard normal */
    POSITIVE, /* 0.4 … 3, for logarithms, roots and powers */
    NONZERO,  /* the same with either sign: denominators, and functions with a kink at 0 */
    SHARP,    /* 4 × normal: saturates softmax, tanh and the like */
    SLIGHT,   /* normal / 8, as weights are that shall not saturate what comes behind */
    IDS,      /* int32, random below `limit` */
    STARTS,   /* int32, from 0 up by the given lengths */
    VALUE_KINDS
} input_values;

/* How a float input lies in memory. What is not its own is NaN there, so that a stray read shows.
 */
typedef enum input_layout {
    DENSE,
    REVERSED, /* dimensions in reverse order: a transposed matrix */
    PART,     /* a slice of the last dimension of something wider */
    REPEATED  /* the first dimension is expanded, stride 0 */
} input_layout;

typedef struct input_spec {
    input_values values;
    input_layout layout;
    int ndim;
    int64_t size[ICOT_MAX_DIMS];
    int64_t limit;          /* of IDS */
    const int64_t *lengths; /* of STARTS, size[0] - 1 of them */
} input_spec;

typedef struct gradient_case {
    const char *operator_name;
    icot_op_params params;
    bool same_input; /* the first input is given as the second one too: x + x */
    input_spec inputs[ICOT_MAX_INPUTS];
} gradient_case;

/* The table; *count is its length. */
const gradient_case *gradient_cases(int *count);

/* Name of an operator of the core's table that no case uses; NULL if there is none. */
const char *operator_without_case(const gradient_case *cases, int count);

#endif
