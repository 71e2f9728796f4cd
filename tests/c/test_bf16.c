/* Matrix products in bfloat16: against float64 sums over factors that were rounded one by one. */
#include "support.h"

#include "backend/backend.h"
#include "backend/cpu/matmul_bf16.h"
#include "base/error.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* To the nearest bfloat16, ties to even, from the bits. */
static double rounded(float value)
{
    uint32_t bits;
    float result;
    memcpy(&bits, &value, sizeof bits);
    bits = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000;
    memcpy(&result, &bits, sizeof result);
    return (double)result;
}

typedef struct shape_case {
    bool transpose_a, transpose_b;
    int64_t m, n, k;
} shape_case;

/* A matrix as a factor; its rows are filled up with zeros as the products expect. */
static void *factor_from(int64_t rows, int64_t columns, const float *x)
{
    const backend *kernels;
    assert_ok(cpu_bf16_backend(&kernels));
    int64_t all = (rows + kernels->factor_rows - 1) / kernels->factor_rows * kernels->factor_rows;
    void *factor = calloc((size_t)(all * columns) + 1, kernels->factor_bytes);
    assert_non_null(factor);
    kernels->round(rows * columns, x, factor);
    return factor;
}

/* The rows of c are two elements longer than they need be, so that none may be taken for
 * contiguous. */
static void check_product(shape_case s, bool accumulate, bool biased)
{
    const int64_t lda = s.transpose_a ? s.m : s.k, ldb = s.transpose_b ? s.k : s.n, ldc = s.n + 2;
    float *a = random_floats(s.m * s.k, 1), *b = random_floats(s.k * s.n, 2);
    float *c = random_floats(s.m * ldc, 3), *before = random_floats(s.m * ldc, 3);
    float *bias = random_floats(s.n, 4);
    void *factor_a = factor_from(s.m * s.k / lda, lda, a);
    void *factor_b = factor_from(s.k * s.n / ldb, ldb, b);

    assert_ok(cpu_matmul_bf16(s.transpose_a, s.transpose_b, s.m, s.n, s.k, factor_a, lda, factor_b,
                              ldb, biased ? bias : NULL, accumulate, c, ldc));
    for (int64_t i = 0; i < s.m; i++) {
        for (int64_t j = 0; j < ldc; j++) {
            double sum = accumulate || j >= s.n ? before[i * ldc + j] : 0.0;
            if (biased && j < s.n) sum = bias[j];
            double size = fabs(sum);
            for (int64_t l = 0; l < s.k && j < s.n; l++) {
                double term = rounded(s.transpose_a ? a[l * lda + i] : a[i * lda + l]) *
                              rounded(s.transpose_b ? b[j * ldb + l] : b[l * ldb + j]);
                sum += term, size += fabs(term);
            }
            if (fabs(c[i * ldc + j] - sum) > 1e-6 * size) {
                fail_msg("(%d,%d) %ld x %ld x %ld, accumulate %d, bias %d: c[%ld,%ld] is %g, "
                         "expected %g",
                         s.transpose_a, s.transpose_b, (long)s.m, (long)s.n, (long)s.k, accumulate,
                         biased, (long)i, (long)j, (double)c[i * ldc + j], sum);
            }
        }
    }
    free(a), free(b), free(c), free(before), free(bias), free(factor_a), free(factor_b);
}

static void test_products_of_all_shapes(void **state)
{
    (void)state;
    const int64_t rows[] = {1, 2, 63, 64, 65, 129, 300, 577},
                  widths[][2] = {{1, 1}, {16, 48}, {37, 19}};
    for (int transposes = 0; transposes < 4; transposes++) {
        for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
            for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
                const bool ta = transposes & 1, tb = transposes & 2;
                const int64_t wide = widths[w][0], deep = widths[w][1];
                const shape_case s = ta ? (shape_case){ta, tb, wide, deep, rows[r]}
                                        : (shape_case){ta, tb, rows[r], wide, deep};
                check_product(s, false, false);
                check_product(s, true, false);
                check_product(s, false, true);
            }
        }
    }
}

static void test_empty_products(void **state)
{
    (void)state;
    const uint16_t a[64 * 2] = {0};
    float c[4] = {5, 6, 7, 8};
    const float bias[2] = {1, 2};
    assert_ok(cpu_matmul_bf16(false, false, 0, 2, 2, a, 2, a, 2, NULL, false, c, 2));
    assert_true(c[0] == 5);
    assert_ok(cpu_matmul_bf16(false, false, 2, 2, 0, a, 0, a, 2, NULL, true, c, 2));
    assert_true(c[3] == 8);
    assert_ok(cpu_matmul_bf16(false, false, 2, 2, 0, a, 0, a, 2, bias, false, c, 2));
    assert_true(c[0] == 1 && c[3] == 2);
    assert_ok(cpu_matmul_bf16(false, false, 2, 2, 0, a, 0, a, 2, NULL, false, c, 2));
    assert_true(c[0] == 0 && c[3] == 0);
}

static void test_rounding(void **state)
{
    (void)state;
    enum { N = 20011 }; /* more than one thread takes, and no whole number of vectors */
    float *x = random_floats(N, 1);
    x[0] = NAN, x[1] = 3.4e38f /* above the largest bfloat16 */, x[2] = -0.0f;
    x[3] = 1.0f + 0x1p-8f /* a tie */, x[4] = 1.0f + 3 * 0x1p-8f;
    uint16_t *factor = factor_from(N, 1, x);
    for (int i = 0; i < N; i++) {
        uint32_t bits = (uint32_t)factor[i] << 16;
        float value;
        memcpy(&value, &bits, sizeof value);
        if (i == 0) assert_true(isnan(value));
        if (i > 0 && (double)value != rounded(x[i])) fail_msg("%g became %g", x[i], value);
    }
    free(x), free(factor);
}

static double gelu_in_double(double x)
{
    return 0.5 * x * (1.0 + tanh(sqrt(2.0 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
}

static double bf16_at(const uint16_t *factor, int64_t i)
{
    uint32_t bits = (uint32_t)factor[i] << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return (double)value;
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
             *dx = calloc(ROWS * COLUMNS, 2);
    float sums[COLUMNS];
    double totals[COLUMNS] = {0};
    assert_true(y && again && dx);

    kernels->gelu_factor(ROWS * COLUMNS, x, y);
    assert_ok(kernels->gelu_factor_backward(ROWS, COLUMNS, x, dy, again, dx, false, sums));
    assert_ok(kernels->gelu_factor_backward(ROWS, COLUMNS, x, dy, again, dx, true, sums));
    for (int64_t i = 0; i < ROWS * COLUMNS; i++) {
        const double at = (double)x[i], h = 1e-4;
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
    free(x), free(dy), free(y), free(again), free(dx);
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

static void test_no_memory(void **state)
{
    (void)state;
    float *a = random_floats(100 * 100, 1), *c = random_floats(100 * 100, 2);
    void *factor = factor_from(100, 100, a);
    const int64_t before = live_bytes();
    icot_memory_fail_at(1); /* the piece with the last rows */
    assert_int_not_equal(
        cpu_matmul_bf16(false, true, 100, 100, 100, factor, 100, factor, 100, NULL, false, c, 100),
        ICOT_OK);
    icot_memory_fail_at(0);
    assert_int_equal(live_bytes(), before);
    free(a), free(c), free(factor);
}

/* A weight is rounded once, and again after it was written to. */
static void test_weight_is_rounded_anew(void **state)
{
    (void)state;
    icot_engine *engine;
    const int64_t size[] = {1, 1};
    assert_ok(icot_engine_create("cpu", &engine));
    assert_ok(icot_set_precision(engine, "bf16"));
    icot_tensor x = tensor_of(engine, 2, size, (float[]){1});
    icot_tensor weight = tensor_of(engine, 2, size, (float[]){2});
    ASSERT_VALUES(engine, apply_two(engine, "linear", x, weight), 2.0f);
    assert_ok(icot_tensor_fill(engine, weight, 3.0));
    ASSERT_VALUES(engine, apply_two(engine, "linear", x, weight), 3.0f);
    assert_ok(icot_tensor_write(engine, weight, (float[]){4}, 1));
    ASSERT_VALUES(engine, apply_two(engine, "linear", x, weight), 4.0f);
    icot_engine_free(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products_of_all_shapes),
        cmocka_unit_test(test_empty_products),
        cmocka_unit_test(test_rounding),
        cmocka_unit_test(test_gelu),
        cmocka_unit_test(test_weight_is_rounded_anew),
        cmocka_unit_test(test_precision_of_an_engine),
        cmocka_unit_test(test_no_memory),
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
