/*
 * The tokenizer: merges against a slow oracle, special tokens; what is refused; failed allocations.
 * Characters and words: test_pretokenize.c. That ids are Hugging Face's: tokenizer_spec.lua.
 */
#include "failing_allocations.h"
#include "support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- A vocabulary made by hand --------------------------------------------------------------- */

enum { BYTES = 256, MOST_TOKENS = 512, MOST_BYTES = 16384 };

typedef struct vocabulary {
    icot_tokenizer_parts parts;
    char bytes[MOST_BYTES];
    int64_t bounds[MOST_TOKENS + 1];
    int32_t merges[3 * MOST_TOKENS], special[4];
} vocabulary;

static int32_t add_token(vocabulary *v, const char *bytes, int64_t length)
{
    const int64_t id = v->parts.n_tokens++;
    assert_true(id < MOST_TOKENS && v->bounds[id] + length <= MOST_BYTES);
    memcpy(v->bytes + v->bounds[id], bytes, (size_t)length);
    v->bounds[id + 1] = v->bounds[id] + length;
    return (int32_t)id;
}

static int64_t length_of(const vocabulary *v, int32_t id)
{
    return v->bounds[id + 1] - v->bounds[id];
}

/* A new token of two others, and the merge that makes it. */
static int32_t add_merge(vocabulary *v, int32_t left, int32_t right)
{
    char joined[MOST_BYTES];
    const int64_t length = length_of(v, left), all = length + length_of(v, right);
    memcpy(joined, v->bytes + v->bounds[left], (size_t)length);
    memcpy(joined + length, v->bytes + v->bounds[right], (size_t)(all - length));
    int32_t *merge = v->merges + 3 * v->parts.n_merges++;
    merge[0] = left;
    merge[1] = right;
    return merge[2] = add_token(v, joined, all);
}

static void add_special(vocabulary *v, const char *name)
{
    v->special[v->parts.n_special++] = add_token(v, name, (int64_t)strlen(name));
}

/* All bytes, each with its own value as id, and no merges. */
static vocabulary *bytes_only(void)
{
    vocabulary *v = calloc(1, sizeof *v);
    assert_non_null(v);
    v->parts.bytes = v->bytes;
    v->parts.bounds = v->bounds;
    v->parts.merges = v->merges;
    v->parts.special = v->special;
    for (int byte = 0; byte < BYTES; byte++) add_token(v, (char[]){(char)byte}, 1);
    return v;
}

static icot_tokenizer *tokenizer_of(const vocabulary *v)
{
    icot_tokenizer *made;
    assert_ok(icot_tokenizer_create(&v->parts, &made));
    return made;
}

#define ASSERT_IDS(tokenizer, text, special, ...)                                                  \
    assert_ids(tokenizer, text, special, sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t), \
               (const int32_t[]){__VA_ARGS__})
static void assert_ids(icot_tokenizer *tokenizer, const char *text, int with_special, int64_t n,
                       const int32_t *expected)
{
    const int32_t *ids;
    int64_t count;
    assert_ok(
        icot_tokenizer_encode(tokenizer, text, (int64_t)strlen(text), with_special, &ids, &count));
    assert_int_equal(count, n);
    assert_memory_equal(ids, expected, (size_t)n * sizeof *ids);
}

static void assert_comes_back(icot_tokenizer *tokenizer, const char *text, int64_t length)
{
    const int32_t *ids;
    const char *decoded;
    int64_t count, decoded_length;
    assert_ok(icot_tokenizer_encode(tokenizer, text, length, 1, &ids, &count));
    assert_true(count <= length);
    assert_ok(icot_tokenizer_decode(tokenizer, ids, count, &decoded, &decoded_length));
    assert_int_equal(decoded_length, length);
    assert_memory_equal(decoded, text, (size_t)length);
}

/* ---- Random numbers -------------------------------------------------------------------------- */

static uint64_t random_state = 1;

static int64_t below(int64_t limit) /* Knuth's MMIX generator */
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (int64_t)((random_state >> 33) % (uint64_t)limit);
}

/* ---- Merges ---------------------------------------------------------------------------------- */

static int64_t rank_of(const vocabulary *v, int32_t left, int32_t right)
{
    for (int64_t i = 0; i < v->parts.n_merges; i++) {
        if (v->merges[3 * i] == left && v->merges[3 * i + 1] == right) return i;
    }
    return INT64_MAX;
}

/* The definition, step by step: do the best merge there is, the leftmost of equals, until none. */
static int64_t oracle(const vocabulary *v, const char *word, int64_t length, int32_t *ids)
{
    int64_t count = length;
    for (int64_t i = 0; i < length; i++) ids[i] = (unsigned char)word[i];
    for (;;) {
        int64_t best = INT64_MAX, at = 0;
        for (int64_t i = 0; i + 1 < count; i++) {
            int64_t rank = rank_of(v, ids[i], ids[i + 1]);
            if (rank < best) best = rank, at = i;
        }
        if (best == INT64_MAX) return count;
        ids[at] = v->merges[3 * best + 2];
        memmove(ids + at + 1, ids + at + 2, (size_t)(count - at - 2) * sizeof *ids);
        count--;
    }
}

/* Merges of tokens of few letters, at random, so that they get into each other's way. */
static vocabulary *random_vocabulary(int64_t merges, int64_t letters)
{
    vocabulary *v = bytes_only();
    while (v->parts.n_merges < merges) {
        int32_t pair[2];
        for (int i = 0; i < 2; i++) {
            const int64_t choice = below(letters + v->parts.n_merges);
            pair[i] = (int32_t)(choice < letters ? 'a' + choice : BYTES + choice - letters);
        }
        if (rank_of(v, pair[0], pair[1]) != INT64_MAX) continue;
        if (length_of(v, pair[0]) + length_of(v, pair[1]) > 24) continue;
        add_merge(v, pair[0], pair[1]);
    }
    return v;
}

static void test_merges_as_the_oracle(void **state)
{
    (void)state;
    enum { LONGEST = 200 };
    for (int round = 0; round < 20; round++) {
        const int64_t letters = 1 + round % 4;
        vocabulary *v = random_vocabulary(letters == 1 ? 20 : 100, letters);
        icot_tokenizer *tokenizer = tokenizer_of(v);
        for (int word = 0; word < 100; word++) {
            char text[LONGEST + 1] = {0};
            int32_t expected[LONGEST];
            const int64_t length = 1 + below(word % 4 ? 20 : LONGEST);
            for (int64_t i = 0; i < length; i++) text[i] = (char)('a' + below(letters));
            const int64_t count = oracle(v, text, length, expected);
            assert_ids(tokenizer, text, 0, count, expected);
            assert_ids(tokenizer, text, 0, count, expected); /* from the cache, if it is short */
        }
        icot_tokenizer_free(tokenizer);
        free(v);
    }
}

/* A word of a million bytes: with a loop over all pairs for each merge this would take an hour. */
static void test_very_long_word(void **state)
{
    (void)state;
    enum { LENGTH = 1 << 20, DOUBLINGS = 6 };
    vocabulary *v = bytes_only();
    int32_t largest = 'a';
    for (int i = 0; i < DOUBLINGS; i++) largest = add_merge(v, largest, largest);
    icot_tokenizer *tokenizer = tokenizer_of(v);
    char *text = malloc(LENGTH);
    assert_non_null(text);
    memset(text, 'a', LENGTH);

    const int32_t *ids;
    int64_t count;
    assert_ok(icot_tokenizer_encode(tokenizer, text, LENGTH, 0, &ids, &count));
    assert_int_equal(count, LENGTH >> DOUBLINGS);
    for (int64_t i = 0; i < count; i++) assert_int_equal(ids[i], largest);
    assert_comes_back(tokenizer, text, LENGTH);
    free(text);
    icot_tokenizer_free(tokenizer);
    free(v);
}

/* More words than the cache has places, twice: one that lost its place is still right. */
static void test_more_words_than_the_cache_holds(void **state)
{
    (void)state;
    enum { WORDS_IN_ALL = 100000, LENGTH = 6 };
    vocabulary *v = random_vocabulary(100, 8);
    icot_tokenizer *tokenizer = tokenizer_of(v);
    for (int64_t i = 0; i < 2 * WORDS_IN_ALL; i++) {
        char text[LENGTH + 1] = {0};
        for (int64_t at = 0, rest = i % WORDS_IN_ALL; at < LENGTH; at++, rest /= 8) {
            text[at] = (char)('a' + rest % 8);
        }
        int32_t expected[LENGTH];
        const int64_t count = i % 16 ? 0 : oracle(v, text, LENGTH, expected); /* it is slow */
        if (count) {
            assert_ids(tokenizer, text, 0, count, expected);
        } else {
            assert_comes_back(tokenizer, text, LENGTH);
        }
    }
    icot_tokenizer_free(tokenizer);
    free(v);
}

/* ---- Special tokens, any bytes --------------------------------------------------------------- */

static void test_special_tokens(void **state)
{
    (void)state;
    vocabulary *v = bytes_only();
    const int32_t ab = add_merge(v, 'a', 'b');
    const int32_t short_one = (int32_t)v->parts.n_tokens, long_one = short_one + 1;
    add_special(v, "<x");
    add_special(v, "<x>b");
    icot_tokenizer *tokenizer = tokenizer_of(v);
    ASSERT_IDS(tokenizer, "ab<x>b", 1, ab, long_one);
    ASSERT_IDS(tokenizer, "<xab<x>", 1, short_one, ab, short_one, '>');
    ASSERT_IDS(tokenizer, "<<x>b<", 1, '<', long_one, '<');
    ASSERT_IDS(tokenizer, "a<xb", 1, 'a', short_one, 'b');
    ASSERT_IDS(tokenizer, "<xab", 0, '<', 'x', ab);
    icot_tokenizer_free(tokenizer);
    free(v);
}

static void test_any_bytes_come_back(void **state)
{
    (void)state;
    vocabulary *v = random_vocabulary(100, 4);
    add_special(v, "<x>");
    icot_tokenizer *tokenizer = tokenizer_of(v);
    for (int round = 0; round < 20000; round++) {
        const int64_t length = below(40);
        char *text = malloc((size_t)length + 1); /* of its size, for the address sanitizer */
        assert_non_null(text);
        const int64_t kinds = 1 + below(256);
        for (int64_t i = 0; i < length; i++) text[i] = (char)(below(kinds) + 256 - kinds);
        assert_comes_back(tokenizer, text, length);
        free(text);
    }
    icot_tokenizer_free(tokenizer);
    free(v);
}

static void test_the_empty_text(void **state)
{
    (void)state;
    vocabulary *v = bytes_only();
    icot_tokenizer *tokenizer = tokenizer_of(v);
    assert_comes_back(tokenizer, "", 0);
    icot_tokenizer_free(tokenizer);
    icot_tokenizer_free(NULL);
    free(v);
}

/* ---- What is refused ------------------------------------------------------------------------- */

static void assert_not_created(const vocabulary *v, const char *message)
{
    const int64_t live = live_bytes();
    icot_tokenizer *none = NULL;
    assert_refused(icot_tokenizer_create(&v->parts, &none), message);
    assert_null(none);
    assert_int_equal(live_bytes(), live);
}

static void test_refuses_vocabularies(void **state)
{
    (void)state;
    vocabulary *v = bytes_only();
    v->parts.n_tokens = 255;
    assert_not_created(v, "got 255 tokens");
    v->parts.n_tokens = INT64_C(1) << 40;
    assert_not_created(v, "tokens, expected");
    v->parts.n_tokens = 256;
    v->bounds[0] = 1;
    assert_not_created(v, "the first token begins at byte 1");
    v->bounds[0] = 0;
    v->bounds[8] = 7;
    assert_not_created(v, "token 7 is empty");
    v->bounds[8] = 8;
    v->bytes[9] = 'a';
    assert_not_created(v, "tokens 9 and 97 are the same byte");
    v->bytes[9] = 9;
    v->parts.n_tokens = 255;
    add_token(v, "ab", 2); /* where 0xFF was */
    assert_not_created(v, "there is no token for the byte 0xFF");
    free(v);
}

static void test_refuses_merges_and_special_tokens(void **state)
{
    (void)state;
    vocabulary *v = bytes_only();
    add_merge(v, 'a', 'b');
    v->merges[1] = 257;
    assert_not_created(v, "merge 1 names token 257, ids are 0 to 256");
    v->merges[1] = -1;
    assert_not_created(v, "merge 1 names token -1");
    v->merges[1] = 'c';
    assert_not_created(v, "which is not their bytes joined");
    v->merges[1] = 'b';
    memcpy(v->merges + 3, v->merges, 3 * sizeof *v->merges);
    v->parts.n_merges = 2;
    assert_not_created(v, "merge 2 is of the same two tokens as merge 1");
    v->parts.n_merges = -1;
    assert_not_created(v, "got -1 merges");
    v->parts.n_merges = 1;
    v->parts.n_special = 1;
    v->special[0] = 257;
    assert_not_created(v, "special token 257");
    v->parts.n_special = -1;
    assert_not_created(v, "got -1 special tokens");
    free(v);
}

static void test_refuses_ids_and_lengths(void **state)
{
    (void)state;
    vocabulary *v = bytes_only();
    icot_tokenizer *tokenizer = tokenizer_of(v);
    const char *text;
    const int32_t *ids;
    int64_t count;
    assert_refused(icot_tokenizer_decode(tokenizer, (const int32_t[]){1, 256}, 2, &text, &count),
                   "there is no id 256, its ids are 0 to 255");
    assert_refused(icot_tokenizer_decode(tokenizer, (const int32_t[]){-1}, 1, &text, &count),
                   "no id -1");
    assert_refused(icot_tokenizer_encode(tokenizer, "", -1, 0, &ids, &count), "-1 bytes");
    assert_refused(icot_tokenizer_encode(tokenizer, "", INT64_C(1) << 31, 0, &ids, &count),
                   "bytes, expected");
    icot_tokenizer_free(tokenizer);
    free(v);
}

/* ---- Memory ---------------------------------------------------------------------------------- */

static int make_and_use(const vocabulary *v, const char *text)
{
    icot_tokenizer *tokenizer;
    if (icot_tokenizer_create(&v->parts, &tokenizer)) return 1;
    const int32_t *ids;
    const char *decoded;
    int64_t count, length;
    int failed = icot_tokenizer_encode(tokenizer, text, (int64_t)strlen(text), 1, &ids, &count) ||
                 icot_tokenizer_decode(tokenizer, ids, count, &decoded, &length);
    icot_tokenizer_free(tokenizer);
    return failed;
}

static void test_failed_allocations(void **state)
{
    (void)state;
    vocabulary *v = random_vocabulary(50, 4);
    add_special(v, "<x>");
    failing_allocation failing = {0};
    while (next_failing(&failing)) {
        FAILING(&failing, make_and_use(v, "abba <x> abcdabcdabcdabcdabcdabcdabcdabcdabcd"));
    }
    assert_true(failing.nth > 8);
    free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merges_as_the_oracle),
        cmocka_unit_test(test_very_long_word),
        cmocka_unit_test(test_more_words_than_the_cache_holds),
        cmocka_unit_test(test_special_tokens),
        cmocka_unit_test(test_any_bytes_come_back),
        cmocka_unit_test(test_the_empty_text),
        cmocka_unit_test(test_refuses_vocabularies),
        cmocka_unit_test(test_refuses_merges_and_special_tokens),
        cmocka_unit_test(test_refuses_ids_and_lengths),
        cmocka_unit_test(test_failed_allocations),
    };
    return cmocka_run_group_tests_name("tokenizer", tests, NULL, NULL);
}
