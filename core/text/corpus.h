/*
 * Corpus: many examples as token ids, stored tightly, addressed by number.
 *
 * All tokens lie end to end in one array of 1, 2 or 4 bytes per token; a second array says where
 * each question, CoT and answer begins. A corpus only grows; it is never changed in place, so any
 * number of threads may read it once it is complete.
 */
#ifndef ICOT_TEXT_CORPUS_H
#define ICOT_TEXT_CORPUS_H

#include "icot.h"

#include <stdint.h>

/* Where the parts of one example lie, as indices into the tokens of the corpus. */
typedef struct example_bounds {
    int64_t question, cot, answer, end;
} example_bounds;

/* Number of ids the vocabulary has: ids are 0 … vocab_size-1. */
int64_t corpus_vocab_size(const icot_corpus *corpus);

/* The bounds of an example; fails when there is no example of that number. */
int corpus_bounds(const icot_corpus *corpus, int64_t index, example_bounds *out);

/* Copies tokens begin … end-1 of the corpus to out, widened to int32. */
void corpus_copy(const icot_corpus *corpus, int64_t begin, int64_t end, int32_t *out);

#endif
