/* Activation checkpointing: what is dropped, what stays, and that gradients are the same bits. That
 * every operator can be computed again is tested where the gradients are. */
#include "failing_allocations.h"
#include "support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { ROWS = 96, COLUMNS = 64, NUMEL = ROWS * COLUMNS };
static const int64_t BYTES = NUMEL * (int64_t)sizeof(float); /* of one intermediate, at least */

static icot_engine *engine;
static icot_tensor x, weight; /* (ROWS, COLUMNS), (COLUMNS, COLUMNS) */

static icot_tensor parameter(int64_t rows, uint64_t step)
{
    icot_tensor p = tensor_of(engine, 2, (const int64_t[]){rows, COLUMNS}, NULL);
    const icot_random_key key = {.seed = 5, .stream = ICOT_STREAM_INIT, .step = step};
    assert_ok(icot_tensor_normal(engine, p, 0.0, 0.2, key));
    assert_ok(icot_requires_grad(engine, p, 1));
    return p;
}

static int open_engine(void **state)
{
    (void)state;
    engine = engine_on(cpu_backend());
    x = parameter(ROWS, 1);
    weight = parameter(COLUMNS, 2);
    return 0;
}

static int close_engine(void **state)
{
    (void)state;
    icot_engine_free(engine);
    return 0;
}

/* Tensors that are made on the way, for looking at them afterwards. */
typedef struct made {
    icot_tensor squares, turned, detached, dropped_out, product, result;
} made;

/* Views, copies, a detached tensor, random numbers, and an operator that saves something. */
static made segment_of(icot_tensor input)
{
    const icot_op_params half = {.number = {0.5}, .key = {.seed = 9, .stream = 70, .step = 3}};
    made m;
    m.squares = apply_two(engine, "mul", input, input);
    m.turned = VIEW(engine, m.squares, "permute", 1, 0);
    assert_ok(icot_tensor_detach(engine, m.squares, &m.detached));
    m.dropped_out = apply_with(engine, "dropout", &m.turned, 1, half); /* of a contiguous copy */
    icot_tensor back = VIEW(engine, m.dropped_out, "permute", 1, 0);
    icot_tensor mixed = apply_two(engine, "mul", back, m.detached);
    m.product = apply_two(engine, "linear", apply_one(engine, "tanh", mixed), weight);
    m.result = apply_two(engine, "add", input, m.product);
    return m;
}

static void read_gradient(icot_tensor of, int64_t numel, float *out)
{
    icot_tensor grad;
    assert_ok(icot_grad(engine, of, &grad));
    assert_true(grad != 0);
    assert_ok(icot_tensor_read(engine, grad, out, numel));
}

typedef struct gradients {
    float x[NUMEL], weight[COLUMNS * COLUMNS], loss;
} gradients;

typedef enum mode { PLAIN, CHECKPOINTED, NESTED } mode;

/* Three segments one after the other. */
static icot_tensor through_segments(mode how)
{
    icot_tensor y = x;
    int64_t outer = icot_tape_length(engine);
    for (int i = 0; i < 3; i++) {
        int64_t from = icot_tape_length(engine);
        y = segment_of(y).result;
        if (how != PLAIN) assert_ok(icot_checkpoint(engine, from, &y, 1));
    }
    if (how == NESTED) assert_ok(icot_checkpoint(engine, outer, &y, 1));
    return y;
}

/* And backward. */
static void backward_through(mode how, gradients *out)
{
    icot_tensor loss = sum_of_squares(engine, through_segments(how));
    assert_ok(icot_tensor_read(engine, loss, &out->loss, 1));
    assert_ok(icot_backward(engine, loss));
    read_gradient(x, NUMEL, out->x);
    read_gradient(weight, COLUMNS * COLUMNS, out->weight);
}

static void forget_gradients(void)
{
    assert_ok(icot_zero_grad(engine, (const icot_tensor[]){x, weight}, 2));
}

static void test_gradients_are_the_same_bits(void **state)
{
    (void)state;
    static gradients expected, found;
    for (int how = PLAIN; how <= NESTED; how++) {
        assert_ok(icot_scope_open(engine));
        backward_through((mode)how, how == PLAIN ? &expected : &found);
        assert_ok(icot_scope_close(engine));
        forget_gradients();
        if (how != PLAIN) assert_memory_equal(&found, &expected, sizeof found);
    }
}

static void assert_dropped(icot_tensor gone)
{
    static float values[NUMEL];
    const char *message = "contents were dropped: it lies within a checkpointed segment";
    icot_tensor out;
    assert_refused(icot_tensor_read(engine, gone, values, NUMEL), message);
    assert_refused(icot_tensor_write(engine, gone, values, NUMEL), message);
    assert_refused(icot_tensor_fill(engine, gone, 1.0), message);
    assert_refused(icot_tensor_detach(engine, gone, &out), message);
    assert_refused(
        icot_apply(engine, icot_operator_find("tanh"), &gone, 1, &(icot_op_params){0}, &out),
        message);
    icot_tensor_info info;
    assert_ok(icot_tensor_describe(engine, gone, &info));
    assert_int_equal(info.numel, NUMEL);
    assert_null(info.data);
}

static void test_all_but_the_results_is_dropped_for_good(void **state)
{
    (void)state;
    for (int round = 0; round < 2; round++) { /* before backward, and after it */
        assert_ok(icot_scope_open(engine));
        int64_t from = icot_tape_length(engine);
        made m = segment_of(x);
        assert_ok(icot_checkpoint(engine, from, (const icot_tensor[]){m.result, x}, 2));
        if (round == 1) assert_ok(icot_backward(engine, sum_of_squares(engine, m.result)));
        const icot_tensor gone[] = {m.squares, m.turned, m.detached, m.dropped_out, m.product};
        for (size_t i = 0; i < sizeof gone / sizeof *gone; i++) assert_dropped(gone[i]);
        static float values[NUMEL];
        assert_ok(icot_tensor_read(engine, m.result, values, NUMEL));
        if (round == 1) assert_ok(icot_tensor_free(engine, m.squares));
        assert_ok(icot_scope_close(engine));
    }
}

/* A result that is a view keeps what it looks at, for all who look at it. */
static void test_results_that_are_views(void **state)
{
    (void)state;
    static float values[NUMEL];
    assert_ok(icot_scope_open(engine));
    int64_t from = icot_tape_length(engine);
    made m = segment_of(x);
    assert_ok(icot_checkpoint(engine, from, (const icot_tensor[]){m.turned, m.result}, 2));
    assert_ok(icot_tensor_read(engine, m.squares, values, NUMEL));
    assert_ok(icot_tensor_read(engine, m.detached, values, NUMEL));
    assert_dropped(m.dropped_out);
    icot_tensor loss = apply_two(engine, "add", sum_of_squares(engine, m.turned),
                                 sum_of_squares(engine, m.result));
    assert_ok(icot_backward(engine, loss));
    assert_ok(icot_scope_close(engine));
}

/* What lies in a segment takes no memory between forward and backward, and none after it. */
static void test_memory_is_given_back(void **state)
{
    (void)state;
    int64_t live[3];
    for (int how = PLAIN; how <= CHECKPOINTED; how++) {
        assert_ok(icot_scope_open(engine));
        int64_t before = live_bytes(), from = icot_tape_length(engine);
        icot_tensor y = segment_of(x).result;
        if (how == CHECKPOINTED) assert_ok(icot_checkpoint(engine, from, &y, 1));
        live[how] = live_bytes() - before;
        assert_ok(icot_scope_close(engine));
    }
    assert_true(live[PLAIN] > 6 * BYTES);
    assert_true(live[CHECKPOINTED] < 2 * BYTES); /* the result, shapes and handles */
}

static void test_without_gradients_nothing_is_dropped(void **state)
{
    (void)state;
    static float values[NUMEL];
    assert_ok(icot_scope_open(engine));
    icot_set_grad_enabled(engine, 0);
    made m = segment_of(x);
    assert_ok(icot_checkpoint(engine, 0, &m.result, 1));
    icot_set_grad_enabled(engine, 1);
    assert_ok(icot_tensor_read(engine, m.squares, values, NUMEL));
    assert_ok(icot_scope_close(engine));
}

static void test_misuse_is_refused(void **state)
{
    (void)state;
    assert_ok(icot_scope_open(engine));
    int64_t from = icot_tape_length(engine);
    icot_tensor y = segment_of(x).result;
    assert_refused(icot_checkpoint(engine, icot_tape_length(engine) + 1, &y, 1),
                   "neither backward nor");
    assert_refused(icot_checkpoint(engine, -1, &y, 1), "the tape had -1 entries");
    assert_refused(icot_checkpoint(engine, from, (const icot_tensor[]){12345}, 1), "gone");
    assert_ok(icot_checkpoint(engine, from, &y, 1));
    assert_refused(icot_checkpoint(engine, from + 2, &y, 1), "in the middle of another one");
    icot_tensor nothing = apply_one(engine, "tanh", y); /* no result: it is dropped as well */
    assert_ok(icot_checkpoint(engine, icot_tape_length(engine) - 1, NULL, 0));
    assert_dropped(nothing);
    assert_ok(icot_backward(engine, sum_of_squares(engine, y)));
    assert_ok(icot_scope_close(engine));
}

/* Every allocation of backward fails once, those of computing again included. */
static void test_failures_are_clean(void **state)
{
    (void)state;
    static gradients expected, found;
    for (int i = 0; i < 2; i++) { /* the second time, tape and handles have their sizes */
        assert_ok(icot_scope_open(engine));
        backward_through(CHECKPOINTED, &expected);
        assert_ok(icot_scope_close(engine));
        forget_gradients();
    }
    failing_allocation failing = {0};
    while (next_failing(&failing)) {
        assert_ok(icot_scope_open(engine));
        icot_tensor loss = sum_of_squares(engine, through_segments(CHECKPOINTED));
        FAILING(&failing, icot_backward(engine, loss));
        assert_ok(icot_scope_close(engine));
        forget_gradients();
    }
    assert_true(failing.nth > 20);
    assert_ok(icot_scope_open(engine));
    backward_through(CHECKPOINTED, &found);
    assert_ok(icot_scope_close(engine));
    assert_memory_equal(&found, &expected, sizeof found);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_engine, close_engine)
    const struct CMUnitTest tests[] = {
        TEST(test_gradients_are_the_same_bits),
        TEST(test_all_but_the_results_is_dropped_for_good),
        TEST(test_results_that_are_views),
        TEST(test_memory_is_given_back),
        TEST(test_without_gradients_nothing_is_dropped),
        TEST(test_misuse_is_refused),
        TEST(test_failures_are_clean),
    };
    return cmocka_run_group_tests_name("checkpoint", tests, NULL, NULL);
}
