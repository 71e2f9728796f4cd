/* Matrix products of both precisions: against float64 sums over the factors as they are multiplied.
 */
#include "support.h"

#include "backend/backend.h"
#include "base/error.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct shape_case {
    bool transpose_a, transpose_b;
    int64_t m, n, k;
} shape_case;

/* A number as it is multiplied. */
static double as_factor(const backend *kernels, float value)
{
    return kernels->round ? rounded_to_bf16(value) : (double)value;
}

/* ---- Arrays on the device under test --------------------------------------------------------- */

static void *put(const backend *kernels, int64_t n, const float *x)
{
    void *copy = NULL;
    if (!x) return NULL;
    assert_ok(kernels->memory->allocate((size_t)n * sizeof *x, &copy));
    assert_ok(kernels->memory->copy_in(copy, x, (size_t)n * sizeof *x));
    return copy;
}

static void drop(const backend *kernels, const void *block)
{
    kernels->memory->release((void *)(uintptr_t)block);
}

/* A left factor; its rows are filled up with zeros as the products expect. */
static void *factor_from(const backend *kernels, int64_t rows, int64_t columns, const float *x)
{
    int64_t all = (rows + kernels->factor_rows - 1) / kernels->factor_rows * kernels->factor_rows;
    size_t bytes = (size_t)(all * columns) * kernels->factor_bytes;
    void *factor, *plain = put(kernels, rows * columns, x);
    if (!kernels->round) return plain;
    assert_ok(kernels->memory->allocate(bytes, &factor));
    assert_ok(kernels->memory->clear(factor, bytes));
    kernels->round(rows * columns, plain, factor);
    drop(kernels, plain);
    return factor;
}

/* A weight that is kept was made ready for products of more rows than some that it is used for. */
enum { FEW_ROWS = 16, MANY_ROWS = 100 };

/* b as it comes, float32, or made a factor before; ready for products of so many rows. */
static void right_from(const backend *kernels, shape_case s, int64_t rows, bool is_factor,
                       const float *b, right_factor *out)
{
    *out = (right_factor){.transpose = s.transpose_b, .is_factor = is_factor};
    out->rows = s.transpose_b ? s.n : s.k, out->columns = s.transpose_b ? s.k : s.n;
    out->data = is_factor ? factor_from(kernels, out->rows, out->columns, b)
                          : put(kernels, out->rows * out->columns, b);
    assert_ok(kernels->make_ready(s.transpose_a, rows, out));
}

static void right_done(const backend *kernels, right_factor *b)
{
    drop(kernels, b->data);
    kernels->memory->release(b->ready_form);
}

typedef struct product_case {
    const backend *kernels;
    shape_case shape;
    const float *a, *b, *bias, *before; /* bias and before may be NULL */
} product_case;

static double term(const product_case *p, int64_t i, int64_t j, int64_t l)
{
    const shape_case s = p->shape;
    const float a = p->a[s.transpose_a ? l * s.m + i : i * s.k + l];
    const float b = p->b[s.transpose_b ? j * s.k + l : l * s.n + j];
    return as_factor(p->kernels, a) * as_factor(p->kernels, b);
}

static void check_values(const product_case *p, const float *c)
{
    const shape_case s = p->shape;
    for (int64_t i = 0; i < s.m; i++) {
        for (int64_t j = 0; j < s.n; j++) {
            double sum = p->bias     ? (double)p->bias[j]
                         : p->before ? (double)p->before[i * s.n + j]
                                     : 0.0;
            double size = fabs(sum);
            for (int64_t l = 0; l < s.k; l++) {
                sum += term(p, i, j, l), size += fabs(term(p, i, j, l));
            }
            if (fabs((double)c[i * s.n + j] - sum) > 2e-6 * size) {
                fail_msg("(%d,%d) %ld x %ld x %ld, onto %d, bias %d: c[%ld,%ld] is %g, expected %g",
                         s.transpose_a, s.transpose_b, (long)s.m, (long)s.n, (long)s.k,
                         p->before != NULL, p->bias != NULL, (long)i, (long)j,
                         (double)c[i * s.n + j], sum);
            }
        }
    }
}

/* A factor of float32 is c itself. One of bfloat16 is rounded, half a unit of which is up to 2^-8
 * of it; and a device may add a rounded bias to a product that is rounded before. */
static void assert_factor_near(const product_case *p, const void *factor, const float *c)
{
    const bool rounds = p->kernels->factor_bytes < sizeof *c;
    for (int64_t i = 0, count = p->shape.m * p->shape.n; i < count; i++) {
        const double exact = (double)c[i], added = (double)p->bias[i % p->shape.n];
        const double got = rounds ? bf16_at(factor, i) : (double)((const float *)factor)[i];
        const double parts =
            fabs(exact) + fabs(added) /* the product */ + fabs(added) + fabs(exact);
        const double most = rounds ? 0x1.02p-8 * parts + 1e-5 : 0.0;
        if (fabs(got - exact) <= most) continue;
        fail_msg("element %ld of a factor is %.9g, the product %.9g", (long)i, got, exact);
    }
}

/* A bias on the device, as matmul_factor takes it. */
static void *bias_for_factor(const product_case *p)
{
    const backend *kernels = p->kernels;
    return kernels->rounds_parameters ? factor_from(kernels, 1, p->shape.n, p->bias)
                                      : put(kernels, p->shape.n, p->bias);
}

/* The result as a factor: that of matmul, rounded; on the host to the bit. */
static void check_factor(const product_case *p, const void *left, const right_factor *right,
                         const float *bias)
{
    const backend *kernels = p->kernels;
    const int64_t m = p->shape.m, count = m * p->shape.n;
    const size_t bytes = (size_t)count * kernels->factor_bytes;
    float *c = random_floats(count, 3), *exact = put(kernels, count, c);
    void *there, *got = malloc(bytes), *expected = malloc(bytes);
    assert_true(got && expected);
    assert_ok(kernels->memory->allocate(bytes, &there));
    void *added = bias_for_factor(p);
    assert_ok(kernels->matmul_factor(m, left, right, added, there));
    assert_ok(kernels->memory->copy_out(got, there, bytes));
    assert_ok(kernels->matmul(false, m, left, right, bias, false, exact));
    assert_ok(kernels->memory->copy_out(c, exact, (size_t)count * sizeof *c));
    void *rounded_c = factor_from(kernels, m, p->shape.n, c);
    assert_ok(kernels->memory->copy_out(expected, rounded_c, bytes));
    assert_factor_near(p, got, c);
    if (kernels->memory->on_host) assert_memory_equal(got, expected, bytes);
    drop(kernels, exact), drop(kernels, there), drop(kernels, rounded_c), drop(kernels, added);
    free(c), free(got), free(expected);
}

static void check_product(const backend *kernels, shape_case s, bool accumulate, bool biased)
{
    float *a = random_floats(s.m * s.k, 1), *b = random_floats(s.k * s.n, 2);
    float *c = random_floats(s.m * s.n + 1, 3), *before = random_floats(s.m * s.n + 1, 3);
    float *bias = random_floats(s.n, 4);
    void *left =
        s.transpose_a ? factor_from(kernels, s.k, s.m, a) : factor_from(kernels, s.m, s.k, a);
    const product_case p = {kernels, s, a, b, biased ? bias : NULL, accumulate ? before : NULL};
    const size_t bytes = (size_t)(s.m * s.n + 1) * sizeof *c;
    float *added = put(kernels, s.n, p.bias);
    const int ways = !s.transpose_a && s.m < FEW_ROWS ? 4 : 2;
    for (int way = 0; way < ways; way++) {
        const bool is_factor = way % 2, kept = way / 2;
        right_factor right;
        float *there = put(kernels, s.m * s.n + 1, before);
        right_from(kernels, s, kept ? MANY_ROWS : s.m, is_factor, b, &right);
        assert_ok(kernels->matmul(s.transpose_a, s.m, left, &right, added, accumulate, there));
        assert_ok(kernels->memory->copy_out(c, there, bytes));
        check_values(&p, c);
        assert_true(c[s.m * s.n] == before[s.m * s.n]); /* nothing is written behind it */
        if (biased && !s.transpose_a) check_factor(&p, left, &right, added);
        right_done(kernels, &right);
        drop(kernels, there);
    }
    drop(kernels, added), drop(kernels, left);
    free(a), free(b), free(c), free(before), free(bias);
}

/* The backend of a test; without one, for want of bfloat16, it is skipped. */
static const backend *kernels_of(void **state)
{
    if (!*state) skip();
    return *state;
}

static void test_products_of_all_shapes(void **state)
{
    const int64_t rows[] = {1, 2, 3, 4, 5, 6, 15, 16, 17, 63, 64, 65, 129, 300, 577};
    const int64_t widths[][2] = {{1, 1}, {16, 48}, {37, 19}, {100, 130}};
    for (int transposes = 0; transposes < 4; transposes++) {
        for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
            for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
                const bool ta = transposes & 1, tb = transposes & 2;
                const int64_t wide = widths[w][0], deep = widths[w][1];
                const shape_case s = ta ? (shape_case){ta, tb, wide, deep, rows[r]}
                                        : (shape_case){ta, tb, rows[r], wide, deep};
                check_product(kernels_of(state), s, false, false);
                check_product(kernels_of(state), s, true, false);
                check_product(kernels_of(state), s, false, true);
            }
        }
    }
}

/* Sums too long for one go, and a result of many pieces. */
static void test_long_sums(void **state)
{
    const backend *kernels = kernels_of(state);
    for (int transposed = 0; transposed < 2; transposed++) {
        const shape_case s = {transposed, false, 203, 70, 2077};
        check_product(kernels, s, true, false);
        check_product(kernels, s, false, true);
    }
}

/* Pieces of several columns of tiles, the last of which are not whole. */
static void test_wide_products(void **state)
{
    const shape_case few = {false, true, 16, 1200, 128}, one = {false, true, 1, 1200, 700};
    check_product(kernels_of(state), few, false, true);
    check_product(kernels_of(state), one, true, false);
}

/* Every sum is made in one order, whoever makes it. */
static void test_threads_change_no_bit(void **state)
{
    enum { M = 130, N = 200, K = 1100 };
    const backend *kernels = kernels_of(state);
    if (!kernels->memory->on_host) skip();
    float *a = random_floats(M * K, 1), *b = random_floats(K * N, 2);
    float *c[2] = {random_floats(M * N, 3), random_floats(M * N, 3)};
    for (int transposed = 0; transposed < 2; transposed++) {
        const shape_case s = {transposed, false, M, N, K};
        right_factor right;
        void *left = factor_from(kernels, transposed ? K : M, transposed ? M : K, a);
        right_from(kernels, s, M, false, b, &right);
        for (int threads = 1; threads <= 3; threads += 2) {
            assert_ok(icot_set_threads(threads));
            assert_ok(kernels->matmul(transposed, M, left, &right, NULL, false, c[threads / 2]));
        }
        if (right.ready_form) assert_memory_equal(c[0], c[1], M * N * sizeof **c);
        right_done(kernels, &right);
        drop(kernels, left);
    }
    free(a), free(b), free(c[0]), free(c[1]);
}

static void check_empty(const backend *kernels, int64_t m, int64_t k, const float *bias,
                        bool accumulate, float c[4])
{
    static const float zeros[64 * 2] = {0};
    float *nothing = put(kernels, 64 * 2, zeros), *added = put(kernels, 2, bias);
    float *there = put(kernels, 4, c);
    right_factor b = {.rows = k, .columns = 2, .data = nothing};
    assert_ok(kernels->make_ready(false, m, &b));
    assert_ok(kernels->matmul(false, m, nothing, &b, added, accumulate, there));
    assert_ok(kernels->memory->copy_out(c, there, 4 * sizeof *c));
    drop(kernels, b.ready_form), drop(kernels, nothing), drop(kernels, added), drop(kernels, there);
}

static void test_empty_products(void **state)
{
    float c[4] = {5, 6, 7, 8};
    const float bias[2] = {1, 2};
    check_empty(kernels_of(state), 0, 2, NULL, false, c);
    assert_true(c[0] == 5);
    check_empty(kernels_of(state), 2, 0, NULL, true, c);
    assert_true(c[3] == 8);
    check_empty(kernels_of(state), 2, 0, bias, false, c);
    assert_true(c[0] == 1 && c[3] == 2);
    check_empty(kernels_of(state), 2, 0, NULL, false, c);
    assert_true(c[0] == 0 && c[3] == 0);
}

/* OpenBLAS counts in 32 bits; nothing is read or written before that is found out. */
static void test_more_rows_than_can_be_counted(void **state)
{
    const backend *kernels = kernels_of(state);
    if (!kernels->memory->on_host) skip();
    const float a = 2, one = 1;
    const right_factor b = {.rows = 1, .columns = 1, .data = &one};
    float c = 5;
    assert_refused(kernels->matmul(false, (INT64_C(1) << 32) + 1, &a, &b, NULL, false, &c),
                   "(4294967297,1) x (1,1) is more than OpenBLAS counts");
    assert_true(c == 5);
}

/* Whether a weight's ready form was kept, and so how a model was used before, changes no bit. */
static void test_kept_weights_give_the_same_bits(void **state)
{
    enum { IN = 64, OUT = 48 };
    const int64_t rows[] = {1, 5, 16, 100};
    icot_engine *engine = engine_on(kernels_of(state));
    float *numbers = random_floats(100 * IN, 1), first[100 * OUT], again[100 * OUT];
    icot_tensor weight = tensor_of(engine, 2, (const int64_t[]){OUT, IN}, numbers);
    assert_ok(icot_requires_grad(engine, weight, 1));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_ok(icot_scope_open(engine));
        icot_tensor x = tensor_of(engine, 2, (const int64_t[]){rows[i], IN}, numbers);
        for (int kept = 0; kept < 2; kept++) {
            icot_set_grad_enabled(engine, !kept);
            icot_tensor y = apply_two(engine, "linear", x, weight);
            assert_ok(icot_tensor_read(engine, y, kept ? again : first, rows[i] * OUT));
        }
        assert_memory_equal(first, again, (size_t)(rows[i] * OUT) * sizeof *first);
        assert_ok(icot_scope_close(engine));
        assert_ok(icot_tensor_fill(engine, weight, 0.5)); /* forgets the ready form */
        assert_ok(icot_tensor_write(engine, weight, numbers, OUT * IN));
    }
    free(numbers);
    icot_engine_free(engine);
}

/* AdamW leaves no ready form behind that is not the updated parameter's. */
static void test_updated_weights_are_made_ready_anew(void **state)
{
    enum { ROWS = 20, WIDTH = 16, HIDDEN = 48, PARAMETERS = 4, MOST = WIDTH * HIDDEN };
    const int64_t sizes[PARAMETERS][2] = {{HIDDEN, WIDTH}, {HIDDEN}, {WIDTH, HIDDEN}, {WIDTH}};
    const icot_adamw_options options = {
        .lr = 0.1, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .step = 1, .step_sq = 1};
    icot_engine *engine = engine_on(kernels_of(state));
    icot_tensor in[1 + PARAMETERS], anew[1 + PARAMETERS];
    icot_adamw_state updates[PARAMETERS];
    float *numbers = random_floats(MOST, 1), *zeros = calloc(MOST, sizeof *zeros);
    float values[2][ROWS * WIDTH], parameter[MOST];
    in[0] = anew[0] = tensor_of(engine, 2, (const int64_t[]){ROWS, WIDTH}, numbers);
    for (int i = 0; i < PARAMETERS; i++) {
        const int ndim = sizes[i][1] ? 2 : 1;
        in[i + 1] = tensor_of(engine, ndim, sizes[i], numbers);
        assert_ok(icot_requires_grad(engine, in[i + 1], 1));
        updates[i] = (icot_adamw_state){in[i + 1], tensor_of(engine, ndim, sizes[i], zeros),
                                        tensor_of(engine, ndim, sizes[i], zeros)};
    }
    const icot_op_params none = {0};
    const icot_tensor before = apply_with(engine, "mlp", in, 1 + PARAMETERS, none);
    assert_ok(icot_backward(engine, apply_one(engine, "sum", before)));
    assert_ok(icot_adamw_step(engine, updates, PARAMETERS, &options));
    for (int i = 0; i < PARAMETERS; i++) {
        const int64_t n = sizes[i][0] * (sizes[i][1] ? sizes[i][1] : 1);
        assert_ok(icot_tensor_read(engine, in[i + 1], parameter, n));
        anew[i + 1] = tensor_of(engine, sizes[i][1] ? 2 : 1, sizes[i], parameter);
    }
    for (int k = 0; k < 2; k++) {
        const icot_tensor y = apply_with(engine, "mlp", k ? anew : in, 1 + PARAMETERS, none);
        assert_ok(icot_tensor_read(engine, y, values[k], ROWS * WIDTH));
    }
    assert_memory_equal(values[0], values[1], sizeof values[0]);
    free(numbers), free(zeros);
    icot_engine_free(engine);
}

/* Sums over tokens, by several threads: memory for the transposed factor, and for who does what. */
static void check_product_without_memory(const backend *kernels, const float *x)
{
    enum { N = 100 };
    right_factor b = {.rows = N, .columns = N, .data = x};
    void *left = factor_from(kernels, N, N, x);
    float *c = random_floats(N * N, 1);
    assert_ok(kernels->make_ready(true, N, &b));
    for (int request = 1; request <= 2; request++) {
        const int64_t before = live_bytes();
        icot_memory_fail_at(request);
        assert_int_equal(kernels->matmul(true, N, left, &b, NULL, false, c), ICOT_FAILED);
        icot_memory_fail_at(0);
        assert_int_equal(live_bytes(), before);
    }
    drop(kernels, b.ready_form), drop(kernels, left);
    free(c);
}

static void test_no_memory(void **state)
{
    const backend *kernels = kernels_of(state);
    if (!kernels->memory->on_host) skip(); /* only the host's memory can be made to fail */
    float *x = random_floats(100 * 100, 1);
    right_factor b = {.rows = 100, .columns = 100, .data = x};
    assert_ok(kernels->make_ready(false, 100, &b));
    const bool makes_form = b.ready_form != NULL;
    kernels->memory->release(b.ready_form);
    const int64_t before = live_bytes();
    icot_memory_fail_at(1);
    assert_int_equal(kernels->make_ready(false, 100, &b) != ICOT_OK, makes_form);
    icot_memory_fail_at(0);
    assert_int_equal(live_bytes(), before);
    const bool by_kernel = strcmp(icot_onednn_version(), "none") == 0;
    if (makes_form && by_kernel) check_product_without_memory(kernels, x);
    free(x);
}

static int use_float32(void **state)
{
    *state = (void *)(uintptr_t)tested_backend("float32");
    return icot_set_threads(3);
}

static int use_bf16(void **state)
{
    const backend *kernels = NULL;
    const bool there = backend_find(tested_device(), "bf16", &kernels) == ICOT_OK;
    *state = there ? (void *)(uintptr_t)kernels : NULL;
    return icot_set_threads(3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_products_of_all_shapes, use_float32),
        cmocka_unit_test_setup(test_long_sums, use_float32),
        cmocka_unit_test_setup(test_wide_products, use_float32),
        cmocka_unit_test_setup(test_threads_change_no_bit, use_float32),
        cmocka_unit_test_setup(test_empty_products, use_float32),
        cmocka_unit_test_setup(test_more_rows_than_can_be_counted, use_float32),
        cmocka_unit_test_setup(test_kept_weights_give_the_same_bits, use_float32),
        cmocka_unit_test_setup(test_updated_weights_are_made_ready_anew, use_float32),
        cmocka_unit_test_setup(test_no_memory, use_float32),
        cmocka_unit_test_setup(test_products_of_all_shapes, use_bf16),
        cmocka_unit_test_setup(test_long_sums, use_bf16),
        cmocka_unit_test_setup(test_wide_products, use_bf16),
        cmocka_unit_test_setup(test_threads_change_no_bit, use_bf16),
        cmocka_unit_test_setup(test_empty_products, use_bf16),
        cmocka_unit_test_setup(test_kept_weights_give_the_same_bits, use_bf16),
        cmocka_unit_test_setup(test_updated_weights_are_made_ready_anew, use_bf16),
        cmocka_unit_test_setup(test_no_memory, use_bf16),
    };
    return cmocka_run_group_tests_name("products", tests, NULL, NULL);
}
