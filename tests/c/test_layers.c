/*
 * Kernels of whole layers that no operator shows all sides of: residual and norm at once, forward
 * and backward, on the device under test and by the CPU's plainest kernels. Rows that stay in a
 * warp's registers and others, more rows than a card works on at a time, words of dropout that
 * begin halfway.
 */
#include "support.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct layer_case {
    int64_t rows, columns;
    dropout_draw drawn;
} layer_case;

#define DRAWN(share, begin)                                                                        \
    {                                                                                              \
        .p = share, .key = {5, ICOT_STREAM_DROPOUT + 1, 3}, .first = begin                         \
    }

static const layer_case cases[] = {
    {2000, 768, DRAWN(0.1, 7680)}, {1585, 132, DRAWN(0.0, 0)}, {40, 256, DRAWN(0.5, 0)},
    {40, 512, DRAWN(0.2, 512)},    {5, 640, DRAWN(0.2, 3)},    {7, 1024, DRAWN(0.2, 1024)},
    {5, 1028, DRAWN(0.2, 0)},      {3, 257, DRAWN(0.3, 257)},  {0, 8, DRAWN(0.3, 0)},
};
enum { CASES = sizeof cases / sizeof *cases };

enum { Y, NORMED, STATISTICS, DY, DX, DWEIGHT, DBIAS, DSUM, RESULTS };
enum { X, ONTO, WEIGHT, BIAS, DNORMED, GRAD, INPUTS };

static bool is_factor(int result)
{
    return result == NORMED || result == DX;
}

static int64_t numel_of(const layer_case *c, int result)
{
    if (result == STATISTICS) return 2 * c->rows;
    return result >= DWEIGHT ? c->columns : c->rows * c->columns;
}

/* ---- To the device and back ------------------------------------------------------------------ */

static void *device_array(const backend *k, int64_t n, size_t element)
{
    void *made;
    assert_ok(k->memory->allocate((size_t)n * element, &made));
    return made;
}

/* Numbers that bfloat16 can tell, as floats or as factors */
static void *input(const backend *k, int64_t n, uint64_t seed, bool factor)
{
    const size_t element = factor ? k->factor_bytes : sizeof(float);
    float *x = random_floats(n, seed);
    for (int64_t i = 0; i < n; i++) x[i] = (float)rounded_to_bf16(x[i]);
    if (element == sizeof(uint16_t)) { /* the upper halves, in place */
        for (int64_t i = 0; i < n; i++) memcpy((uint16_t *)x + i, (uint16_t *)x + 2 * i + 1, 2);
    }
    void *made = device_array(k, n, element);
    assert_ok(k->memory->copy_in(made, x, (size_t)n * element));
    free(x);
    return made;
}

static float *read_back(const backend *k, int64_t n, const void *array, bool factor)
{
    const size_t element = factor ? k->factor_bytes : sizeof(float);
    float *values = calloc((size_t)n + 1, sizeof *values);
    uint16_t *halves = calloc((size_t)n + 1, sizeof *halves);
    assert_ok(k->memory->copy_out(element == sizeof(float) ? (void *)values : (void *)halves, array,
                                  (size_t)n * element));
    for (int64_t i = 0; i < n && element != sizeof(float); i++) {
        values[i] = (float)bf16_at(halves, i);
    }
    free(halves);
    return values;
}

/* ---- Both sides ------------------------------------------------------------------------------ */

static void run(const backend *k, const layer_case *c, float *results[RESULTS])
{
    const int64_t n = c->rows * c->columns;
    const double eps = 1e-5;
    void *in[INPUTS], *out[RESULTS];
    for (int i = 0; i < INPUTS; i++) {
        const bool of_columns = i == WEIGHT || i == BIAS;
        in[i] = input(k, of_columns ? c->columns : n, 10 + (uint64_t)i, i == X || i == DNORMED);
    }
    for (int r = 0; r < RESULTS; r++) {
        const size_t element = is_factor(r) ? k->factor_bytes : sizeof(float);
        out[r] = r == DWEIGHT ? input(k, c->columns, 30, false) /* is added to */
                              : device_array(k, numel_of(c, r), element);
    }
    k->layers->residual_norm(c->rows, c->columns, &c->drawn, in[X], in[ONTO], eps, in[WEIGHT],
                             in[BIAS], out[Y], out[NORMED], out[STATISTICS]);
    const grad_target sums[] = {{out[DWEIGHT], true}, {out[DBIAS], false}, {out[DSUM], false}};
    assert_ok(k->layers->residual_norm_backward(c->rows, c->columns, out[Y], in[WEIGHT],
                                                out[STATISTICS], in[DNORMED], in[GRAD], &c->drawn,
                                                out[DY], out[DX], sums));
    for (int r = 0; r < RESULTS; r++) {
        results[r] = read_back(k, numel_of(c, r), out[r], is_factor(r));
        k->memory->release(out[r]);
    }
    for (int i = 0; i < INPUTS; i++) k->memory->release(in[i]);
}

/* Nothing is written where nobody wants sums. */
static void run_without_sums(const backend *k, const layer_case *c, const float *dx)
{
    const int64_t n = c->rows * c->columns;
    const grad_target none[3] = {{NULL, false}};
    void *y = input(k, n, 1, false), *dnormed = input(k, n, 2, true), *weight, *statistics, *to[2];
    weight = input(k, c->columns, 3, false), statistics = input(k, 2 * c->rows, 4, false);
    to[0] = device_array(k, n, sizeof(float)), to[1] = device_array(k, n, k->factor_bytes);
    assert_ok(k->layers->residual_norm_backward(c->rows, c->columns, y, weight, statistics, dnormed,
                                                y, &c->drawn, to[0], to[1], none));
    float *found = read_back(k, n, to[1], true);
    for (int64_t i = 0; i < n; i++) assert_true((found[i] == 0.0f) == (dx[i] == 0.0f));
    free(found);
    void *all[] = {y, dnormed, weight, statistics, to[0], to[1]};
    for (int i = 0; i < 6; i++) k->memory->release(all[i]);
}

static void assert_near(const layer_case *c, int result, bool rounds, const float *expected,
                        const float *got)
{
    const int64_t n = numel_of(c, result);
    const double allowed = rounds && is_factor(result) ? 0x1p-8 : 2e-5;
    double largest = 0.0;
    for (int64_t i = 0; i < n; i++) largest = fmax(largest, fabs((double)expected[i]));
    for (int64_t i = 0; i < n; i++) {
        const double apart = fabs((double)expected[i] - (double)got[i]);
        if (apart <= allowed * largest) continue;
        fail_msg("(%lld, %lld), result %d: element %lld is %g, expected %g", (long long)c->rows,
                 (long long)c->columns, result, (long long)i, (double)got[i], (double)expected[i]);
    }
}

static void compare(const backend *k)
{
    for (int i = 0; i < CASES; i++) {
        float *expected[RESULTS], *got[RESULTS];
        run(plain_kernels(), &cases[i], expected);
        run(k, &cases[i], got);
        run_without_sums(k, &cases[i], expected[DX]);
        for (int r = 0; r < RESULTS; r++) {
            assert_near(&cases[i], r, k->factor_bytes < sizeof(float), expected[r], got[r]);
            free(expected[r]), free(got[r]);
        }
    }
}

/* In bfloat16 a CPU has none. */
static void test_residual_norm(void **state)
{
    (void)state;
    const kernel_set *sets;
    const backend *in_bf16;
    const int n_sets = kernel_sets(&sets);
    for (int s = 0; s < n_sets; s++) compare(&sets[s].table);
    if (strcmp(tested_device(), "cpu") == 0) return;
    assert_ok(backend_find(tested_device(), "bf16", &in_bf16));
    compare(in_bf16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_residual_norm)};
    return cmocka_run_group_tests_name("layers", tests, NULL, NULL);
}
