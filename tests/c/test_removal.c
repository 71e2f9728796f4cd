/* Removal: what is cut, which positions the rest has, and what is drawn for each example. */
#include "base/random.h"
#include "batch_case.h"
#include "support.h"
#include "text/removal.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* ---- What is left, and where ----------------------------------------------------------------- */

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
    assert_refused(icot_batch_pack(batch, corpus, &longer, 1, &removal),
                   "a CoT of 10 tokens, but the order of removal covers at most 4");
}

/* Example 0 with this in the places of its four CoT tokens, and all positions as with all CoT. */
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
    assert_refused(icot_batch_pack(batch, corpus, &good, 1, &removal),
                   "steps of example 1 are not marked");
}

/* Of the m that example k has. */
static int64_t count_removed(const icot_removal *removal, int64_t k, int64_t m, int with_draws)
{
    return removal_count(removal, m, removal_wanted(removal, k, m, with_draws));
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

/* It is s + o that counts: an offset may take an example over the limit. */
static void test_offsets_count_for_remove_all_beyond(void **state)
{
    (void)state;
    const double at_most[] = {0.0, 0.5, 1.0}; /* P(o) = 0, 0.5, 0.5 */
    int64_t all = 0;
    icot_removal removal = no_removal();
    removal.offsets = at_most;
    removal.n_offsets = 3;
    removal.removed = 4;
    removal.remove_all_beyond = 6;
    for (int64_t k = 0; k < 1000; k++) {
        int64_t count = count_removed(&removal, k, 10, WITH_DRAWS);
        assert_true(count == 5 || count == 10); /* never 6 */
        all += count == 10;
    }
    assert_in_range(all, 400, 600);
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
            int64_t offset = count_removed(&removal, k, 1000, WITH_DRAWS);
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
        int64_t count = count_removed(&removal, k, 1000, WITH_DRAWS);
        double u = random_uniform_at(removal.key, (uint64_t)k);
        double below = 1.0 - exp(-0.5 * (double)count); /* F(o - 1) <= u < F(o) */
        assert_true(below <= u + 1e-12 && u < 1.0 - exp(-0.5 * (double)(count + 1)) + 1e-12);
        same_step += count == count_removed(&removal, k, 1000, WITH_DRAWS);
        other_step += count == count_removed(&other, k, 1000, WITH_DRAWS);
        assert_int_equal(count_removed(&removal, k, 1000, WITHOUT_DRAWS), 0);
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
        expected_left += 10 - count_removed(&removal, k, 10, WITH_DRAWS);
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
        assert_int_equal(count_removed(&removal, k, 1000, WITH_DRAWS), 0);
    }
    removal.smoothing = 1e-300; /* o is beyond any CoT, but for u = 0 */
    for (int64_t k = 0; k < 100; k++) {
        assert_int_equal(count_removed(&removal, k, 1000, WITH_DRAWS), 1000);
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
        int64_t count = count_removed(&removal, k, 1000, WITH_DRAWS);
        assert_in_range(count, 3, 6);
        counts[count - 3]++;
    }
    assert_int_equal(counts[1], 0);
    for (int o = 0; o < 4; o++) {
        double p = at_most[o] - (o > 0 ? at_most[o - 1] : 0.0);
        assert_true(fabs((double)counts[o] / (double)draws - p) < 0.01);
    }
    assert_int_equal(count_removed(&removal, 0, 1000, WITHOUT_DRAWS), 3);
}

static void test_replay_of_earlier_stages(void **state)
{
    (void)state;
    const int64_t draws = 100000;
    int64_t counts[6] = {0};
    icot_removal removal = no_removal();
    removal.replay = 0.3;
    removal.removed = 5;
    for (int64_t k = 0; k < draws; k++) counts[count_removed(&removal, k, 1000, WITH_DRAWS)]++;
    for (int s = 0; s < 5; s++) assert_true(fabs((double)counts[s] / (double)draws - 0.06) < 0.005);
    assert_true(fabs((double)counts[5] / (double)draws - 0.7) < 0.01);

    removal.removed = INT64_MAX; /* all: stages are those of the example */
    removal.replay = 1.0;
    for (int64_t k = 0; k < 100; k++) {
        assert_in_range(count_removed(&removal, k, 10, WITH_DRAWS), 0, 9);
        assert_int_equal(count_removed(&removal, k, 0, WITH_DRAWS), 0);
        assert_int_equal(count_removed(&removal, k, 10, WITHOUT_DRAWS), 10);
    }
    removal.removed = 0; /* there is no earlier stage */
    assert_int_equal(count_removed(&removal, 3, 10, WITH_DRAWS), 0);

    removal.removed = 9; /* where all is gone from two on, fewer than nine is fewer than two */
    removal.remove_all_beyond = 2;
    for (int64_t k = 0; k < 100; k++) {
        assert_in_range(count_removed(&removal, k, 10, WITH_DRAWS), 0, 1);
    }
}

/* Whether an example replays, which stage, and its offset have nothing to do with each other. */
static void test_draws_of_an_example_are_independent(void **state)
{
    (void)state;
    const double at_most[] = {0.5, 0.5, 0.5, 0.5, 0.5, 1.0}; /* o is 0 or 5 */
    const double shares[8] = {0.125, 0.125, 0.25, 0.0, 0.0, 0.125, 0.125, 0.25};
    const int64_t draws = 100000;
    int64_t counts[8] = {0};
    icot_removal removal = no_removal();
    removal.offsets = at_most;
    removal.n_offsets = 6;
    removal.replay = 0.5;
    removal.removed = 2;
    for (int64_t k = 0; k < draws; k++) counts[count_removed(&removal, k, 1000, WITH_DRAWS)]++;
    for (int count = 0; count < 8; count++) {
        assert_true(fabs((double)counts[count] / (double)draws - shares[count]) < 0.005);
    }
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
        cmocka_unit_test(test_offsets_count_for_remove_all_beyond),
        cmocka_unit_test(test_offsets_follow_their_distribution),
        cmocka_unit_test(test_offsets_belong_to_key_and_place),
        cmocka_unit_test(test_every_example_draws_its_own_offset),
        cmocka_unit_test(test_extreme_smoothing),
        cmocka_unit_test(test_any_distribution_of_offsets),
        cmocka_unit_test(test_replay_of_earlier_stages),
        cmocka_unit_test(test_draws_of_an_example_are_independent),
    };
    return cmocka_run_group_tests_name("removal", tests, set_up, tear_down);
}
