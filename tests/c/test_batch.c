/* Batches: what is cut, how it is packed, which positions and targets it has. */
#include "base/random.h"
#include "icot.h"
#include "text/removal.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { EOS = 0, SEPARATOR = 1, VOCAB = 100 };

static icot_corpus *corpus;
static icot_batch *batch;

/* Examples 0 … 3: CoT of 4 tokens, no CoT, CoT of 1 token, and one with other lengths. */
static int set_up(void **state)
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

static int tear_down(void **state)
{
    (void)state;
    icot_corpus_free(corpus);
    icot_batch_free(batch);
    return 0;
}

static icot_removal no_removal(void)
{
    return (icot_removal){.smoothing = -1.0,
                          .remove_all_beyond = -1,
                          .eos = EOS,
                          .separator = SEPARATOR,
                          .key = {.seed = 7, .stream = ICOT_STREAM_OFFSET, .step = 3}};
}

static void assert_ids(const int32_t *got, const int32_t *expected, int64_t n, const char *what)
{
    for (int64_t i = 0; i < n; i++) {
        if (got[i] != expected[i]) {
            fail_msg("%s %d: got %d, expected %d", what, (int)i, got[i], expected[i]);
        }
    }
}

static void assert_fails_with(int rc, const char *expected)
{
    assert_int_not_equal(rc, 0);
    if (!strstr(icot_last_error(), expected)) {
        fail_msg("got the message '%s', expected one with '%s'", icot_last_error(), expected);
    }
}

/* Packs one example and compares its tokens and positions. */
static void check_one(int64_t id, icot_removal removal, int64_t n, const int32_t *tokens,
                      const int32_t *positions)
{
    assert_int_equal(icot_batch_pack(batch, corpus, &id, 1, &removal), 0);
    assert_int_equal(batch->n_tokens, n);
    assert_ids(batch->tokens, tokens, n, "token");
    assert_ids(batch->positions, positions, n, "position");
}

#define CHECK_ONE(id, removal, n, tokens, positions)                                               \
    check_one(id, removal, n, (const int32_t[n])tokens, (const int32_t[n])positions)
#define LIST(...)                                                                                  \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

/* ---- Removal and positions ------------------------------------------------------------------- */

static void test_whole_sequence(void **state)
{
    (void)state;
    for (int kept = 0; kept < 2; kept++) {
        icot_removal removal = no_removal();
        removal.positions = kept ? ICOT_KEPT : ICOT_CLOSED_UP;
        CHECK_ONE(0, removal, 13, LIST(10, 11, 12, 0, 20, 21, 22, 23, 0, 1, 30, 31, 0),
                  LIST(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12));
        CHECK_ONE(1, removal, 7, LIST(10, 11, 0, 0, 1, 30, 0), LIST(0, 1, 2, 3, 4, 5, 6));
    }
}

static void test_left_closed_up(void **state)
{
    (void)state;
    icot_removal removal = no_removal();
    removal.removed = 3;
    CHECK_ONE(0, removal, 10, LIST(10, 11, 12, 0, 23, 0, 1, 30, 31, 0),
              LIST(0, 1, 2, 3, 4, 5, 6, 7, 8, 9));
}

static void test_left_kept(void **state)
{
    (void)state;
    icot_removal removal = no_removal();
    removal.positions = ICOT_KEPT;
    removal.removed = 3; /* the <eos> moves from 3 to 6, right before the token that stays at 7 */
    CHECK_ONE(0, removal, 10, LIST(10, 11, 12, 0, 23, 0, 1, 30, 31, 0),
              LIST(0, 1, 2, 6, 7, 8, 9, 10, 11, 12));
    removal.removed = 4; /* all gone: it stands right before the second <eos> */
    CHECK_ONE(0, removal, 9, LIST(10, 11, 12, 0, 0, 1, 30, 31, 0),
              LIST(0, 1, 2, 7, 8, 9, 10, 11, 12));
}

static void test_right_closed_up(void **state)
{
    (void)state;
    icot_removal removal = no_removal();
    removal.side = ICOT_RIGHT;
    removal.removed = 3;
    CHECK_ONE(0, removal, 10, LIST(10, 11, 12, 0, 20, 0, 1, 30, 31, 0),
              LIST(0, 1, 2, 3, 4, 5, 6, 7, 8, 9));
}

static void test_right_kept(void **state)
{
    (void)state;
    icot_removal removal = no_removal();
    removal.side = ICOT_RIGHT;
    removal.positions = ICOT_KEPT;
    removal.removed = 3; /* the token before the cut is no separator: nothing moves */
    CHECK_ONE(0, removal, 10, LIST(10, 11, 12, 0, 20, 0, 1, 30, 31, 0),
              LIST(0, 1, 2, 3, 4, 8, 9, 10, 11, 12));
    removal.removed = 4;
    CHECK_ONE(0, removal, 9, LIST(10, 11, 12, 0, 0, 1, 30, 31, 0),
              LIST(0, 1, 2, 7, 8, 9, 10, 11, 12));
}

/* Of four CoT tokens the third goes first, then the first, the last, and the second. */
static icot_removal third_first(void)
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

static void test_ordered(void **state)
{
    (void)state;
    icot_removal removal = third_first();
    CHECK_ONE(0, removal, 13, LIST(10, 11, 12, 0, 20, 21, 22, 23, 0, 1, 30, 31, 0),
              LIST(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12));
    removal.removed = 1;
    CHECK_ONE(0, removal, 12, LIST(10, 11, 12, 0, 20, 21, 23, 0, 1, 30, 31, 0),
              LIST(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11));
    removal.removed = 3;
    CHECK_ONE(0, removal, 10, LIST(10, 11, 12, 0, 21, 0, 1, 30, 31, 0),
              LIST(0, 1, 2, 3, 4, 5, 6, 7, 8, 9));
}

static void test_ordered_kept(void **state)
{
    (void)state;
    icot_removal removal = third_first();
    removal.positions = ICOT_KEPT;
    removal.removed = 1; /* a gap in the middle: nothing moves */
    CHECK_ONE(0, removal, 12, LIST(10, 11, 12, 0, 20, 21, 23, 0, 1, 30, 31, 0),
              LIST(0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12));
    removal.removed = 2; /* the first is gone: the <eos> moves up to the second */
    CHECK_ONE(0, removal, 11, LIST(10, 11, 12, 0, 21, 23, 0, 1, 30, 31, 0),
              LIST(0, 1, 2, 4, 5, 7, 8, 9, 10, 11, 12));
    removal.removed = 4;
    CHECK_ONE(0, removal, 9, LIST(10, 11, 12, 0, 0, 1, 30, 31, 0),
              LIST(0, 1, 2, 7, 8, 9, 10, 11, 12));
    const int64_t longer = 3;
    assert_fails_with(icot_batch_pack(batch, corpus, &longer, 1, &removal),
                      "a CoT of 10 tokens, the order of removal is for up to 4");
}

/* An example of three steps: 20 21 | 22 | 23 24 25. */
static icot_corpus *corpus_with_steps(void)
{
    const int32_t question[] = {10}, cot[] = {20, 21, 22, 23, 24, 25}, answer[] = {30};
    const int32_t ends[] = {2, 3, 6};
    icot_corpus *marked;
    assert_int_equal(icot_corpus_create(VOCAB, &marked), 0);
    assert_int_equal(icot_corpus_append(marked, question, 1, cot, 6, answer, 1), 0);
    assert_int_equal(icot_corpus_mark_steps(marked, ends, 3), 0);
    return marked;
}

static void check_steps(icot_removal removal, int64_t n_left, const int32_t *left)
{
    const int64_t id = 0;
    icot_corpus *marked = corpus_with_steps();
    removal.unit = ICOT_STEPS;
    assert_int_equal(icot_batch_pack(batch, marked, &id, 1, &removal), 0);
    assert_int_equal(batch->cot_left, n_left);
    assert_ids(batch->tokens + 2, left, n_left, "token");
    icot_corpus_free(marked);
}

static void test_steps(void **state)
{
    (void)state;
    icot_removal removal = no_removal();
    check_steps(removal, 6, (const int32_t[6]){20, 21, 22, 23, 24, 25});
    removal.removed = 1;
    check_steps(removal, 4, (const int32_t[4]){22, 23, 24, 25});
    removal.side = ICOT_RIGHT;
    check_steps(removal, 3, (const int32_t[3]){20, 21, 22});
    removal.removed = 2;
    check_steps(removal, 2, (const int32_t[2]){20, 21});
    removal.removed = 9;
    check_steps(removal, 0, NULL);
    removal.removed = 0;
    removal.side = ICOT_LEFT;
    removal.smoothing = 1e-300; /* offsets, too, are steps: more than there are */
    check_steps(removal, 0, NULL);
}

static void test_steps_that_are_not_marked(void **state)
{
    (void)state;
    const int64_t good = 0;
    icot_removal removal = no_removal();
    removal.unit = ICOT_STEPS;
    assert_fails_with(icot_batch_pack(batch, corpus, &good, 1, &removal),
                      "steps of example 0 are not marked");
}

static void test_removal_is_clipped_at_the_cot(void **state)
{
    (void)state;
    const int64_t removed[] = {4, 5, 1000, INT64_MAX};
    for (size_t i = 0; i < 4; i++) {
        for (int side = 0; side < 2; side++) {
            icot_removal removal = no_removal();
            removal.removed = removed[i];
            removal.side = side ? ICOT_RIGHT : ICOT_LEFT;
            removal.smoothing = 4.0; /* INT64_MAX + o must not overflow */
            CHECK_ONE(0, removal, 9, LIST(10, 11, 12, 0, 0, 1, 30, 31, 0),
                      LIST(0, 1, 2, 3, 4, 5, 6, 7, 8));
            assert_int_equal(batch->cot_left, 0);
            CHECK_ONE(1, removal, 7, LIST(10, 11, 0, 0, 1, 30, 0), LIST(0, 1, 2, 3, 4, 5, 6));
        }
    }
}

static void test_remove_all_beyond(void **state)
{
    (void)state;
    const int64_t id = 3; /* 10 CoT tokens */
    icot_removal removal = no_removal();
    removal.remove_all_beyond = 6;
    const int64_t removed[] = {0, 5, 6, 7}, left[] = {10, 5, 0, 0};
    for (size_t i = 0; i < 4; i++) {
        removal.removed = removed[i];
        assert_int_equal(icot_batch_pack(batch, corpus, &id, 1, &removal), 0);
        assert_int_equal(batch->cot_left, left[i]);
        assert_int_equal(icot_batch_prompts(batch, corpus, &id, 1, &removal), 0);
        assert_int_equal(batch->cot_left, left[i]);
    }
    removal.removed = removal.remove_all_beyond = 0;
    assert_int_equal(icot_batch_pack(batch, corpus, &id, 1, &removal), 0);
    assert_int_equal(batch->cot_left, 0);
}

/* ---- Offsets --------------------------------------------------------------------------------- */

/* Shares of o = 0 … 4 among many draws, against P(o) = (1 - exp(-λ)) exp(-λ·o). */
static void test_offsets_follow_their_distribution(void **state)
{
    (void)state;
    const double lambdas[] = {4.0, 1.0, 0.25};
    const int64_t draws = 200000;
    for (int l = 0; l < 3; l++) {
        icot_removal removal = no_removal();
        removal.smoothing = lambdas[l];
        int64_t counts[5] = {0};
        for (int64_t k = 0; k < draws; k++) {
            int64_t offset = removal_count(&removal, k, 1000, WITH_DRAWS);
            assert_true(offset >= 0);
            if (offset < 5) counts[offset]++;
        }
        for (int o = 0; o < 5; o++) {
            double p = (1.0 - exp(-lambdas[l])) * exp(-lambdas[l] * o);
            double share = (double)counts[o] / (double)draws;
            double sigma = sqrt(p * (1.0 - p) / (double)draws);
            assert_true(fabs(share - p) < 5.0 * sigma + 1e-9);
        }
    }
}

static void test_offsets_belong_to_key_and_place(void **state)
{
    (void)state;
    icot_removal removal = no_removal(), other = no_removal();
    removal.smoothing = other.smoothing = 0.5;
    other.key.step++;
    int same_step = 0, other_step = 0;
    for (int64_t k = 0; k < 1000; k++) {
        int64_t count = removal_count(&removal, k, 1000, WITH_DRAWS);
        double u = random_uniform_at(removal.key, (uint64_t)k);
        double below = 1.0 - exp(-0.5 * (double)count); /* F(o - 1) <= u < F(o) */
        assert_true(below <= u + 1e-12 && u < 1.0 - exp(-0.5 * (double)(count + 1)) + 1e-12);
        same_step += count == removal_count(&removal, k, 1000, WITH_DRAWS);
        other_step += count == removal_count(&other, k, 1000, WITH_DRAWS);
        assert_int_equal(removal_count(&removal, k, 1000, WITHOUT_DRAWS), 0);
    }
    assert_int_equal(same_step, 1000);
    assert_true(other_step < 700);
}

static void test_every_example_draws_its_own_offset(void **state)
{
    (void)state;
    icot_removal removal = no_removal();
    removal.smoothing = 0.3;
    removal.removed = 2;
    int64_t ids[64], expected_left = 0;
    for (int64_t k = 0; k < 64; k++) {
        ids[k] = 3;
        expected_left += 10 - removal_count(&removal, k, 10, WITH_DRAWS);
    }
    assert_int_equal(icot_batch_pack(batch, corpus, ids, 64, &removal), 0);
    assert_int_equal(batch->cot_left, expected_left);
    int lengths_seen[32] = {0}, different = 0;
    for (int k = 0; k < 64; k++) {
        int length = batch->cu_seqlens[k + 1] - batch->cu_seqlens[k];
        assert_in_range(length, 2 + 2 + 4, 2 + 8 + 2 + 4);
        different += lengths_seen[length]++ == 0;
    }
    assert_true(different > 3);
}

static void test_extreme_smoothing(void **state)
{
    (void)state;
    icot_removal removal = no_removal();
    removal.smoothing = INFINITY; /* o is always 0 */
    for (int64_t k = 0; k < 100; k++) {
        assert_int_equal(removal_count(&removal, k, 1000, WITH_DRAWS), 0);
    }
    removal.smoothing = 1e-300; /* o is beyond any CoT, but for u = 0 */
    for (int64_t k = 0; k < 100; k++) {
        assert_int_equal(removal_count(&removal, k, 1000, WITH_DRAWS), 1000);
    }
}

static void test_any_distribution_of_offsets(void **state)
{
    (void)state;
    const double at_most[] = {0.5, 0.5, 0.75, 1.0}; /* P(o) = 0.5, 0, 0.25, 0.25 */
    const int64_t draws = 100000;
    int64_t counts[4] = {0};
    icot_removal removal = no_removal();
    removal.offsets = at_most;
    removal.n_offsets = 4;
    removal.removed = 3;
    for (int64_t k = 0; k < draws; k++) {
        int64_t count = removal_count(&removal, k, 1000, WITH_DRAWS);
        assert_in_range(count, 3, 6);
        counts[count - 3]++;
    }
    assert_int_equal(counts[1], 0);
    for (int o = 0; o < 4; o++) {
        double p = at_most[o] - (o > 0 ? at_most[o - 1] : 0.0);
        assert_true(fabs((double)counts[o] / (double)draws - p) < 0.01);
    }
    assert_int_equal(removal_count(&removal, 0, 1000, WITHOUT_DRAWS), 3);
}

static void test_replay_of_earlier_stages(void **state)
{
    (void)state;
    const int64_t draws = 100000;
    int64_t counts[6] = {0};
    icot_removal removal = no_removal();
    removal.replay = 0.3;
    removal.removed = 5;
    for (int64_t k = 0; k < draws; k++) counts[removal_count(&removal, k, 1000, WITH_DRAWS)]++;
    for (int s = 0; s < 5; s++) assert_true(fabs((double)counts[s] / (double)draws - 0.06) < 0.005);
    assert_true(fabs((double)counts[5] / (double)draws - 0.7) < 0.01);

    removal.removed = INT64_MAX; /* all: stages are those of the example */
    removal.replay = 1.0;
    for (int64_t k = 0; k < 100; k++) {
        assert_in_range(removal_count(&removal, k, 10, WITH_DRAWS), 0, 9);
        assert_int_equal(removal_count(&removal, k, 0, WITH_DRAWS), 0);
        assert_int_equal(removal_count(&removal, k, 10, WITHOUT_DRAWS), 10);
    }
    removal.removed = 0; /* there is no earlier stage */
    assert_int_equal(removal_count(&removal, 3, 10, WITH_DRAWS), 0);
}

/* ---- Packing and targets --------------------------------------------------------------------- */

static void test_packed_end_to_end(void **state)
{
    (void)state;
    const int64_t ids[] = {2, 0, 1};
    icot_removal removal = no_removal();
    removal.removed = 2;
    assert_int_equal(icot_batch_pack(batch, corpus, ids, 3, &removal), 0);
    const int32_t tokens[] = {10, 0, 0,  1,  30, 0,  10, 11, 12, 0, 22, 23,
                              0,  1, 30, 31, 0,  10, 11, 0,  0,  1, 30, 0};
    const int32_t cu_seqlens[] = {0, 6, 17, 24};
    const int32_t rows[] = {1, 2, 3, 4, 9, 10, 11, 12, 13, 14, 15, 19, 20, 21, 22};
    assert_int_equal(batch->n_examples, 3);
    assert_int_equal(batch->n_tokens, 24);
    assert_int_equal(batch->cot_left, 2);
    assert_ids(batch->tokens, tokens, 24, "token");
    assert_ids(batch->cu_seqlens, cu_seqlens, 4, "cu_seqlens");
    assert_int_equal(batch->n_targets, 15);
    assert_ids(batch->target_rows, rows, 15, "target row");
    for (int64_t t = 0; t < batch->n_targets; t++) {
        assert_int_equal(batch->targets[t], tokens[batch->target_rows[t] + 1]);
    }
}

static void test_prompts(void **state)
{
    (void)state;
    const int64_t ids[] = {0, 1, 3};
    const int32_t tokens[] = {10, 11, 12, 0, 10, 11, 0, 10, 11, 0};
    const int32_t closed_up[] = {0, 1, 2, 3, 0, 1, 2, 0, 1, 2};
    const int32_t kept_left[] = {0, 1, 2, 6, 0, 1, 2, 0, 1, 5};
    const int32_t all_gone[] = {0, 1, 2, 7, 0, 1, 2, 0, 1, 12};
    const int32_t cu_seqlens[] = {0, 4, 7, 10};
    icot_removal removal = no_removal();
    removal.removed = 3;
    removal.smoothing = 0.01; /* offsets are for training; prompts have none */
    assert_int_equal(icot_batch_prompts(batch, corpus, ids, 3, &removal), 0);
    assert_int_equal(batch->n_tokens, 10);
    assert_int_equal(batch->n_targets, 0);
    assert_int_equal(batch->cot_left, 1 + 0 + 7);
    assert_ids(batch->tokens, tokens, 10, "token");
    assert_ids(batch->positions, closed_up, 10, "position");
    assert_ids(batch->cu_seqlens, cu_seqlens, 4, "cu_seqlens");

    removal.positions = ICOT_KEPT;
    assert_int_equal(icot_batch_prompts(batch, corpus, ids, 3, &removal), 0);
    assert_ids(batch->positions, kept_left, 10, "position");
    removal.side = ICOT_RIGHT;
    assert_int_equal(icot_batch_prompts(batch, corpus, ids, 3, &removal), 0);
    assert_ids(batch->positions, closed_up, 10, "position");
    removal.removed = 1000;
    assert_int_equal(icot_batch_prompts(batch, corpus, ids, 3, &removal), 0);
    assert_ids(batch->positions, all_gone, 10, "position");
}

/* A prompt's tokens and positions are the beginning of the training sequence at o = 0. */
static void test_prompts_agree_with_training(void **state)
{
    (void)state;
    icot_batch *prompts;
    assert_int_equal(icot_batch_create(&prompts), 0);
    for (int64_t id = 0; id < 4; id++) {
        for (int variant = 0; variant < 4 * 13; variant++) {
            icot_removal removal = no_removal();
            removal.side = variant % 2 ? ICOT_RIGHT : ICOT_LEFT;
            removal.positions = variant / 2 % 2 ? ICOT_KEPT : ICOT_CLOSED_UP;
            removal.removed = variant / 4;
            assert_int_equal(icot_batch_pack(batch, corpus, &id, 1, &removal), 0);
            assert_int_equal(icot_batch_prompts(prompts, corpus, &id, 1, &removal), 0);
            int64_t n = prompts->n_tokens;
            assert_ids(prompts->tokens, batch->tokens, n, "token");
            assert_ids(prompts->positions, batch->positions, n, "position");
            int right_kept = removal.side == ICOT_RIGHT && removal.positions == ICOT_KEPT;
            if (!right_kept) assert_int_equal(batch->positions[n], prompts->positions[n - 1] + 1);
        }
    }
    icot_batch_free(prompts);
}

/* ---- Memory and errors ----------------------------------------------------------------------- */

static void test_arrays_are_reused(void **state)
{
    (void)state;
    const int64_t ids[] = {0, 1, 2, 3};
    icot_removal removal = no_removal();
    assert_int_equal(icot_batch_pack(batch, corpus, ids, 4, &removal), 0);
    icot_memory before, after;
    icot_memory_read(&before);
    removal.smoothing = 0.5;
    for (uint64_t step = 0; step < 100; step++) {
        removal.key.step = step;
        assert_int_equal(icot_batch_pack(batch, corpus, ids, 4, &removal), 0);
        assert_int_equal(icot_batch_prompts(batch, corpus, ids, 4, &removal), 0);
    }
    icot_memory_read(&after);
    assert_int_equal(after.allocations, before.allocations);
}

static void test_bad_requests(void **state)
{
    (void)state;
    const int64_t good = 0, ids[] = {0, 4}, negative = -1;
    icot_removal removal = no_removal();
    assert_int_equal(icot_batch_pack(batch, corpus, &good, 1, &removal), 0);
    assert_fails_with(icot_batch_pack(batch, corpus, ids, 2, &removal),
                      "batch: place 1: corpus: there is no example 4, it has 4");
    assert_fails_with(icot_batch_prompts(batch, corpus, &negative, 1, &removal), "no example -1");
    assert_fails_with(icot_batch_pack(batch, corpus, ids, 0, &removal), "got 0 examples");
    assert_fails_with(icot_batch_pack(batch, corpus, ids, -3, &removal), "got -3 examples");
    assert_int_equal(batch->n_tokens, 13); /* the batch is as it was */
    assert_int_equal(batch->tokens[4], 20);

    struct {
        icot_removal removal;
        const char *message;
    } cases[] = {{removal, "got -1 removed tokens"},
                 {removal, "smoothing of 0"},
                 {removal, "smoothing of"},
                 {removal, "side 3"},
                 {removal, "positions 5"},
                 {removal, "<eos> is 100"},
                 {removal, "#### is -1"},
                 {removal, "an order is asked for"},
                 {removal, "a replay of 1.5"},
                 {removal, "unit 7"},
                 {removal, "steps are removed from the left"}};
    cases[0].removal.removed = -1;
    cases[1].removal.smoothing = 0.0;
    cases[2].removal.smoothing = NAN;
    cases[3].removal.side = (icot_side)3;
    cases[4].removal.positions = (icot_positions)5;
    cases[5].removal.eos = VOCAB;
    cases[6].removal.separator = -1;
    cases[7].removal.side = ICOT_ORDERED;
    cases[8].removal.replay = 1.5;
    cases[9].removal.unit = (icot_unit)7;
    cases[10].removal = third_first();
    cases[10].removal.unit = ICOT_STEPS;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_fails_with(icot_batch_pack(batch, corpus, &good, 1, &cases[i].removal),
                          cases[i].message);
    }
}

static void test_failed_allocations_change_nothing(void **state)
{
    (void)state;
    const int64_t ids[] = {0, 1, 2, 3};
    icot_removal removal = no_removal();
    for (int64_t nth = 1; nth <= 5; nth++) {
        icot_batch *fresh;
        assert_int_equal(icot_batch_create(&fresh), 0);
        icot_memory_fail_at(nth);
        assert_fails_with(icot_batch_pack(fresh, corpus, ids, 4, &removal), "out of memory");
        icot_memory_fail_at(0);
        assert_int_equal(fresh->n_tokens, 0);
        assert_int_equal(icot_batch_pack(fresh, corpus, ids, 4, &removal), 0);
        assert_int_equal(fresh->n_tokens, 13 + 7 + 7 + 18);
        icot_batch_free(fresh);
    }
    icot_batch_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_sequence),
        cmocka_unit_test(test_left_closed_up),
        cmocka_unit_test(test_left_kept),
        cmocka_unit_test(test_right_closed_up),
        cmocka_unit_test(test_right_kept),
        cmocka_unit_test(test_ordered),
        cmocka_unit_test(test_ordered_kept),
        cmocka_unit_test(test_steps),
        cmocka_unit_test(test_steps_that_are_not_marked),
        cmocka_unit_test(test_removal_is_clipped_at_the_cot),
        cmocka_unit_test(test_remove_all_beyond),
        cmocka_unit_test(test_offsets_follow_their_distribution),
        cmocka_unit_test(test_offsets_belong_to_key_and_place),
        cmocka_unit_test(test_every_example_draws_its_own_offset),
        cmocka_unit_test(test_extreme_smoothing),
        cmocka_unit_test(test_any_distribution_of_offsets),
        cmocka_unit_test(test_replay_of_earlier_stages),
        cmocka_unit_test(test_packed_end_to_end),
        cmocka_unit_test(test_prompts),
        cmocka_unit_test(test_prompts_agree_with_training),
        cmocka_unit_test(test_arrays_are_reused),
        cmocka_unit_test(test_bad_requests),
        cmocka_unit_test(test_failed_allocations_change_nothing),
    };
    return cmocka_run_group_tests_name("batch", tests, set_up, tear_down);
}
