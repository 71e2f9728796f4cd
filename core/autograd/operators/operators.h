/* The operators, by file. Each is one entry of the table in table.c. */
#ifndef ICOT_AUTOGRAD_OPERATORS_H
#define ICOT_AUTOGRAD_OPERATORS_H

#include "autograd/operator.h"

/* pointwise.c */
extern const operator_entry op_add, op_sub, op_mul, op_div;
extern const operator_entry op_neg, op_exp, op_log, op_sqrt, op_tanh, op_sigmoid, op_relu, op_gelu;
extern const operator_entry op_affine, op_pow, op_dropout;

/* views.c */
extern const operator_entry op_reshape, op_permute, op_slice, op_expand, op_contiguous, op_concat;

/* reduce.c */
extern const operator_entry op_sum, op_mean, op_softmax, op_log_softmax;

/* products.c */
extern const operator_entry op_matmul, op_linear;

/* mlp.c, self_attention.c */
extern const operator_entry op_mlp, op_self_attention;

/* block.c */
extern const operator_entry op_block;

/* embedding.c */
extern const operator_entry op_embedding, op_token_position_embedding;

/* layer_norm.c, attention.c, attention_past.c, loss.c */
extern const operator_entry op_layer_norm, op_attention, op_attention_past, op_cross_entropy;

#endif
