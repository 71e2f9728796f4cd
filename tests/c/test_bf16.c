/* Matrix products in bfloat16: against float64 sums over factors that were rounded one by one. */
#include "support.h"

#include "backend/cpu/matmul_bf16.h"

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

/* Rows are two elements longer than they need be, so that none may be taken for contiguous. */
static void check_product(shape_case s, bool accumulate)
{
    const int64_t lda = (s.transpose_a ? s.m : s.k) + 2, ldb = (s.transpose_b ? s.k : s.n) + 2;
    const int64_t ldc = s.n + 2;
    float *a = random_floats((s.transpose_a ? s.k : s.m) * lda, 1);
    float *b = random_floats((s.transpose_b ? s.n : s.k) * ldb, 2);
    float *c = random_floats(s.m * ldc, 3), *before = random_floats(s.m * ldc, 3);

    assert_ok(cpu_matmul_bf16(s.transpose_a, s.transpose_b, s.m, s.n, s.k, a, lda, b, ldb,
                              accumulate, c, ldc));
    for (int64_t i = 0; i < s.m; i++) {
        for (int64_t j = 0; j < ldc; j++) {
            double sum = accumulate || j >= s.n ? before[i * ldc + j] : 0.0, size = fabs(sum);
            for (int64_t l = 0; l < s.k && j < s.n; l++) {
                double term = rounded(s.transpose_a ? a[l * lda + i] : a[i * lda + l]) *
                              rounded(s.transpose_b ? b[j * ldb + l] : b[l * ldb + j]);
                sum += term, size += fabs(term);
            }
            if (fabs(c[i * ldc + j] - sum) > 1e-6 * size) {
                fail_msg("(%d,%d) %ld x %ld x %ld, accumulate %d: c[%ld,%ld] is %g, expected %g",
                         s.transpose_a, s.transpose_b, (long)s.m, (long)s.n, (long)s.k, accumulate,
                         (long)i, (long)j, (double)c[i * ldc + j], sum);
            }
        }
    }
    free(a), free(b), free(c), free(before);
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
                check_product(s, false);
                check_product(s, true);
            }
        }
    }
}

static void test_empty_products(void **state)
{
    (void)state;
    float a[4] = {1, 2, 3, 4}, c[4] = {5, 6, 7, 8};
    assert_ok(cpu_matmul_bf16(false, false, 0, 2, 2, a, 2, a, 2, false, c, 2));
    assert_true(c[0] == 5);
    assert_ok(cpu_matmul_bf16(false, false, 2, 2, 0, a, 0, a, 2, true, c, 2));
    assert_true(c[3] == 8);
    assert_ok(cpu_matmul_bf16(false, false, 2, 2, 0, a, 0, a, 2, false, c, 2));
    assert_true(c[0] == 0 && c[3] == 0);
}

static void test_numbers_that_are_none(void **state)
{
    (void)state;
    const float a[2] = {NAN, 1}, b[1] = {1}, large[1] = {3.4e38f};
    float c[2];
    assert_ok(cpu_matmul_bf16(false, false, 2, 1, 1, a, 1, b, 1, false, c, 1));
    assert_true(isnan(c[0]) && c[1] == 1);
    assert_ok(cpu_matmul_bf16(false, false, 1, 1, 1, large, 1, b, 1, false, c, 1));
    assert_true(isinf(c[0])); /* above the largest bfloat16 */
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
    const int64_t before = live_bytes();
    int failures = -1, status;
    do {
        icot_memory_fail_at(++failures + 1);
        status = cpu_matmul_bf16(false, true, 100, 100, 100, a, 100, a, 100, false, c, 100);
        icot_memory_fail_at(0);
        assert_int_equal(live_bytes(), before);
    } while (status);
    assert_int_equal(failures, 3); /* both factors, and the piece with the last rows */
    free(a), free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products_of_all_shapes),
        cmocka_unit_test(test_empty_products),
        cmocka_unit_test(test_numbers_that_are_none),
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
