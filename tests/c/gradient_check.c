#include "gradient_check.h"

#include "support.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * How far float32 may be off. One operation rounds by up to 6·10⁻⁸; a sum of n terms of either sign
 * by about √n times that, relative to the size of its terms, and the largest sums here have a few
 * hundred. So 4·10⁻⁶ of the array's norm holds for all of them together, and a single element may
 * be off by 2·10⁻⁵ of itself and of the root mean square of the array, which stands for the terms
 * that cancelled out in it. Where everything cancels (x/x), a few roundings of terms of size 1
 * stay.
 */
static const double norm_bound = 4e-6, element_bound = 2e-5, rounding = 3e-7;

/* One engine with the inputs of a case as leaves. */
typedef struct trial {
    const gradient_case *c;
    const reference *r;
    const operator_entry *op;
    icot_engine *engine;
    icot_tensor inputs[ICOT_MAX_INPUTS], weights;
    int uses; /* of the operator in the last graph */
    char *message;
} trial;

__attribute__((format(printf, 2, 3))) static bool wrong(trial *t, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(t->message, MESSAGE_BYTES, format, arguments);
    va_end(arguments);
    return false;
}

static float *as_floats(const array *x)
{
    int64_t numel = array_numel(x);
    float *values = calloc((size_t)numel + 1, sizeof *values);
    if (!values) abort();
    for (int64_t i = 0; i < numel; i++) values[i] = (float)x->at[i];
    return values;
}

/* Input i is written to: a leaf that wants a gradient wherever another does (operator.h). */
static bool is_written(const trial *t, int i)
{
    return i + 1 == t->op->written;
}

/* ---- Inputs ---------------------------------------------------------------------------------- */

/* A view of the wanted shape, with strides, into a tensor that is NaN elsewhere. */
static icot_tensor make_view(icot_engine *engine, input_layout layout, const array *x)
{
    int64_t base_size[ICOT_MAX_DIMS];
    int n = x->ndim;
    icot_op_params how = {.n_index = n};
    memcpy(base_size, x->size, sizeof base_size);
    for (int d = 0; layout == REVERSED && d < n; d++) {
        base_size[d] = x->size[n - 1 - d];
        how.index[d] = n - 1 - d;
    }
    if (layout == PART) {
        base_size[n - 1] += 3;
        how = (icot_op_params){.n_index = 3, .index = {n - 1, 1, x->size[n - 1]}};
    }
    if (layout == REPEATED) {
        base_size[0] = 1;
        memcpy(how.index, x->size, sizeof x->size);
    }
    icot_tensor base = tensor_of(engine, n, base_size, NULL);
    assert_ok(icot_tensor_fill(engine, base, NAN));
    const char *name = layout == REVERSED ? "permute" : layout == PART ? "slice" : "expand";
    return apply_with(engine, name, &base, 1, how);
}

static icot_tensor make_input(icot_engine *engine, const input_spec *spec, const array *x)
{
    int64_t numel = array_numel(x);
    float *values = as_floats(x);
    icot_tensor made;
    if (spec->values == IDS || spec->values == STARTS) {
        int32_t *ids = (int32_t *)values;
        for (int64_t i = 0; i < numel; i++) ids[i] = (int32_t)x->at[i];
        assert_ok(icot_tensor_create(engine, ICOT_INT32, x->ndim, x->size, &made));
        assert_ok(icot_tensor_write(engine, made, ids, numel));
    } else {
        icot_tensor view = spec->layout == DENSE ? tensor_of(engine, x->ndim, x->size, NULL)
                                                 : make_view(engine, spec->layout, x);
        assert_ok(icot_tensor_write(engine, view, values, numel));
        made = view;
        if (spec->layout != DENSE) assert_ok(icot_tensor_detach(engine, view, &made));
    }
    free(values);
    return made;
}

/* wanted: bit i for the gradient of input i */
static void ask_for_gradients(trial *t, unsigned wanted)
{
    for (int i = 0; i < t->r->n_inputs; i++) {
        if (!is_float_input(t->c, i) || (t->c->same_input && i == 1)) continue;
        assert_ok(icot_requires_grad(t->engine, t->inputs[i], wanted >> i & 1));
    }
}

static void open_trial(trial *t, const backend *kernels)
{
    t->engine = engine_on(kernels);
    for (int i = 0; i < t->r->n_inputs; i++) {
        bool same = t->c->same_input && i == 1;
        t->inputs[i] =
            same ? t->inputs[0] : make_input(t->engine, &t->c->inputs[i], &t->r->inputs[i]);
    }
    float *weights = as_floats(&t->r->weights);
    t->weights = tensor_of(t->engine, t->r->y.ndim, t->r->y.size, weights);
    free(weights);
}

/* ---- Running it ------------------------------------------------------------------------------ */

static bool apply_to(trial *t, const icot_tensor *handles, icot_tensor *y)
{
    tensor *inputs[ICOT_MAX_INPUTS], *out;
    for (int i = 0; i < t->r->n_inputs; i++) {
        inputs[i] = tensor_find(t->engine, t->op->name, handles[i]);
    }
    if (operator_apply(t->engine, t->op, inputs, t->r->n_inputs, &t->c->params, &out)) {
        return wrong(t, "forward failed: %s", icot_last_error());
    }
    *y = out->handle;
    return true;
}

static bool apply(trial *t, icot_tensor *y)
{
    return apply_to(t, t->inputs, y);
}

static bool backward(trial *t, icot_tensor f)
{
    if (icot_backward(t->engine, f)) return wrong(t, "backward failed: %s", icot_last_error());
    return true;
}

/* What is written to must not have a gradient of what was there before. */
static void forget_written(trial *t)
{
    const int written = t->op->written;
    if (written) assert_ok(icot_zero_grad(t->engine, &t->inputs[written - 1], 1));
}

/* f = Σ w·y, `times` times in one graph, and backward. */
static bool forward_and_backward(trial *t, int times)
{
    icot_tensor f = 0;
    t->uses = times;
    forget_written(t);
    for (int k = 0; k < times; k++) {
        icot_tensor y;
        if (!apply(t, &y)) return false;
        icot_tensor sum = apply_one(t->engine, "sum", apply_two(t->engine, "mul", y, t->weights));
        f = f ? apply_two(t->engine, "add", f, sum) : sum;
    }
    return backward(t, f);
}

/* The same, with all that lies between x and y in a checkpointed segment: copies of the inputs and,
 * unless it is the result, the output itself. Backward finds them without contents unless they are
 * brought back. */
static bool backward_through_segment(trial *t, bool is_result)
{
    const icot_op_params identity = {.number = {1.0, 0.0}};
    icot_tensor inner[ICOT_MAX_INPUTS], y;
    int64_t from = icot_tape_length(t->engine);
    t->uses = 1;
    for (int i = 0; i < t->r->n_inputs; i++) {
        bool same = t->c->same_input && i == 1;
        inner[i] = same ? inner[0]
                   : is_float_input(t->c, i) && !is_written(t, i)
                       ? apply_with(t->engine, "affine", &t->inputs[i], 1, identity)
                       : t->inputs[i];
    }
    if (!apply_to(t, inner, &y)) return false;
    icot_tensor z = apply_with(t->engine, "affine", &y, 1, identity);
    assert_ok(icot_checkpoint(t->engine, from, (const icot_tensor[]){z, y}, is_result ? 2 : 1));
    return backward(t, apply_one(t->engine, "sum", apply_two(t->engine, "mul", z, t->weights)));
}

/* ---- Comparing ------------------------------------------------------------------------------- */

/* got[at[k]] against times · expected[k]; at may be NULL: all of them */
static bool compare(trial *t, const char *what, int64_t n, const float *got, const int64_t *at,
                    const double *expected, double times)
{
    double squares = 0.0, error = 0.0;
    for (int64_t k = 0; k < n; k++) squares += times * expected[k] * times * expected[k];
    double typical = n ? sqrt(squares / (double)n) : 0.0;
    for (int64_t k = 0; k < n; k++) {
        double value = (double)got[at ? at[k] : k], wanted = times * expected[k];
        double off = fabs(value - wanted);
        if (!(off <= element_bound * (fabs(wanted) + typical) + times * rounding)) {
            return wrong(t, "%s: element %lld is %.9g, the oracle says %.9g", what,
                         (long long)(at ? at[k] : k), value, wanted);
        }
        error += off * off;
    }
    if (sqrt(error) > norm_bound * sqrt(squares) + times * rounding * sqrt((double)n)) {
        return wrong(t, "%s: off by %.2g of its norm", what, sqrt(error / squares));
    }
    return true;
}

static bool check_forward(trial *t)
{
    icot_tensor y;
    icot_tensor_info info;
    if (!apply(t, &y)) return false;
    assert_ok(icot_tensor_describe(t->engine, y, &info));
    const array *expected = &t->r->y;
    if (info.ndim != expected->ndim ||
        memcmp(info.shape, expected->size, (size_t)info.ndim * sizeof *info.shape) != 0) {
        return wrong(t, "forward: the output has another shape than the oracle's");
    }
    if (info.requires_grad) return wrong(t, "forward: the output wants a gradient, no input does");
    float *values = as_floats(expected);
    assert_ok(icot_tensor_read(t->engine, y, values, info.numel));
    bool good = compare(t, "forward", info.numel, values, NULL, expected->at, 1.0);
    free(values);
    return good;
}

/* All elements at once: Σ gradient·direction is the derivative along that direction. */
static bool check_along(trial *t, int input, const float *got, int64_t numel, double times)
{
    double sum = 0.0, squares = 0.0;
    for (int64_t i = 0; i < numel; i++) {
        double term = (double)got[i] * direction_at(input, i);
        sum += term;
        squares += term * term;
    }
    double expected = times * t->r->along[input];
    if (fabs(sum - expected) <=
        norm_bound * (sqrt(squares) + fabs(expected)) + times * rounding * sqrt((double)numel)) {
        return true;
    }
    return wrong(t, "gradient of input %d: %.9g along a direction, the oracle says %.9g", input + 1,
                 sum, expected);
}

/* Gradients are `times` those of f for the inputs of `wanted`, and not there for the others. That
 * of an input that is written to is of the last graph alone. */
static bool check_gradients(trial *t, const char *when, unsigned wanted, double times)
{
    for (int i = 0; i < t->r->n_inputs; i++) {
        icot_tensor handle;
        assert_ok(icot_grad(t->engine, t->inputs[i], &handle));
        bool expected =
            is_float_input(t->c, i) && (t->c->same_input && i == 1 ? wanted & 1 : wanted >> i & 1);
        if (expected != (handle != 0)) {
            return wrong(t, "%s: input %d has %s gradient", when, i + 1, expected ? "no" : "a");
        }
        if (!expected || !t->r->gradients[i]) continue;
        char what[80];
        snprintf(what, sizeof what, "%s: gradient of input %d", when, i + 1);
        int64_t numel = array_numel(&t->r->inputs[i]);
        float *got = as_floats(&t->r->inputs[i]);
        if (icot_tensor_read(t->engine, handle, got, numel)) {
            free(got);
            return wrong(t, "%s: %s", what, icot_last_error());
        }
        const double expected_times = is_written(t, i) ? t->uses : times;
        bool good = compare(t, what, t->r->n_samples[i], got, t->r->samples[i], t->r->gradients[i],
                            expected_times) &&
                    check_along(t, i, got, numel, expected_times);
        free(got);
        if (!good) return false;
    }
    return true;
}

static void forget_gradients(trial *t)
{
    assert_ok(icot_zero_grad(t->engine, t->inputs, t->r->n_inputs));
}

/* Written once, added to, written over what an earlier step has left, added up in one graph. */
static bool check_adding_up(trial *t, unsigned all)
{
    if (!forward_and_backward(t, 1) || !check_gradients(t, "once", all, 1.0)) return false;
    if (!forward_and_backward(t, 1) || !check_gradients(t, "again", all, 2.0)) return false;
    forget_gradients(t);
    if (!forward_and_backward(t, 1) || !check_gradients(t, "after zero_grad", all, 1.0))
        return false;
    forget_gradients(t);
    for (int is_result = 0; is_result < 2; is_result++) {
        if (!backward_through_segment(t, is_result)) return false;
        if (!check_gradients(t, "in a segment", all, 1.0)) return false;
        forget_gradients(t);
    }
    return forward_and_backward(t, 3) && check_gradients(t, "three uses", all, 3.0);
}

/* Only one input wants a gradient; the others must not get one, and it must be the same. */
static bool check_each_alone(trial *t, int n)
{
    for (int i = 0; i < n; i++) {
        if (!is_float_input(t->c, i) || (t->c->same_input && i == 1)) continue;
        const unsigned wanted = 1u << i | (t->op->written ? 1u << (t->op->written - 1) : 0);
        forget_gradients(t);
        ask_for_gradients(t, wanted);
        if (!forward_and_backward(t, 1) || !check_gradients(t, "alone", wanted, 1.0)) return false;
    }
    return true;
}

bool gradient_check(const backend *kernels, const operator_entry *op, const gradient_case *c,
                    const reference *r, char message[MESSAGE_BYTES])
{
    trial t = {.c = c, .r = r, .op = op, .message = message};
    const unsigned all = (1u << ICOT_MAX_INPUTS) - 1;
    open_trial(&t, kernels);
    bool good = check_forward(&t);
    if (good) {
        ask_for_gradients(&t, all);
        good = check_adding_up(&t, all) && check_each_alone(&t, r->n_inputs);
    }
    icot_engine_free(t.engine);
    return good;
}
