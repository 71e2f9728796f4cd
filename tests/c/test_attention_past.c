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

/* What is attended to. */
typedef struct attending {
    int64_t heads, width;
    double dropped;
    bool first_is_unused; /* nothing hangs on what the rows of the first chunk give */
} attending;

/* qkv (TOKENS, 3·width), and weights of it and of y (TOKENS, width): gradients are of Σ weights·y +
 * Σ weights·qkv, where all rows of qkv are in the past at last. */
typedef struct attended {
    int64_t width;
    bool first_is_unused;
    icot_tensor qkv, weights, weights_of_qkv;
    icot_op_params params;
} attended;

/* Nothing hangs on the rows of the first chunk. */
static void clear_first(int64_t width, float *weights)
{
    for (int b = 0; b < SEQUENCES; b++) {
        memset(weights + whole[b] * width, 0, (size_t)(there[1][b] * width) * sizeof *weights);
    }
}

static attended attended_of(icot_engine *engine, const attending *how)
{
    const int64_t width = how->width;
    float *numbers = random_floats(TOKENS * 3 * width, 21);
    float *weights = random_floats(TOKENS * 3 * width, 22);
    const int64_t of_qkv[] = {TOKENS, 3 * width}, of_y[] = {TOKENS, width};
    const icot_tensor weights_of_qkv = tensor_of(engine, 2, of_qkv, weights);
    if (how->first_is_unused) clear_first(width, weights);
    const attended a = {.width = width,
                        .first_is_unused = how->first_is_unused,
                        .qkv = tensor_of(engine, 2, of_qkv, numbers),
                        .weights = tensor_of(engine, 2, of_y, weights),
                        .weights_of_qkv = weights_of_qkv,
                        .params = {.n_index = 2,
                                   .index = {how->heads, 1000},
                                   .number = {how->dropped},
                                   .key = {.seed = 3, .stream = 70, .step = 2}}};
    free(numbers), free(weights);
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
    const icot_tensor y = apply_with(engine, "attention", inputs, 2, a->params);
    return apply_two(engine, "add", weighted(engine, y, a->weights),
                     weighted(engine, a->qkv, a->weights_of_qkv));
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
        if (c == 0 && a->first_is_unused) continue;
        const icot_tensor part =
            weighted(engine, y, apply_two(engine, "embedding", a->weights, rows));
        loss = loss ? apply_two(engine, "add", loss, part) : part;
    }
    return apply_two(engine, "add", loss, weighted(engine, past, a->weights_of_qkv));
}

/* The loss, and behind it the gradient of qkv. */
static float *found(const kernel_set *set, icot_tensor (*loss_of)(icot_engine *, const attended *),
                    const attending *how)
{
    icot_engine *engine = engine_on(&set->table);
    const attended a = attended_of(engine, how);
    const icot_tensor loss = loss_of(engine, &a);
    const int64_t n = TOKENS * 3 * how->width;
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

static void compare(const kernel_set *set, const attending *how)
{
    float *expected = found(set, loss_of_the_whole, how);
    float *got = found(set, loss_bit_by_bit, how);
    for (int64_t i = 0; i <= TOKENS * 3 * how->width; i++) {
        const float off = fabsf(got[i] - expected[i]);
        if (off <= 2e-5f * (1.0f + fabsf(expected[i]))) continue;
        fail_msg("%s kernels, %d heads, p = %g: number %d is %.9g, of the whole %.9g", set->name,
                 (int)how->heads, how->dropped, (int)i, (double)got[i], (double)expected[i]);
    }
    free(expected), free(got);
}

/* Dropout, too, is that of the whole: it is drawn by the number of the row. */
static void test_bit_by_bit(void **state)
{
    (void)state;
    const attending ways[] = {
        {2, 22, 0.0, false}, {2, 22, 0.3, true}, {6, WIDEST, 0.0, true}, {6, WIDEST, 0.3, false}};
    const kernel_set *sets;
    const int n_sets = kernel_sets(&sets);
    assert_ok(icot_set_threads(3));
    for (int s = 0; s < n_sets; s++) {
        for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) compare(&sets[s], &ways[i]);
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

static int attend_for(icot_engine *engine, arguments a, icot_tensor *y)
{
    const icot_tensor inputs[] = {a.qkv, a.past, a.cu_seqlens, a.starts, a.lengths};
    const icot_op_params params = {.n_index = 1, .index = {a.heads}};
    return icot_apply(engine, icot_operator_find("attention_past"), inputs, 5, &params, y);
}

static int attend(icot_engine *engine, arguments a)
{
    icot_tensor y;
    return attend_for(engine, a, &y);
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
    assert_ok(attend(engine, right));
    ASSERT_REFUSED_WITH(heads, 3, "4 channels cannot be shared by 3 heads");
    ASSERT_REFUSED_WITH(past, narrow, "got qkv (3,12) and past (8,9), expected");
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

/* What is written to has rules of its own (autograd/operator.h). */
static void test_other_uses_of_the_past_are_refused(void **state)
{
    (void)state;
    icot_engine *engine = engine_on(tested_backend("float32"));
    const arguments right = right_arguments(engine);
    const icot_tensor longer = tensor_of(engine, 2, (const int64_t[]){11, 12}, NULL);
    const icot_tensor view = VIEW(engine, longer, "slice", 0, 2, 8);
    ASSERT_REFUSED_WITH(past, view, "tensor 2 is written to: it has to be a leaf, and no view");
    ASSERT_REFUSED_WITH(qkv, right.past, "tensor 2 is written to, and cannot be another of");
    assert_ok(icot_requires_grad(engine, right.qkv, 1));
    ASSERT_REFUSED_WITH(heads, 2, "tensor 2 is written to, and has to require a gradient");
    assert_ok(icot_requires_grad(engine, right.past, 1));
    assert_ok(attend(engine, right));
    apply_two(engine, "mul", right.past, right.past);
    ASSERT_REFUSED_WITH(heads, 2, "tensor 2 cannot be written to: the tape still reads it");
    icot_engine_free(engine);
}

/* Its gradient is of what was written alone, and has to be there. */
static void test_gradients_of_the_past_are_refused(void **state)
{
    (void)state;
    icot_engine *engine = engine_on(tested_backend("float32"));
    const arguments right = right_arguments(engine);
    icot_tensor y;
    assert_ok(icot_requires_grad(engine, right.qkv, 1));
    assert_ok(icot_requires_grad(engine, right.past, 1));
    assert_ok(attend_for(engine, right, &y));
    assert_ok(icot_backward(engine, sum_of_squares(engine, y)));
    ASSERT_REFUSED_WITH(heads, 2, "tensor 2 is written to, and has a gradient of what was there");
    assert_ok(icot_zero_grad(engine, &right.past, 1));
    assert_ok(attend_for(engine, right, &y));
    assert_ok(icot_requires_grad(engine, right.past, 0));
    assert_refused(icot_backward(engine, sum_of_squares(engine, y)),
                   "attention_past: past does not require a gradient any more");
    icot_engine_free(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bit_by_bit),
        cmocka_unit_test(test_wrong_arguments_are_refused),
        cmocka_unit_test(test_other_uses_of_the_past_are_refused),
        cmocka_unit_test(test_gradients_of_the_past_are_refused),
    };
    return cmocka_run_group_tests_name("attention_past", tests, NULL, NULL);
}
