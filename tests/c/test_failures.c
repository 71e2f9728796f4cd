/*
 * A training step of a tiny GPT-2 in which the Nth allocation fails, for every N: the error is
 * clean, nothing is lost, and the next step gives the same bits as if nothing had happened.
 */
#include "failing_allocations.h"
#include "support.h"

#include "tensor/engine_parts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { VOCAB = 11, CONTEXT = 8, WIDTH = 6, HEADS = 2, TOKENS = 7, TARGETS = 4 };
enum { PARAMETERS = 10 };

/* Parameters in the order in which the forward pass meets them. */
enum { WTE, WPE, LN_WEIGHT, LN_BIAS, QKV, QKV_BIAS, FC, FC_BIAS, PROJ, PROJ_BIAS };
static const int64_t sizes[PARAMETERS][2] = {
    {VOCAB, WIDTH}, {CONTEXT, WIDTH}, {WIDTH}, {WIDTH},        {3 * WIDTH, WIDTH},
    {3 * WIDTH},    {WIDTH, WIDTH},   {WIDTH}, {WIDTH, WIDTH}, {WIDTH}};

typedef struct model {
    icot_engine *engine;
    icot_tensor parameters[PARAMETERS], exp_avg[PARAMETERS], exp_avg_sq[PARAMETERS];
} model;

static int make(model *m)
{
    if (icot_engine_create("cpu", &m->engine)) return 1;
    for (int i = 0; i < PARAMETERS; i++) {
        const icot_random_key key = {.seed = 3, .stream = ICOT_STREAM_INIT, .step = (uint64_t)i};
        int ndim = sizes[i][1] ? 2 : 1;
        icot_tensor *p = &m->parameters[i];
        if (icot_tensor_create(m->engine, ICOT_FLOAT32, ndim, sizes[i], p) ||
            icot_tensor_normal(m->engine, *p, i == LN_WEIGHT, 0.3, key) ||
            icot_requires_grad(m->engine, *p, 1) ||
            icot_tensor_create(m->engine, ICOT_FLOAT32, ndim, sizes[i], &m->exp_avg[i]) ||
            icot_tensor_create(m->engine, ICOT_FLOAT32, ndim, sizes[i], &m->exp_avg_sq[i])) {
            return 1;
        }
    }
    return 0;
}

/* y = name(inputs): the last argument of each line of the forward pass is where it goes. */
static int op(model *m, const char *name, int n, const icot_tensor *inputs, icot_op_params params,
              icot_tensor *out)
{
    return icot_apply(m->engine, icot_operator_find(name), inputs, n, &params, out);
}

#define OP(name, out, ...)                                                                         \
    op(m, name, sizeof((icot_tensor[]){__VA_ARGS__}) / sizeof(icot_tensor),                        \
       (const icot_tensor[]){__VA_ARGS__}, (icot_op_params){0}, out)

static int ids(model *m, int64_t n, const int32_t *values, icot_tensor *out)
{
    return icot_tensor_create(m->engine, ICOT_INT32, 1, &n, out) ||
           icot_tensor_write(m->engine, *out, values, n);
}

/* A block whose halves share what they can: parameters get gradients from several places. */
static int block(model *m, icot_tensor x, icot_tensor cu_seqlens, icot_tensor *out)
{
    const icot_tensor *p = m->parameters;
    const icot_op_params params = {.n_index = 6, .index = {HEADS}, .number = {1e-5, 1e-5}};
    const icot_tensor inputs[] = {x,          p[LN_WEIGHT], p[LN_BIAS],   p[QKV],     p[QKV_BIAS],
                                  p[FC],      p[FC_BIAS],   p[LN_WEIGHT], p[LN_BIAS], p[FC],
                                  p[FC_BIAS], p[PROJ],      p[PROJ_BIAS], cu_seqlens};
    return op(m, "block", sizeof inputs / sizeof *inputs, inputs, params, out);
}

/* Two packed sequences of 4 and 3 tokens; the transposed view makes a contiguous copy necessary. */
static int forward(model *m, icot_tensor *loss)
{
    static const int32_t tokens[TOKENS] = {1, 5, 2, 9, 3, 3, 10},
                         at[TOKENS] = {0, 1, 2, 3, 0, 1, 2};
    static const int32_t starts[] = {0, 4, 7}, rows[TARGETS] = {1, 2, 4, 5};
    static const int32_t targets[TARGETS] = {2, 9, 3, 10};
    const icot_tensor *p = m->parameters;
    const icot_op_params eps = {.number = {1e-5}}, turn = {.n_index = 2, .index = {1, 0}};
    const icot_op_params heads = {.n_index = 1, .index = {HEADS}};
    icot_tensor token_ids, positions, cu_seqlens, target_rows, target_ids;
    icot_tensor x, norm, qkv, mixed, hidden, turned, chosen, logits;
    return ids(m, TOKENS, tokens, &token_ids) || ids(m, TOKENS, at, &positions) ||
           ids(m, 3, starts, &cu_seqlens) || ids(m, TARGETS, rows, &target_rows) ||
           ids(m, TARGETS, targets, &target_ids) ||
           OP("token_position_embedding", &x, p[WTE], p[WPE], token_ids, positions) ||
           block(m, x, cu_seqlens, &x) ||
           op(m, "layer_norm", 3, (icot_tensor[]){x, p[LN_WEIGHT], p[LN_BIAS]}, eps, &norm) ||
           OP("linear", &qkv, norm, p[QKV], p[QKV_BIAS]) ||
           op(m, "attention", 2, (icot_tensor[]){qkv, cu_seqlens}, heads, &mixed) ||
           OP("add", &x, x, mixed) || OP("linear", &hidden, x, p[FC], p[FC_BIAS]) ||
           OP("gelu", &hidden, hidden) || op(m, "permute", 1, &p[PROJ], turn, &turned) ||
           OP("matmul", &hidden, hidden, turned) || OP("mul", &hidden, hidden, p[PROJ_BIAS]) ||
           OP("add", &x, x, hidden) || OP("embedding", &chosen, x, target_rows) ||
           OP("linear", &logits, chosen, p[WTE]) || icot_ask_hits(m->engine, logits, target_ids) ||
           OP("cross_entropy", loss, logits, target_ids);
}

/* Forward, backward and update in a scope of their own; the scope is closed whatever happens. */
static int step(model *m, int number, float *value)
{
    icot_tensor loss;
    double told[3]; /* hits, loss and norm */
    if (icot_scope_open(m->engine)) return 1;
    int failed = forward(m, &loss) || icot_backward(m->engine, loss) ||
                 icot_ask_item(m->engine, loss) ||
                 icot_ask_grad_norm(m->engine, m->parameters, PARAMETERS) ||
                 icot_answers(m->engine, told, 3);
    icot_forget_asked(m->engine);
    if (!failed) {
        *value = (float)told[1];
        const icot_adamw_options options = {.lr = 0.01,
                                            .beta1 = 0.9,
                                            .beta2 = 0.999,
                                            .eps = 1e-8,
                                            .weight_decay = 0.01,
                                            .grad_scale = 1.0 / told[2],
                                            .step = number,
                                            .step_sq = number};
        icot_adamw_state states[PARAMETERS];
        for (int i = 0; i < PARAMETERS; i++) {
            states[i] = (icot_adamw_state){m->parameters[i], m->exp_avg[i], m->exp_avg_sq[i]};
        }
        failed = icot_adamw_step(m->engine, states, PARAMETERS, &options);
    }
    assert_ok(icot_zero_grad(m->engine, m->parameters, PARAMETERS));
    assert_ok(icot_scope_close(m->engine));
    return failed;
}

enum { STEPS = 4 };

static void train(model *m, float losses[STEPS])
{
    for (int i = 0; i < STEPS; i++) assert_ok(step(m, i + 1, &losses[i]));
}

static void test_it_learns(void **state)
{
    (void)state;
    model m;
    float losses[STEPS];
    assert_ok(make(&m));
    train(&m, losses);
    for (int i = 1; i < STEPS; i++) assert_true(losses[i] < losses[i - 1]);
    icot_engine_free(m.engine);
}

static int make_and_step(model *m, bool *made)
{
    float value;
    *made = make(m) == 0;
    return !*made || step(m, 1, &value);
}

/* Every allocation of making the model and of its first step, which makes gradients and grows the
 * tape and the table of handles. */
static void test_failures_in_a_first_step(void **state)
{
    (void)state;
    float expected[STEPS], losses[STEPS];
    model untouched;
    assert_ok(make(&untouched));
    train(&untouched, expected);
    icot_engine_free(untouched.engine);

    failing_allocation failing = {0};
    while (next_failing(&failing)) {
        model m = {0};
        bool made;
        if (FAILING(&failing, make_and_step(&m, &made)) && made) {
            train(&m, losses);
            assert_memory_equal(losses, expected, sizeof losses);
        }
        icot_engine_free(m.engine);
    }
    assert_true(failing.nth > 100); /* the loop did meet allocations */
}

/* The same in the third step of one model: live bytes come back to what they were every time. */
static void test_failures_in_a_later_step(void **state)
{
    (void)state;
    model m;
    float value, expected;
    assert_ok(make(&m));
    assert_ok(step(&m, 1, &value));
    assert_ok(step(&m, 2, &value));
    failing_allocation failing = {0};
    while (next_failing(&failing)) FAILING(&failing, step(&m, 3, &value));
    assert_true(failing.nth > 51);
    icot_engine_free(m.engine);

    assert_ok(make(&m));
    for (int i = 1; i <= 3; i++) assert_ok(step(&m, i, &expected));
    assert_true(value == expected); /* none of the failures moved a parameter */
    icot_engine_free(m.engine);
}

static const backend *whole; /* the kernels of the engine under test */
static int products_left;    /* before one fails */

static int fail_in_time(int64_t m, const void *a, const right_factor *b, const void *bias, void *c)
{
    return products_left-- == 0 ? 1 : whole->matmul_factor(m, a, b, bias, c);
}

/* Products may fail where no memory is asked for. */
static void test_failures_of_products(void **state)
{
    (void)state;
    model m;
    float value;
    assert_ok(make(&m));
    assert_ok(step(&m, 1, &value));
    whole = m.engine->backend;
    backend failing = *whole;
    failing.matmul_factor = fail_in_time;
    m.engine->backend = &failing;
    const int64_t before = live_bytes();
    int n = 0;
    for (int failed = 1; failed; n++) {
        products_left = n;
        failed = step(&m, 2, &value);
        assert_int_equal(live_bytes(), before);
    }
    assert_true(n > 5);
    icot_engine_free(m.engine);
}

/* Live bytes after step 2 and after step 200 are the same. */
static void test_nothing_accumulates(void **state)
{
    (void)state;
    model m;
    float value;
    int64_t after_two = 0;
    assert_ok(make(&m));
    for (int i = 1; i <= 200; i++) {
        assert_ok(step(&m, i, &value));
        if (i == 2) after_two = live_bytes();
    }
    assert_int_equal(live_bytes(), after_two);
    icot_engine_free(m.engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_learns),
        cmocka_unit_test(test_failures_in_a_first_step),
        cmocka_unit_test(test_failures_in_a_later_step),
        cmocka_unit_test(test_failures_of_products),
        cmocka_unit_test(test_nothing_accumulates),
    };
    return cmocka_run_group_tests_name("failures", tests, NULL, NULL);
}
