/* The reference of a case: input values, output, and gradients from differences of the oracle. */
#include "base/random.h"
#include "gradient_check.h"
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ALL_UP_TO = 160, SAMPLES = 12, LARGE = 8192 }; /* elements */

/* Every array of a case has numbers of its own. */
static double random_at(uint32_t stream, int64_t i)
{
    return random_uniform_at((icot_random_key){.seed = 1, .stream = stream}, (uint64_t)i);
}

static double normal_at(uint32_t stream, int64_t i)
{
    double radius = sqrt(-2.0 * log(1.0 - random_at(stream, 2 * i)));
    return radius * cos(6.283185307179586 * random_at(stream, 2 * i + 1));
}

static double value_at(const input_spec *spec, uint32_t stream, int64_t i)
{
    double u = random_at(stream, i);
    switch (spec->values) {
    case POSITIVE:
        return 0.4 + 2.6 * u;
    case NONZERO:
        return u < 0.5 ? 0.4 + 5.2 * u : -0.4 - 5.2 * (u - 0.5);
    case SLIGHT:
        return normal_at(stream, i) / 8.0;
    case SHARP:
        return 4.0 * normal_at(stream, i);
    case IDS:
        return floor(u * (double)spec->limit);
    default:
        return normal_at(stream, i);
    }
}

static array make_input(const input_spec *spec, uint32_t stream)
{
    array x = array_zeros(spec->ndim, spec->size);
    int64_t numel = array_numel(&x);
    int64_t period = spec->layout == REPEATED && numel ? numel / x.size[0] : numel;
    for (int64_t i = 0; i < numel; i++) {
        if (spec->values == STARTS) {
            x.at[i] = i ? x.at[i - 1] + (double)spec->lengths[i - 1] : 0.0;
        } else {
            x.at[i] = (double)(float)value_at(spec, stream, i % period);
        }
    }
    return x;
}

bool is_float_input(const gradient_case *c, int i)
{
    return c->inputs[i].values != IDS && c->inputs[i].values != STARTS;
}

static int count_inputs(const gradient_case *c)
{
    int count = c->same_input ? 2 : 1;
    for (int i = 0; i < ICOT_MAX_INPUTS; i++) {
        if (c->inputs[i].values != NO_INPUT) count = i + 1 > count ? i + 1 : count;
    }
    return count;
}

/* ---- Masks of dropout: from the forward pass itself, which must then be consistent with them - */

static double *dropout_mask(const gradient_case *c, const reference *r)
{
    int64_t numel = array_numel(&r->inputs[0]);
    icot_engine *engine = engine_on(cpu_backend());
    icot_tensor x = tensor_of(engine, r->inputs[0].ndim, r->inputs[0].size, NULL);
    assert_ok(icot_tensor_fill(engine, x, 1.0));
    icot_tensor y = apply_with(engine, c->operator_name, &x, 1, c->params);
    float *factors = calloc((size_t)numel + 1, sizeof *factors);
    double *mask = calloc((size_t)numel + 1, sizeof *mask);
    if (!factors || !mask) abort();
    assert_ok(icot_tensor_read(engine, y, factors, numel));
    for (int64_t i = 0; i < numel; i++) mask[i] = (double)factors[i];
    free(factors);
    icot_engine_free(engine);
    return mask;
}

/* qkv whose scores are all alike, and whose values are 1 for token j of each sequence, else 0. */
static void fill_probe(const reference *r, int64_t j, float *qkv)
{
    const array *starts = &r->inputs[1];
    int64_t C = r->inputs[0].size[1] / 3;
    memset(qkv, 0, (size_t)array_numel(&r->inputs[0]) * sizeof *qkv);
    for (int64_t b = 0; b + 1 < starts->size[0]; b++) {
        int64_t token = (int64_t)starts->at[b] + j;
        if (token >= (int64_t)starts->at[b + 1]) continue;
        for (int64_t c = 0; c < C; c++) qkv[token * 3 * C + 2 * C + c] = 1.0f;
    }
}

/* (T, heads, longest): with equal scores, token i of a sequence sees 1/(i+1) of each value. */
static double *attention_mask(const gradient_case *c, const reference *r)
{
    const array *starts = &r->inputs[1];
    int64_t T = r->inputs[0].size[0], C = r->inputs[0].size[1] / 3, H = c->params.index[0];
    int64_t longest = longest_of(starts);
    double *mask = calloc((size_t)(T * H * longest) + 1, sizeof *mask);
    float *qkv = calloc((size_t)(T * 3 * C) + 1, sizeof *qkv), *y = qkv;
    if (!mask || !qkv) abort();
    icot_engine *engine = engine_on(cpu_backend());
    icot_tensor inputs[2] = {tensor_of(engine, 2, r->inputs[0].size, NULL)};
    int32_t ids[64];
    for (int64_t b = 0; b < starts->size[0]; b++) ids[b] = (int32_t)starts->at[b];
    inputs[1] = ids_of(engine, starts->size[0], ids);

    for (int64_t j = 0; j < longest; j++) {
        fill_probe(r, j, qkv);
        assert_ok(icot_tensor_write(engine, inputs[0], qkv, T * 3 * C));
        icot_tensor out = apply_with(engine, c->operator_name, inputs, 2, c->params);
        assert_ok(icot_tensor_read(engine, out, y, T * C));
        for (int64_t b = 0; b + 1 < starts->size[0]; b++) {
            for (int64_t i = 0; ids[b] + i < ids[b + 1]; i++) {
                for (int64_t h = 0; h < H; h++) {
                    int64_t row = (ids[b] + i) * H + h;
                    mask[row * longest + j] = (double)(i + 1) * (double)y[row * (C / H)];
                }
            }
        }
    }
    free(qkv);
    icot_engine_free(engine);
    return mask;
}

static double *make_mask(const gradient_case *c, const reference *r)
{
    if (strcmp(c->operator_name, "dropout") == 0) return dropout_mask(c, r);
    bool attention = strcmp(c->operator_name, "attention") == 0;
    return attention && c->params.number[0] > 0.0 ? attention_mask(c, r) : NULL;
}

/* ---- Gradients by differences ---------------------------------------------------------------- */

static array evaluate(const gradient_case *c, const reference *r)
{
    oracle_call call = {
        .inputs = r->inputs, .n_inputs = r->n_inputs, .params = &c->params, .mask = r->mask};
    return oracle_find(c->operator_name)(&call);
}

/* f = Σ w·y with the inputs as they are now */
static double weighted_output(const gradient_case *c, const reference *r)
{
    array y = evaluate(c, r);
    double f = 0.0;
    for (int64_t i = 0, n = array_numel(&y); i < n; i++) f += r->weights.at[i] * y.at[i];
    array_free(&y);
    return f;
}

double direction_at(int input, int64_t i)
{
    return random_at(300 + (uint32_t)input, i) - 0.5;
}

/* How an input is moved: one element, or (element < 0) all of them along a random direction. */
typedef struct motion {
    int input;
    int64_t element;
} motion;

static void move(reference *r, motion m, double by)
{
    array *x = &r->inputs[m.input];
    if (m.element >= 0) {
        x->at[m.element] += by;
        return;
    }
    for (int64_t i = 0, n = array_numel(x); i < n; i++) x->at[i] += by * direction_at(m.input, i);
}

/*
 * df/dx = (8·(f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h, with an error of h⁴·f⁽⁵⁾/30: for h = 10⁻³
 * both that and what rounding leaves (about 10⁻¹⁶·f/h) are far below what float32 can show.
 */
static double slope(const gradient_case *c, reference *r, motion m)
{
    const double h = 1e-3, at[] = {h, -h, 2 * h, -2 * h};
    double f[4];
    array *x = &r->inputs[m.input], before = array_zeros(x->ndim, x->size);
    size_t bytes = (size_t)array_numel(x) * sizeof *x->at;
    memcpy(before.at, x->at, bytes);
    for (int k = 0; k < 4; k++) {
        move(r, m, at[k]);
        f[k] = weighted_output(c, r);
        memcpy(x->at, before.at, bytes);
    }
    array_free(&before);
    return (8.0 * (f[0] - f[1]) - (f[2] - f[3])) / (12.0 * h);
}

static void find_gradients(const gradient_case *c, reference *r, int input)
{
    int64_t numel = array_numel(&r->inputs[input]);
    int64_t most = numel + array_numel(&r->y) > LARGE ? SAMPLES : ALL_UP_TO;
    int64_t n = numel < most ? numel : most;
    r->n_samples[input] = n;
    r->samples[input] = calloc((size_t)n + 1, sizeof(int64_t));
    r->gradients[input] = calloc((size_t)n + 1, sizeof(double));
    if (!r->samples[input] || !r->gradients[input]) abort();
    for (int64_t k = 0; k < n; k++) { /* all, or one from each of n equal stretches */
        double place = ((double)k + random_at(200 + (uint32_t)input, k)) / (double)n;
        int64_t element = n == numel ? k : (int64_t)(place * (double)numel);
        r->samples[input][k] = element;
        r->gradients[input][k] = slope(c, r, (motion){input, element});
    }
    r->along[input] = slope(c, r, (motion){input, -1});
}

reference *reference_new(const gradient_case *c)
{
    if (!oracle_find(c->operator_name)) return NULL;
    reference *r = calloc(1, sizeof *r);
    if (!r) abort();
    r->n_inputs = count_inputs(c);
    for (int i = 0; i < r->n_inputs; i++) {
        bool same = c->same_input && i == 1;
        r->inputs[i] = same ? r->inputs[0] : make_input(&c->inputs[i], 100 + (uint32_t)i);
    }
    r->mask = make_mask(c, r);
    r->y = evaluate(c, r);
    r->weights = array_zeros(r->y.ndim, r->y.size);
    for (int64_t i = 0, n = array_numel(&r->y); i < n; i++) {
        r->weights.at[i] = (double)(float)normal_at(99, i);
    }
    for (int i = 0; i < r->n_inputs; i++) {
        if (is_float_input(c, i) && !(c->same_input && i == 1)) find_gradients(c, r, i);
    }
    return r;
}

void reference_free(reference *r)
{
    if (r->inputs[1].at == r->inputs[0].at) r->inputs[1].at = NULL;
    for (int i = 0; i < r->n_inputs; i++) {
        array_free(&r->inputs[i]);
        free(r->samples[i]);
        free(r->gradients[i]);
    }
    array_free(&r->y);
    array_free(&r->weights);
    free(r->mask);
    free(r);
}
