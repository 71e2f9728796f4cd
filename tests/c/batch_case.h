/* A small corpus and a batch, for the tests of what is cut and of how it is packed. */
#ifndef TESTS_BATCH_CASE_H
#define TESTS_BATCH_CASE_H

#include "icot.h"

#include <stdint.h>

enum { EOS = 0, SEPARATOR = 1, VOCAB = 100, PAUSE = VOCAB };

/* Examples 0 … 3: CoT of 4 tokens, no CoT, CoT of 1 token, and one with other lengths. */
extern icot_corpus *corpus;
extern icot_batch *batch;

/* Both are made and freed by these, to be given to cmocka. */
int set_up(void **state);
int tear_down(void **state);

/* Nothing is removed, and nothing drawn. */
icot_removal no_removal(void);
/* Of four CoT tokens the third goes first, then the first, the last, and the second. */
icot_removal third_first(void);
/* A corpus of one example of three steps: 20 21 | 22 | 23 24 25; to be freed. */
icot_corpus *corpus_with_steps(void);

void assert_ids(const int32_t *got, const int32_t *expected, int64_t n, const char *what);
/* Packs one example and compares its tokens and positions. */
void check_one(int64_t id, icot_removal removal, int64_t n, const int32_t *tokens,
               const int32_t *positions);

#define CHECK_ONE(id, removal, n, tokens, positions)                                               \
    check_one(id, removal, n, (const int32_t[n])tokens, (const int32_t[n])positions)
#define LIST(...)                                                                                  \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

#endif
