/* AdamW against float64, over many steps, with every set of kernels. */
#include "support.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* A size that is no multiple of any vector, and one that several threads share. */
enum { SMALL = 37, LARGE = 20011, STEPS = 20 };

typedef struct moments {
    double parameter[LARGE], exp_avg[LARGE], exp_avg_sq[LARGE];
} moments;

/* Algorithm 2 of Loshchilov and Hutter (2019), with PyTorch's order of decay and update. */
static void reference_step(moments *m, int64_t n, const double *grad, icot_adamw_options o)
{
    for (int64_t i = 0; i < n; i++) {
        double g = o.grad_scale * grad[i];
        m->exp_avg[i] = o.beta1 * m->exp_avg[i] + (1.0 - o.beta1) * g;
        m->exp_avg_sq[i] = o.beta2 * m->exp_avg_sq[i] + (1.0 - o.beta2) * g * g;
        double mean = m->exp_avg[i] / (1.0 - pow(o.beta1, (double)o.step));
        double square = m->exp_avg_sq[i] / (1.0 - pow(o.beta2, (double)o.step_sq));
        m->parameter[i] -= o.lr * o.weight_decay * m->parameter[i];
        m->parameter[i] -= o.lr * mean / (sqrt(square) + o.eps);
    }
}

static double noise(int64_t step, int64_t i)
{
    double u;
    icot_random_uniform((icot_random_key){.seed = (uint64_t)i, .step = (uint64_t)step}, 1, &u);
    return u - 0.4;
}

typedef struct run {
    icot_engine *engine;
    int64_t n;
    icot_tensor parameter, exp_avg, exp_avg_sq;
} run;

/* Leaves `grad` as the gradient of the parameter: d(p·g)/dp = g. */
static void set_gradient(run *r, const double *grad)
{
    float values[LARGE];
    for (int64_t i = 0; i < r->n; i++) values[i] = (float)grad[i];
    assert_ok(icot_scope_open(r->engine));
    icot_tensor g = tensor_of(r->engine, 1, &r->n, values);
    icot_tensor f = apply_one(r->engine, "sum", apply_two(r->engine, "mul", r->parameter, g));
    assert_ok(icot_zero_grad(r->engine, &r->parameter, 1));
    assert_ok(icot_backward(r->engine, f));
    assert_ok(icot_scope_close(r->engine));
}

static int step_one(icot_engine *engine, icot_tensor parameter, icot_tensor exp_avg,
                    icot_tensor exp_avg_sq, const icot_adamw_options *options)
{
    return icot_adamw_step(engine, &(icot_adamw_state){parameter, exp_avg, exp_avg_sq}, 1, options);
}

static void compare(run *r, icot_tensor got, const double *expected, double bound, int step)
{
    float values[LARGE];
    double error = 0.0, norm = 0.0;
    assert_ok(icot_tensor_read(r->engine, got, values, r->n));
    for (int64_t i = 0; i < r->n; i++) {
        error += pow((double)values[i] - expected[i], 2);
        norm += pow(expected[i], 2);
    }
    if (!(sqrt(error) <= bound * sqrt(norm))) {
        fail_msg("step %d: off by %g of its norm", step, sqrt(error / norm));
    }
}

/* At first the parameter is made up, and the moments are zero; the reference has the same numbers.
 */
static run start_run(const backend *table, int64_t n, moments *m)
{
    float start[LARGE];
    run r = {.engine = engine_on(table), .n = n};
    memset(m, 0, sizeof *m);
    for (int64_t i = 0; i < n; i++) {
        start[i] = (float)(3.0 * noise(1000, i));
        m->parameter[i] = (double)start[i];
    }
    r.parameter = tensor_of(r.engine, 1, &n, start);
    r.exp_avg = tensor_of(r.engine, 1, &n, NULL);
    r.exp_avg_sq = tensor_of(r.engine, 1, &n, NULL);
    assert_ok(icot_requires_grad(r.engine, r.parameter, 1));
    return r;
}

/* Makes up the gradient of a step, and gives its norm. */
static double next_gradient(run *r, int step, double *grad)
{
    double squares = 0.0, norm;
    for (int64_t i = 0; i < r->n; i++) {
        grad[i] = (double)(float)noise(step, i);
        squares += grad[i] * grad[i];
    }
    set_gradient(r, grad);
    assert_ok(icot_grad_norm(r->engine, &r->parameter, 1, &norm));
    assert_true(fabs(norm / sqrt(squares) - 1.0) < 1e-12);
    return norm;
}

/* Both moments are reset after step 12, the first alone after 15, the second alone after 17. */
static void reset_moments(run *r, int step, moments *m)
{
    if (step == 13 || step == 16) {
        memset(m->exp_avg, 0, sizeof m->exp_avg);
        assert_ok(icot_tensor_fill(r->engine, r->exp_avg, 0.0));
    }
    if (step == 13 || step == 18) {
        memset(m->exp_avg_sq, 0, sizeof m->exp_avg_sq);
        assert_ok(icot_tensor_fill(r->engine, r->exp_avg_sq, 0.0));
    }
}

/* Updates since a moment was zero, which it is after some steps. */
static int64_t since(int step, int first_reset, int second_reset)
{
    return step > second_reset  ? step - second_reset
           : step > first_reset ? step - first_reset
                                : step;
}

/* Clipping from step 5 on, larger steps from 10 on. */
static void check_run(const backend *table, int64_t n)
{
    static moments m;
    static double grad[LARGE];
    run r = start_run(table, n, &m);
    for (int step = 1; step <= STEPS; step++) {
        const double norm = next_gradient(&r, step, grad);
        reset_moments(&r, step, &m);
        const icot_adamw_options o = {.lr = step < 10 ? 1e-3 : 3e-2,
                                      .beta1 = 0.9,
                                      .beta2 = 0.999,
                                      .eps = 1e-8,
                                      .weight_decay = 0.1,
                                      .grad_scale = step < 5 ? 1.0 : 1.0 / norm,
                                      .step = since(step, 12, 15),
                                      .step_sq = since(step, 12, 17)};
        reference_step(&m, n, grad, o);
        assert_ok(step_one(r.engine, r.parameter, r.exp_avg, r.exp_avg_sq, &o));
        compare(&r, r.parameter, m.parameter, 1e-6, step);
        compare(&r, r.exp_avg, m.exp_avg, 1e-6, step);
        compare(&r, r.exp_avg_sq, m.exp_avg_sq, 1e-6, step);
    }
    icot_engine_free(r.engine);
}

static void test_twenty_steps(void **state)
{
    (void)state;
    const kernel_set *sets;
    int n_sets = kernel_sets(&sets);
    assert_ok(icot_set_threads(3));
    for (int s = 0; s < n_sets; s++) {
        check_run(&sets[s].table, SMALL);
        check_run(&sets[s].table, LARGE);
    }
}

static const icot_adamw_options usual = {.lr = 0.1,
                                         .beta1 = 0.9,
                                         .beta2 = 0.999,
                                         .eps = 1e-8,
                                         .weight_decay = 0.5,
                                         .grad_scale = 1.0,
                                         .step = 1,
                                         .step_sq = 1};

/* Like PyTorch's parameters whose grad is None: neither updated nor decayed. */
static void test_without_gradient(void **state)
{
    (void)state;
    const int64_t n = 3;
    const float start[] = {1, 2, 3};
    float after[3];
    double norm = 7.0;
    icot_engine *engine = engine_on(tested_backend("float32"));
    icot_tensor p = tensor_of(engine, 1, &n, start), m = tensor_of(engine, 1, &n, NULL);
    assert_ok(icot_requires_grad(engine, p, 1));
    assert_ok(step_one(engine, p, m, m, &usual));
    assert_ok(icot_tensor_read(engine, p, after, n));
    assert_memory_equal(start, after, sizeof after);
    assert_ok(icot_grad_norm(engine, &p, 1, &norm));
    assert_true(norm == 0.0);
    assert_ok(icot_grad_norm(engine, NULL, 0, &norm));

    assert_ok(icot_backward(engine, sum_of_squares(engine, p)));
    icot_tensor two[] = {p, m}; /* m has none */
    assert_ok(icot_grad_norm(engine, two, 2, &norm));
    assert_true(fabs(norm - sqrt(4.0 + 16.0 + 36.0)) < 1e-9);
    assert_ok(icot_zero_grad(engine, &p, 1));
    assert_ok(step_one(engine, p, m, m, &usual));
    assert_ok(icot_tensor_read(engine, p, after, n));
    assert_memory_equal(start, after, sizeof after);
    icot_engine_free(engine);
}

static void test_refusals(void **state)
{
    (void)state;
    const int64_t n = 6, other = 5, square[] = {3, 2};
    icot_engine *engine = engine_on(tested_backend("float32"));
    icot_tensor p = tensor_of(engine, 1, &n, NULL), m = tensor_of(engine, 1, &n, NULL);
    icot_tensor v = tensor_of(engine, 1, &n, NULL), shorter = tensor_of(engine, 1, &other, NULL);
    icot_tensor matrix = tensor_of(engine, 2, square, NULL);
    icot_tensor turned =
        apply_with(engine, "permute", &matrix, 1, (icot_op_params){.n_index = 2, .index = {1, 0}});
    icot_tensor ids = ids_of(engine, 6, (const int32_t[6]){0}),
                gone = tensor_of(engine, 1, &n, NULL);
    assert_ok(icot_tensor_free(engine, gone));
    icot_adamw_options early = usual;
    early.step = 0;
    assert_refused(step_one(engine, p, m, v, &early), "step is 0");
    early = (icot_adamw_options){.step = 1};
    assert_refused(step_one(engine, p, m, v, &early), "step_sq 0");
    assert_refused(step_one(engine, p, shorter, v, &usual), "exp_avg has shape (5)");
    assert_refused(step_one(engine, p, m, shorter, &usual), "exp_avg_sq has shape (5)");
    assert_refused(step_one(engine, p, ids, v, &usual), "exp_avg");
    assert_refused(step_one(engine, ids, m, v, &usual), "contiguous float32");
    assert_refused(step_one(engine, turned, turned, turned, &usual), "contiguous float32");
    assert_refused(step_one(engine, gone, m, v, &usual), "adamw: this tensor is gone");
    assert_refused(step_one(engine, p, m, gone, &usual), "adamw: this tensor is gone");
    double norm;
    assert_refused(icot_grad_norm(engine, &gone, 1, &norm), "grad_norm: this tensor is gone");
    icot_engine_free(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_twenty_steps),
        cmocka_unit_test(test_without_gradient),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests_name("optimizer", tests, NULL, NULL);
}
