/* Tensors that were released: when they go, and that gradients are the same bits. */
#include "support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { ROWS = 96, COLUMNS = 64, NUMEL = ROWS * COLUMNS };
static const int64_t BYTES = NUMEL * (int64_t)sizeof(float);

static icot_engine *engine;
static icot_tensor x, scale, shift; /* (ROWS, COLUMNS), (COLUMNS) twice: those of a layer norm */

static icot_tensor parameter(int ndim, const int64_t *size, uint64_t step)
{
    icot_tensor p = tensor_of(engine, ndim, size, NULL);
    const icot_random_key key = {.seed = 5, .stream = ICOT_STREAM_INIT, .step = step};
    assert_ok(icot_tensor_normal(engine, p, 0.5, 0.2, key));
    assert_ok(icot_requires_grad(engine, p, 1));
    return p;
}

static int open_engine(void **state)
{
    (void)state;
    engine = engine_on(cpu_backend());
    x = parameter(2, (const int64_t[]){ROWS, COLUMNS}, 1);
    scale = parameter(1, (const int64_t[]){COLUMNS}, 2);
    shift = parameter(1, (const int64_t[]){COLUMNS}, 3);
    return 0;
}

static int close_engine(void **state)
{
    (void)state;
    icot_engine_free(engine);
    return 0;
}

static icot_tensor norm_of(icot_tensor of)
{
    return apply_with(engine, "layer_norm", (const icot_tensor[]){of, scale, shift}, 3,
                      (icot_op_params){.number = {1e-5}});
}

static void test_what_nothing_needs_goes_at_once(void **state)
{
    (void)state;
    icot_set_grad_enabled(engine, 0);
    assert_ok(icot_tensor_release(engine, apply_one(engine, "tanh", x))); /* the tape has grown */
    const int64_t before = live_bytes();
    icot_tensor y = apply_one(engine, "tanh", x);
    assert_true(live_bytes() >= before + BYTES);
    assert_ok(icot_tensor_release(engine, y));
    icot_set_grad_enabled(engine, 1);
    assert_gone(engine, y);
    assert_int_equal(live_bytes(), before);
    assert_refused(icot_tensor_release(engine, y), "release: this tensor is gone");
}

/* tanh reads its output in backward, so it stays until then, but not until the scope closes. */
static void test_what_backward_needs_goes_with_it(void **state)
{
    (void)state;
    assert_ok(icot_scope_open(engine));
    icot_tensor y = apply_one(engine, "tanh", x), loss = sum_of_squares(engine, y);
    const int64_t before = live_bytes();
    assert_ok(icot_tensor_release(engine, y));
    assert_gone(engine, y);
    assert_int_equal(live_bytes(), before);
    assert_ok(icot_backward(engine, loss));
    assert_true(live_bytes() <= before); /* y went as the gradient of x came */
    assert_ok(icot_scope_close(engine));
}

/* A released layer norm has no memory between forward and backward. */
static void test_a_layer_norm_is_computed_again(void **state)
{
    (void)state;
    assert_ok(icot_scope_open(engine));
    icot_tensor y = norm_of(x), loss = sum_of_squares(engine, y);
    const int64_t before = live_bytes();
    assert_ok(icot_tensor_release(engine, y));
    assert_true(live_bytes() <= before - BYTES);
    assert_ok(icot_backward(engine, loss));
    assert_ok(icot_scope_close(engine));
}

/* Forward and backward of two norms in a row and what is made of the second; the gradient of x.
 * segment: 0 none, 1 around what is made of it, 2 around everything. */
static void gradient_through_norms(bool release, int segment, float out[NUMEL])
{
    assert_ok(icot_scope_open(engine));
    int64_t from = icot_tape_length(engine);
    icot_tensor first = norm_of(x), second = norm_of(first);
    if (segment == 1) from = icot_tape_length(engine);
    icot_tensor y = apply_two(engine, "mul", apply_one(engine, "tanh", second), second);
    if (segment > 0) assert_ok(icot_checkpoint(engine, from, &y, 1));
    if (release) {
        assert_ok(icot_tensor_release(engine, first));
        assert_ok(icot_tensor_release(engine, second));
    }
    icot_tensor grad, loss = sum_of_squares(engine, y);
    assert_ok(icot_backward(engine, loss));
    assert_ok(icot_grad(engine, x, &grad));
    assert_ok(icot_tensor_read(engine, grad, out, NUMEL));
    assert_ok(icot_zero_grad(engine, (const icot_tensor[]){x, scale, shift}, 3));
    assert_ok(icot_scope_close(engine));
}

static void test_gradients_are_the_same_bits(void **state)
{
    (void)state;
    static float expected[NUMEL], got[NUMEL];
    gradient_through_norms(false, 0, expected);
    const int64_t before = live_bytes();
    for (int segment = 0; segment < 3; segment++) {
        memset(got, 0, sizeof got);
        gradient_through_norms(true, segment, got);
        assert_memory_equal(got, expected, sizeof got);
        assert_int_equal(live_bytes(), before);
    }
}

/* What a view shows of a released tensor stays. */
static void test_a_view_keeps_the_contents(void **state)
{
    (void)state;
    assert_ok(icot_scope_open(engine));
    float expected[COLUMNS], got[COLUMNS];
    icot_tensor y = norm_of(x), row = VIEW(engine, y, "slice", 0, 3, 1);
    assert_ok(icot_tensor_read(engine, row, expected, COLUMNS));
    icot_tensor loss = sum_of_squares(engine, y);
    assert_ok(icot_tensor_release(engine, y));
    assert_ok(icot_tensor_read(engine, row, got, COLUMNS));
    assert_memory_equal(got, expected, sizeof got);
    assert_ok(icot_backward(engine, loss));
    assert_ok(icot_tensor_read(engine, row, got, COLUMNS));
    assert_memory_equal(got, expected, sizeof got);
    assert_ok(icot_scope_close(engine));
}

static void test_no_memory_to_compute_it_again(void **state)
{
    (void)state;
    icot_tensor y = norm_of(x), loss = sum_of_squares(engine, y), grad;
    assert_ok(icot_tensor_release(engine, y));
    icot_memory_fail_at(4); /* after the gradients of the loss and of the squares */
    const int rc = icot_backward(engine, loss);
    icot_memory_fail_at(0);
    assert_refused(rc, "out of memory");
    assert_ok(icot_zero_grad(engine, (const icot_tensor[]){x, scale, shift}, 3));
    assert_ok(icot_backward(engine, sum_of_squares(engine, norm_of(x))));
    assert_ok(icot_grad(engine, x, &grad));
    assert_true(grad != 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_engine, close_engine)
    const struct CMUnitTest tests[] = {
        TEST(test_what_nothing_needs_goes_at_once), TEST(test_what_backward_needs_goes_with_it),
        TEST(test_a_layer_norm_is_computed_again),  TEST(test_gradients_are_the_same_bits),
        TEST(test_a_view_keeps_the_contents),       TEST(test_no_memory_to_compute_it_again),
    };
    return cmocka_run_group_tests_name("release", tests, NULL, NULL);
}
