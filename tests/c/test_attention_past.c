/* Attention of sequences bit by bit, while gradients flow, against attention of the whole. */
#include "support.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SEQUENCES = 3, TOKENS = 48, WIDEST = 246, CHUNKS = 4 };

static const int32_t whole[SEQUENCES + 1] = {0, 9, 10, TOKENS};

/* How many rows of each sequence are there before each chunk, and after the last: many come, few,
 * one, and the rest. */
static const int32_t there[CHUNKS + 1][SEQUENCES] = {
    {0, 0, 0}, {4, 0, 17}, {5, 1, 19}, {5, 1, 20}, {9, 1, 38}};

/* qkv (TOKENS, 3·width) and weights (TOKENS, width), whose Σ weights·y is what gradients are of. */
typedef struct attended {
    int64_t width;
    icot_tensor qkv, weights;
    icot_op_params params;
} attended;

static attended attended_of(icot_engine *engine, int64_t heads, int64_t width, double dropped)
{
    float *numbers = random_floats(TOKENS * 3 * width, 21);
    const int64_t of_qkv[] = {TOKENS, 3 * width}, of_weights[] = {TOKENS, width};
    const attended a = {.width = width,
                        .qkv = tensor_of(engine, 2, of_qkv, numbers),
                        .weights = tensor_of(engine, 2, of_weights, numbers + 7),
                        .params = {.n_index = 2,
                                   .index = {heads, 1000},
                                   .number = {dropped},
                                   .key = {.seed = 3, .stream = 70, .step = 2}}};
    free(numbers);
    assert_ok(icot_requires_grad(engine, a.qkv, 1));
    return a;
}

static icot_tensor weighted(icot_engine *engine, icot_tensor y, icot_tensor weights)
{
    return apply_one(engine, "sum", apply_two(engine, "mul", y, weights));
}

static icot_tensor loss_of_the_whole(icot_engine *engine, const attended *a)
{
    const icot_tensor inputs[] = {a->qkv, ids_of(engine, SEQUENCES + 1, whole)};
    return weighted(engine, apply_with(engine, "attention", inputs, 2, a->params), a->weights);
}

/* The rows that come with a chunk, where each sequence's begin among them, and how many are there.
 */
static icot_tensor rows_of_chunk(icot_engine *engine, int chunk, int32_t starts[SEQUENCES + 1])
{
    int32_t rows[TOKENS], n = 0;
    for (int b = 0; b < SEQUENCES; b++) {
        starts[b] = n;
        for (int32_t i = there[chunk][b]; i < there[chunk + 1][b]; i++) rows[n++] = whole[b] + i;
    }
    starts[SEQUENCES] = n;
    return ids_of(engine, n, rows);
}

static icot_tensor loss_bit_by_bit(icot_engine *engine, const attended *a)
{
    const int64_t size[] = {TOKENS, 3 * a->width};
    const icot_tensor past = tensor_of(engine, 2, size, NULL);
    icot_tensor loss = 0;
    assert_ok(icot_requires_grad(engine, past, 1));
    assert_ok(icot_tensor_fill(engine, past, NAN)); /* what is not there must not be read */
    for (int c = 0; c < CHUNKS; c++) {
        int32_t starts[SEQUENCES + 1];
        const icot_tensor rows = rows_of_chunk(engine, c, starts);
        const icot_tensor inputs[] = {apply_two(engine, "embedding", a->qkv, rows), past,
                                      ids_of(engine, SEQUENCES + 1, starts),
                                      ids_of(engine, SEQUENCES, whole),
                                      ids_of(engine, SEQUENCES, there[c])};
        const icot_tensor y = apply_with(engine, "attention_past", inputs, 5, a->params);
        const icot_tensor part =
            weighted(engine, y, apply_two(engine, "embedding", a->weights, rows));
        loss = loss ? apply_two(engine, "add", loss, part) : part;
    }
    return loss;
}

/* The loss, and behind it the gradient of qkv. */
static float *found(const kernel_set *set, icot_tensor (*loss_of)(icot_engine *, const attended *),
                    int64_t heads, int64_t width, double dropped)
{
    icot_engine *engine = engine_on(&set->table);
    const attended a = attended_of(engine, heads, width, dropped);
    const icot_tensor loss = loss_of(engine, &a);
    const int64_t n = TOKENS * 3 * width;
    float *values = calloc((size_t)n + 1, sizeof *values);
    icot_tensor grad;
    assert_non_null(values);
    assert_ok(icot_tensor_read(engine, loss, values, 1));
    assert_ok(icot_backward(engine, loss));
    assert_ok(icot_grad(engine, a.qkv, &grad));
    assert_ok(icot_tensor_read(engine, grad, values + 1, n));
    icot_engine_free(engine);
    return values;
}

static void compare(const kernel_set *set, int64_t heads, int64_t width, double dropped)
{
    float *expected = found(set, loss_of_the_whole, heads, width, dropped);
    float *got = found(set, loss_bit_by_bit, heads, width, dropped);
    for (int64_t i = 0; i <= TOKENS * 3 * width; i++) {
        const float off = fabsf(got[i] - expected[i]);
        if (off <= 2e-5f * (1.0f + fabsf(expected[i]))) continue;
        fail_msg("%s kernels, %d heads, p = %g: number %d is %.9g, of the whole %.9g", set->name,
                 (int)heads, dropped, (int)i, (double)got[i], (double)expected[i]);
    }
    free(expected), free(got);
}

/* Dropout, too, is that of the whole: it is drawn by the number of the row. */
static void test_bit_by_bit(void **state)
{
    (void)state;
    const kernel_set *sets;
    const int n_sets = kernel_sets(&sets);
    assert_ok(icot_set_threads(3));
    for (int s = 0; s < n_sets; s++) {
        compare(&sets[s], 2, 22, 0.0);
        compare(&sets[s], 2, 22, 0.3);
        compare(&sets[s], 6, WIDEST, 0.0);
        compare(&sets[s], 6, WIDEST, 0.3);
    }
}

/* ---- What is refused ------------------------------------------------------------------------- */

/* Two sequences of 4 channels: one row comes behind 3, and two behind none. */
typedef struct arguments {
    icot_tensor qkv, past, cu_seqlens, starts, lengths;
    int64_t heads;
} arguments;

static arguments right_arguments(icot_engine *engine)
{
    return (arguments){.qkv = tensor_of(engine, 2, (const int64_t[]){3, 12}, NULL),
                       .past = tensor_of(engine, 2, (const int64_t[]){8, 12}, NULL),
                       .cu_seqlens = INTS(engine, 0, 1, 3),
                       .starts = INTS(engine, 0, 6),
                       .lengths = INTS(engine, 3, 0),
                       .heads = 2};
}

static int attend(icot_engine *engine, arguments a)
{
    const icot_tensor inputs[] = {a.qkv, a.past, a.cu_seqlens, a.starts, a.lengths};
    const icot_op_params params = {.n_index = 1, .index = {a.heads}};
    icot_tensor y;
    return icot_apply(engine, icot_operator_find("attention_past"), inputs, 5, &params, &y);
}

/* Refused if one of the right arguments is another. */
#define ASSERT_REFUSED_WITH(field, value, message)                                                 \
    do {                                                                                           \
        arguments wrong = right;                                                                   \
        wrong.field = value;                                                                       \
        assert_refused(attend(engine, wrong), "attention_past: " message);                         \
    } while (0)

static void test_wrong_arguments_are_refused(void **state)
{
    (void)state;
    icot_engine *engine = engine_on(tested_backend("float32"));
    const arguments right = right_arguments(engine);
    const icot_tensor narrow = tensor_of(engine, 2, (const int64_t[]){8, 9}, NULL);
    const icot_tensor turned = tensor_of(engine, 2, (const int64_t[]){12, 8}, NULL);
    assert_ok(attend(engine, right));
    ASSERT_REFUSED_WITH(heads, 3, "4 channels cannot be shared by 3 heads");
    ASSERT_REFUSED_WITH(past, narrow, "got qkv (3,12) and past (8,9), expected");
    ASSERT_REFUSED_WITH(past, VIEW(engine, turned, "permute", 1, 0), "qkv and past have to be con");
    ASSERT_REFUSED_WITH(starts, INTS(engine, 0, 6, 8),
                        "got starts (3) and lengths (2), expected (2) twice");
    ASSERT_REFUSED_WITH(lengths, INTS(engine, 3),
                        "got starts (2) and lengths (1), expected (2) twice");
    ASSERT_REFUSED_WITH(cu_seqlens, INTS(engine, 0, 1, 4),
                        "cu_seqlens goes from 0 to 4, expected 0 to 3");
    ASSERT_REFUSED_WITH(starts, INTS(engine, -1, 6), "sequence 0 begins in row -1 of past");
    ASSERT_REFUSED_WITH(starts, INTS(engine, 0, 3), "sequence 1 begins in row 3 of past, where");
    ASSERT_REFUSED_WITH(lengths, INTS(engine, -1, 0), "sequence 0 has -1 rows");
    ASSERT_REFUSED_WITH(lengths, INTS(engine, 3, 1),
                        "sequence 1 has 1 rows and gets 2 in row 6 of past, whi");
    assert_ok(attend(engine, right));
    icot_engine_free(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bit_by_bit),
        cmocka_unit_test(test_wrong_arguments_are_refused),
    };
    return cmocka_run_group_tests_name("attention_past", tests, NULL, NULL);
}
