/* Softmax, products, and what a GPT-2 is made of. */
#include "oracle.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Softmax --------------------------------------------------------------------------------- */

/* log Σ_c exp(x_c) */
static double log_sum_exp(int64_t n, const double *x)
{
    double largest = x[0], sum = 0.0;
    for (int64_t c = 1; c < n; c++) largest = x[c] > largest ? x[c] : largest;
    for (int64_t c = 0; c < n; c++) sum += exp(x[c] - largest);
    return largest + log(sum);
}

array oracle_log_softmax(const oracle_call *call)
{
    array y = array_zeros_like(&call->inputs[0]);
    int64_t columns = array_columns(&y);
    for (int64_t r = 0; r < array_rows(&y); r++) {
        const double *x = call->inputs[0].at + r * columns;
        double total = log_sum_exp(columns, x);
        for (int64_t c = 0; c < columns; c++) y.at[r * columns + c] = x[c] - total;
    }
    return y;
}

array oracle_softmax(const oracle_call *call)
{
    array y = oracle_log_softmax(call);
    for (int64_t i = 0, n = array_numel(&y); i < n; i++) y.at[i] = exp(y.at[i]);
    return y;
}

/* ---- Products -------------------------------------------------------------------------------- */

/* a (…, m, k) x b (…, k, n) or (k, n) -> (…, m, n) */
array oracle_matmul(const oracle_call *call)
{
    const array *a = &call->inputs[0], *b = &call->inputs[1];
    int64_t m = a->size[a->ndim - 2], k = array_columns(a), n = array_columns(b),
            size[ICOT_MAX_DIMS];
    memcpy(size, a->size, sizeof size);
    size[a->ndim - 1] = n;
    array y = array_zeros(a->ndim, size);
    for (int64_t row = 0; row < array_rows(a); row++) {
        const double *matrix = b->at + (b->ndim == 2 ? 0 : row / m * k * n);
        for (int64_t i = 0; i < k; i++) {
            for (int64_t c = 0; c < n; c++) {
                y.at[row * n + c] += a->at[row * k + i] * matrix[i * n + c];
            }
        }
    }
    return y;
}

/* x (…, in), weight (out, in), bias (out) or none, residual (…, out) or none -> (…, out) */
array oracle_linear(const oracle_call *call)
{
    const array *x = &call->inputs[0], *weight = &call->inputs[1];
    int64_t in = array_columns(x), out = weight->size[0], size[ICOT_MAX_DIMS];
    memcpy(size, x->size, sizeof size);
    size[x->ndim - 1] = out;
    array y = array_zeros(x->ndim, size);
    for (int64_t r = 0; r < array_rows(x); r++) {
        for (int64_t c = 0; c < out; c++) {
            double sum = call->n_inputs > 2 ? call->inputs[2].at[c] : 0.0;
            if (call->n_inputs > 3) sum += call->inputs[3].at[r * out + c];
            for (int64_t i = 0; i < in; i++) sum += x->at[r * in + i] * weight->at[c * in + i];
            y.at[r * out + c] = sum;
        }
    }
    return y;
}

/* x (…, C), fc weight (F, C), fc bias (F), proj weight (C, F), proj bias (C), residual or none */
array oracle_mlp(const oracle_call *call)
{
    array u = oracle_linear(&(oracle_call){.inputs = call->inputs, .n_inputs = 3});
    array h = oracle_gelu(&(oracle_call){.inputs = &u, .n_inputs = 1});
    array second[4] = {h, call->inputs[3], call->inputs[4]};
    if (call->n_inputs > 5) second[3] = call->inputs[5];
    array y = oracle_linear(&(oracle_call){.inputs = second, .n_inputs = call->n_inputs - 2});
    array_free(&h), array_free(&u);
    return y;
}

/* ---- GPT-2 ----------------------------------------------------------------------------------- */

/* weight (V,C), ids (…) -> (…,C) */
array oracle_embedding(const oracle_call *call)
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
array oracle_token_position_embedding(const oracle_call *call)
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
array oracle_layer_norm(const oracle_call *call)
{
    array y = array_zeros_like(&call->inputs[0]);
    int64_t columns = array_columns(&y);
    for (int64_t r = 0; r < array_rows(&y); r++) {
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
array oracle_attention(const oracle_call *call)
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

/* qkv (T,3C), past (P,3C), cu_seqlens (B+1), starts (B), lengths (B) -> (T,C): rows of qkv take the
 * places behind the past of their sequence; without dropout. */
array oracle_attention_past(const oracle_call *call)
{
    const array *qkv = &call->inputs[0], *first = &call->inputs[2];
    int64_t C = qkv->size[1] / 3, H = call->params->index[0];
    array y = array_zeros(2, (const int64_t[]){qkv->size[0], C});
    array rows = array_zeros(2, call->inputs[1].size);
    memcpy(rows.at, call->inputs[1].at, (size_t)array_numel(&rows) * sizeof *rows.at);
    for (int64_t b = 0; b + 1 < first->size[0]; b++) {
        int64_t start = (int64_t)call->inputs[3].at[b], from = (int64_t)first->at[b];
        int64_t place = start + (int64_t)call->inputs[4].at[b];
        for (int64_t t = from; t < (int64_t)first->at[b + 1]; t++, place++) {
            memcpy(rows.at + place * 3 * C, qkv->at + t * 3 * C, (size_t)(3 * C) * sizeof *rows.at);
            for (int64_t h = 0; h < H; h++) {
                attend(&rows, start, place, h, C / H, NULL, y.at + t * C);
            }
        }
    }
    array_free(&rows);
    return y;
}

/* Rows of a matrix, which is freed. */
static array picked_rows_of(array matrix, array rows)
{
    const array of_rows[] = {matrix, rows};
    array y = oracle_embedding(&(oracle_call){.inputs = of_rows, .n_inputs = 2});
    array_free(&matrix);
    return y;
}

/* x, c_attn weight and bias, c_proj weight and bias, cu_seqlens, residual or none, rows or none;
 * without dropout, as all that follow */
array oracle_self_attention(const oracle_call *call)
{
    array qkv = oracle_linear(&(oracle_call){.inputs = call->inputs, .n_inputs = 3});
    const array attended[] = {qkv, call->inputs[5]};
    array mixed =
        oracle_attention(&(oracle_call){.inputs = attended, .n_inputs = 2, .params = call->params});
    if (call->n_inputs > 7) mixed = picked_rows_of(mixed, call->inputs[7]);
    array projected[] = {mixed, call->inputs[3], call->inputs[4], {0}};
    if (call->n_inputs > 6) projected[3] = call->inputs[6];
    array y =
        oracle_linear(&(oracle_call){.inputs = projected, .n_inputs = call->n_inputs > 6 ? 4 : 3});
    array_free(&mixed);
    array_free(&qkv);
    return y;
}

/* The parameters of a half of a block, in their order: norm, first and second layer. */
static array oracle_first_layer(array x, const array *half, double eps)
{
    const array normed_of[] = {x, half[0], half[1]};
    const icot_op_params params = {.number = {eps}};
    array normed =
        oracle_layer_norm(&(oracle_call){.inputs = normed_of, .n_inputs = 3, .params = &params});
    const array first[] = {normed, half[2], half[3]};
    array y = oracle_linear(&(oracle_call){.inputs = first, .n_inputs = 3});
    array_free(&normed);
    return y;
}

static array oracle_second_layer(array inner, const array *half, array residual)
{
    const array second[] = {inner, half[4], half[5], residual};
    array y = oracle_linear(&(oracle_call){.inputs = second, .n_inputs = 4});
    array_free(&inner);
    return y;
}

/* x, attention's parameters, cu_seqlens, rows or NULL -> what the MLP begins with */
static array oracle_attention_half(const oracle_call *call, const array *rows)
{
    array x = call->inputs[0];
    const array *half = call->inputs + 1;
    const array attended[] = {oracle_first_layer(x, half, call->params->number[0]),
                              call->inputs[13]};
    array mixed =
        oracle_attention(&(oracle_call){.inputs = attended, .n_inputs = 2, .params = call->params});
    array qkv = attended[0];
    array_free(&qkv);
    if (!rows) return oracle_second_layer(mixed, half, x);
    const array of_rows[] = {x, *rows};
    array picked = oracle_embedding(&(oracle_call){.inputs = of_rows, .n_inputs = 2});
    array y = oracle_second_layer(picked_rows_of(mixed, *rows), half, picked);
    array_free(&picked);
    return y;
}

/* x, the parameters of both halves, cu_seqlens, rows or none */
array oracle_block(const oracle_call *call)
{
    const array *half = call->inputs + 7;
    array mid = oracle_attention_half(call, call->n_inputs > 14 ? &call->inputs[14] : NULL);
    array first = oracle_first_layer(mid, half, call->params->number[1]);
    array hidden = oracle_gelu(&(oracle_call){.inputs = &first, .n_inputs = 1});
    array y = oracle_second_layer(hidden, half, mid);
    array_free(&first);
    array_free(&mid);
    return y;
}

/* logits (R,V), targets (R) -> mean of log Σ exp(logits) - logit of the target */
array oracle_cross_entropy(const oracle_call *call)
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
