/*
 * Byte-pair encoding of one word (Sennrich et al. 2016): its bytes become tokens, then of all
 * merges that two neighbours allow the best is done, the leftmost first, until there is none.
 */
#ifndef ICOT_TEXT_BPE_H
#define ICOT_TEXT_BPE_H

#include "text/merge_table.h"

#include <stdint.h>

/*
 * Candidates, the best on top. Each is one number, rank << 32 | place of the left token, so that
 * the smaller is the better. One that a merge beside it made void stays until it comes up.
 */
typedef struct bpe_heap {
    uint64_t *items; /* (capacity), the first `count` in use */
    int64_t count, capacity;
} bpe_heap;

/* Scratch memory of the encoding, which grows to the longest word; zeros to begin with. */
typedef struct bpe_scratch {
    struct bpe_symbol *symbols; /* (capacity) */
    int64_t capacity;
    bpe_heap candidates;
} bpe_scratch;

void bpe_scratch_free(bpe_scratch *scratch);

/*
 * Writes the tokens of a word to out and their number to *count: at most one per byte.
 *   byte_ids  (256) token of each byte
 * A word of n bytes takes O(n log n) time.
 */
int bpe_encode(bpe_scratch *scratch, const merge_table *merges, const int32_t *byte_ids,
               const char *word, int64_t bytes, int32_t *out, int64_t *count);

#endif
