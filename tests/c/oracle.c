#include "oracle.h"

#include <math.h>
#include <string.h>

/* ---- Pointwise: y_i = f(x_i) ----------------------------------------------------------------- */

static array map(const oracle_call *call, double (*f)(double))
{
    array y = array_zeros_like(&call->inputs[0]);
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

array oracle_gelu(const oracle_call *call)
{
    return map(call, gelu_of);
}

static array oracle_affine(const oracle_call *call)
{
    array y = array_zeros_like(&call->inputs[0]);
    for (int64_t i = 0, n = array_numel(&y); i < n; i++) {
        y.at[i] = call->params->number[0] * call->inputs[0].at[i] + call->params->number[1];
    }
    return y;
}

static array oracle_pow(const oracle_call *call)
{
    array y = array_zeros_like(&call->inputs[0]);
    for (int64_t i = 0, n = array_numel(&y); i < n; i++) {
        y.at[i] = pow(call->inputs[0].at[i], call->params->number[0]);
    }
    return y;
}

static array oracle_dropout(const oracle_call *call)
{
    array y = array_zeros_like(&call->inputs[0]);
    for (int64_t i = 0, n = array_numel(&y); i < n; i++) {
        const double onto = call->n_inputs > 1 ? call->inputs[1].at[i] : 0.0;
        y.at[i] = call->mask[i] * call->inputs[0].at[i] + onto;
    }
    return y;
}

/* ---- Pointwise with broadcasting ------------------------------------------------------------- */

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
            y.at[i] = array_broadcast_at(a, &y, i) sign array_broadcast_at(b, &y, i);              \
        }                                                                                          \
        return y;                                                                                  \
    }

COMBINE(add, +)
COMBINE(sub, -)
COMBINE(mul, *)
COMBINE(div, /)

/* ---- Rearranging ----------------------------------------------------------------------------- */

static array oracle_contiguous(const oracle_call *call)
{
    array y = array_zeros_like(&call->inputs[0]);
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
    for (int d = 0; d < x->ndim; d++)
        size[d] = x->size[array_dimension(call->params->index[d], x->ndim)];
    array y = array_zeros(x->ndim, size);
    for (int64_t i = 0, n = array_numel(&y); i < n; i++) {
        array_unravel(&y, i, in_y);
        for (int d = 0; d < x->ndim; d++) {
            in_x[array_dimension(call->params->index[d], x->ndim)] = in_y[d];
        }
        y.at[i] = x->at[array_ravel(x, in_x)];
    }
    return y;
}

static array oracle_slice(const oracle_call *call)
{
    const array *x = &call->inputs[0];
    int along = array_dimension(call->params->index[0], x->ndim);
    int64_t size[ICOT_MAX_DIMS], index[ICOT_MAX_DIMS];
    memcpy(size, x->size, sizeof size);
    size[along] = call->params->index[2];
    array y = array_zeros(x->ndim, size);
    for (int64_t i = 0, n = array_numel(&y); i < n; i++) {
        array_unravel(&y, i, index);
        index[along] += call->params->index[1];
        y.at[i] = x->at[array_ravel(x, index)];
    }
    return y;
}

static array oracle_expand(const oracle_call *call)
{
    array y = array_zeros(call->params->n_index, call->params->index);
    for (int64_t i = 0, n = array_numel(&y); i < n; i++) {
        y.at[i] = array_broadcast_at(&call->inputs[0], &y, i);
    }
    return y;
}

static array oracle_concat(const oracle_call *call)
{
    int along = array_dimension(call->params->index[0], call->inputs[0].ndim);
    int64_t size[ICOT_MAX_DIMS], index[ICOT_MAX_DIMS], before = 0;
    memcpy(size, call->inputs[0].size, sizeof size);
    for (int k = 1; k < call->n_inputs; k++) size[along] += call->inputs[k].size[along];
    array y = array_zeros(call->inputs[0].ndim, size);
    for (int k = 0; k < call->n_inputs; k++) {
        const array *x = &call->inputs[k];
        for (int64_t i = 0, n = array_numel(x); i < n; i++) {
            array_unravel(x, i, index);
            index[along] += before;
            y.at[array_ravel(&y, index)] = x->at[i];
        }
        before += x->size[along];
    }
    return y;
}

/* ---- Sums ------------------------------------------------------------------------------------ */

/* Sums a dimension (all of them if none is named), and counts what each sum has. */
static array sum_over(const oracle_call *call, int64_t *count)
{
    const array *x = &call->inputs[0];
    int all = call->params->n_index == 0, ndim = 0;
    int along = all ? -1 : array_dimension(call->params->index[0], x->ndim);
    int64_t size[ICOT_MAX_DIMS] = {0}, in_x[ICOT_MAX_DIMS];
    for (int d = 0; d < x->ndim && !all; d++) {
        if (d != along || call->params->index[1]) size[ndim++] = d == along ? 1 : x->size[d];
    }
    array y = array_zeros(ndim, size);
    *count = all ? array_numel(x) : x->size[along];
    for (int64_t i = 0, n = array_numel(x); i < n; i++) {
        int64_t flat = 0;
        array_unravel(x, i, in_x);
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

/* ---- All of them ----------------------------------------------------------------------------- */

oracle *oracle_find(const char *operator_name)
{
    static const struct {
        const char *name;
        oracle *function;
    } oracles[] = {
        {"add", oracle_add},
        {"sub", oracle_sub},
        {"mul", oracle_mul},
        {"div", oracle_div},
        {"neg", oracle_neg},
        {"exp", oracle_exp},
        {"log", oracle_log},
        {"sqrt", oracle_sqrt},
        {"tanh", oracle_tanh},
        {"sigmoid", oracle_sigmoid},
        {"relu", oracle_relu},
        {"gelu", oracle_gelu},
        {"affine", oracle_affine},
        {"pow", oracle_pow},
        {"dropout", oracle_dropout},
        {"reshape", oracle_reshape},
        {"permute", oracle_permute},
        {"slice", oracle_slice},
        {"expand", oracle_expand},
        {"contiguous", oracle_contiguous},
        {"concat", oracle_concat},
        {"sum", oracle_sum},
        {"mean", oracle_mean},
        {"softmax", oracle_softmax},
        {"log_softmax", oracle_log_softmax},
        {"matmul", oracle_matmul},
        {"linear", oracle_linear},
        {"mlp", oracle_mlp},
        {"embedding", oracle_embedding},
        {"token_position_embedding", oracle_token_position_embedding},
        {"layer_norm", oracle_layer_norm},
        {"attention", oracle_attention},
        {"attention_past", oracle_attention_past},
        {"self_attention", oracle_self_attention},
        {"block", oracle_block},
        {"cross_entropy", oracle_cross_entropy},
    };
    for (size_t i = 0; i < sizeof oracles / sizeof *oracles; i++) {
        if (strcmp(oracles[i].name, operator_name) == 0) return oracles[i].function;
    }
    return NULL;
}
