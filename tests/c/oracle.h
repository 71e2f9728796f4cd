/*
 * The slow oracle: what every operator of the core means, in float64 and without any trick.
 *
 * Nothing is shared with the core but the meaning of the parameters.
 */
#ifndef ICOT_TESTS_ORACLE_H
#define ICOT_TESTS_ORACLE_H

#include "array.h"

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

/* In oracle.c, for those there that are part of others. */
oracle oracle_gelu;

/* In oracle_layers.c. */
oracle oracle_softmax, oracle_log_softmax, oracle_matmul, oracle_linear, oracle_mlp;
oracle oracle_embedding, oracle_token_position_embedding, oracle_layer_norm;
oracle oracle_attention, oracle_attention_past, oracle_cross_entropy, oracle_self_attention;
oracle oracle_block;

/* Tokens of the longest sequence; starts (B+1) as in cu_seqlens. */
int64_t longest_of(const array *starts);

#endif
