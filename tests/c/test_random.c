/* Philox4x32-10 against the vectors of its authors, and what is drawn from it. */
#include "base/random.h"
#include "icot.h"
#include "support.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const icot_random_key key = {.seed = 12345, .stream = 7, .step = 3};

/* Counter and key as random_words splits them: (block, stream, step) and seed. */
static void check_words(const uint32_t counter[4], const uint32_t k[2], const uint32_t expected[4])
{
    icot_random_key split = {.seed = (uint64_t)k[1] << 32 | k[0],
                             .stream = counter[1],
                             .step = (uint64_t)counter[3] << 32 | counter[2]};
    uint32_t words[RANDOM_LANES];
    random_words(split, counter[0], words);
    for (int i = 0; i < RANDOM_LANES; i++) assert_int_equal(words[i], expected[i]);
}

/* kat_vectors of the Random123 distribution (Salmon et al. 2011), philox4x32 with 10 rounds. */
static void test_known_answers(void **state)
{
    (void)state;
    const uint32_t ones = UINT32_MAX;
    check_words((uint32_t[]){0, 0, 0, 0}, (uint32_t[]){0, 0},
                (uint32_t[]){0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
    check_words((uint32_t[]){ones, ones, ones, ones}, (uint32_t[]){ones, ones},
                (uint32_t[]){0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
    check_words((uint32_t[]){0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
                (uint32_t[]){0xa4093822, 0x299f31d0},
                (uint32_t[]){0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

/* ---- Distributions --------------------------------------------------------------------------- */

enum { DRAWS = 200000 };

/* Mean of f(x_i), compared with what it should be to within five standard errors. */
static void check_mean(const double *x, double (*f)(double), double expected, double deviation)
{
    double sum = 0.0;
    for (int i = 0; i < DRAWS; i++) sum += f(x[i]);
    assert_true(fabs(sum / DRAWS - expected) < 5.0 * deviation / sqrt(DRAWS));
}

static double itself(double x)
{
    return x;
}

static double squared(double x)
{
    return x * x;
}

static double cubed(double x)
{
    return x * x * x;
}

static double fourth(double x)
{
    return x * x * x * x;
}

static double beyond_two(double x)
{
    return fabs(x) > 2.0;
}

static double *draw_uniform(icot_random_key which)
{
    double *x = calloc(DRAWS, sizeof *x);
    assert_non_null(x);
    icot_random_uniform(which, DRAWS, x);
    return x;
}

static void test_uniform(void **state)
{
    (void)state;
    double *x = draw_uniform(key), neighbours = 0.0;
    int bins[16] = {0};
    for (int i = 0; i < DRAWS; i++) {
        assert_true(x[i] >= 0.0 && x[i] < 1.0);
        bins[(int)(16.0 * x[i])]++;
        if (i) neighbours += (x[i] - 0.5) * (x[i - 1] - 0.5);
    }
    check_mean(x, itself, 1.0 / 2, sqrt(1.0 / 12));
    check_mean(x, squared, 1.0 / 3, sqrt(1.0 / 5 - 1.0 / 9));
    assert_true(fabs(neighbours / DRAWS) < 5.0 / 12.0 / sqrt(DRAWS));
    for (int b = 0; b < 16; b++) {
        assert_true(fabs(bins[b] - DRAWS / 16.0) < 5.0 * sqrt(DRAWS / 16.0));
    }
    free(x);
}

static void test_normal(void **state)
{
    (void)state;
    float *drawn = calloc(DRAWS, sizeof *drawn);
    double *x = calloc(DRAWS, sizeof *x);
    assert_true(drawn && x);
    random_normal(key, DRAWS, 0.0f, 1.0f, drawn);
    for (int i = 0; i < DRAWS; i++) x[i] = (double)drawn[i];
    check_mean(x, itself, 0.0, 1.0);
    check_mean(x, squared, 1.0, sqrt(2.0));
    check_mean(x, cubed, 0.0, sqrt(15.0));
    check_mean(x, fourth, 3.0, sqrt(96.0));
    double p = erfc(2.0 / sqrt(2.0));
    check_mean(x, beyond_two, p, sqrt(p * (1.0 - p)));

    double u[4]; /* Box and Muller: part of what a seed means */
    icot_random_uniform(key, 4, u);
    for (int i = 0; i < 4; i += 2) {
        const double radius = sqrt(-2.0 * log(1.0 - u[i])), angle = 6.283185307179586 * u[i + 1];
        assert_true(fabs(radius * cos(angle) - x[i]) < 1e-6);
        assert_true(fabs(radius * sin(angle) - x[i + 1]) < 1e-6);
    }

    float other[7], fewer[5]; /* an odd count, another mean and deviation: the same numbers */
    random_normal(key, 7, 3.0f, 2.0f, other);
    random_normal(key, 5, 0.0f, 1.0f, fewer);
    for (int i = 0; i < 7; i++) assert_true(fabsf(other[i] - (3.0f + 2.0f * drawn[i])) < 1e-6f);
    assert_memory_equal(fewer, drawn, sizeof fewer);
    free(drawn);
    free(x);
}

/* Streams, steps and seeds have nothing to do with each other. */
static void test_keys_are_independent(void **state)
{
    (void)state;
    double *x = draw_uniform(key);
    for (int part = 0; part < 4; part++) {
        icot_random_key other = key;
        if (part == 0) other.seed++;
        if (part == 1) other.stream++;
        if (part == 2) other.step++;
        if (part == 3) other.step += UINT64_C(1) << 32;
        double *y = draw_uniform(other), product = 0.0;
        for (int i = 0; i < DRAWS; i++) product += (x[i] - 0.5) * (y[i] - 0.5);
        assert_true(fabs(product / DRAWS) < 5.0 / 12.0 / sqrt(DRAWS));
        free(y);
    }
    free(x);
}

/* ---- Permutations ---------------------------------------------------------------------------- */

static void check_permutation(int32_t n)
{
    int32_t *order = calloc((size_t)n + 1, sizeof *order);
    char *seen = calloc((size_t)n + 1, 1);
    assert_true(order && seen);
    order[n] = -7;
    icot_random_permutation(key, n, order);
    for (int32_t i = 0; i < n; i++) {
        assert_in_range(order[i], 0, n - 1);
        assert_false(seen[order[i]]++);
    }
    assert_int_equal(order[n], -7);
    free(order);
    free(seen);
}

static void test_permutation(void **state)
{
    (void)state;
    check_permutation(0);
    check_permutation(1);
    check_permutation(2);
    check_permutation(100000);
}

/* Of 24 orders of four, each comes up about equally often. */
static void test_permutation_is_fair(void **state)
{
    (void)state;
    const int rounds = 24000;
    int counts[256] = {0}, orders = 0;
    for (int i = 0; i < rounds; i++) {
        int32_t order[4];
        icot_random_permutation((icot_random_key){.seed = 4, .step = (uint64_t)i}, 4, order);
        counts[order[0] | order[1] << 2 | order[2] << 4 | order[3] << 6]++;
    }
    for (int c = 0; c < 256; c++) {
        if (!counts[c]) continue;
        orders++;
        assert_true(abs(counts[c] - rounds / 24) < 5.0 * sqrt(rounds / 24.0));
    }
    assert_int_equal(orders, 24);
}

/* ---- Tensors of random numbers --------------------------------------------------------------- */

static void test_tensors(void **state)
{
    (void)state;
    enum { N = 1000 };
    icot_engine *engine = engine_on(cpu_backend());
    icot_tensor x = tensor_of(engine, 1, (const int64_t[]){N}, NULL);
    float values[N], expected[N];
    assert_ok(icot_tensor_normal(engine, x, 1.0, 0.5, key));
    assert_ok(icot_tensor_read(engine, x, values, N));
    random_normal(key, N, 1.0f, 0.5f, expected);
    assert_memory_equal(values, expected, sizeof values);

    const float low = 1.0f, high = 1.0f + 0x1p-23f; /* neighbours: half of all would round up */
    assert_ok(icot_tensor_uniform(engine, x, (double)low, (double)high, key));
    assert_ok(icot_tensor_read(engine, x, values, N));
    for (int i = 0; i < N; i++) assert_true(values[i] == low);

    int32_t ids[3] = {1, 2, 3};
    icot_tensor whole = ids_of(engine, 3, ids);
    assert_refused(icot_tensor_normal(engine, whole, 0.0, 1.0, key), "got int32");
    assert_refused(icot_tensor_uniform(engine, whole, 0.0, 1.0, key), "got int32");
    icot_engine_free(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers), cmocka_unit_test(test_uniform),
        cmocka_unit_test(test_normal),        cmocka_unit_test(test_keys_are_independent),
        cmocka_unit_test(test_permutation),   cmocka_unit_test(test_permutation_is_fair),
        cmocka_unit_test(test_tensors),
    };
    return cmocka_run_group_tests_name("random", tests, NULL, NULL);
}
