/* What attention in training and in decoding both check: the sequences, packed end to end. */
#ifndef ICOT_AUTOGRAD_ATTENTION_INPUTS_H
#define ICOT_AUTOGRAD_ATTENTION_INPUTS_H

#include "autograd/operator.h"
#include "backend/backend.h"
#include "tensor/tensor.h"

/* qkv, of which the shape is enough, (T,3C), cu_seqlens (B+1) rising from 0 to T, heads a divisor
 * of C. */
int packed_check(const char *who, const shape *qkv, const tensor *cu_seqlens, int64_t heads);
int packed_shape_of(const shape *qkv, const tensor *cu_seqlens, int64_t heads, dropout_draw drawn,
                    packed_shape *out);

/* Of an operator that attends: index[0] is the number of heads, index[1] the first token, 0 if not
 * given, and number[0] the share of the attention weights that is dropped. */
int packed_check_parameters(const node *n);
int packed_shape_of_node(const node *n, const shape *qkv, int cu_seqlens, packed_shape *out);

#endif
