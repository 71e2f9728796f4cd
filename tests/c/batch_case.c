#include "batch_case.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

icot_corpus *corpus;
icot_batch *batch;

int set_up(void **state)
{
    (void)state;
    static const int32_t question[] = {10, 11, 12}, cot[] = {20, 21, 22, 23}, answer[] = {30, 31};
    static const int32_t long_cot[] = {40, 41, 42, 43, 44, 45, 46, 47, 48, 49};
    return icot_corpus_create(VOCAB, &corpus) || icot_batch_create(&batch) ||
           icot_corpus_append(corpus, question, 3, cot, 4, answer, 2) ||
           icot_corpus_append(corpus, question, 2, NULL, 0, answer, 1) ||
           icot_corpus_append(corpus, question, 1, cot, 1, answer, 1) ||
           icot_corpus_append(corpus, question, 2, long_cot, 10, answer, 2);
}

int tear_down(void **state)
{
    (void)state;
    icot_corpus_free(corpus);
    icot_batch_free(batch);
    return 0;
}

icot_removal no_removal(void)
{
    return (icot_removal){.smoothing = -1.0,
                          .remove_all_beyond = -1,
                          .eos = EOS,
                          .separator = SEPARATOR,
                          .pause = -1,
                          .key = {.seed = 7, .stream = ICOT_STREAM_OFFSET, .step = 3}};
}

void assert_ids(const int32_t *got, const int32_t *expected, int64_t n, const char *what)
{
    for (int64_t i = 0; i < n; i++) {
        if (got[i] != expected[i]) {
            fail_msg("%s %d: got %d, expected %d", what, (int)i, got[i], expected[i]);
        }
    }
}

void check_one(int64_t id, icot_removal removal, int64_t n, const int32_t *tokens,
               const int32_t *positions)
{
    assert_int_equal(icot_batch_pack(batch, corpus, &id, 1, &removal), 0);
    assert_int_equal(batch->n_tokens, n);
    assert_ids(batch->tokens, tokens, n, "token");
    assert_ids(batch->positions, positions, n, "position");
}

icot_removal third_first(void)
{
    static const int32_t ranks[] = {0, 0, 1, 1, 0, 2, 1, 3, 0, 2};
    static const int64_t starts[] = {0, 0, 1, 3, 6};
    icot_removal removal = no_removal();
    removal.side = ICOT_ORDERED;
    removal.ranks = ranks;
    removal.rank_starts = starts;
    removal.longest = 4;
    return removal;
}

icot_corpus *corpus_with_steps(void)
{
    const int32_t question[] = {10}, cot[] = {20, 21, 22, 23, 24, 25}, answer[] = {30};
    const int32_t ends[] = {2, 3, 6};
    icot_corpus *marked;
    assert_int_equal(icot_corpus_create(VOCAB, &marked), 0);
    assert_int_equal(icot_corpus_append(marked, question, 1, cot, 6, answer, 1), 0);
    assert_int_equal(icot_corpus_mark_steps(marked, ends, 3), 0);
    return marked;
}
