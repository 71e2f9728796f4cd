/* Cutting: what removal leaves of one example's CoT, before anything is packed. */
#ifndef ICOT_TEXT_CUT_H
#define ICOT_TEXT_CUT_H

#include "icot.h"
#include "text/corpus.h"
#include "text/removal.h"

#include <stdint.h>

/* One example, cut: where its parts lie in the corpus and how long they are. */
typedef struct cut_example {
    example_bounds at;
    int32_t question, cot, answer; /* lengths in tokens, the CoT before the cut */
    int32_t removed;               /* CoT tokens that go */
    int32_t written;               /* tokens of the CoT as it is packed, pauses included */
    int32_t pauses;                /* that it begins with */
} cut_example;

/* Cuts example `id` of the corpus, the k-th of a batch, with or without what is drawn for it. */
int cut_example_of(const icot_corpus *corpus, int64_t id, int64_t k, const icot_removal *removal,
                   int with_draws, cut_example *out);

#endif
