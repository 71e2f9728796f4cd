/* Batches: how examples are packed, which targets they have, and what is refused. */
#include "batch_case.h"
#include "failing_allocations.h"
#include "support.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

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

/* A pause is no target; the row of one is, of what follows it, as any other. */
static void test_pauses_are_no_targets(void **state)
{
    (void)state;
    const int64_t ids[] = {2, 0};
    icot_removal removal = third_first();
    removal.removed = 2;
    removal.pause = PAUSE;
    assert_int_equal(icot_batch_pack(batch, corpus, ids, 2, &removal), 0);
    const int32_t tokens[] = {10, 0,     PAUSE, 0,     1,  30, 0, 10, 11, 12,
                              0,  PAUSE, 21,    PAUSE, 23, 0,  1, 30, 31, 0};
    const int32_t rows[] = {2, 3, 4, 5, 11, 13, 14, 15, 16, 17, 18};
    assert_int_equal(batch->n_tokens, 20);
    assert_int_equal(batch->cot_left, 2);
    assert_ids(batch->tokens, tokens, 20, "token");
    assert_int_equal(batch->n_targets, 11);
    assert_ids(batch->target_rows, rows, 11, "target row");
    for (int64_t t = 0; t < batch->n_targets; t++) {
        assert_int_equal(batch->targets[t], tokens[batch->target_rows[t] + 1]);
        assert_int_not_equal(batch->targets[t], PAUSE);
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

/* The pauses that the CoT begins with belong to the prompt. */
static void test_prompts_with_pauses(void **state)
{
    (void)state;
    const int64_t ids[] = {0, 1, 2};
    const int32_t left[] = {10, 11, 12, 0, PAUSE, PAUSE, PAUSE, 10, 11, 0, 10, 0, PAUSE};
    const int32_t right[] = {10, 11, 12, 0, 10, 11, 0, 10, 0, PAUSE};
    const int32_t positions[] = {0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 0, 1, 2};
    const int32_t right_positions[] = {0, 1, 2, 3, 0, 1, 2, 0, 1, 2};
    icot_removal removal = no_removal();
    removal.pause = PAUSE;
    removal.positions = ICOT_KEPT;
    removal.removed = 3;
    assert_int_equal(icot_batch_prompts(batch, corpus, ids, 3, &removal), 0);
    assert_int_equal(batch->n_tokens, 13);
    assert_int_equal(batch->cot_left, 1);
    assert_ids(batch->tokens, left, 13, "token");
    assert_ids(batch->positions, positions, 13, "position");
    assert_ids(batch->cu_seqlens, (const int32_t[]){0, 7, 10, 13}, 4, "cu_seqlens");

    removal.side = ICOT_RIGHT;
    assert_int_equal(icot_batch_prompts(batch, corpus, ids, 3, &removal), 0);
    assert_int_equal(batch->n_tokens, 10);
    assert_ids(batch->tokens, right, 10, "token");
    assert_ids(batch->positions, right_positions, 10, "position");
}

/* A prompt's tokens and positions are the beginning of the training sequence at o = 0. */
static void test_prompts_agree_with_training(void **state)
{
    (void)state;
    icot_batch *prompts;
    assert_int_equal(icot_batch_create(&prompts), 0);
    for (int64_t id = 0; id < 4; id++) {
        for (int variant = 0; variant < 8 * 13; variant++) {
            icot_removal removal = no_removal();
            removal.side = variant % 2 ? ICOT_RIGHT : ICOT_LEFT;
            removal.positions = variant / 2 % 2 ? ICOT_KEPT : ICOT_CLOSED_UP;
            removal.pause = variant / 4 % 2 ? PAUSE : -1;
            removal.removed = variant / 8;
            assert_int_equal(icot_batch_pack(batch, corpus, &id, 1, &removal), 0);
            assert_int_equal(icot_batch_prompts(prompts, corpus, &id, 1, &removal), 0);
            int64_t n = prompts->n_tokens;
            assert_ids(prompts->tokens, batch->tokens, n, "token");
            assert_ids(prompts->positions, batch->positions, n, "position");
            if (removal.pause == PAUSE) assert_int_not_equal(batch->tokens[n], PAUSE);
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
    const icot_removal removal = no_removal();
    assert_int_equal(icot_batch_pack(batch, corpus, &good, 1, &removal), 0);
    assert_refused(icot_batch_pack(batch, corpus, ids, 2, &removal),
                   "batch: entry 2: corpus: index 4 is none of its 4 examples");
    assert_refused(icot_batch_prompts(batch, corpus, &negative, 1, &removal), "index -1 is none");
    assert_refused(icot_batch_pack(batch, corpus, ids, 0, &removal), "got 0 examples");
    assert_refused(icot_batch_pack(batch, corpus, ids, -3, &removal), "got -3 examples");
    assert_int_equal(batch->n_tokens, 13); /* the batch is as it was */
    assert_int_equal(batch->tokens[4], 20);
}

static void assert_pack_refused(icot_removal removal, const char *message)
{
    const int64_t good = 0;
    assert_refused(icot_batch_pack(batch, corpus, &good, 1, &removal), message);
}

/* Refused if a field has another value than in no_removal. */
#define ASSERT_REFUSED_WITH(field, value, message)                                                 \
    do {                                                                                           \
        icot_removal wrong = no_removal();                                                         \
        wrong.field = value;                                                                       \
        assert_pack_refused(wrong, message);                                                       \
    } while (0)

static void test_bad_removals(void **state)
{
    (void)state;
    ASSERT_REFUSED_WITH(removed, -1, "got -1 removed tokens");
    ASSERT_REFUSED_WITH(smoothing, 0.0, "smoothing of 0");
    ASSERT_REFUSED_WITH(smoothing, NAN, "smoothing of");
    ASSERT_REFUSED_WITH(side, (icot_side)3, "side 3");
    ASSERT_REFUSED_WITH(positions, (icot_positions)5, "positions 5");
    ASSERT_REFUSED_WITH(eos, VOCAB, "<eos> is 100");
    ASSERT_REFUSED_WITH(separator, -1, "#### is -1");
    ASSERT_REFUSED_WITH(pause, VOCAB + 1, "<pause> is 101, expected at most 100");
    ASSERT_REFUSED_WITH(side, ICOT_ORDERED, "side is ordered, but ranks or rank_starts is missing");
    ASSERT_REFUSED_WITH(replay, 1.5, "a replay of 1.5");
    ASSERT_REFUSED_WITH(unit, (icot_unit)7, "unit 7");
    icot_removal ordered = third_first();
    ordered.unit = ICOT_STEPS;
    assert_pack_refused(ordered, "steps can only be removed from the left");
}

static void test_failed_allocations_change_nothing(void **state)
{
    (void)state;
    const int64_t ids[] = {0, 1, 2, 3};
    icot_removal removal = no_removal();
    failing_allocation failing = {0};
    while (next_failing(&failing)) {
        icot_batch *fresh;
        assert_int_equal(icot_batch_create(&fresh), 0);
        if (FAILING(&failing, icot_batch_pack(fresh, corpus, ids, 4, &removal))) {
            assert_int_equal(fresh->n_tokens, 0);
            assert_int_equal(icot_batch_pack(fresh, corpus, ids, 4, &removal), 0);
        }
        assert_int_equal(fresh->n_tokens, 13 + 7 + 7 + 18);
        icot_batch_free(fresh);
    }
    assert_true(failing.nth > 5);
    icot_batch_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_packed_end_to_end),
        cmocka_unit_test(test_pauses_are_no_targets),
        cmocka_unit_test(test_prompts),
        cmocka_unit_test(test_prompts_with_pauses),
        cmocka_unit_test(test_prompts_agree_with_training),
        cmocka_unit_test(test_arrays_are_reused),
        cmocka_unit_test(test_bad_requests),
        cmocka_unit_test(test_bad_removals),
        cmocka_unit_test(test_failed_allocations_change_nothing),
    };
    return cmocka_run_group_tests_name("batch", tests, set_up, tear_down);
}
