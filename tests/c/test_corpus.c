/* The corpus: what is appended comes back, in every width; what is refused leaves no trace. */
#include "failing_allocations.h"
#include "support.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static icot_corpus *new_corpus(int64_t vocab_size)
{
    icot_corpus *corpus = NULL;
    assert_int_equal(icot_corpus_create(vocab_size, &corpus), 0);
    return corpus;
}

/* Example i has lengths and ids that depend on i alone. */
static int64_t make_example(int64_t i, int64_t vocab_size, int32_t *tokens, icot_example *lengths)
{
    *lengths = (icot_example){.question = 1 + i % 5, .cot = i % 7, .answer = 1 + i % 3};
    int64_t total = lengths->question + lengths->cot + lengths->answer;
    for (int64_t t = 0; t < total; t++) tokens[t] = (int32_t)((i * 7919 + t * 104729) % vocab_size);
    return total;
}

static void append_example(icot_corpus *corpus, int64_t i, int64_t vocab_size)
{
    int32_t tokens[16];
    icot_example n;
    make_example(i, vocab_size, tokens, &n);
    assert_int_equal(icot_corpus_append(corpus, tokens, n.question, tokens + n.question, n.cot,
                                        tokens + n.question + n.cot, n.answer),
                     0);
}

static void assert_holds_example(const icot_corpus *corpus, int64_t i, int64_t vocab_size)
{
    int32_t expected[16], got[16];
    icot_example n, lengths;
    int64_t total = make_example(i, vocab_size, expected, &n);
    assert_int_equal(icot_corpus_lengths(corpus, i, &lengths), 0);
    assert_int_equal(lengths.question, n.question);
    assert_int_equal(lengths.cot, n.cot);
    assert_int_equal(lengths.answer, n.answer);
    assert_int_equal(icot_corpus_read(corpus, i, got, 16), 0);
    assert_memory_equal(got, expected, (size_t)total * sizeof *got);
}

static void test_round_trip_in_every_width(void **state)
{
    (void)state;
    const int64_t sizes[] = {1, 2, 256, 257, 65536, 65537, INT32_MAX};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        icot_corpus *corpus = new_corpus(sizes[s]);
        for (int64_t i = 0; i < 3000; i++) append_example(corpus, i, sizes[s]);
        assert_int_equal(icot_corpus_size(corpus), 3000);
        for (int64_t i = 0; i < 3000; i++) assert_holds_example(corpus, i, sizes[s]);
        icot_corpus_free(corpus);
    }
}

static void test_largest_id_of_each_width(void **state)
{
    (void)state;
    const int64_t sizes[] = {256, 65536, INT32_MAX};
    for (size_t s = 0; s < 3; s++) {
        icot_corpus *corpus = new_corpus(sizes[s]);
        int32_t largest = (int32_t)(sizes[s] - 1), got[3];
        assert_int_equal(icot_corpus_append(corpus, &largest, 1, &largest, 1, &largest, 1), 0);
        assert_int_equal(icot_corpus_read(corpus, 0, got, 3), 0);
        for (int t = 0; t < 3; t++) assert_int_equal(got[t], largest);
        icot_corpus_free(corpus);
    }
}

static void test_refuses_ids_outside_the_vocabulary(void **state)
{
    (void)state;
    icot_corpus *corpus = new_corpus(16);
    append_example(corpus, 0, 16);
    int32_t good[] = {1, 2, 3}, too_large[] = {1, 16, 3}, negative[] = {1, 2, -1};
    assert_refused(icot_corpus_append(corpus, too_large, 3, good, 3, good, 3),
                   "token 2 of the question of example 2 is 16, expected 0 to 15");
    assert_refused(icot_corpus_append(corpus, good, 3, negative, 3, good, 3),
                   "token 3 of the CoT of example 2 is -1");
    assert_refused(icot_corpus_append(corpus, good, 3, good, 3, too_large, 3),
                   "token 2 of the answer");
    assert_int_equal(icot_corpus_size(corpus), 1);
    assert_holds_example(corpus, 0, 16);
    append_example(corpus, 1, 16);
    assert_holds_example(corpus, 1, 16);
    icot_corpus_free(corpus);
}

static void test_needs_a_question_and_an_answer(void **state)
{
    (void)state;
    icot_corpus *corpus = new_corpus(16);
    int32_t ids[] = {1, 2, 3};
    assert_refused(icot_corpus_append(corpus, ids, 0, ids, 3, ids, 3), "0 question");
    assert_refused(icot_corpus_append(corpus, ids, 3, ids, 3, ids, 0), "0 answer");
    assert_refused(icot_corpus_append(corpus, ids, 3, ids, -1, ids, 3), "-1 CoT");
    assert_refused(icot_corpus_append(corpus, ids, INT32_MAX / 4 + 1, ids, 3, ids, 3),
                   "536870912 question, 3 CoT and 3 answer tokens; expected at least one "
                   "question and one answer token, and at most 536870911 of each");
    assert_int_equal(icot_corpus_append(corpus, ids, 3, NULL, 0, ids, 3), 0);
    assert_int_equal(icot_corpus_size(corpus), 1);
    icot_corpus_free(corpus);
}

static void test_refuses_numbers_and_room_that_do_not_exist(void **state)
{
    (void)state;
    icot_corpus *corpus = new_corpus(16);
    append_example(corpus, 0, 16);
    icot_example lengths;
    int32_t tokens[16];
    assert_refused(icot_corpus_lengths(corpus, 1, &lengths), "index 1 is none of its 1 examples");
    assert_refused(icot_corpus_lengths(corpus, -1, &lengths), "index -1 is none");
    assert_refused(icot_corpus_read(corpus, 7, tokens, 16), "index 7 is none");
    assert_refused(icot_corpus_read(corpus, 0, tokens, 1), "has 2 tokens, but there is room for 1");

    icot_corpus *none = NULL;
    assert_refused(icot_corpus_create(0, &none), "vocabulary of 0");
    assert_refused(icot_corpus_create(INT64_C(1) << 40, &none), "vocabulary");
    assert_null(none);
    icot_corpus_free(corpus);
    icot_corpus_free(NULL);
}

static void test_reserve(void **state)
{
    (void)state;
    icot_corpus *corpus = new_corpus(16);
    assert_refused(icot_corpus_reserve(corpus, -1, 0), "cannot reserve");
    assert_refused(icot_corpus_reserve(corpus, INT64_MAX, 0), "cannot reserve");
    assert_refused(icot_corpus_reserve(corpus, 0, INT64_MAX), "out of memory");

    assert_int_equal(icot_corpus_reserve(corpus, 1000, 20000), 0);
    int64_t bytes = icot_corpus_bytes(corpus);
    icot_memory before, after;
    icot_memory_read(&before);
    for (int64_t i = 0; i < 1000; i++) append_example(corpus, i, 16);
    icot_memory_read(&after);
    assert_int_equal(after.allocations, before.allocations);
    assert_int_equal(icot_corpus_bytes(corpus), bytes);
    assert_int_equal(icot_corpus_reserve(corpus, 1, 1), 0); /* never shrinks */
    assert_int_equal(icot_corpus_bytes(corpus), bytes);
    assert_holds_example(corpus, 999, 16);
    icot_corpus_free(corpus);
}

/* 9 x 9 digits: 283 tokens per example, so 808,000 examples must fit in about 250 MB. */
static void test_bytes_per_example(void **state)
{
    (void)state;
    icot_corpus *corpus = new_corpus(16);
    assert_int_equal(icot_corpus_reserve(corpus, 1000, 283 * 1000), 0);
    assert_true(icot_corpus_bytes(corpus) < 1000 * (283 + 25));
    icot_corpus_free(corpus);
}

/* However the Nth allocation fails, the corpus keeps what it had and can go on. */
static void test_failed_allocations_change_nothing(void **state)
{
    (void)state;
    failing_allocation failing = {0};
    while (next_failing(&failing)) {
        icot_corpus *none = NULL;
        if (FAILING(&failing, icot_corpus_create(16, &none))) assert_null(none);
        icot_corpus_free(none);
    }
    assert_true(failing.nth > 2);

    const int64_t before = live_bytes();
    icot_corpus *corpus = new_corpus(16);
    int32_t tokens[16];
    icot_example n;
    int64_t failures = 0;
    for (int64_t i = 0; i < 3000; i++) {
        icot_memory_fail_at(1 + i % 2);
        make_example(i, 16, tokens, &n);
        if (icot_corpus_append(corpus, tokens, n.question, tokens + n.question, n.cot,
                               tokens + n.question + n.cot, n.answer)) {
            failures++;
            icot_memory_fail_at(0);
            assert_int_equal(icot_corpus_size(corpus), i);
            append_example(corpus, i, 16);
        }
    }
    icot_memory_fail_at(0);
    assert_true(failures > 3);
    for (int64_t i = 0; i < 3000; i++) assert_holds_example(corpus, i, 16);
    icot_corpus_free(corpus);
    assert_int_equal(live_bytes(), before);
}

/* ---- Marks of reasoning steps ---------------------------------------------------------------- */

static void append_with_cot(icot_corpus *corpus, int64_t n_cot)
{
    static const int32_t ids[64];
    assert_int_equal(icot_corpus_append(corpus, ids, 1, ids, n_cot, ids, 1), 0);
}

static void assert_steps(const icot_corpus *corpus, int64_t index, const int32_t *expected,
                         int64_t n_expected)
{
    const int32_t *ends = NULL;
    int64_t n = -2;
    assert_int_equal(icot_corpus_steps(corpus, index, &ends, &n), 0);
    assert_int_equal(n, n_expected);
    if (n < 0) assert_null(ends);
    if (n >= 0) assert_non_null(ends);
    if (n > 0) assert_memory_equal(ends, expected, (size_t)n * sizeof *ends);
}

/* The pattern of example i: nearly 2,000 different ones, each once or twice. */
static int64_t make_ends(int64_t i, int32_t *ends)
{
    int64_t n = 0;
    for (int bit = 0; bit < 11; bit++) {
        if (i % 2000 >> bit & 1) ends[n++] = bit + 1;
    }
    if (n == 0 || ends[n - 1] != 12) ends[n++] = 12;
    return n;
}

static void test_marks_come_back(void **state)
{
    (void)state;
    icot_corpus *corpus = new_corpus(16);
    int32_t ends[16];
    for (int64_t i = 0; i < 3000; i++) {
        append_with_cot(corpus, 12);
        if (i % 3 < 2) {
            assert_int_equal(icot_corpus_mark_steps(corpus, ends, make_ends(i, ends)), 0);
        }
    }
    for (int64_t i = 0; i < 3000; i++) {
        int64_t n = make_ends(i, ends);
        assert_steps(corpus, i, ends, i % 3 < 2 ? n : -1);
    }
    icot_corpus_free(corpus);
}

static void test_marks_of_an_empty_cot(void **state)
{
    (void)state;
    icot_corpus *corpus = new_corpus(16);
    int32_t one = 1;
    for (int i = 0; i < 3; i++) append_with_cot(corpus, 0);
    assert_steps(corpus, 2, NULL, -1);
    assert_int_equal(icot_corpus_mark_steps(corpus, NULL, 0), 0);
    assert_steps(corpus, 0, NULL, -1);
    assert_steps(corpus, 2, NULL, 0);
    append_with_cot(corpus, 0);
    assert_refused(icot_corpus_mark_steps(corpus, &one, 1), "ends at 1");
    assert_steps(corpus, 3, NULL, -1);
    icot_corpus_free(corpus);
}

static void test_refuses_bad_marks(void **state)
{
    (void)state;
    icot_corpus *corpus = new_corpus(16);
    const int32_t *found;
    int64_t n;
    int32_t good[] = {3, 5}, twice[] = {3, 3, 5}, falling[] = {4, 3, 5}, beyond[] = {3, 6};
    int32_t zero[] = {0, 5}, negative[] = {-1, 5}, too_short[] = {3, 4};
    assert_refused(icot_corpus_mark_steps(corpus, good, 2), "no example yet");
    append_with_cot(corpus, 9);
    append_with_cot(corpus, 5);
    assert_refused(icot_corpus_mark_steps(corpus, twice, 3),
                   "step 2 of example 2 ends at 3, expected 4 to 5");
    assert_refused(icot_corpus_mark_steps(corpus, falling, 3), "step 2 of example 2 ends at 3");
    assert_refused(icot_corpus_mark_steps(corpus, beyond, 2), "ends at 6, expected 4 to 5");
    assert_refused(icot_corpus_mark_steps(corpus, zero, 2), "step 1 of example 2 ends at 0");
    assert_refused(icot_corpus_mark_steps(corpus, negative, 2), "ends at -1");
    assert_refused(icot_corpus_mark_steps(corpus, too_short, 2), "end at 4, but its CoT has 5");
    assert_refused(icot_corpus_mark_steps(corpus, NULL, 0), "end at 0, but its CoT has 5");
    assert_refused(icot_corpus_mark_steps(corpus, good, -1), "but its CoT has 5");
    assert_steps(corpus, 1, NULL, -1);
    assert_int_equal(icot_corpus_mark_steps(corpus, good, 2), 0);
    assert_refused(icot_corpus_mark_steps(corpus, good, 2), "example 2 are already marked");
    assert_steps(corpus, 1, good, 2);
    assert_refused(icot_corpus_steps(corpus, 2, &found, &n), "index 2 is none");
    icot_corpus_free(corpus);
}

static void test_marks_leave_the_digest_alone(void **state)
{
    (void)state;
    icot_corpus *plain = new_corpus(16), *marked = new_corpus(16);
    int32_t ends[] = {2, 4};
    for (int i = 0; i < 10; i++) {
        append_with_cot(plain, 4);
        append_with_cot(marked, 4);
        assert_int_equal(icot_corpus_mark_steps(marked, ends, 2), 0);
    }
    assert_true(icot_corpus_digest(plain) == icot_corpus_digest(marked));
    icot_corpus_free(plain);
    icot_corpus_free(marked);
}

/* Of many examples that share a pattern each takes 4 bytes, with room to grow 6. */
static void test_bytes_of_marks(void **state)
{
    (void)state;
    enum { EXAMPLES = 50000 };
    icot_corpus *corpus = new_corpus(16);
    int32_t ends[9];
    for (int k = 0; k < 9; k++) ends[k] = k + 1;
    for (int i = 0; i < EXAMPLES; i++) append_with_cot(corpus, 9);
    int64_t before = icot_corpus_bytes(corpus);
    icot_corpus_free(corpus);

    corpus = new_corpus(16);
    for (int i = 0; i < EXAMPLES; i++) {
        append_with_cot(corpus, 9);
        assert_int_equal(icot_corpus_mark_steps(corpus, ends, 9), 0);
    }
    int64_t marks = icot_corpus_bytes(corpus) - before;
    assert_true(marks >= 4 * EXAMPLES && marks < 6 * EXAMPLES + 8192);
    icot_corpus_free(corpus);
}

static void test_failed_allocations_mark_nothing(void **state)
{
    (void)state;
    const int64_t before = live_bytes();
    icot_corpus *corpus = new_corpus(16);
    int32_t ends[16];
    int64_t failures = 0;
    for (int64_t i = 0; i < 2000; i++) {
        append_with_cot(corpus, 12);
        int64_t n = make_ends(i, ends);
        icot_memory_fail_at(1 + i % 2);
        if (icot_corpus_mark_steps(corpus, ends, n)) {
            failures++;
            icot_memory_fail_at(0);
            assert_steps(corpus, i, NULL, -1);
            assert_int_equal(icot_corpus_mark_steps(corpus, ends, n), 0);
        }
        icot_memory_fail_at(0);
    }
    assert_true(failures > 6);
    for (int64_t i = 0; i < 2000; i++) {
        int64_t n = make_ends(i, ends);
        assert_steps(corpus, i, ends, n);
    }
    icot_corpus_free(corpus);
    assert_int_equal(live_bytes(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip_in_every_width),
        cmocka_unit_test(test_largest_id_of_each_width),
        cmocka_unit_test(test_refuses_ids_outside_the_vocabulary),
        cmocka_unit_test(test_needs_a_question_and_an_answer),
        cmocka_unit_test(test_refuses_numbers_and_room_that_do_not_exist),
        cmocka_unit_test(test_reserve),
        cmocka_unit_test(test_bytes_per_example),
        cmocka_unit_test(test_failed_allocations_change_nothing),
        cmocka_unit_test(test_marks_come_back),
        cmocka_unit_test(test_marks_of_an_empty_cot),
        cmocka_unit_test(test_refuses_bad_marks),
        cmocka_unit_test(test_marks_leave_the_digest_alone),
        cmocka_unit_test(test_bytes_of_marks),
        cmocka_unit_test(test_failed_allocations_mark_nothing),
    };
    return cmocka_run_group_tests_name("corpus", tests, NULL, NULL);
}
