/* Attention over a cache of keys and values, against attention over whole sequences. */
#include "support.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SLOTS = 5, CAPACITY = 40, SEQUENCES = 3, TOKENS = 48, WIDEST = 246 };

static const int32_t whole[SEQUENCES + 1] = {0, 9, 10, TOKENS};

/* A chunk of each sequence. */
typedef struct chunk {
    int32_t starts[SEQUENCES + 1], lengths[SEQUENCES];
} chunk;

static const chunk chunks[] = {{{0, 4, 5, 22}, {0, 0, 0}},
                               {{0, 1, 1, 2}, {4, 1, 17}},
                               {{0, 0, 0, 3}, {5, 1, 18}},
                               {{0, 4, 4, 21}, {5, 1, 21}}};

/* What is attended to, and what comes out: qkv (TOKENS, 3·width), full (TOKENS, width). */
typedef struct attended {
    int heads, width;
    const float *qkv;
    float full[TOKENS * WIDEST];
} attended;

static void decode_chunk(icot_engine *engine, const attended *a, chunk c, icot_tensor keys,
                         icot_tensor values)
{
    const int32_t slots[SEQUENCES] = {4, 0, 2};
    int32_t tokens = c.starts[SEQUENCES], width = a->width;
    float *rows = calloc((size_t)tokens * 3 * (size_t)width + 1, sizeof *rows);
    assert_non_null(rows);
    for (int b = 0; b < SEQUENCES; b++) {
        memcpy(rows + c.starts[b] * 3 * width, a->qkv + (whole[b] + c.lengths[b]) * 3 * width,
               (size_t)(c.starts[b + 1] - c.starts[b]) * 3 * (size_t)width * sizeof *a->qkv);
    }
    icot_tensor x = tensor_of(engine, 2, (const int64_t[]){tokens, 3 * width}, rows), y;
    free(rows);
    assert_ok(icot_attention_cached(
        engine, x, ids_of(engine, SEQUENCES + 1, c.starts), ids_of(engine, SEQUENCES, slots),
        ids_of(engine, SEQUENCES, c.lengths), keys, values, a->heads, &y));
    float *got = calloc((size_t)(tokens * width + 1), sizeof *got);
    assert_non_null(got);
    assert_ok(icot_tensor_read(engine, y, got, tokens * width));
    for (int b = 0; b < SEQUENCES; b++) {
        for (int32_t i = 0; i < (c.starts[b + 1] - c.starts[b]) * width; i++) {
            float expected = a->full[(whole[b] + c.lengths[b]) * width + i];
            assert_true(fabsf(got[c.starts[b] * width + i] - expected) < 2e-6f);
        }
    }
    free(got);
}

static void decode(icot_engine *engine, attended *a)
{
    const icot_op_params heads = {.n_index = 1, .index = {a->heads}};
    icot_tensor inputs[] = {tensor_of(engine, 2, (const int64_t[]){TOKENS, 3 * a->width}, a->qkv),
                            ids_of(engine, SEQUENCES + 1, whole)};
    icot_tensor y = apply_with(engine, "attention", inputs, 2, heads);
    assert_ok(icot_tensor_read(engine, y, a->full, TOKENS * a->width));

    const int64_t size[] = {SLOTS, CAPACITY, a->width};
    icot_tensor keys = tensor_of(engine, 3, size, NULL), values = tensor_of(engine, 3, size, NULL);
    assert_ok(icot_tensor_fill(engine, keys, NAN)); /* what is not there must not be read */
    assert_ok(icot_tensor_fill(engine, values, NAN));
    for (size_t c = 0; c < sizeof chunks / sizeof *chunks; c++) {
        decode_chunk(engine, a, chunks[c], keys, values);
    }
}

/* Sequences of 9, 1 and 38 tokens, taken in ragged chunks, against attention over the whole: with
 * heads of 11 channels, and with so many of 41 that the last chunk is one for several threads. */
static void test_cached_attention(void **state)
{
    (void)state;
    const struct {
        int heads, width;
    } sizes[] = {{2, 22}, {6, WIDEST}};
    float *qkv = random_floats(TOKENS * 3 * WIDEST, 21);
    const kernel_set *sets;
    int n_sets = kernel_sets(&sets);
    assert_ok(icot_set_threads(3));
    for (int s = 0; s < n_sets; s++) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            icot_engine *engine = engine_on(&sets[s].table);
            attended a = {.heads = sizes[i].heads, .width = sizes[i].width, .qkv = qkv};
            decode(engine, &a);
            icot_engine_free(engine);
        }
    }
    free(qkv);
}

/* What is given to icot_attention_cached: two sequences, of 4 channels, with rooms for 8 tokens. */
typedef struct arguments {
    icot_tensor qkv, starts, slots, lengths, keys, values;
    int heads;
} arguments;

static arguments right_arguments(icot_engine *engine)
{
    const int64_t size[] = {2, 8, 4};
    return (arguments){.qkv = tensor_of(engine, 2, (const int64_t[]){3, 12}, NULL),
                       .starts = INTS(engine, 0, 1, 3),
                       .slots = INTS(engine, 1, 0),
                       .lengths = INTS(engine, 7, 6),
                       .keys = tensor_of(engine, 3, size, NULL),
                       .values = tensor_of(engine, 3, size, NULL),
                       .heads = 2};
}

static int attend(icot_engine *engine, arguments a, icot_tensor *out)
{
    return icot_attention_cached(engine, a.qkv, a.starts, a.slots, a.lengths, a.keys, a.values,
                                 a.heads, out);
}

static void assert_attend_refused(icot_engine *engine, arguments wrong, const char *message)
{
    icot_tensor y = 77;
    assert_refused(attend(engine, wrong, &y), message);
    assert_int_equal(y, 77);
}

/* Refused if one of the right arguments is another. */
#define ASSERT_REFUSED_WITH(field, value, message)                                                 \
    do {                                                                                           \
        arguments wrong = right;                                                                   \
        wrong.field = value;                                                                       \
        assert_attend_refused(engine, wrong, message);                                             \
    } while (0)

static void test_cached_attention_refuses_shapes_and_types(void **state)
{
    (void)state;
    icot_engine *engine = engine_on(tested_backend("float32"));
    const arguments right = right_arguments(engine);
    arguments wide = right;
    icot_tensor wider = tensor_of(engine, 3, (const int64_t[]){2, 8, 6}, NULL), y;
    wide.keys = wide.values = wider;
    assert_attend_refused(engine, wide, "keys (2,8,6)");
    ASSERT_REFUSED_WITH(heads, 3, "4 channels cannot be shared by 3 heads");
    ASSERT_REFUSED_WITH(heads, 0, "by 0 heads");
    ASSERT_REFUSED_WITH(values, wider, "values (2,8,6)");
    ASSERT_REFUSED_WITH(slots, right.starts, "3 slots");
    ASSERT_REFUSED_WITH(lengths, right.starts, "3 lengths");
    ASSERT_REFUSED_WITH(qkv, right.slots, "tensor 1 is int32");
    ASSERT_REFUSED_WITH(starts, right.qkv, "tensor 2 is float32");
    ASSERT_REFUSED_WITH(qkv, 0, "tensor 1: this tensor is gone");

    assert_ok(attend(engine, right, &y));
    assert_ok(icot_requires_grad(engine, right.keys, 1));
    apply_two(engine, "mul", right.keys, right.keys);
    assert_refused(attend(engine, right, &y),
                   "attention_cached: this tensor cannot be overwritten: the tape still reads it");
    icot_engine_free(engine);
}

static void test_cached_attention_refuses_sequences(void **state)
{
    (void)state;
    icot_engine *engine = engine_on(tested_backend("float32"));
    const arguments right = right_arguments(engine);
    icot_tensor y;
    ASSERT_REFUSED_WITH(slots, INTS(engine, 1, 2), "slot 2 of 2");
    ASSERT_REFUSED_WITH(slots, INTS(engine, -1, 0), "slot -1");
    ASSERT_REFUSED_WITH(slots, INTS(engine, 1, 1), "sequence 1 names slot 1, as another one does");
    ASSERT_REFUSED_WITH(lengths, INTS(engine, 0, 7), "sequence 1 has 7 tokens and gets 2");
    ASSERT_REFUSED_WITH(lengths, INTS(engine, -1, 0), "sequence 0 has -1 tokens");
    ASSERT_REFUSED_WITH(starts, INTS(engine, 0, 1, 4), "from 0 to 4, expected 0 to 3");
    ASSERT_REFUSED_WITH(starts, INTS(engine, 0, 5, 3), "falls from 5 to 3");
    assert_ok(attend(engine, right, &y));
    icot_engine_free(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cached_attention),
        cmocka_unit_test(test_cached_attention_refuses_shapes_and_types),
        cmocka_unit_test(test_cached_attention_refuses_sequences),
    };
    return cmocka_run_group_tests_name("decoding", tests, NULL, NULL);
}
