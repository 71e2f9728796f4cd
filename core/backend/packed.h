/*
 * Sequences packed end to end, as attention takes them on every device: how they lie, and which of
 * its weights dropout drops.
 */
#ifndef ICOT_BACKEND_PACKED_H
#define ICOT_BACKEND_PACKED_H

#include "backend/dropout.h"
#include "base/both_sides.h"
#include "base/counting.h"
#include "icot.h"
#include "tensor/device.h"

#include <stdint.h>

/* Sequence b is rows cu_seqlens[b] … cu_seqlens[b+1]-1. */
typedef struct packed_shape {
    int64_t sequences;      /* B */
    int64_t channels;       /* C */
    int heads;              /* H */
    index_array cu_seqlens; /* (B+1) */
    dropout_draw drawn;     /* for the weights of the rows, numbered from `first` on; see below */
} packed_shape;

/*
 * Rows that were there before: sequence b begins in row starts[b] of an array of queries, keys and
 * values (P,3C), and has lengths[b] rows there; those that the packed_shape counts are its next
 * ones, and see both.
 */
typedef struct past_rows {
    index_array starts, lengths; /* (B) each */
} past_rows;

static inline int64_t longest_sequence(const packed_shape *packed)
{
    int64_t longest = 0;
    for (int64_t b = 0; b < packed->sequences; b++) {
        const int64_t length = packed->cu_seqlens.host[b + 1] - packed->cu_seqlens.host[b];
        longest = larger(longest, length);
    }
    return longest;
}

/* The same with the rows that were there before, of those with new ones. */
static inline int64_t longest_with_past(const packed_shape *packed, const past_rows *past)
{
    int64_t longest = 0;
    for (int64_t b = 0; b < packed->sequences; b++) {
        const int64_t asking = packed->cu_seqlens.host[b + 1] - packed->cu_seqlens.host[b];
        if (asking > 0) longest = larger(longest, past->lengths.host[b] + asking);
    }
    return longest;
}

/*
 * The key whose words decide about the weights that a query gives: word j about key j of its
 * sequence. Each (token, head) has one of its own: the number token · H + head goes to the upper
 * half of the step, which counts updates and stays small. `token` is the row's number in the whole
 * batch, so that a part of it draws what the whole would.
 */
static inline ON_BOTH_SIDES icot_random_key key_of_weights(icot_random_key key, uint32_t token,
                                                           uint32_t heads, uint32_t head)
{
    key.step |= (uint64_t)(token * heads + head) << 32;
    return key;
}

#endif
