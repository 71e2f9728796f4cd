/* What is kept of a weight, as products take it, is that of its shape and of what lies in it now.
 */
#include "support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { ROWS = 20, IN = 64, OUT = 32, NUMBERS = IN * OUT };

static icot_engine *engine;
static float *numbers; /* (NUMBERS) */

static int open_engine(const char *precision)
{
    const backend *kernels = NULL;
    numbers = random_floats(NUMBERS, 1);
    engine = backend_find(tested_device(), precision, &kernels) ? NULL : engine_on(kernels);
    return 0;
}

static int use_float32(void **state)
{
    (void)state;
    return open_engine("float32");
}

static int use_bf16(void **state)
{
    (void)state;
    return open_engine("bf16");
}

static int close_engine(void **state)
{
    (void)state;
    icot_engine_free(engine);
    free(numbers);
    return 0;
}

static icot_tensor matrix(int64_t rows, int64_t columns)
{
    return tensor_of(engine, 2, (const int64_t[]){rows, columns}, numbers);
}

/* x·weightᵀ where the weight is (out, in), as in decoding. */
static void multiply_by(icot_tensor weight, int64_t out, int64_t in, float *y)
{
    icot_set_grad_enabled(engine, 0);
    const icot_tensor product = apply_two(engine, "linear", matrix(ROWS, in), weight);
    assert_ok(icot_tensor_read(engine, product, y, ROWS * out));
    icot_set_grad_enabled(engine, 1);
}

/* The product is the same as by another tensor that holds the same numbers. */
static void check_weight(icot_tensor weight, int64_t out, int64_t in)
{
    float values[NUMBERS], got[ROWS * IN], expected[ROWS * IN];
    assert_ok(icot_tensor_read(engine, weight, values, NUMBERS));
    const icot_tensor anew = tensor_of(engine, 2, (const int64_t[]){out, in}, values);
    multiply_by(weight, out, in, got);
    multiply_by(anew, out, in, expected);
    assert_memory_equal(got, expected, (size_t)(ROWS * out) * sizeof *got);
}

static void test_a_view_of_another_shape(void **state)
{
    (void)state;
    if (!engine) skip();
    const icot_tensor weight = matrix(OUT, IN), turned = VIEW(engine, weight, "reshape", IN, OUT);
    for (int round = 0; round < 2; round++) {
        check_weight(weight, OUT, IN);
        check_weight(turned, IN, OUT);
    }
}

/* Of sum(weight ∘ numbers), which is added to the gradient once more. */
static void backward(icot_tensor weight)
{
    const icot_tensor y = apply_two(engine, "mul", weight, matrix(OUT, IN));
    assert_ok(icot_backward(engine, apply_one(engine, "sum", y)));
}

static void test_a_gradient(void **state)
{
    (void)state;
    if (!engine) skip();
    const icot_tensor weight = matrix(OUT, IN);
    icot_tensor grad;
    assert_ok(icot_requires_grad(engine, weight, 1));
    for (int round = 0; round < 2; round++) {
        backward(weight);
        assert_ok(icot_grad(engine, weight, &grad));
        check_weight(grad, OUT, IN);
    }
}

static void test_moments(void **state)
{
    (void)state;
    if (!engine) skip();
    const icot_adamw_options options = {
        .lr = 0.1, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .step = 1, .step_sq = 1};
    const icot_adamw_state s = {matrix(OUT, IN), matrix(OUT, IN), matrix(OUT, IN)};
    assert_ok(icot_requires_grad(engine, s.parameter, 1));
    backward(s.parameter);
    for (int round = 0; round < 2; round++) {
        check_weight(s.parameter, OUT, IN);
        check_weight(s.exp_avg, OUT, IN);
        check_weight(s.exp_avg_sq, OUT, IN);
        assert_ok(icot_adamw_step(engine, &s, 1, &options));
    }
}

/* Keys and values, (1, OUT, IN) each, as weights. */
static void test_a_cache(void **state)
{
    (void)state;
    if (!engine) skip();
    const int64_t cache[] = {1, OUT, IN}, new_tokens = 2;
    const icot_tensor keys = tensor_of(engine, 3, cache, numbers);
    const icot_tensor values = tensor_of(engine, 3, cache, numbers);
    const icot_tensor qkv = matrix(new_tokens, 3 * IN);
    const icot_tensor starts = ids_of(engine, 2, (const int32_t[]){0, (int32_t)new_tokens});
    const icot_tensor zero = ids_of(engine, 1, (const int32_t[]){0});
    icot_tensor y;
    for (int round = 0; round < 2; round++) {
        check_weight(VIEW(engine, keys, "reshape", OUT, IN), OUT, IN);
        check_weight(VIEW(engine, values, "reshape", OUT, IN), OUT, IN);
        assert_ok(icot_attention_cached(engine, qkv, starts, zero, zero, keys, values, 4, &y));
    }
}

int main(void)
{
#define TESTS(use)                                                                                 \
    cmocka_unit_test_setup_teardown(test_a_view_of_another_shape, use, close_engine),              \
        cmocka_unit_test_setup_teardown(test_a_gradient, use, close_engine),                       \
        cmocka_unit_test_setup_teardown(test_moments, use, close_engine),                          \
        cmocka_unit_test_setup_teardown(test_a_cache, use, close_engine)
    const struct CMUnitTest tests[] = {TESTS(use_float32), TESTS(use_bf16)};
    return cmocka_run_group_tests_name("kept_weights", tests, NULL, NULL);
}
