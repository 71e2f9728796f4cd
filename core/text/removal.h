/*
 * Removal: how many CoT tokens an example loses, and which positions the rest stands at.
 *
 * An example with q question and m CoT tokens is packed as
 *     question <eos> cot' <eos> #### answer <eos>
 * where cot' is the CoT without its first (left), last (right) or first in some order (ordered)
 * min(s + o, m) tokens. Of some examples, chosen at random, s is that of an earlier stage (replay).
 *
 * With a pause token (Goyal et al. 2024) each of these tokens is replaced by it instead: cot' has
 * all m places, and every token the position that it had. Or cot' begins with so many pauses for
 * each token, or step, that is to go: places where a model may go on in thought (Hao et al. 2024).
 */
#ifndef ICOT_TEXT_REMOVAL_H
#define ICOT_TEXT_REMOVAL_H

#include "icot.h"

#include <stdint.h>

enum { WITH_DRAWS = 1, WITHOUT_DRAWS = 0 };

/* Fails when a field is out of range; vocab_size bounds the ids of the separators. */
int removal_check(const icot_removal *removal, int64_t vocab_size);

/* Fails when m CoT tokens are more than the order of removal is there for. */
int removal_check_length(const icot_removal *removal, int64_t m);

/* Whether token i of m CoT tokens, of which `removed` go, is left. */
int removal_keeps(const icot_removal *removal, int64_t m, int64_t i, int64_t removed);

/* Whether a pause stands in the place of each token that goes. */
int removal_fills_places(const icot_removal *removal);

/* Pauses that cot' begins with instead, where `wanted` tokens, or steps, are to go. */
int64_t removal_leading_pauses(const icot_removal *removal, int64_t wanted);

/* CoT tokens that go before the first that is left; all m if none is. */
int32_t removal_before_first(const icot_removal *removal, int32_t m, int32_t removed);

/* CoT tokens of `count` of n steps, from the side that is cut; steps end at ends[0 … n-1]. */
int64_t removal_tokens_of_steps(const icot_removal *removal, int64_t count, const int32_t *ends,
                                int64_t n);

/*
 * CoT tokens, or steps, that are to go of the m that example k of the batch has, s + o; with or
 * without what is drawn for it.
 */
int64_t removal_wanted(const icot_removal *removal, int64_t k, int64_t m, int with_draws);

/* How many of its m go then. */
int64_t removal_count(const icot_removal *removal, int64_t m, int64_t wanted);

/* Position ids of the stretches of one packed sequence; inside a stretch they count up by one. */
typedef struct sequence_positions {
    int32_t question; /* always 0 */
    int32_t eos;      /* the separator between question and CoT */
    int32_t cot;      /* first CoT token that is left */
    int32_t rest;     /* the separator after the CoT, then #### answer <eos> */
} sequence_positions;

/*
 * Positions of an example of q question and m CoT tokens of which `removed` are gone; `leading`
 * pauses stand before what is left.
 */
sequence_positions removal_positions(const icot_removal *removal, int32_t q, int32_t m,
                                     int32_t removed, int32_t leading);

#endif
