#include "oracle.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Arrays ------------------------------------------------------------------------------------
 */

int64_t array_numel(const array *x)
{
    int64_t numel = 1;
    for (int d = 0; d < x->ndim; d++) numel *= x->size[d];
    return numel;
}

array array_zeros(int ndim, const int64_t *size)
{
    array made = {.ndim = ndim};
    for (int d = 0; d < ndim; d++) made.size[d] = size[d];
    made.at = calloc((size_t)array_numel(&made) + 1, sizeof(double));
    if (!made.at) abort();
    return made;
}

void array_free(array *x)
{
    free(x->at);
    x->at = NULL;
}

static array zeros_like(const array *x)
{
    return array_zeros(x->ndim, x->size);
}

static int dimension(int64_t given, int ndim)
{
    return (int)(given < 0 ? given + ndim : given);
}

static int64_t rows_of(const array *x) /* all dimensions but the last */
{
    int64_t rows = 1;
    for (int d = 0; d + 1 < x->ndim; d++) rows *= x->size[d];
    return rows;
}

static int64_t columns_of(const array *x)
{
    return x->size[x->ndim - 1];
}

/* Row-major index -> index per dimension. */
static void unravel(const array *x, int64_t flat, int64_t index[ICOT_MAX_DIMS])
{
    for (int d = x->ndim - 1; d >= 0; d--) {
        index[d] = flat % x->size[d];
        flat /= x->size[d];
    }
}

static int64_t ravel(const array *x, const int64_t index[ICOT_MAX_DIMS])
{
    int64_t flat = 0;
    for (int d = 0; d < x->ndim; d++) flat = flat * x->size[d] + index[d];
    return flat;
}

/* The element of x that broadcasting puts at element `flat` of y. */
static double broadcast_at(const array *x, const array *y, int64_t flat)
{
    int64_t in_y[ICOT_MAX_DIMS], in_x[ICOT_MAX_DIMS];
    unravel(y, flat, in_y);
    for (int d = 0; d < x->ndim; d++) {
        in_x[d] = x->size[d] == 1 ? 0 : in_y[d + y->ndim - x->ndim];
    }
    return x->at[ravel(x, in_x)];
}

/* ---- Pointwise: y_i = f(x_i) -------------------------------------------------------------------
 */

static array map(const oracle_call *call, double (*f)(double))
{
    array y = zeros_like(&call->inputs[0]);
    for (int64_t i = 0, n = array_numel(&y); i < n; i++) y.at[i] = f(call->inputs[0].at[i]);
    return y;
}

static double negative_of(double x)
{
    return -x;
}

static double sigmoid_of(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

static double relu_of(double x)
{
    return x > 0.0 ? x : 0.0;
}

static double gelu_of(double x) /* the tanh form (Hendrycks, Gimpel 2016) */
{
    return 0.5 * x * (1.0 + tanh(sqrt(2.0 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
}

#define MAP(name, f)                                                                               \
    static array oracle_##name(const oracle_call *call)                                            \
    {                                                                                              \
        return map(call, f);                                                                       \
    }

MAP(neg, negative_of)
MAP(exp, exp)
MAP(log, log)
MAP(sqrt, sqrt)
MAP(tanh, tanh)
MAP(sigmoid, sigmoid_of)
MAP(relu, relu_of)
MAP(gelu, gelu_of)

static array oracle_affine(const oracle_call *call)
{
    array y = zeros_like(&call->inputs[0]);
    for (int64_t i = 0, n = array_numel(&y); i < n; i++) {
        y.at[i] = call->params->number[0] * call->inputs[0].at[i] + call->params->number[1];
    }
    return y;
}

static array oracle_pow(const oracle_call *call)
{
    array y = zeros_like(&call->inputs[0]);
    for (int64_t i = 0, n = array_numel(&y); i < n; i++) {
        y.at[i] = pow(call->inputs[0].at[i], call->params->number[0]);
    }
    return y;
}

static array oracle_dropout(const oracle_call *call)
{
    array y = zeros_like(&call->inputs[0]);
    for (int64_t i = 0, n = array_numel(&y); i < n; i++) {
        y.at[i] = call->mask[i] * call->inputs[0].at[i];
    }
    return y;
}

/* ---- Pointwise with broadcasting ---------------------------------------------------------------
 */

static array broadcast_shape(const array *a, const array *b)
{
    int64_t size[ICOT_MAX_DIMS];
    int ndim = a->ndim > b->ndim ? a->ndim : b->ndim;
    for (int d = 0; d < ndim; d++) {
        int in_a = d - ndim + a->ndim, in_b = d - ndim + b->ndim;
        int64_t size_a = in_a < 0 ? 1 : a->size[in_a], size_b = in_b < 0 ? 1 : b->size[in_b];
        size[d] = size_a == 1 ? size_b : size_a;
    }
    return array_zeros(ndim, size);
}

#define COMBINE(name, sign)                                                                        \
    static array oracle_##name(const oracle_call *call)                                            \
    {                                                                                              \
        const array *a = &call->inputs[0], *b = &call->inputs[1];                                  \
        array y = broadcast_shape(a, b);                                                           \
        for (int64_t i = 0, n = array_numel(&y); i < n; i++) {                                     \
            y.at[i] = broadcast_at(a, &y, i) sign broadcast_at(b, &y, i);                          \
        }                                                                                          \
        return y;                                                                                  \
    }

COMBINE(add, +)
COMBINE(sub, -)
COMBINE(mul, *)
COMBINE(div, /)

/* ---- Rearranging -------------------------------------------------------------------------------
 */

static array oracle_contiguous(const oracle_call *call)
{
    array y = zeros_like(&call->inputs[0]);
    memcpy(y.at, call->inputs[0].at, (size_t)array_numel(&y) * sizeof *y.at);
    return y;
}

static array oracle_reshape(const oracle_call *call)
{
    const icot_op_params *params = call->params;
    int64_t size[ICOT_MAX_DIMS], known = 1, numel = array_numel(&call->inputs[0]);
    for (int d = 0; d < params->n_index; d++) known *= params->index[d] < 0 ? 1 : params->index[d];
    for (int d = 0; d < params->n_index; d++) {
        size[d] = params->index[d] < 0 ? numel / known : params->index[d];
    }
    array y = array_zeros(params->n_index, size);
    memcpy(y.at, call->inputs[0].at, (size_t)numel * sizeof *y.at);
    return y;
}

static array oracle_permute(const oracle_call *call)
{
    const array *x = &call->inputs[0];
    int64_t size[ICOT_MAX_DIMS], in_y[ICOT_MAX_DIMS], in_x[ICOT_MAX_DIMS];
    for (int d = 0; d < x->ndim; d++) size[d] = x->size[dimension(call->params->index[d], x->ndim)];
    array y = array_zeros(x->ndim, size);
    for (int64_t i = 0, n = array_numel(&y); i < n; i++) {
        unravel(&y, i, in_y);
        for (int d = 0; d < x->ndim; d++) {
            in_x[dimension(call->params->index[d], x->ndim)] = in_y[d];
        }
        y.at[i] = x->at[ravel(x, in_x)];
    }
    return y;
}

static array oracle_slice(const oracle_call *call)
{
    const array *x = &call->inputs[0];
    int along = dimension(call->params->index[0], x->ndim);
    int64_t size[ICOT_MAX_DIMS], index[ICOT_MAX_DIMS];
    memcpy(size, x->size, sizeof size);
    size[along] = call->params->index[2];
    array y = array_zeros(x->ndim, size);
    for (int64_t i = 0, n = array_numel(&y); i < n; i++) {
        unravel(&y, i, index);
        index[along] += call->params->index[1];
        y.at[i] = x->at[ravel(x, index)];
    }
    return y;
}

static array oracle_expand(const oracle_call *call)
{
    array y = array_zeros(call->params->n_index, call->params->index);
    for (int64_t i = 0, n = array_numel(&y); i < n; i++) {
        y.at[i] = broadcast_at(&call->inputs[0], &y, i);
    }
    return y;
}

static array oracle_concat(const oracle_call *call)
{
    int along = dimension(call->params->index[0], call->inputs[0].ndim);
    int64_t size[ICOT_MAX_DIMS], index[ICOT_MAX_DIMS], before = 0;
    memcpy(size, call->inputs[0].size, sizeof size);
    for (int k = 1; k < call->n_inputs; k++) size[along] += call->inputs[k].size[along];
    array y = array_zeros(call->inputs[0].ndim, size);
    for (int k = 0; k < call->n_inputs; k++) {
        const array *x = &call->inputs[k];
        for (int64_t i = 0, n = array_numel(x); i < n; i++) {
            unravel(x, i, index);
            index[along] += before;
            y.at[ravel(&y, index)] = x->at[i];
        }
        before += x->size[along];
    }
    return y;
}

/* ---- Sums --------------------------------------------------------------------------------------
 */

/* Sums a dimension (all of them if none is named), and counts what each sum has. */
static array sum_over(const oracle_call *call, int64_t *count)
{
    const array *x = &call->inputs[0];
    int all = call->params->n_index == 0, ndim = 0;
    int along = all ? -1 : dimension(call->params->index[0], x->ndim);
    int64_t size[ICOT_MAX_DIMS] = {0}, in_x[ICOT_MAX_DIMS];
    for (int d = 0; d < x->ndim && !all; d++) {
        if (d != along || call->params->index[1]) size[ndim++] = d == along ? 1 : x->size[d];
    }
    array y = array_zeros(ndim, size);
    *count = all ? array_numel(x) : x->size[along];
    for (int64_t i = 0, n = array_numel(x); i < n; i++) {
        int64_t flat = 0;
        unravel(x, i, in_x);
        for (int d = 0; d < x->ndim && !all; d++) {
            if (d != along) flat = flat * x->size[d] + in_x[d];
        }
        y.at[flat] += x->at[i];
    }
    return y;
}

static array oracle_sum(const oracle_call *call)
{
    int64_t count;
    return sum_over(call, &count);
}

static array oracle_mean(const oracle_call *call)
{
    int64_t count;
    array y = sum_over(call, &count);
    for (int64_t i = 0, n = array_numel(&y); i < n; i++) y.at[i] /= (double)count;
    return y;
}

/* log Σ_c exp(x_c) */
static double log_sum_exp(int64_t n, const double *x)
{
    double largest = x[0], sum = 0.0;
    for (int64_t c = 1; c < n; c++) largest = x[c] > largest ? x[c] : largest;
    for (int64_t c = 0; c < n; c++) sum += exp(x[c] - largest);
    return largest + log(sum);
}

static array oracle_log_softmax(const oracle_call *call)
{
    array y = zeros_like(&call->inputs[0]);
    int64_t columns = columns_of(&y);
    for (int64_t r = 0; r < rows_of(&y); r++) {
        const double *x = call->inputs[0].at + r * columns;
        double total = log_sum_exp(columns, x);
        for (int64_t c = 0; c < columns; c++) y.at[r * columns + c] = x[c] - total;
    }
    return y;
}

static array oracle_softmax(const oracle_call *call)
{
    array y = oracle_log_softmax(call);
    for (int64_t i = 0, n = array_numel(&y); i < n; i++) y.at[i] = exp(y.at[i]);
    return y;
}

/* ---- Products ----------------------------------------------------------------------------------
 */

/* a (…, m, k) x b (…, k, n) or (k, n) -> (…, m, n) */
static array oracle_matmul(const oracle_call *call)
{
    const array *a = &call->inputs[0], *b = &call->inputs[1];
    int64_t m = a->size[a->ndim - 2], k = columns_of(a), n = columns_of(b), size[ICOT_MAX_DIMS];
    memcpy(size, a->size, sizeof size);
    size[a->ndim - 1] = n;
    array y = array_zeros(a->ndim, size);
    for (int64_t row = 0; row < rows_of(a); row++) {
        const double *matrix = b->at + (b->ndim == 2 ? 0 : row / m * k * n);
        for (int64_t i = 0; i < k; i++) {
            for (int64_t c = 0; c < n; c++) {
                y.at[row * n + c] += a->at[row * k + i] * matrix[i * n + c];
            }
        }
    }
    return y;
}

/* x (…, in), weight (out, in), bias (out) or none -> (…, out) */
static array oracle_linear(const oracle_call *call)
{
    const array *x = &call->inputs[0], *weight = &call->inputs[1];
    int64_t in = columns_of(x), out = weight->size[0], size[ICOT_MAX_DIMS];
    memcpy(size, x->size, sizeof size);
    size[x->ndim - 1] = out;
    array y = array_zeros(x->ndim, size);
    for (int64_t r = 0; r < rows_of(x); r++) {
        for (int64_t c = 0; c < out; c++) {
            double sum = call->n_inputs == 3 ? call->inputs[2].at[c] : 0.0;
            for (int64_t i = 0; i < in; i++) sum += x->at[r * in + i] * weight->at[c * in + i];
            y.at[r * out + c] = sum;
        }
    }
    return y;
}

/* ---- GPT-2 -------------------------------------------------------------------------------------
 */

/* weight (V,C), ids (…) -> (…,C) */
static array oracle_embedding(const oracle_call *call)
{
    const array *weight = &call->inputs[0], *ids = &call->inputs[1];
    int64_t columns = weight->size[1], size[ICOT_MAX_DIMS];
    memcpy(size, ids->size, sizeof size);
    size[ids->ndim] = columns;
    array y = array_zeros(ids->ndim + 1, size);
    for (int64_t r = 0; r < array_numel(ids); r++) {
        const double *row = weight->at + (int64_t)ids->at[r] * columns;
        for (int64_t c = 0; c < columns; c++) y.at[r * columns + c] = row[c];
    }
    return y;
}

/* wte (V,C), wpe (P,C), tokens (T), positions (T) -> (T,C) */
static array oracle_token_position_embedding(const oracle_call *call)
{
    const array tokens[] = {call->inputs[0], call->inputs[2]};
    const array positions[] = {call->inputs[1], call->inputs[3]};
    array y = oracle_embedding(&(oracle_call){.inputs = tokens, .n_inputs = 2});
    array added = oracle_embedding(&(oracle_call){.inputs = positions, .n_inputs = 2});
    for (int64_t i = 0, n = array_numel(&y); i < n; i++) y.at[i] += added.at[i];
    array_free(&added);
    return y;
}

/* x (…,C), weight (C), bias (C): (x - mean) / √(variance + eps) · weight + bias */
static array oracle_layer_norm(const oracle_call *call)
{
    array y = zeros_like(&call->inputs[0]);
    int64_t columns = columns_of(&y);
    for (int64_t r = 0; r < rows_of(&y); r++) {
        const double *x = call->inputs[0].at + r * columns;
        double mean = 0.0, variance = 0.0;
        for (int64_t c = 0; c < columns; c++) mean += x[c] / (double)columns;
        for (int64_t c = 0; c < columns; c++) {
            variance += (x[c] - mean) * (x[c] - mean) / (double)columns;
        }
        double deviation = sqrt(variance + call->params->number[0]);
        for (int64_t c = 0; c < columns; c++) {
            y.at[r * columns + c] =
                (x[c] - mean) / deviation * call->inputs[1].at[c] + call->inputs[2].at[c];
        }
    }
    return y;
}

int64_t longest_of(const array *starts)
{
    int64_t longest = 0;
    for (int64_t b = 0; b + 1 < starts->size[0]; b++) {
        int64_t length = (int64_t)(starts->at[b + 1] - starts->at[b]);
        longest = length > longest ? length : longest;
    }
    return longest;
}

/*
 * One query: weights softmax(q·k_j / √D) of the tokens j before and at it, times the values.
 * qkv (T,3C); channels h·D … h·D+D-1 of each third belong to head h; mask (longest) or NULL.
 */
static void attend(const array *qkv, int64_t start, int64_t query, int64_t head, int64_t D,
                   const double *mask, double *y)
{
    int64_t C = qkv->size[1] / 3, count = query - start + 1;
    const double *q = qkv->at + query * 3 * C + head * D;
    double *scores = calloc((size_t)count, sizeof *scores);
    if (!scores) abort();
    for (int64_t j = 0; j < count; j++) {
        const double *k = qkv->at + (start + j) * 3 * C + C + head * D;
        for (int64_t d = 0; d < D; d++) scores[j] += q[d] * k[d] / sqrt((double)D);
    }
    double total = log_sum_exp(count, scores);
    for (int64_t j = 0; j < count; j++) {
        const double *v = qkv->at + (start + j) * 3 * C + 2 * C + head * D;
        double weight = exp(scores[j] - total) * (mask ? mask[j] : 1.0);
        for (int64_t d = 0; d < D; d++) y[head * D + d] += weight * v[d];
    }
    free(scores);
}

/*
 * qkv (T,3C), cu_seqlens (B+1) -> (T,C). The mask, if any, is (T, heads, longest): the factor on
 * the weight that a token's head gives to token j of its sequence.
 */
static array oracle_attention(const oracle_call *call)
{
    const array *qkv = &call->inputs[0], *starts = &call->inputs[1];
    int64_t C = qkv->size[1] / 3, H = call->params->index[0], longest = longest_of(starts);
    array y = array_zeros(2, (const int64_t[]){qkv->size[0], C});
    for (int64_t b = 0; b + 1 < starts->size[0]; b++) {
        int64_t start = (int64_t)starts->at[b], end = (int64_t)starts->at[b + 1];
        for (int64_t t = start; t < end; t++) {
            for (int64_t h = 0; h < H; h++) {
                const double *mask = call->mask ? call->mask + (t * H + h) * longest : NULL;
                attend(qkv, start, t, h, C / H, mask, y.at + t * C);
            }
        }
    }
    return y;
}

/* logits (R,V), targets (R) -> mean of log Σ exp(logits) - logit of the target */
static array oracle_cross_entropy(const oracle_call *call)
{
    const array *logits = &call->inputs[0], *targets = &call->inputs[1];
    int64_t rows = logits->size[0], V = logits->size[1];
    array y = array_zeros(0, NULL);
    for (int64_t r = 0; r < rows; r++) {
        const double *row = logits->at + r * V;
        y.at[0] += (log_sum_exp(V, row) - row[(int64_t)targets->at[r]]) / (double)rows;
    }
    return y;
}

/* ---- All of them -------------------------------------------------------------------------------
 */

#define ENTRY(name)                                                                                \
    {                                                                                              \
#name, oracle_##name                                                                       \
    }

oracle *oracle_find(const char *operator_name)
{
    static const struct {
        const char *name;
        oracle *function;
    } oracles[] = {
        ENTRY(add),        ENTRY(sub),           ENTRY(mul),
        ENTRY(div),        ENTRY(neg),           ENTRY(exp),
        ENTRY(log),        ENTRY(sqrt),          ENTRY(tanh),
        ENTRY(sigmoid),    ENTRY(relu),          ENTRY(gelu),
        ENTRY(affine),     ENTRY(pow),           ENTRY(dropout),
        ENTRY(reshape),    ENTRY(permute),       ENTRY(slice),
        ENTRY(expand),     ENTRY(contiguous),    ENTRY(concat),
        ENTRY(sum),        ENTRY(mean),          ENTRY(softmax),
        ENTRY(matmul),     ENTRY(log_softmax),   ENTRY(linear),
        ENTRY(embedding),  ENTRY(attention),     ENTRY(token_position_embedding),
        ENTRY(layer_norm), ENTRY(cross_entropy),
    };
    for (size_t i = 0; i < sizeof oracles / sizeof *oracles; i++) {
        if (strcmp(oracles[i].name, operator_name) == 0) return oracles[i].function;
    }
    return NULL;
}
