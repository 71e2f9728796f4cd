/* The sequences that attention takes, packed end to end: checks for training and for decoding. */
#ifndef ICOT_AUTOGRAD_ATTENTION_INPUTS_H
#define ICOT_AUTOGRAD_ATTENTION_INPUTS_H

#include "autograd/operator.h"
#include "backend/backend.h"
#include "tensor/tensor.h"

/* Fails unless qkv has a shape (T,3C), cu_seqlens (B+1) rises from 0 to T and heads divides C. */
int packed_check(const char *who, const shape *qkv, const tensor *cu_seqlens, int64_t heads);
int packed_shape_of(const shape *qkv, const tensor *cu_seqlens, int64_t heads, dropout_draw drawn,
                    packed_shape *out);

/* The parameters of an operator that attends (`attention`, `self_attention`). */
enum {
    INDEX_HEADS,      /* index[…]: the number of heads */
    INDEX_FIRST_TOKEN /* the first row's number among the tokens; 0 if not given */
};
enum { NUMBER_DROPPED }; /* number[…]: the share of attention weights that dropout drops */
int packed_check_parameters(const node *n);
int packed_shape_of_node(const node *n, const shape *qkv, int cu_seqlens, packed_shape *out);

#endif
