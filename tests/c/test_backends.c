/*
 * Two backends side by side, on sizes for which the oracle is too slow: many tiles, long rows, odd
 * ends. The one is the CPU's plainest; the other the CPU's best, or the device under test.
 */
#include "autograd/operator.h"
#include "support.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef enum input_kind { NONE, FLOATS, IDS } input_kind;

typedef struct side_input {
    input_kind kind;
    int ndim;
    int64_t size[3];
    const int32_t *ids; /* of IDS; NULL: made up, below `limit` */
    int32_t limit;      /* of IDS; of FLOATS what they are divided by, 0: nothing */
} side_input;

typedef struct side_case {
    const char *what, *operator_name;
    side_input inputs[ICOT_MAX_INPUTS];
    icot_op_params params;
} side_case;

/* Sequences that end before, on and behind the borders of tiles; one of them is empty. */
static const int32_t starts[] = {0, 1, 64, 64, 128, 193, 323, 623};
enum { T = 623 };
static const int32_t few_starts[] = {0, 17, 19, 40};
static const int32_t places[] = {0, 200, 300, 350, 500, 650, 800}; /* of sequences in a past, */
static const int32_t behind[] = {70, 1, 31, 0, 64, 5, 100};        /* and how much is there */
static const int32_t some_rows[] = {0, 3, 64, 127, 400, 622};      /* of the tokens */

#define X2(rows, columns)                                                                          \
    {                                                                                              \
        FLOATS, 2, {rows, columns}, NULL, 0                                                        \
    }
#define SMALL2(rows, columns)                                                                      \
    {                                                                                              \
        FLOATS, 2, {rows, columns}, NULL, 16                                                       \
    }
#define X1(n)                                                                                      \
    {                                                                                              \
        FLOATS, 1, {n}, NULL, 0                                                                    \
    }
#define LISTED(ids)                                                                                \
    {                                                                                              \
        IDS, 1, {sizeof(ids) / sizeof *(ids)}, ids, 0                                              \
    }
#define SOME_ROWS     LISTED(some_rows)
#define STARTS        LISTED(starts)
#define FEW_STARTS    LISTED(few_starts)
#define PAST(columns) X2(1200, columns), STARTS, LISTED(places), LISTED(behind)
#define RANDOM_IDS(n, limit)                                                                       \
    {                                                                                              \
        IDS, 1, {n}, NULL, limit                                                                   \
    }

/* The smaller, the more numbers are summed up. */
#define WEIGHT(out, in)                                                                            \
    {                                                                                              \
        FLOATS, 2, {out, in}, NULL, 16 + (in) / 16                                                 \
    }
/* The inputs of a block but for sequences and rows that are picked; C channels, F hidden ones. */
#define BLOCK(rows, C, F)                                                                          \
    X2(rows, C), X1(C), X1(C), WEIGHT(3 * (C), C), X1(3 * (C)), WEIGHT(C, C), X1(C), X1(C), X1(C), \
        WEIGHT(F, C), X1(F), WEIGHT(C, F), X1(C)
#define PLAIN_BLOCK(heads)                                                                         \
    {                                                                                              \
        .n_index = 6, .index = {heads}, .number = { 1e-5, 1e-4 }                                   \
    }
#define DROPPING_BLOCK(heads)                                                                      \
    {                                                                                              \
        .n_index = 6, .number = {1e-5, 1e-4, 0.1, 0.2, 0.3}, .index = {heads,                      \
                                                                       900,                        \
                                                                       1000,                       \
                                                                       ICOT_STREAM_DROPOUT + 3,    \
                                                                       ICOT_STREAM_DROPOUT + 4,    \
                                                                       ICOT_STREAM_DROPOUT + 5},   \
        .key = {                                                                                   \
            7,                                                                                     \
            0,                                                                                     \
            5                                                                                      \
        }                                                                                          \
    }

static const side_case cases[] = {
    {"heads of 11", "attention", {X2(T, 66), STARTS}, {.n_index = 1, .index = {2}}},
    {"heads of 64", "attention", {X2(T, 576), STARTS}, {.n_index = 1, .index = {3}}},
    {"heads of 100", "attention", {X2(T, 600), STARTS}, {.n_index = 1, .index = {2}}},
    {"heads of 128", "attention", {X2(T, 768), STARTS}, {.n_index = 1, .index = {2}}},
    {"dropout",
     "attention",
     {X2(T, 576), STARTS},
     {.n_index = 2, .index = {3, 1000}, .number = {0.2}, .key = {7, ICOT_STREAM_DROPOUT, 5}}},
    {"dropout, heads of 128",
     "attention",
     {X2(T, 768), STARTS},
     {.n_index = 2, .index = {2, 3}, .number = {0.5}, .key = {8, ICOT_STREAM_DROPOUT, 5}}},
    {"heads of 11", "attention_past", {X2(T, 66), PAST(66)}, {.n_index = 1, .index = {2}}},
    {"heads of 128", "attention_past", {X2(T, 768), PAST(768)}, {.n_index = 1, .index = {2}}},
    {"dropout",
     "attention_past",
     {X2(T, 576), PAST(576)},
     {.n_index = 2, .index = {3, 1000}, .number = {0.2}, .key = {7, ICOT_STREAM_DROPOUT, 5}}},
    {"tokens", "embedding", {X2(50, 97), RANDOM_IDS(3000, 50)}, {.n_index = 0}},
    {"tokens and positions",
     "token_position_embedding",
     {X2(16, 96), X2(700, 96), RANDOM_IDS(2500, 16), RANDOM_IDS(2500, 700)},
     {.n_index = 0}},
    {"wide", "layer_norm", {X2(700, 768), X1(768), X1(768)}, {.number = {1e-5}}},
    {"narrow", "layer_norm", {X2(3000, 5), X1(5), X1(5)}, {.number = {1e-5}}},
    {"rows of 300", "layer_norm", {X2(150, 300), X1(300), X1(300)}, {.number = {1e-5}}},
    {"rows of 512", "layer_norm", {X2(150, 512), X1(512), X1(512)}, {.number = {1e-5}}},
    {"rows of 1000", "layer_norm", {X2(150, 1000), X1(1000), X1(1000)}, {.number = {1e-5}}},
    {"few symbols", "cross_entropy", {X2(2100, 16), RANDOM_IDS(2100, 16)}, {.n_index = 0}},
    {"many symbols", "cross_entropy", {X2(130, 5001), RANDOM_IDS(130, 5001)}, {.n_index = 0}},
    {"with bias", "linear", {X2(650, 96), X2(130, 96), X1(130)}, {.n_index = 0}},
    {"with residual", "linear", {X2(650, 96), X2(130, 96), X1(130), X2(650, 130)}, {.n_index = 0}},
    {"with residual",
     "mlp",
     {X2(1100, 48), X2(192, 48), X1(192), X2(48, 192), X1(48), X2(1100, 48)},
     {.n_index = 0}},
    {"dropout, with residual",
     "self_attention",
     {X2(T, 192), SMALL2(576, 192), X1(576), SMALL2(192, 192), X1(192), STARTS, X2(T, 192)},
     {.n_index = 2, .index = {3, 1000}, .number = {0.1}, .key = {7, ICOT_STREAM_DROPOUT + 4, 5}}},
    {"dropout, heads of 128",
     "self_attention",
     {X2(T, 256), SMALL2(768, 256), X1(768), SMALL2(256, 256), X1(256), STARTS},
     {.n_index = 2, .index = {2, 1000}, .number = {0.1}, .key = {7, ICOT_STREAM_DROPOUT + 4, 5}}},
    {"of some rows",
     "self_attention",
     {X2(T, 24), SMALL2(72, 24), X1(72), SMALL2(24, 24), X1(24), STARTS, X2(6, 24), SOME_ROWS},
     {.n_index = 1, .index = {2}}},
    {"heads of 11",
     "self_attention",
     {X2(T, 22), SMALL2(66, 22), X1(66), SMALL2(22, 22), X1(22), STARTS},
     {.n_index = 1, .index = {2}}},
    {"dropout", "block", {BLOCK(T, 128, 128), STARTS}, DROPPING_BLOCK(2)},
    {"some rows, dropout", "block", {BLOCK(T, 24, 96), STARTS, SOME_ROWS}, DROPPING_BLOCK(2)},
    {"heads of 11", "block", {BLOCK(T, 22, 64), STARTS}, PLAIN_BLOCK(2)},
    {"rows of 300", "block", {BLOCK(40, 300, 64), FEW_STARTS}, PLAIN_BLOCK(5)},
    {"rows of 1000", "block", {BLOCK(40, 1000, 64), FEW_STARTS}, DROPPING_BLOCK(8)},
    {"odd", "block", {BLOCK(40, 77, 131), FEW_STARTS}, DROPPING_BLOCK(7)},
    {"odd", "matmul", {X2(333, 77), X2(77, 129)}, {.n_index = 0}},
    {"wide", "softmax", {X2(130, 5001)}, {.n_index = 0}},
    {"narrow", "softmax", {X2(5000, 3)}, {.n_index = 0}},
    {"wide", "log_softmax", {X2(130, 5001)}, {.n_index = 0}},
    {"of rows", "sum", {X2(700, 1000)}, {.n_index = 2, .index = {1, 0}}},
    {"of columns", "mean", {X2(700, 1000)}, {.n_index = 2, .index = {0, 0}}},
    {"of all", "mean", {X2(700, 1000)}, {.n_index = 0}},
    {"one long run", "mul", {X1(100001), X1(100001)}, {.n_index = 0}},
    {"rows with a row", "mul", {X2(700, 130), X1(130)}, {.n_index = 0}},
    {"long rows with a row", "div", {X2(3, 30001), X1(30001)}, {.n_index = 0}},
    {"rows with a number", "mul", {X2(700, 130), X1(1)}, {.n_index = 0}},
    {"rows with a column", "sub", {X2(700, 130), X2(700, 1)}, {.n_index = 0}},
    {"of a row", "expand", {X2(1, 130)}, {.n_index = 2, .index = {700, 130}}},
    {"turned", "permute", {X2(300, 130)}, {.n_index = 2, .index = {1, 0}}},
    {"side by side", "concat", {X2(300, 33), X2(300, 40)}, {.n_index = 1, .index = {1}}},
    {"of numbers",
     "dropout",
     {X1(100003)},
     {.n_index = 1, .index = {6}, .number = {0.3}, .key = {9, ICOT_STREAM_DROPOUT, 2}}},
    {"with residual",
     "dropout",
     {X2(700, 130), X2(700, 130)},
     {.n_index = 1, .index = {260}, .number = {0.3}, .key = {9, ICOT_STREAM_DROPOUT, 2}}},
    {"of many numbers", "gelu", {X1(100003)}, {.n_index = 0}},
    {"of many numbers", "tanh", {X1(100003)}, {.n_index = 0}},
};
enum { CASES = sizeof cases / sizeof *cases, MOST = ICOT_MAX_INPUTS };

/* ---- One backend ----------------------------------------------------------------------------- */

/* The output and the gradients of float inputs, in this order. */
typedef struct outcome {
    int count;
    int64_t n[MOST];
    float *values[MOST];
} outcome;

static void note(icot_engine *engine, icot_tensor x, outcome *out)
{
    icot_tensor_info info;
    assert_ok(icot_tensor_describe(engine, x, &info));
    float *values = calloc((size_t)info.numel + 1, sizeof *values);
    assert_non_null(values);
    assert_ok(icot_tensor_read(engine, x, values, info.numel));
    out->n[out->count] = info.numel;
    out->values[out->count++] = values;
}

static int64_t numel_of(const side_input *in)
{
    int64_t numel = 1;
    for (int d = 0; d < in->ndim; d++) numel *= in->size[d];
    return numel;
}

/* A float input begins with element `skipped` of what lies in memory, which is the leaf. */
static icot_tensor leaf_of(icot_engine *engine, const side_input *in, int skipped, uint64_t seed)
{
    const int64_t numel = numel_of(in) + skipped;
    float *x = random_floats(numel, seed);
    icot_tensor made;
    if (in->kind == FLOATS) {
        for (int64_t i = 0; in->limit > 0 && i < numel; i++) x[i] /= (float)in->limit;
        made = tensor_of(engine, 1, &numel, x);
        assert_ok(icot_requires_grad(engine, made, 1));
    } else {
        int32_t *ids = (int32_t *)x;
        for (int64_t i = 0; i < numel; i++) {
            ids[i] = in->ids ? in->ids[i] : (int32_t)((x[i] + 2.0f) / 4.0f * (float)in->limit);
        }
        made = ids_of(engine, numel, ids);
    }
    free(x);
    return made;
}

/* An input that is written to is a leaf as it is. */
static icot_tensor written_of(icot_engine *engine, const side_input *in, uint64_t seed)
{
    float *x = random_floats(numel_of(in), seed);
    const icot_tensor made = tensor_of(engine, in->ndim, in->size, x);
    free(x);
    assert_ok(icot_requires_grad(engine, made, 1));
    return made;
}

static icot_tensor input_of(icot_engine *engine, const side_input *in, int skipped,
                            icot_tensor leaf)
{
    if (in->kind != FLOATS) return leaf;
    icot_op_params part = {.n_index = 3, .index = {0, skipped, numel_of(in)}};
    icot_op_params form = {.n_index = in->ndim};
    memcpy(form.index, in->size, (size_t)in->ndim * sizeof *in->size);
    const icot_tensor rest = apply_with(engine, "slice", &leaf, 1, part);
    return apply_with(engine, "reshape", &rest, 1, form);
}

/* y, and the gradients of Σ w·y for random w */
static outcome run(const backend *kernels, const side_case *c, int skipped)
{
    outcome out = {0};
    icot_engine *engine = engine_on(kernels);
    icot_tensor leaves[ICOT_MAX_INPUTS], inputs[ICOT_MAX_INPUTS], grad;
    icot_tensor_info info;
    const operator_entry *op = operator_at(icot_operator_find(c->operator_name));
    int n = 0;
    for (; n < ICOT_MAX_INPUTS && c->inputs[n].kind; n++) {
        const int of_floats = c->inputs[n].kind == FLOATS ? skipped : 0;
        if (n + 1 == op->written) {
            leaves[n] = inputs[n] = written_of(engine, &c->inputs[n], 100 + n);
            continue;
        }
        leaves[n] = leaf_of(engine, &c->inputs[n], of_floats, 100 + n);
        inputs[n] = input_of(engine, &c->inputs[n], of_floats, leaves[n]);
    }
    const icot_tensor y = apply_with(engine, c->operator_name, inputs, n, c->params);
    assert_ok(icot_tensor_describe(engine, y, &info));
    float *w = random_floats(info.numel, 99);
    const icot_tensor weights = tensor_of(engine, info.ndim, info.shape, w);
    free(w);
    note(engine, y, &out);
    assert_ok(
        icot_backward(engine, apply_one(engine, "sum", apply_two(engine, "mul", y, weights))));
    for (int i = 0; i < n; i++) {
        if (c->inputs[i].kind != FLOATS) continue;
        assert_ok(icot_grad(engine, leaves[i], &grad));
        note(engine, grad, &out);
    }
    icot_engine_free(engine);
    return out;
}

static void forget(outcome *out)
{
    for (int i = 0; i < out->count; i++) free(out->values[i]);
}

/* ---- Two of them ----------------------------------------------------------------------------- */

/* Sums of some thousand terms of either sign, in another order. */
static void assert_near(const side_case *c, int which, int64_t n, const float *a, const float *b)
{
    double squares = 0.0;
    for (int64_t i = 0; i < n; i++) squares += (double)a[i] * (double)a[i];
    const double typical = n ? sqrt(squares / (double)n) : 0.0;
    for (int64_t i = 0; i < n; i++) {
        const double off = fabs((double)a[i] - (double)b[i]);
        if (off <= 5e-5 * (fabs((double)a[i]) + typical)) continue;
        fail_msg("%s, %s: %s %d: element %lld is %.9g, the plainest kernels say %.9g",
                 c->operator_name, c->what, which ? "gradient" : "output", which, (long long)i,
                 (double)b[i], (double)a[i]);
    }
}

static void compare(const side_case *c, int skipped)
{
    const kernel_set *sets;
    const int n_sets = kernel_sets(&sets);
    const backend *kernels = &sets[n_sets - 1].table;
    outcome plain = run(plain_kernels(), c, skipped), other = run(kernels, c, skipped);
    assert_int_equal(plain.count, other.count);
    for (int i = 0; i < plain.count; i++) {
        assert_int_equal(plain.n[i], other.n[i]);
        assert_near(c, i, plain.n[i], plain.values[i], other.values[i]);
    }
    outcome again = run(kernels, c, skipped);
    for (int i = 0; i < plain.count; i++) { /* the same bits */
        assert_memory_equal(other.values[i], again.values[i], (size_t)other.n[i] * sizeof(float));
    }
    forget(&plain), forget(&other), forget(&again);
}

/* Inputs that begin where several numbers can be read at once, and inputs that don't. */
static void test_case(void **state)
{
    compare(*state, 0);
    compare(*state, 1);
}

/* Operators of matrix products, their factors rounded to bfloat16: off by some roundings each,
 * which say little of one element, but something of all together. */
static void assert_alike(const side_case *c, int which, int64_t n, const float *a, const float *b)
{
    double squares = 0.0, apart = 0.0;
    for (int64_t i = 0; i < n; i++) {
        squares += (double)a[i] * (double)a[i];
        apart += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    }
    if (apart <= 0x1p-6 * 0x1p-6 * squares) return;
    fail_msg("%s, %s: %s %d is off by %.3g of its norm", c->operator_name, c->what,
             which ? "gradient" : "output", which, sqrt(apart / squares));
}

static void compare_rounded(const backend *kernels, const side_case *c, int skipped)
{
    outcome plain = run(plain_kernels(), c, skipped), other = run(kernels, c, skipped);
    for (int k = 0; k < plain.count; k++) {
        assert_alike(c, k, plain.n[k], plain.values[k], other.values[k]);
    }
    outcome again = run(kernels, c, skipped);
    for (int k = 0; k < plain.count; k++) { /* the same bits */
        assert_memory_equal(other.values[k], again.values[k], (size_t)other.n[k] * sizeof(float));
    }
    forget(&plain), forget(&other), forget(&again);
}

static void compare_products(const backend *kernels)
{
    const char *const of_products[] = {"attention", "linear",         "mlp",
                                       "matmul",    "self_attention", "block"};
    enum { COUNT = sizeof of_products / sizeof *of_products, OF_LAYERS = 1 /* the last */ };
    for (int i = 0; i < CASES; i++) {
        bool has_products = false;
        for (int k = 0; k < (kernels->layers ? COUNT : COUNT - OF_LAYERS); k++) {
            has_products = has_products || strcmp(cases[i].operator_name, of_products[k]) == 0;
        }
        if (!has_products) continue;
        for (int skipped = 0; skipped < 2; skipped++) compare_rounded(kernels, &cases[i], skipped);
    }
}

/* The factors are rounded indeed: the product is another one than in float32. It is large enough
 * for tensor cores, which a card is free not to take for TF32. */
static void assert_rounds(const backend *kernels)
{
    const side_case product = {.operator_name = "matmul", .inputs = {X2(256, 512), X2(512, 256)}};
    outcome exact = run(tested_backend("float32"), &product, 0), other = run(kernels, &product, 0);
    for (int k = 0; k < exact.count; k++) {
        assert_memory_not_equal(exact.values[k], other.values[k],
                                (size_t)exact.n[k] * sizeof(float));
    }
    forget(&exact), forget(&other);
}

/* A card has both precisions, of a CPU some have the first. */
static void test_in_less_precision(void **state)
{
    (void)state;
    const char *const precisions[] = {"bf16", "tf32"};
    enum { COUNT = sizeof precisions / sizeof *precisions };
    int there = 0;
    for (int i = 0; i < COUNT; i++) {
        const backend *kernels;
        if (backend_find(tested_device(), precisions[i], &kernels)) continue;
        assert_rounds(kernels);
        compare_products(kernels);
        there++;
    }
    if (strcmp(tested_device(), "cpu") != 0) assert_int_equal(there, COUNT);
    if (!there) skip();
}

/* The largest of many, with equals. */
static void test_argmax(void **state)
{
    (void)state;
    enum { ROWS = 301, COLUMNS = 5003 };
    const kernel_set *sets;
    const int n_sets = kernel_sets(&sets);
    const backend *both[] = {plain_kernels(), &sets[n_sets - 1].table};
    static int32_t best[2][ROWS];
    float *x = random_floats(ROWS * COLUMNS, 5);
    for (int i = 0; i < ROWS * COLUMNS; i++) x[i] = floorf(40.0f * x[i]);
    for (int k = 0; k < 2; k++) {
        icot_engine *engine = engine_on(both[k]);
        icot_tensor out, rows = tensor_of(engine, 2, (const int64_t[]){ROWS, COLUMNS}, x);
        assert_ok(icot_tensor_argmax(engine, rows, &out));
        assert_ok(icot_tensor_read(engine, out, best[k], ROWS));
        icot_engine_free(engine);
    }
    assert_memory_equal(best[0], best[1], sizeof best[0]);
    free(x);
}

/* ---- A device that the host does not see into ------------------------------------------------ */

static int far_copies; /* to it */

static int copy_there(void *block, const void *host, size_t bytes)
{
    far_copies++;
    memcpy(block, host, bytes);
    return 0;
}

/* The CPU, as if it were far away. */
static const backend *far_kernels(void)
{
    static device far_memory;
    static backend kernels;
    far_memory = host_memory;
    far_memory.on_host = false;
    far_memory.copy_in = copy_there;
    kernels = *cpu_backend();
    kernels.memory = &far_memory;
    return &kernels;
}

static void test_indices_are_copied_once(void **state)
{
    (void)state;
    const int64_t size[] = {4, 1};
    const int64_t before = live_bytes();
    const float rows[] = {10, 11, 12, 13};
    icot_engine *engine = engine_on(far_kernels());
    icot_tensor weight = tensor_of(engine, 2, size, rows);
    icot_tensor ids = ids_of(engine, 3, (const int32_t[]){2, 0, 3});
    icot_tensor_info info;
    assert_ok(icot_tensor_describe(engine, weight, &info));
    assert_null(info.data);
    assert_ok(icot_tensor_describe(engine, ids, &info));
    assert_non_null(info.data); /* the host checks indices */

    far_copies = 0;
    ASSERT_VALUES(engine, apply_two(engine, "embedding", weight, ids), 12, 10, 13);
    ASSERT_VALUES(engine, apply_two(engine, "embedding", weight, ids), 12, 10, 13);
    assert_int_equal(far_copies, 1);
    assert_ok(icot_tensor_write(engine, ids, (const int32_t[]){1, 1, 3}, 3));
    ASSERT_VALUES(engine, apply_two(engine, "embedding", weight, ids), 11, 11, 13);
    icot_tensor same;
    assert_ok(icot_tensor_detach(engine, ids, &same));
    far_copies = 0;
    ASSERT_VALUES(engine, apply_two(engine, "embedding", weight, same), 11, 11, 13);
    assert_int_equal(far_copies, 0);
    icot_engine_free(engine);
    assert_int_equal(live_bytes(), before);
}

int main(void)
{
    struct CMUnitTest tests[CASES + 3];
    for (int i = 0; i < CASES; i++) {
        tests[i] = (struct CMUnitTest){.name = cases[i].operator_name,
                                       .test_func = test_case,
                                       .initial_state = (void *)(uintptr_t)&cases[i]};
    }
    tests[CASES] = (struct CMUnitTest)cmocka_unit_test(test_argmax);
    tests[CASES + 1] = (struct CMUnitTest)cmocka_unit_test(test_indices_are_copied_once);
    tests[CASES + 2] = (struct CMUnitTest)cmocka_unit_test(test_in_less_precision);
    return cmocka_run_group_tests_name("backends", tests, NULL, NULL);
}
