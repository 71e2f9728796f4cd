/* Kernels beyond what the gradient harness sees: error bounds, extremes, same bits. */
#include "support.h"

#include "backend/backend.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const kernel_set *sets;
static int n_sets;

static int use_three_threads(void **state)
{
    (void)state;
    n_sets = kernel_sets(&sets);
    return icot_set_threads(3);
}

/* ---- Elementary functions -------------------------------------------------------------------- */

static float from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Every `step`th of all 2^32 floats, a block at a time: largest relative error of the function. */
static double worst_error(const backend *table, unary_kind kind, double (*exact)(double),
                          uint32_t step)
{
    enum { BLOCK = 4096 };
    float x[BLOCK], y[BLOCK];
    double worst = 0.0;
    for (uint64_t bits = 0; bits <= UINT32_MAX;) {
        int n = 0;
        for (; n < BLOCK && bits <= UINT32_MAX; bits += step) x[n++] = from_bits((uint32_t)bits);
        table->unary(kind, n, x, y);
        for (int i = 0; i < n; i++) {
            double expected = exact((double)x[i]);
            if (isnan(x[i])) {
                assert_true(isnan(y[i]));
            } else if (fabs(expected) > (double)FLT_MAX) {
                assert_true(isinf(y[i]) || y[i] > 0.999f * FLT_MAX);
            } else if (fabs(expected) < (double)FLT_MIN && kind == UNARY_EXP) {
                assert_true(y[i] >= 0.0f && y[i] <= FLT_MIN); /* flushed to 0 or not */
            } else if (fabs(expected) >= (double)FLT_MIN) {
                double error = fabs((double)y[i] - expected) / fabs(expected);
                worst = error > worst ? error : worst;
            } else {
                assert_true(fabs((double)y[i] - expected) <= 0x1p-149);
            }
        }
    }
    return worst;
}

static void test_error_bounds(void **state)
{
    (void)state;
    const struct {
        unary_kind kind;
        double (*exact)(double);
        double bound;
    } functions[] = {
        {UNARY_EXP, exp, 2e-7},
        {UNARY_TANH, tanh, 2e-7},
    };
    for (int s = 0; s < n_sets; s++) {
        for (size_t f = 0; f < sizeof functions / sizeof *functions; f++) {
            double worst = worst_error(&sets[s].table, functions[f].kind, functions[f].exact, 1999);
            if (!(worst < functions[f].bound)) {
                fail_msg("%s, function %d: relative error %g, allowed %g", sets[s].name,
                         functions[f].kind, worst, functions[f].bound);
            }
        }
    }
}

static float unary_of(const backend *table, unary_kind kind, float x)
{
    float y[33], in[33]; /* both a vector of the widest kind and the loop after it */
    for (int i = 0; i < 33; i++) in[i] = x;
    table->unary(kind, 33, in, y);
    for (int i = 1; i < 33; i++) assert_true(y[i] == y[0] || (isnan(y[i]) && isnan(y[0])));
    return y[0];
}

static float slope_of(const backend *table, unary_kind kind, float x)
{
    float y = unary_of(table, kind, x), one = 1.0f, dx;
    table->unary_backward(kind, 1, &x, &y, &one, false, &dx);
    return dx;
}

static void test_extremes(void **state)
{
    (void)state;
    for (int s = 0; s < n_sets; s++) {
        const backend *k = &sets[s].table;
        assert_true(unary_of(k, UNARY_EXP, 0.0f) == 1.0f);
        assert_true(unary_of(k, UNARY_EXP, -INFINITY) == 0.0f);
        assert_true(unary_of(k, UNARY_EXP, -1e30f) == 0.0f);
        assert_true(unary_of(k, UNARY_EXP, INFINITY) == INFINITY);
        assert_true(unary_of(k, UNARY_EXP, 88.8f) == INFINITY);
        assert_true(isfinite(unary_of(k, UNARY_EXP, 88.7f)));
        assert_true(unary_of(k, UNARY_EXP, -87.3f) > 0.0f);
        assert_true(unary_of(k, UNARY_TANH, INFINITY) == 1.0f);
        assert_true(unary_of(k, UNARY_TANH, -INFINITY) == -1.0f);
        assert_true(unary_of(k, UNARY_TANH, 1e-40f) == 1e-40f); /* subnormal */
        assert_true(unary_of(k, UNARY_SIGMOID, -200.0f) == 0.0f);
        assert_true(unary_of(k, UNARY_SIGMOID, 200.0f) == 1.0f);
        assert_true(unary_of(k, UNARY_LOG, 0.0f) == -INFINITY);
        assert_true(isnan(unary_of(k, UNARY_LOG, -1.0f)));
        assert_true(isnan(unary_of(k, UNARY_SQRT, -1.0f)));
        assert_true(unary_of(k, UNARY_GELU, 1e4f) == 1e4f);
        assert_true(unary_of(k, UNARY_GELU, -1e4f) == 0.0f);
        assert_true(slope_of(k, UNARY_GELU, 1e4f) == 1.0f);
        assert_true(slope_of(k, UNARY_GELU, -1e4f) == 0.0f);
        assert_true(slope_of(k, UNARY_RELU, 0.0f) == 0.0f);
        for (int kind = 0; kind < UNARY_COUNT; kind++) {
            if (!isnan(unary_of(k, (unary_kind)kind, NAN))) fail_msg("%d loses a NaN", kind);
        }
    }
}

/* ---- Rows ------------------------------------------------------------------------------------ */

/* softmax(x + 10000) = softmax(x); entries of -∞ get no weight. */
static void test_softmax_of_extremes(void **state)
{
    (void)state;
    for (int s = 0; s < n_sets; s++) {
        const float x[] = {10001.0f, 10000.0f, 9998.5f, -INFINITY}, shifted[] = {1, 0, -1.5f};
        float y[4], logarithm[4], total = 0.0f, sum = 0.0f;
        sets[s].table.softmax(1, 4, false, x, y);
        sets[s].table.softmax(1, 4, true, x, logarithm);
        for (int i = 0; i < 3; i++) total += expf(shifted[i]);
        for (int i = 0; i < 3; i++) {
            assert_true(fabsf(y[i] - expf(shifted[i]) / total) < 1e-6f);
            assert_true(fabsf(logarithm[i] - (shifted[i] - logf(total))) < 1e-6f);
        }
        assert_true(y[3] == 0.0f && logarithm[3] == -INFINITY);
        for (int i = 0; i < 4; i++) sum += y[i];
        assert_true(fabsf(sum - 1.0f) < 1e-6f);
    }
}

static void test_argmax(void **state)
{
    (void)state;
    const float x[] = {1, 3, 2, -5, -1, -1, 7, 7, 7};
    float *large = random_floats(300 * 100, 3);
    for (int s = 0; s < n_sets; s++) {
        int32_t best[300];
        assert_ok(sets[s].table.argmax(3, 3, x, best));
        assert_int_equal(best[0], 1);
        assert_int_equal(best[1], 1); /* the first of equals */
        assert_int_equal(best[2], 0);
        assert_ok(sets[s].table.argmax(300, 100, large, best));
        for (int r = 0; r < 300; r++) {
            for (int c = 0; c < 100; c++)
                assert_true(large[r * 100 + c] <= large[r * 100 + best[r]]);
        }
    }
    free(large);
}

/* A million terms: float64 sums do not drift. */
static void test_long_sums(void **state)
{
    (void)state;
    enum { N = 1 << 20 };
    float *x = random_floats(N, 11), total, of_rows;
    double exact = 0.0, squares = 0.0, norm;
    for (int i = 0; i < N; i++) {
        x[i] += 2.0f;
        exact += (double)x[i];
        squares += (double)x[i] * (double)x[i];
    }
    for (int s = 0; s < n_sets; s++) {
        const backend *k = &sets[s].table;
        k->sum(1, N, 1, 1.0, x, &total);
        assert_true(fabs((double)total / exact - 1.0) < 1e-7);
        assert_ok(k->sum_rows(N, 1, x, false, &of_rows));
        assert_true(fabs((double)of_rows / exact - 1.0) < 1e-6);
        const number_array parts[] = {{N / 4, x}, {0, x}, {N - N / 4, x + N / 4}};
        assert_ok(k->norm(3, parts, &norm));
        assert_true(fabs(norm * norm / squares - 1.0) < 1e-12);
    }
    free(x);
}

/* ---- Dropout --------------------------------------------------------------------------------- */

/*
 * Equal scores and values of 1: a row gives the mean of its mask, which is 1 but for chance; each
 * row and head has a mask of its own.
 */
static void test_dropout_of_attention(void **state)
{
    (void)state;
    enum { T = 400, C = 2 };
    const int32_t starts[] = {0, T};
    const packed_shape packed = {.sequences = 1,
                                 .channels = C,
                                 .heads = 2,
                                 .cu_seqlens = {starts, starts},
                                 .drawn = {.p = 0.25}};
    float qkv[T * 3 * C] = {0}, y[T * C], statistics[T * 2];
    for (int t = 0; t < T; t++) qkv[t * 3 * C + 4] = qkv[t * 3 * C + 5] = 1.0f;
    for (int s = 0; s < n_sets; s++) {
        double sum = 0.0, variance = 0.0;
        int alike = 0;
        assert_ok(sets[s].table.attention(&packed, qkv, y, statistics));
        for (int t = 0; t < T; t++) { /* of (t + 1) factors of variance p / (1 - p) */
            sum += (double)y[t * C] + (double)y[t * C + 1] - 2.0;
            variance += 2.0 / 3.0 / (t + 1);
            alike += fabsf(y[t * C] - y[t * C + 1]) < 1e-6f;
        }
        assert_true(fabs(sum) < 5.0 * sqrt(variance));
        assert_true(alike < T / 4);
    }
}

/* ---- Same bits ------------------------------------------------------------------------------- */

enum { ROWS = 700, COLUMNS = 130 };

/* Kernels that share work among threads; each fills out, of ROWS x COLUMNS. */
static void shared_work(const backend *k, int which, const float *x, float *out)
{
    const int32_t starts[] = {0, 100, 101, 400, ROWS};
    const packed_shape packed = {.sequences = 4,
                                 .channels = 26,
                                 .heads = 2,
                                 .cu_seqlens = {starts, starts},
                                 .drawn = {.p = 0.1}};
    const bool overwrite[3] = {false};
    static float y[ROWS * COLUMNS], statistics[2 * ROWS];
    const number_array numbers = {ROWS * COLUMNS, x};
    double norm;
    int32_t ids[ROWS];
    for (int r = 0; r < ROWS; r++) ids[r] = r * 7 % 19;
    switch (which) {
    case 0:
        assert_ok(k->scatter_rows(ROWS, COLUMNS, x, &(index_array){ids, ids}, out));
        break;
    case 1:
        assert_ok(k->sum_rows(ROWS, COLUMNS, x, false, out));
        break;
    case 2:
        assert_ok(k->norm(1, &numbers, &norm));
        out[0] = (float)norm;
        break;
    case 3:
        assert_ok(k->attention(&packed, x, y, statistics));
        assert_ok(k->attention_backward(&packed, x, y, statistics, x + 5, false, out));
        break;
    case 4:
        k->dropout(ROWS * COLUMNS, 0.3, (icot_random_key){.seed = 2}, 0, x, NULL, out);
        break;
    default: /* its sums are per thread: the same only for the same number of threads */
        k->layer_norm(ROWS, COLUMNS, 1e-5, x, x, x, y, statistics);
        assert_ok(k->layer_norm_backward(ROWS, COLUMNS, x, x, statistics, y, overwrite, y, out,
                                         out + COLUMNS));
    }
}

static void test_dropout_begins_anywhere(void **state)
{
    (void)state;
    enum { N = 24 };
    const icot_random_key seeded = {.seed = 2};
    float ones[N], whole[N], part[2 * N];
    for (int i = 0; i < N; i++) ones[i] = 1.0f;
    cpu_backend()->dropout(N, 0.5, seeded, 0, ones, NULL, whole);
    for (int first = 0; first < 9; first++) {
        for (int i = 0; i < 2 * N; i++) part[i] = 7.0f;
        cpu_backend()->dropout(N - 10, 0.5, seeded, first, ones, NULL, part + N);
        for (int i = 0; i < N - 10; i++) assert_true(part[N + i] == whole[first + i]);
        for (int i = 0; i < N; i++) assert_true(part[i] == 7.0f); /* nothing before it */
        for (int i = 2 * N - 10; i < 2 * N; i++) assert_true(part[i] == 7.0f);
    }
}

static void test_same_bits(void **state)
{
    (void)state;
    enum { KINDS = 6, ANY_THREADS = 5 };
    float *x = random_floats(ROWS * COLUMNS, 31);
    const size_t bytes = ROWS * COLUMNS * sizeof *x;
    float *first = malloc(bytes), *again = malloc(bytes);
    assert_true(first && again);
    for (int s = 0; s < n_sets; s++) {
        for (int which = 0; which < KINDS; which++) {
            const int threads[] = {3, 3, 3, 1, 2, 4};
            for (int t = 0; t < (which < ANY_THREADS ? 6 : 3); t++) {
                assert_ok(icot_set_threads(threads[t]));
                float *out = t ? again : first;
                memset(out, 0, bytes);
                shared_work(&sets[s].table, which, x, out);
                assert_memory_equal(out, first, bytes);
            }
        }
    }
    assert_ok(icot_set_threads(3));
    free(first);
    free(again);
    free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dropout_begins_anywhere),
        cmocka_unit_test(test_error_bounds),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_softmax_of_extremes),
        cmocka_unit_test(test_argmax),
        cmocka_unit_test(test_long_sums),
        cmocka_unit_test(test_dropout_of_attention),
        cmocka_unit_test(test_same_bits),
    };
    return cmocka_run_group_tests_name("kernels", tests, use_three_threads, NULL);
}
