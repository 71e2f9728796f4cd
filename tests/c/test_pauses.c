/* Pauses that stand in for removed CoT: in the places of its tokens, or before what is left. */
#include "batch_case.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* ---- One in the place of each token ---------------------------------------------------------- */

static void check_places(icot_removal removal, const int32_t *cot)
{
    const int32_t tokens[] = {10, 11, 12, 0, cot[0], cot[1], cot[2], cot[3], 0, 1, 30, 31, 0};
    const int32_t positions[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    check_one(0, removal, 13, tokens, positions);
}

#define CHECK_PLACES(removal, cot) check_places(removal, (const int32_t[4])cot)

/* Pauses (100) stand where tokens went: nothing moves, whatever the policy. */
static void test_pauses(void **state)
{
    (void)state;
    for (int kept = 0; kept < 2; kept++) {
        icot_removal removal = no_removal();
        removal.positions = kept ? ICOT_KEPT : ICOT_CLOSED_UP;
        removal.pause = PAUSE;
        CHECK_PLACES(removal, LIST(20, 21, 22, 23));
        removal.removed = 3;
        CHECK_PLACES(removal, LIST(100, 100, 100, 23));
        assert_int_equal(batch->cot_left, 1);
        removal.side = ICOT_RIGHT;
        CHECK_PLACES(removal, LIST(20, 100, 100, 100));
        removal.removed = INT64_MAX;
        CHECK_PLACES(removal, LIST(100, 100, 100, 100));
        assert_int_equal(batch->cot_left, 0);
        CHECK_ONE(1, removal, 7, LIST(10, 11, 0, 0, 1, 30, 0), LIST(0, 1, 2, 3, 4, 5, 6));
    }
    icot_removal removal = third_first();
    removal.pause = PAUSE;
    removal.removed = 2;
    CHECK_PLACES(removal, LIST(100, 21, 100, 23));
}

static void test_pauses_follow_what_is_removed(void **state)
{
    (void)state;
    const int64_t id = 3; /* 10 CoT tokens */
    icot_removal removal = no_removal(), with_pauses;
    removal.remove_all_beyond = 6;
    removal.replay = 0.3;
    removal.smoothing = 0.7;
    removal.removed = 3;
    int counts_seen[11] = {0}, different = 0;
    for (removal.key.step = 0; removal.key.step < 200; removal.key.step++) {
        with_pauses = removal;
        with_pauses.pause = PAUSE;
        assert_int_equal(icot_batch_pack(batch, corpus, &id, 1, &removal), 0);
        const int64_t left = batch->cot_left;
        assert_int_equal(icot_batch_pack(batch, corpus, &id, 1, &with_pauses), 0);
        assert_int_equal(batch->cot_left, left);
        assert_int_equal(batch->n_tokens, 2 + 10 + 2 + 4);
        int64_t pauses = 0;
        for (int64_t r = 0; r < batch->n_tokens; r++) pauses += batch->tokens[r] == PAUSE;
        assert_int_equal(pauses, 10 - left);
        different += counts_seen[left]++ == 0;
    }
    assert_true(different >= 6);
}

static void test_pauses_instead_of_steps(void **state)
{
    (void)state;
    const int64_t id = 0;
    icot_corpus *marked = corpus_with_steps();
    icot_removal removal = no_removal();
    removal.unit = ICOT_STEPS;
    removal.pause = PAUSE;
    removal.removed = 1;
    assert_int_equal(icot_batch_pack(batch, marked, &id, 1, &removal), 0);
    assert_ids(batch->tokens + 2, (const int32_t[6]){100, 100, 22, 23, 24, 25}, 6, "token");
    removal.side = ICOT_RIGHT;
    assert_int_equal(icot_batch_pack(batch, marked, &id, 1, &removal), 0);
    assert_ids(batch->tokens + 2, (const int32_t[6]){20, 21, 22, 100, 100, 100}, 6, "token");
    assert_int_equal(batch->cot_left, 3);
    icot_corpus_free(marked);
}

/* ---- Before what is left --------------------------------------------------------------------- */

/* Two for each token that is to go. */
static icot_removal two_each(int64_t removed)
{
    icot_removal removal = no_removal();
    removal.pause = PAUSE;
    removal.pauses_each = 2;
    removal.pauses_most = -1;
    removal.removed = removed;
    return removal;
}

static void test_leading_pauses(void **state)
{
    (void)state;
    CHECK_ONE(2, two_each(0), 7, LIST(10, 0, 20, 0, 1, 30, 0), LIST(0, 1, 2, 3, 4, 5, 6));
    CHECK_ONE(0, two_each(1), 14, LIST(10, 11, 12, 0, 100, 100, 21, 22, 23, 0, 1, 30, 31, 0),
              LIST(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13));
    assert_int_equal(batch->cot_left, 3);
}

/* So their number tells nothing of how long the CoT was. */
static void test_leading_pauses_do_not_follow_the_example(void **state)
{
    (void)state;
    CHECK_ONE(1, two_each(1), 9, LIST(10, 11, 0, 100, 100, 0, 1, 30, 0),
              LIST(0, 1, 2, 3, 4, 5, 6, 7, 8));
    icot_removal all = two_each(INT64_MAX);
    all.pauses_most = 3;
    CHECK_ONE(1, all, 10, LIST(10, 11, 0, 100, 100, 100, 0, 1, 30, 0),
              LIST(0, 1, 2, 3, 4, 5, 6, 7, 8, 9));
    CHECK_ONE(2, all, 9, LIST(10, 0, 100, 100, 100, 0, 1, 30, 0), LIST(0, 1, 2, 3, 4, 5, 6, 7, 8));
}

static void test_most_leading_pauses(void **state)
{
    (void)state;
    icot_removal removal = two_each(3);
    removal.pauses_most = 3;
    CHECK_ONE(0, removal, 13, LIST(10, 11, 12, 0, 100, 100, 100, 23, 0, 1, 30, 31, 0),
              LIST(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12));
    removal.pauses_most = -1;
    removal.remove_all_beyond = 2; /* all four are gone, and two are as many as that takes */
    CHECK_ONE(0, removal, 13, LIST(10, 11, 12, 0, 100, 100, 100, 100, 0, 1, 30, 31, 0),
              LIST(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12));
    removal.remove_all_beyond = -1;
    removal.pauses_most = 0;
    CHECK_ONE(0, removal, 10, LIST(10, 11, 12, 0, 23, 0, 1, 30, 31, 0),
              LIST(0, 1, 2, 3, 4, 5, 6, 7, 8, 9));
}

/* Only the last of them predicts anything: what is left of the CoT. */
static void test_leading_pauses_are_no_targets(void **state)
{
    (void)state;
    const int64_t ids[] = {2, 0};
    const icot_removal removal = two_each(1);
    const int32_t tokens[] = {10, 0,   100, 100, 0,  1,  30, 0, 10, 11, 12,
                              0,  100, 100, 21,  22, 23, 0,  1, 30, 31, 0};
    const int32_t rows[] = {3, 4, 5, 6, 13, 14, 15, 16, 17, 18, 19, 20};
    assert_int_equal(icot_batch_pack(batch, corpus, ids, 2, &removal), 0);
    assert_int_equal(batch->n_tokens, 22);
    assert_ids(batch->tokens, tokens, 22, "token");
    assert_int_equal(batch->n_targets, 12);
    assert_ids(batch->target_rows, rows, 12, "target row");
    assert_ids(batch->eos_rows, (const int32_t[]){1, 11}, 2, "<eos> row");
    assert_ids(batch->pauses, (const int32_t[]){2, 2}, 2, "pauses");
    for (int64_t t = 0; t < batch->n_targets; t++) {
        assert_int_equal(batch->targets[t], tokens[batch->target_rows[t] + 1]);
    }
}

static void test_prompts_end_with_leading_pauses(void **state)
{
    (void)state;
    const int64_t ids[] = {0, 1, 2};
    const icot_removal removal = two_each(2);
    const int32_t tokens[] = {10,  11,  12,  0,   100, 100, 100, 100, 10,  11, 0,
                              100, 100, 100, 100, 10,  0,   100, 100, 100, 100};
    const int32_t positions[] = {0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4, 5};
    assert_int_equal(icot_batch_prompts(batch, corpus, ids, 3, &removal), 0);
    assert_int_equal(batch->n_tokens, 21);
    assert_ids(batch->tokens, tokens, 21, "token");
    assert_ids(batch->positions, positions, 21, "position");
    assert_ids(batch->eos_rows, (const int32_t[]){3, 10, 16}, 3, "<eos> row");
    assert_ids(batch->pauses, (const int32_t[]){4, 4, 4}, 3, "pauses");
}

/* They are counted by steps where steps are removed, and offsets count. */
static void test_leading_pauses_for_steps(void **state)
{
    (void)state;
    const int64_t id = 0;
    icot_corpus *marked = corpus_with_steps();
    icot_removal removal = two_each(2);
    removal.unit = ICOT_STEPS;
    assert_int_equal(icot_batch_pack(batch, marked, &id, 1, &removal), 0);
    const int32_t tokens[] = {10, 0, 100, 100, 100, 100, 23, 24, 25, 0, 1, 30, 0};
    assert_int_equal(batch->n_tokens, 13);
    assert_ids(batch->tokens, tokens, 13, "token");
    removal.smoothing = 1e-300; /* offsets count: far more than there are steps */
    removal.pauses_most = 7;
    assert_int_equal(icot_batch_pack(batch, marked, &id, 1, &removal), 0);
    assert_int_equal(batch->n_tokens, 2 + 7 + 4);
    assert_int_equal(batch->cot_left, 0);
    icot_corpus_free(marked);
}

static void assert_refused(icot_removal removal, const char *expected)
{
    const int64_t id = 0;
    assert_int_not_equal(icot_batch_pack(batch, corpus, &id, 1, &removal), 0);
    assert_non_null(strstr(icot_last_error(), expected));
}

static void test_bad_leading_pauses(void **state)
{
    (void)state;
    icot_removal removal = two_each(1);
    removal.pause = -1;
    assert_refused(removal, "got 2 pauses for each token or step, and the id -1");
    removal = two_each(1);
    removal.pauses_each = -1;
    assert_refused(removal, "got -1 pauses for each token or step, and the id 100");
    removal = two_each(1);
    removal.side = ICOT_RIGHT;
    assert_refused(removal, "from the left and closed up");
    removal = two_each(1);
    removal.positions = ICOT_KEPT;
    assert_refused(removal, "from the left and closed up");
    removal = two_each(2);
    removal.pauses_each = INT64_MAX;
    assert_refused(removal, "more than a sequence can have");
    removal.pauses_each = 1 << 30;
    removal.removed = 1; /* two of them are too many together */
    const int64_t ids[] = {0, 0};
    assert_int_not_equal(icot_batch_pack(batch, corpus, ids, 2, &removal), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pauses),
        cmocka_unit_test(test_pauses_follow_what_is_removed),
        cmocka_unit_test(test_pauses_instead_of_steps),
        cmocka_unit_test(test_leading_pauses),
        cmocka_unit_test(test_leading_pauses_do_not_follow_the_example),
        cmocka_unit_test(test_most_leading_pauses),
        cmocka_unit_test(test_leading_pauses_are_no_targets),
        cmocka_unit_test(test_prompts_end_with_leading_pauses),
        cmocka_unit_test(test_leading_pauses_for_steps),
        cmocka_unit_test(test_bad_leading_pauses),
    };
    return cmocka_run_group_tests_name("pauses", tests, set_up, tear_down);
}
