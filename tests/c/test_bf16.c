/* bfloat16: rounding, gelu as a factor, and the precision of an engine. Its matrix products stand
 * in test_products.c. */
#include "support.h"

#include "backend/backend.h"
#include "backend/cpu/matmul.h"
#include "base/error.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_rounding(void **state)
{
    (void)state;
    enum { N = 20011 }; /* more than one thread takes, and no whole number of vectors */
    float *x = random_floats(N, 1);
    x[0] = NAN, x[1] = 3.4e38f /* above the largest bfloat16 */, x[2] = -0.0f;
    x[3] = 1.0f + 0x1p-8f /* a tie */, x[4] = 1.0f + 3 * 0x1p-8f;
    const backend *kernels;
    uint16_t *factor = malloc(N * sizeof *factor);
    assert_non_null(factor);
    assert_ok(cpu_bf16_backend(&kernels));
    kernels->round(N, x, factor);
    for (int i = 0; i < N; i++) {
        uint32_t bits = (uint32_t)factor[i] << 16;
        float value;
        memcpy(&value, &bits, sizeof value);
        if (i == 0) assert_true(isnan(value));
        if (i > 0 && (double)value != rounded_to_bf16(x[i])) fail_msg("%g became %g", x[i], value);
    }
    free(x), free(factor);
}

static double gelu_in_double(double x)
{
    return 0.5 * x * (1.0 + tanh(sqrt(2.0 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
}

/* Half a unit of bfloat16's last place, and what float32 arithmetic may be off. */
static void assert_rounded(double got, double expected, const char *what)
{
    if (fabs(got - expected) <= 0x1p-8 * fabs(expected) + 1e-6) return;
    fail_msg("%s: got %.9g, expected %.9g", what, got, expected);
}

static void test_gelu(void **state)
{
    (void)state;
    enum { ROWS = 301, COLUMNS = 77 };
    const backend *kernels;
    assert_ok(cpu_bf16_backend(&kernels));
    float *x = random_floats(ROWS * COLUMNS, 1), *dy = random_floats(ROWS * COLUMNS, 2);
    for (int i = 0; i < ROWS * COLUMNS; i++) x[i] *= 4.0f;
    x[0] = 50.0f, x[1] = -50.0f, x[2] = 0.0f, x[3] = 1e4f, x[4] = -1e4f;
    uint16_t *y = calloc(ROWS * COLUMNS, 2), *again = calloc(ROWS * COLUMNS, 2),
             *dx = calloc(ROWS * COLUMNS, 2), *u = calloc(ROWS * COLUMNS, 2);
    float sums[COLUMNS];
    double totals[COLUMNS] = {0};
    assert_true(y && again && dx && u);

    kernels->round(ROWS * COLUMNS, x, u);
    kernels->gelu_factor(ROWS * COLUMNS, u, y);
    assert_ok(kernels->gelu_factor_backward(ROWS, COLUMNS, u, dy, again, dx, false, sums));
    assert_ok(kernels->gelu_factor_backward(ROWS, COLUMNS, u, dy, again, dx, true, sums));
    for (int64_t i = 0; i < ROWS * COLUMNS; i++) {
        const double at = rounded_to_bf16(x[i]), h = 1e-4;
        const double slope = (gelu_in_double(at + h) - gelu_in_double(at - h)) / (2 * h);
        assert_rounded(bf16_at(y, i), gelu_in_double(at), "gelu");
        assert_rounded(bf16_at(again, i), gelu_in_double(at), "gelu, in the backward pass");
        assert_rounded(bf16_at(dx, i), (double)dy[i] * slope, "its gradient");
        totals[i % COLUMNS] += 2.0 * (double)dy[i] * slope;
    }
    for (int c = 0; c < COLUMNS; c++) {
        if (fabs((double)sums[c] - totals[c]) > 1e-3)
            fail_msg("sum %d: %g, %g", c, sums[c], totals[c]);
    }
    free(x), free(dy), free(y), free(again), free(dx), free(u);
}

static void test_precision_of_an_engine(void **state)
{
    (void)state;
    icot_engine *engine;
    const int64_t size[] = {1, 1};
    const float fine = 1.0f + 0x1p-12f; /* 1 in bfloat16 */
    assert_ok(icot_engine_create("cpu", &engine));
    icot_tensor x = tensor_of(engine, 2, size, &fine),
                one = tensor_of(engine, 2, size, (float[]){1});
    ASSERT_VALUES(engine, apply_two(engine, "matmul", x, one), fine);
    assert_ok(icot_set_precision(engine, "bf16"));
    ASSERT_VALUES(engine, apply_two(engine, "matmul", x, one), 1.0f);
    assert_refused(icot_set_precision(engine, "fp8"), "'fp8' is not known");
    ASSERT_VALUES(engine, apply_two(engine, "matmul", x, one), 1.0f);
    assert_ok(icot_set_precision(engine, "float32"));
    ASSERT_VALUES(engine, apply_two(engine, "matmul", x, one), fine);
    icot_engine_free(engine);
}

/* Backward of what was computed in one precision cannot be done in another. */
static void test_precision_of_what_is_on_the_tape(void **state)
{
    (void)state;
    icot_engine *engine;
    const icot_op_params none = {0};
    float ones[16 * 16];
    icot_tensor in[5], grad;
    for (int i = 0; i < 16 * 16; i++) ones[i] = 1.0f;
    assert_ok(icot_engine_create("cpu", &engine));
    assert_ok(icot_set_precision(engine, "bf16"));
    for (int i = 0; i < 5; i++) { /* x, and weight and bias of both layers */
        in[i] = tensor_of(engine, i == 2 || i == 4 ? 1 : 2, (const int64_t[]){16, 16}, ones);
    }
    assert_ok(icot_requires_grad(engine, in[0], 1));
    icot_tensor loss = apply_one(engine, "sum", apply_with(engine, "mlp", in, 5, none));
    assert_refused(icot_set_precision(engine, "float32"), "while the tape holds operators");
    assert_ok(icot_set_precision(engine, "bf16"));
    assert_ok(icot_backward(engine, loss));
    assert_ok(icot_grad(engine, in[0], &grad));
    assert_int_not_equal(grad, 0);
    assert_ok(icot_set_precision(engine, "float32"));
    icot_engine_free(engine);
}

/* A weight's ready form is kept where no gradient is wanted, and made anew after it was written
 * to, or when the precision changed. */
static void test_weight_is_made_ready_anew(void **state)
{
    (void)state;
    icot_engine *engine;
    const int64_t size[] = {1, 1};
    const float fine = 1.0f + 0x1p-12f;
    assert_ok(icot_engine_create("cpu", &engine));
    icot_set_grad_enabled(engine, 0);
    assert_ok(icot_set_precision(engine, "bf16"));
    icot_tensor x = tensor_of(engine, 2, size, (float[]){1});
    icot_tensor weight = tensor_of(engine, 2, size, (float[]){2});
    ASSERT_VALUES(engine, apply_two(engine, "linear", x, weight), 2.0f);
    const int64_t before = live_bytes();
    icot_tensor again = apply_two(engine, "linear", x, weight);
    ASSERT_VALUES(engine, again, 2.0f);
    assert_ok(icot_tensor_free(engine, again));
    assert_int_equal(live_bytes(), before); /* not made a second time */
    assert_ok(icot_tensor_fill(engine, weight, 3.0));
    ASSERT_VALUES(engine, apply_two(engine, "linear", x, weight), 3.0f);
    assert_ok(icot_tensor_write(engine, weight, &fine, 1));
    ASSERT_VALUES(engine, apply_two(engine, "linear", x, weight), 1.0f);
    assert_ok(icot_set_precision(engine, "float32"));
    ASSERT_VALUES(engine, apply_two(engine, "linear", x, weight), fine);
    icot_engine_free(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rounding),
        cmocka_unit_test(test_gelu),
        cmocka_unit_test(test_weight_is_made_ready_anew),
        cmocka_unit_test(test_precision_of_an_engine),
        cmocka_unit_test(test_precision_of_what_is_on_the_tape),
    };
    if (cpu_bf16_check()) { /* counted as skipped, with the reason */
        const int n = sizeof tests / sizeof *tests;
        printf("1..%d\n", n);
        for (int i = 1; i <= n; i++)
            printf("ok %d - %s # SKIP %s\n", i, tests[i - 1].name, icot_last_error());
        return 0;
    }
    return cmocka_run_group_tests_name("bf16", tests, NULL, NULL);
}
