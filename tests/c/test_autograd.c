/* Who has a gradient and for how long, what the tape holds, and that nothing stays behind. */
#include "failing_allocations.h"
#include "support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static icot_engine *engine;

static int open_engine(void **state)
{
    (void)state;
    engine = engine_on(tested_backend("float32"));
    return 0;
}

static int close_engine(void **state)
{
    (void)state;
    icot_engine_free(engine);
    return 0;
}

static const float counting[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};

static icot_tensor matrix_3_4(void)
{
    return tensor_of(engine, 2, (const int64_t[]){3, 4}, counting);
}

static icot_tensor parameter(void)
{
    icot_tensor p = matrix_3_4();
    assert_ok(icot_requires_grad(engine, p, 1));
    return p;
}

static icot_tensor grad_of(icot_tensor x)
{
    icot_tensor grad;
    assert_ok(icot_grad(engine, x, &grad));
    return grad;
}

static void test_leaves_in_a_scope_take_their_gradients_along(void **state)
{
    (void)state;
    int64_t before = live_bytes();
    for (int round = 0; round < 3; round++) {
        assert_ok(icot_scope_open(engine));
        icot_tensor p = parameter(), q = parameter();
        assert_ok(icot_backward(engine, sum_of_squares(engine, apply_two(engine, "add", p, q))));
        icot_tensor grad = grad_of(p);
        ASSERT_VALUES(engine, grad, 0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44);
        assert_ok(icot_scope_close(engine));
        assert_gone(engine, grad);
        if (round == 0) before = live_bytes(); /* tape and handles have grown to what they need */
    }
    assert_int_equal(live_bytes(), before);
}

static void test_a_gradient_can_be_freed(void **state)
{
    (void)state;
    icot_tensor p = parameter();
    assert_ok(icot_backward(engine, sum_of_squares(engine, p)));
    icot_tensor grad = grad_of(p);
    assert_ok(icot_tensor_free(engine, grad));
    assert_int_equal(grad_of(p), 0);
    assert_ok(icot_backward(engine, sum_of_squares(engine, p)));
    ASSERT_VALUES(engine, grad_of(p), 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22);
    assert_ok(icot_tensor_free(engine, p));
    assert_gone(engine, p);
}

static void test_what_the_tape_needs_is_not_freed(void **state)
{
    (void)state;
    icot_tensor p = parameter(), x = matrix_3_4();
    icot_tensor y = apply_two(engine, "mul", p, x), loss = apply_one(engine, "sum", y);
    assert_refused(icot_tensor_free(engine, p), "the tape still needs this tensor");
    assert_refused(icot_tensor_free(engine, x), "the tape still needs this tensor");
    assert_refused(icot_tensor_free(engine, y), "the tape still needs this tensor");
    assert_refused(icot_requires_grad(engine, y, 0), "only a leaf");
    assert_ok(icot_backward(engine, loss));

    apply_two(engine, "mul", p, grad_of(p)); /* reads the gradient, which goes with p */
    icot_tensor other = parameter();
    apply_two(engine, "mul", other, grad_of(p));
    assert_refused(icot_tensor_free(engine, p), "the tape still needs this tensor");
    assert_ok(icot_backward(engine, sum_of_squares(engine, other)));
    assert_ok(icot_tensor_free(engine, p));
    assert_ok(icot_tensor_free(engine, y));
    assert_ok(icot_tensor_free(engine, x));
}

static void test_what_the_tape_reads_is_not_overwritten(void **state)
{
    (void)state;
    const icot_random_key key = {.seed = 1};
    icot_tensor p = parameter(), x = matrix_3_4(), y = apply_two(engine, "mul", p, x);
    assert_refused(icot_tensor_write(engine, x, counting, 12),
                   "write: this tensor cannot be overwritten: the tape still reads it");
    assert_refused(icot_tensor_fill(engine, x, 1.0), "fill: this tensor cannot be overwritten");
    assert_refused(icot_tensor_normal(engine, p, 0.0, 1.0, key), "normal: this tensor cannot be");
    assert_refused(icot_tensor_uniform(engine, p, 0.0, 1.0, key), "uniform: this tensor cannot be");
    assert_ok(icot_backward(engine, apply_one(engine, "sum", y)));
    ASSERT_VALUES(engine, grad_of(p), 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11);
    assert_ok(icot_tensor_fill(engine, x, 2.0));
    assert_ok(icot_tensor_write(engine, p, counting, 12));
}

/* Backward itself and AdamW write as well. */
static void test_what_the_tape_reads_is_not_updated(void **state)
{
    (void)state;
    const char *message = "cannot be overwritten: the tape still reads it";
    const icot_adamw_options options = {.lr = 0.1, .step = 1, .step_sq = 1};
    icot_tensor p = parameter(), other = parameter();
    const icot_adamw_state update = {p, matrix_3_4(), matrix_3_4()};
    assert_ok(icot_backward(engine, sum_of_squares(engine, p)));

    icot_tensor loss = sum_of_squares(engine, p);
    assert_refused(icot_adamw_step(engine, &update, 1, &options), message);
    assert_ok(icot_zero_grad(engine, &p, 1));
    assert_ok(icot_backward(engine, loss));
    ASSERT_VALUES(engine, grad_of(p), 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22);
    apply_one(engine, "sum", p); /* whose backward looks at the shape alone */
    assert_ok(icot_adamw_step(engine, &update, 1, &options));

    icot_tensor y = apply_two(engine, "mul", other, grad_of(p));
    loss = apply_one(engine, "sum", apply_two(engine, "add", y, apply_two(engine, "mul", p, p)));
    assert_refused(icot_backward(engine, loss), "backward, a gradient: this tensor cannot be");
}

static void test_backward_refuses(void **state)
{
    (void)state;
    icot_tensor p = parameter(), x = matrix_3_4();
    assert_refused(icot_backward(engine, apply_two(engine, "mul", p, p)),
                   "shape (3,4), expected a single float32 number");
    assert_refused(icot_backward(engine, apply_one(engine, "sum", x)), "nothing was recorded");
    icot_set_grad_enabled(engine, 0);
    assert_false(icot_grad_enabled(engine));
    assert_refused(icot_backward(engine, sum_of_squares(engine, p)), "nothing was recorded");
    icot_set_grad_enabled(engine, 1);
    icot_tensor loss = sum_of_squares(engine, p), detached;
    assert_ok(icot_tensor_detach(engine, loss, &detached));
    assert_refused(icot_backward(engine, detached), "nothing was recorded");
    assert_int_equal(grad_of(p), 0);
    assert_ok(icot_backward(engine, loss));
    assert_refused(icot_backward(engine, loss), "backward was called before");
    assert_int_equal(grad_of(loss), 0); /* only leaves keep theirs */
    ASSERT_VALUES(engine, grad_of(p), 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22);
}

/* Backward empties the tape; what an open scope records after that is still forgotten with it. */
static void test_backward_inside_of_a_scope(void **state)
{
    (void)state;
    icot_tensor p = parameter();
    for (int i = 0; i < 5; i++) apply_two(engine, "mul", p, p); /* on the tape, outside */
    assert_ok(icot_scope_open(engine));
    assert_ok(icot_backward(engine, sum_of_squares(engine, p)));
    icot_tensor inside = parameter();
    apply_two(engine, "mul", p, inside);
    assert_ok(icot_scope_close(engine));
    assert_ok(icot_zero_grad(engine, &p, 1));
    assert_ok(icot_backward(engine, sum_of_squares(engine, p)));
    ASSERT_VALUES(engine, grad_of(p), 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22);
    assert_ok(icot_tensor_free(engine, p));
}

enum { ROWS = 20, WIDTH = 32, NUMBERS = WIDTH * WIDTH };

static icot_tensor leaf(int64_t rows, const float *values)
{
    const icot_tensor made = tensor_of(engine, 2, (const int64_t[]){rows, WIDTH}, values);
    assert_ok(icot_requires_grad(engine, made, 1));
    return made;
}

/* sum(gelu(x·aᵀ)·bᵀ + x), of which x, a and b get gradients. */
static icot_tensor loss_of(const icot_tensor leaves[3])
{
    icot_tensor y = apply_two(engine, "linear", leaves[0], leaves[1]);
    y = apply_two(engine, "linear", apply_one(engine, "gelu", y), leaves[2]);
    return apply_one(engine, "sum", apply_two(engine, "add", y, leaves[0]));
}

/* Whether all leaves have a gradient; those that have one have the whole of it. */
static int check_gradients(const icot_tensor leaves[3], const icot_tensor expected[3])
{
    int found = 0;
    for (int i = 0; i < 3; i++) {
        const int64_t n = (i == 0 ? ROWS : WIDTH) * WIDTH;
        float got[NUMBERS], values[NUMBERS];
        if (!grad_of(leaves[i])) continue;
        found++;
        assert_ok(icot_tensor_read(engine, grad_of(leaves[i]), got, n));
        assert_ok(icot_tensor_read(engine, grad_of(expected[i]), values, n));
        assert_memory_equal(got, values, (size_t)n * sizeof *got);
    }
    return found == 3;
}

/* Whichever allocation fails. Numbers differ from try to try, and so does what freed memory holds.
 */
static void try_backward(failing_allocation *failing)
{
    float *numbers = random_floats(NUMBERS, (uint64_t)failing->nth);
    icot_tensor leaves[3], expected[3];
    for (int i = 0; i < 3; i++) {
        leaves[i] = leaf(i == 0 ? ROWS : WIDTH, numbers);
        expected[i] = leaf(i == 0 ? ROWS : WIDTH, numbers);
    }
    const icot_tensor loss = loss_of(leaves);
    const int failed = FAILING(failing, icot_backward(engine, loss));
    assert_ok(icot_backward(engine, loss_of(expected)));
    assert_int_equal(check_gradients(leaves, expected), !failed);
    free(numbers);
}

static void test_a_failed_backward_leaves_no_half_of_a_gradient(void **state)
{
    if (!tested_backend("float32")->memory->on_host)
        skip(); /* other memory cannot be made to fail */
    failing_allocation failing = {0};
    while (next_failing(&failing)) {
        try_backward(&failing);
        close_engine(state), open_engine(state); /* all that was made is gone */
    }
    assert_true(failing.nth > 10);
}

/* What operators make for themselves goes, also where no scope is open. */
static void test_nothing_hidden_stays(void **state)
{
    (void)state;
    const float ones[4] = {1, 1, 1, 1};
    icot_tensor p = parameter(), turned = VIEW(engine, matrix_3_4(), "permute", 1, 0);
    icot_tensor weight = tensor_of(engine, 1, (const int64_t[]){4}, ones);
    icot_tensor square = VIEW(engine, VIEW(engine, turned, "slice", 0, 1, 3), "permute", 1, 0);
    int64_t live = 0;
    for (int round = 0; round < 4; round++) {
        icot_set_grad_enabled(engine, 0);
        icot_tensor y = apply_one(engine, "exp", turned); /* a contiguous copy */
        icot_tensor inputs[] = {p, weight, weight}, out;
        const icot_op_params eps = {.number = {1e-5}}, wrong = {.number = {-1.0}};
        icot_tensor norm = apply_with(engine, "layer_norm", inputs, 3, eps); /* statistics */
        assert_refused(
            icot_apply(engine, icot_operator_find("layer_norm"), inputs, 3, &wrong, &out), "eps");
        icot_set_grad_enabled(engine, 1);
        icot_tensor recorded = apply_with(engine, "layer_norm", inputs, 3, eps);
        icot_tensor p_turned = VIEW(engine, p, "permute", 1, 0);
        icot_tensor products = apply_two(engine, "matmul", p_turned, square);
        icot_tensor sum = apply_one(engine, "sum", products);
        icot_tensor other = apply_one(engine, "sum", recorded);
        icot_tensor loss = apply_two(engine, "add", sum, other);
        assert_ok(icot_backward(engine, loss));
        const icot_tensor made[] = {y, norm, recorded, p_turned, products, sum, other, loss};
        for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
            assert_ok(icot_tensor_free(engine, made[i]));
        }
        if (round == 1) live = live_bytes();
        if (round > 1) assert_int_equal(live_bytes(), live);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_engine, close_engine)
    const struct CMUnitTest tests[] = {
        TEST(test_leaves_in_a_scope_take_their_gradients_along),
        TEST(test_a_gradient_can_be_freed),
        TEST(test_what_the_tape_needs_is_not_freed),
        TEST(test_what_the_tape_reads_is_not_overwritten),
        TEST(test_what_the_tape_reads_is_not_updated),
        TEST(test_backward_refuses),
        TEST(test_backward_inside_of_a_scope),
        TEST(test_a_failed_backward_leaves_no_half_of_a_gradient),
        TEST(test_nothing_hidden_stays),
    };
    return cmocka_run_group_tests_name("autograd", tests, NULL, NULL);
}
