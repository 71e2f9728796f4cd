/* Kernels beyond what the gradient harness sees: error bounds, extremes, decoding, same bits. */
#include "support.h"

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

static float *random_floats(int64_t n, uint64_t seed)
{
    double *u = calloc((size_t)n + 1, sizeof *u);
    float *x = calloc((size_t)n + 1, sizeof *x);
    assert_true(u && x);
    icot_random_uniform((icot_random_key){.seed = seed}, n, u);
    for (int64_t i = 0; i < n; i++) x[i] = (float)(4.0 * u[i] - 2.0);
    free(u);
    return x;
}

/* ---- Elementary functions ----------------------------------------------------------------------
 */

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

/* ---- Rows --------------------------------------------------------------------------------------
 */

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
        sets[s].table.argmax(3, 3, x, best);
        assert_int_equal(best[0], 1);
        assert_int_equal(best[1], 1); /* the first of equals */
        assert_int_equal(best[2], 0);
        sets[s].table.argmax(300, 100, large, best);
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
    double exact = 0.0, squares = 0.0;
    for (int i = 0; i < N; i++) {
        x[i] += 2.0f;
        exact += (double)x[i];
        squares += (double)x[i] * (double)x[i];
    }
    for (int s = 0; s < n_sets; s++) {
        const backend *k = &sets[s].table;
        k->sum(1, N, 1, 1.0, x, &total);
        assert_true(fabs((double)total / exact - 1.0) < 1e-7);
        k->sum_rows(N, 1, x, false, &of_rows);
        assert_true(fabs((double)of_rows / exact - 1.0) < 1e-6);
        assert_true(fabs(k->sum_of_squares(N, x) / squares - 1.0) < 1e-12);
    }
    free(x);
}

/* ---- Decoding ----------------------------------------------------------------------------------
 */

enum { HEADS = 2, WIDTH = 22, SLOTS = 5, CAPACITY = 40, SEQUENCES = 3 };

/* A chunk of each sequence: what attention over the cache must give is in `full` (T, WIDTH). */
typedef struct chunk {
    int32_t starts[SEQUENCES + 1], lengths[SEQUENCES];
} chunk;

static void decode_chunk(icot_engine *engine, const float *qkv, const int32_t *whole, chunk c,
                         icot_tensor keys, icot_tensor values, const float *full)
{
    const int32_t slots[SEQUENCES] = {4, 0, 2};
    int32_t tokens = c.starts[SEQUENCES];
    icot_tensor x = tensor_of(engine, 2, (const int64_t[]){tokens, 3 * WIDTH}, NULL), y;
    icot_tensor_info info;
    assert_ok(icot_tensor_describe(engine, x, &info));
    for (int b = 0; b < SEQUENCES; b++) {
        memcpy((float *)info.data + c.starts[b] * 3 * WIDTH,
               qkv + (whole[b] + c.lengths[b]) * 3 * WIDTH,
               (size_t)(c.starts[b + 1] - c.starts[b]) * 3 * WIDTH * sizeof *qkv);
    }
    assert_ok(icot_attention_cached(engine, x, ids_of(engine, SEQUENCES + 1, c.starts),
                                    ids_of(engine, SEQUENCES, slots),
                                    ids_of(engine, SEQUENCES, c.lengths), keys, values, HEADS, &y));
    float *got = calloc((size_t)tokens * WIDTH + 1, sizeof *got);
    assert_non_null(got);
    assert_ok(icot_tensor_read(engine, y, got, tokens * WIDTH));
    for (int b = 0; b < SEQUENCES; b++) {
        for (int32_t i = 0; i < (c.starts[b + 1] - c.starts[b]) * WIDTH; i++) {
            float expected = full[(whole[b] + c.lengths[b]) * WIDTH + i];
            assert_true(fabsf(got[c.starts[b] * WIDTH + i] - expected) < 2e-6f);
        }
    }
    free(got);
}

/* Sequences of 9, 1 and 38 tokens, taken in ragged chunks, against attention over the whole. */
static void test_cached_attention(void **state)
{
    (void)state;
    const int32_t whole[SEQUENCES + 1] = {0, 9, 10, 48};
    const chunk chunks[] = {{{0, 4, 5, 22}, {0, 0, 0}},
                            {{0, 1, 1, 2}, {4, 1, 17}},
                            {{0, 0, 0, 3}, {5, 1, 18}},
                            {{0, 4, 4, 21}, {5, 1, 21}}};
    float *qkv = random_floats(48 * 3 * WIDTH, 21), full[48 * WIDTH];
    for (int s = 0; s < n_sets; s++) {
        icot_engine *engine = engine_on(&sets[s].table);
        const icot_op_params heads = {.n_index = 1, .index = {HEADS}};
        icot_tensor inputs[] = {tensor_of(engine, 2, (const int64_t[]){48, 3 * WIDTH}, qkv),
                                ids_of(engine, SEQUENCES + 1, whole)};
        icot_tensor y = apply_with(engine, "attention", inputs, 2, heads);
        assert_ok(icot_tensor_read(engine, y, full, 48 * WIDTH));

        const int64_t size[] = {SLOTS, CAPACITY, WIDTH};
        icot_tensor keys = tensor_of(engine, 3, size, NULL),
                    values = tensor_of(engine, 3, size, NULL);
        assert_ok(icot_tensor_fill(engine, keys, NAN)); /* what is not there must not be read */
        assert_ok(icot_tensor_fill(engine, values, NAN));
        for (size_t c = 0; c < sizeof chunks / sizeof *chunks; c++) {
            decode_chunk(engine, qkv, whole, chunks[c], keys, values, full);
        }
        icot_engine_free(engine);
    }
    free(qkv);
}

static void test_cached_attention_refuses(void **state)
{
    (void)state;
    icot_engine *engine = engine_on(cpu_backend());
    const int64_t size[] = {2, 8, 4}, other_size[] = {2, 8, 6};
    icot_tensor qkv = tensor_of(engine, 2, (const int64_t[]){3, 12}, NULL), y = 77;
    icot_tensor keys = tensor_of(engine, 3, size, NULL), values = tensor_of(engine, 3, size, NULL);
    icot_tensor other = tensor_of(engine, 3, other_size, NULL);
    icot_tensor starts = ids_of(engine, 3, (const int32_t[]){0, 1, 3});
    icot_tensor slots = ids_of(engine, 2, (const int32_t[]){1, 0});
    icot_tensor lengths = ids_of(engine, 2, (const int32_t[]){7, 6});
    const struct {
        icot_tensor qkv, starts, slots, lengths, keys, values;
        int heads;
        const char *message;
    } refused[] = {
        {qkv, starts, slots, lengths, keys, values, 3, "4 channels cannot be shared by 3 heads"},
        {qkv, starts, slots, lengths, keys, values, 0, "by 0 heads"},
        {qkv, starts, slots, lengths, keys, other, 2, "values (2,8,6)"},
        {qkv, starts, slots, lengths, other, other, 2, "keys (2,8,6)"},
        {qkv, starts, starts, lengths, keys, values, 2, "3 slots"},
        {qkv, starts, slots, starts, keys, values, 2, "3 lengths"},
        {qkv, starts, ids_of(engine, 2, (const int32_t[]){1, 2}), lengths, keys, values, 2,
         "slot 2 of 2"},
        {qkv, starts, ids_of(engine, 2, (const int32_t[]){-1, 0}), lengths, keys, values, 2,
         "slot -1"},
        {qkv, starts, slots, ids_of(engine, 2, (const int32_t[]){0, 7}), keys, values, 2,
         "sequence 1 has 7 tokens and gets 2"},
        {qkv, starts, slots, ids_of(engine, 2, (const int32_t[]){-1, 0}), keys, values, 2,
         "sequence 0 has -1 tokens"},
        {qkv, ids_of(engine, 3, (const int32_t[]){0, 1, 4}), slots, lengths, keys, values, 2,
         "from 0 to 4, expected 0 to 3"},
        {qkv, ids_of(engine, 3, (const int32_t[]){0, 5, 3}), slots, lengths, keys, values, 2,
         "falls from 5 to 3"},
        {slots, starts, slots, lengths, keys, values, 2, "tensor 1 is int32"},
        {qkv, qkv, slots, lengths, keys, values, 2, "tensor 2 is float32"},
        {0, starts, slots, lengths, keys, values, 2, "tensor 1: this tensor is gone"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        assert_refused(icot_attention_cached(engine, refused[i].qkv, refused[i].starts,
                                             refused[i].slots, refused[i].lengths, refused[i].keys,
                                             refused[i].values, refused[i].heads, &y),
                       refused[i].message);
    }
    assert_int_equal(y, 77);
    assert_ok(icot_attention_cached(engine, qkv, starts, slots, lengths, keys, values, 2, &y));
    icot_engine_free(engine);
}

/*
 * Equal scores and values of 1: a row gives the mean of its mask, which is 1 but for chance; each
 * row and head has a mask of its own.
 */
static void test_dropout_of_attention(void **state)
{
    (void)state;
    enum { T = 400, C = 2 };
    const int32_t starts[] = {0, T};
    const packed_shape packed = {
        .sequences = 1, .channels = C, .heads = 2, .cu_seqlens = starts, .dropout = 0.25};
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

/* ---- Same bits ---------------------------------------------------------------------------------
 */

enum { ROWS = 700, COLUMNS = 130 };

/* Kernels that share work among threads; each fills out, of ROWS x COLUMNS. */
static void shared_work(const backend *k, int which, const float *x, float *out)
{
    const int32_t starts[] = {0, 100, 101, 400, ROWS};
    const packed_shape packed = {
        .sequences = 4, .channels = 26, .heads = 2, .cu_seqlens = starts, .dropout = 0.1};
    const bool overwrite[3] = {false};
    static float y[ROWS * COLUMNS], statistics[2 * ROWS];
    int32_t ids[ROWS];
    for (int r = 0; r < ROWS; r++) ids[r] = r * 7 % 19;
    switch (which) {
    case 0:
        k->scatter_rows(ROWS, COLUMNS, x, ids, out);
        break;
    case 1:
        k->sum_rows(ROWS, COLUMNS, x, false, out);
        break;
    case 2:
        out[0] = (float)k->sum_of_squares(ROWS * COLUMNS, x);
        break;
    case 3:
        k->attention(&packed, x, y, statistics);
        assert_ok(k->attention_backward(&packed, x, y, statistics, x + 5, false, out));
        break;
    case 4:
        k->dropout(ROWS * COLUMNS, 0.3, (icot_random_key){.seed = 2}, x, false, out);
        break;
    default: /* its sums are per thread: the same only for the same number of threads */
        k->layer_norm(ROWS, COLUMNS, 1e-5, x, x, x, y, statistics);
        assert_ok(k->layer_norm_backward(ROWS, COLUMNS, x, x, statistics, y, overwrite, y, out,
                                         out + COLUMNS));
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
        cmocka_unit_test(test_error_bounds),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_softmax_of_extremes),
        cmocka_unit_test(test_argmax),
        cmocka_unit_test(test_long_sums),
        cmocka_unit_test(test_cached_attention),
        cmocka_unit_test(test_cached_attention_refuses),
        cmocka_unit_test(test_dropout_of_attention),
        cmocka_unit_test(test_same_bits),
    };
    return cmocka_run_group_tests_name("kernels", tests, use_three_threads, NULL);
}
