#include "autograd/operators/operators.h"
#include "icot.h"

#include <stddef.h>
#include <string.h>

static const operator_entry *const table[] = {
    &op_add,           &op_sub,        &op_mul,
    &op_div,           &op_neg,        &op_exp,
    &op_log,           &op_sqrt,       &op_tanh,
    &op_sigmoid,       &op_relu,       &op_gelu,
    &op_affine,        &op_pow,        &op_dropout,
    &op_reshape,       &op_permute,    &op_slice,
    &op_expand,        &op_contiguous, &op_concat,
    &op_sum,           &op_mean,       &op_softmax,
    &op_log_softmax,   &op_matmul,     &op_linear,
    &op_mlp,           &op_embedding,  &op_token_position_embedding,
    &op_layer_norm,    &op_attention,  &op_attention_past,
    &op_cross_entropy, &op_block,      &op_self_attention,
};

int icot_operator_count(void)
{
    return (int)(sizeof table / sizeof *table);
}

const operator_entry *operator_at(int index)
{
    return index >= 0 && index < icot_operator_count() ? table[index] : NULL;
}

const char *icot_operator_name(int index)
{
    const operator_entry *op = operator_at(index);
    return op ? op->name : NULL;
}

int icot_operator_find(const char *name)
{
    for (int i = 0; i < icot_operator_count(); i++) {
        if (strcmp(table[i]->name, name) == 0) return i;
    }
    return -1;
}
