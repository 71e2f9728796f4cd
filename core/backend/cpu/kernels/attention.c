/*
 * Causal self-attention over packed sequences, one (sequence, head) at a time.
 *
 * Rows of qkv hold query, key and value of a token, C channels each; head h uses channels
 * h·D … h·D+D-1. Keys and values are transposed into scratch memory first, so that every inner loop
 * runs along consecutive memory: over the keys for scores, over the channels for sums.
 */
#include "backend/cpu/kernels.h"
#include "backend/cpu/vector_math.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/random.h"

#include <math.h>
#include <omp.h>
#include <string.h>

static int64_t longest_sequence(const packed_shape *shape)
{
    int64_t longest = 0;
    for (int64_t b = 0; b < shape->sequences; b++) {
        int64_t length = shape->cu_seqlens[b + 1] - shape->cu_seqlens[b];
        longest = length > longest ? length : longest;
    }
    return longest;
}

/* Memory for each thread, rounded up so that no two threads share a cache line. */
static int scratch_new(int64_t floats_per_thread, int64_t *stride, float **out)
{
    *stride = (floats_per_thread + 15) / 16 * 16;
    void *memory;
    if (memory_alloc((size_t)omp_get_max_threads() * (size_t)*stride * sizeof(float), &memory)) {
        return ICOT_FAILED;
    }
    *out = memory;
    return ICOT_OK;
}

/* rows (length, stride) of which D columns count -> transposed (D, length) */
static void transpose(int64_t length, int64_t width, int64_t stride, const float *rows,
                      float *transposed)
{
    for (int64_t i = 0; i < length; i++) {
        for (int64_t d = 0; d < width; d++) transposed[d * length + i] = rows[i * stride + d];
    }
}

/* out_j = scale · Σ_d vector_d · transposed_dj for j < count */
static void dot_columns(int64_t count, int64_t width, int64_t length, float scale,
                        const float *vector, const float *transposed, float *out)
{
    for (int64_t j = 0; j < count; j++) out[j] = 0.0f;
    for (int64_t d = 0; d < width; d++) {
        float factor = scale * vector[d];
        const float *row = transposed + d * length;
        for (int64_t j = 0; j < count; j++) out[j] += factor * row[j];
    }
}

/* target_d += Σ_j weights_j · rows_jd */
static void add_weighted_rows(int64_t count, int64_t width, int64_t stride, const float *weights,
                              const float *rows, float *restrict target)
{
    for (int64_t j = 0; j < count; j++) {
        float weight = weights[j];
        const float *row = rows + j * stride;
        for (int64_t d = 0; d < width; d++) target[d] += weight * row[d];
    }
}

/* Turns scores into probabilities in place; gives log Σ exp(score). */
static float softmax_in_place(int64_t count, float *scores)
{
    float maximum = scores[0], sum = 0.0f;
#pragma omp simd reduction(max : maximum)
    for (int64_t j = 0; j < count; j++) maximum = scores[j] > maximum ? scores[j] : maximum;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < count; j++) {
        scores[j] = vector_exp(scores[j] - maximum);
        sum += scores[j];
    }
    for (int64_t j = 0; j < count; j++) scores[j] /= sum;
    return maximum + logf(sum);
}

/*
 * Dropout of one row of attention weights: word j of the row's own sequence decides about key j.
 * The row (token · H + head) goes to the upper half of the step, which counts updates and stays
 * small.
 */
static void dropout_mask(const packed_shape *shape, int64_t row, int64_t count, float *mask)
{
    icot_random_key key = shape->key;
    key.step |= (uint64_t)row << 32;
    uint64_t threshold = (uint64_t)(shape->dropout * 0x1p32);
    float scale = (float)(1.0 / (1.0 - shape->dropout));
    for (int64_t j = 0; j < count; j += RANDOM_LANES) {
        uint32_t words[RANDOM_LANES];
        random_words(key, (uint32_t)(j / RANDOM_LANES), words);
        for (int64_t k = 0; k < RANDOM_LANES && j + k < count; k++) {
            mask[j + k] = words[k] < threshold ? 0.0f : scale;
        }
    }
}

int KERNEL(attention)(const packed_shape *shape, const float *qkv, float *y, float *logsumexp)
{
    int64_t C = shape->channels, H = shape->heads, D = C / H;
    int64_t longest = longest_sequence(shape), stride;
    float scale = 1.0f / sqrtf((float)D), *scratch;
    if (scratch_new((D + 2) * longest, &stride, &scratch)) return ICOT_FAILED;

#pragma omp parallel for schedule(dynamic, 4)
    for (int64_t job = 0; job < shape->sequences * H; job++) {
        int64_t b = job / H, h = job % H, start = shape->cu_seqlens[b];
        int64_t length = shape->cu_seqlens[b + 1] - start;
        const float *query = qkv + start * 3 * C + h * D, *key = query + C, *value = key + C;
        float *keys = scratch + omp_get_thread_num() * stride; /* (D, length) */
        float *scores = keys + D * longest;                    /* (length) */

        transpose(length, D, 3 * C, key, keys);
        for (int64_t i = 0; i < length; i++) {
            float *out = y + (start + i) * C + h * D;
            dot_columns(i + 1, D, length, scale, query + i * 3 * C, keys, scores);
            logsumexp[(start + i) * H + h] = softmax_in_place(i + 1, scores);
            if (shape->dropout > 0.0) {
                float *mask = scores + longest;
                dropout_mask(shape, (start + i) * H + h, i + 1, mask);
                for (int64_t j = 0; j <= i; j++) scores[j] *= mask[j];
            }
            memset(out, 0, (size_t)D * sizeof *out);
            add_weighted_rows(i + 1, D, 3 * C, scores, value, out);
        }
    }
    memory_free(scratch);
    return ICOT_OK;
}

/* What the backward pass of one (sequence, head) works on. */
typedef struct head_backward {
    int64_t length, width, qkv_stride, y_stride;
    float scale;
    const float *query, *key, *value, *y, *dy;
    const float *logsumexp; /* one every H */
    int64_t heads;
    float *dquery, *dkey, *dvalue;
    float *keys, *values; /* transposed (D, length) */
    float *p, *dp, *mask; /* one row of probabilities, of their gradients, of dropout */
    const packed_shape *shape;
    int64_t first_row; /* token · H + head of the first query */
} head_backward;

/*
 * With P = softmax(scale·QKᵀ), Y = PV and δ_i = dY_i·Y_i:
 *   dV += Pᵀ dY,  dS = P ∘ (dY Vᵀ - δ),  dQ = scale·dS K,  dK = scale·dSᵀ Q
 * With dropout, Y = (P∘M)V for a mask M: dV takes P∘M, and dS takes (dY Vᵀ)∘M; δ stays the same.
 */
static void backward_query(const head_backward *w, int64_t i)
{
    int64_t D = w->width, count = i + 1;
    const float *dy = w->dy + i * w->y_stride, *y = w->y + i * w->y_stride;
    const float *query = w->query + i * w->qkv_stride;
    float logsumexp = w->logsumexp[i * w->heads], delta = 0.0f;

    for (int64_t d = 0; d < D; d++) delta += dy[d] * y[d];
    dot_columns(count, D, w->length, w->scale, query, w->keys, w->p);
    dot_columns(count, D, w->length, 1.0f, dy, w->values, w->dp);
    if (w->shape->dropout > 0.0) {
        dropout_mask(w->shape, w->first_row + i * w->heads, count, w->mask);
    } else {
        for (int64_t j = 0; j < count; j++) w->mask[j] = 1.0f;
    }
    for (int64_t j = 0; j < count; j++) {
        float p = vector_exp(w->p[j] - logsumexp);
        w->p[j] = p * w->mask[j];
        w->dp[j] = w->scale * p * (w->dp[j] * w->mask[j] - delta);
    }
    add_weighted_rows(count, D, w->qkv_stride, w->dp, w->key, w->dquery + i * w->qkv_stride);
    for (int64_t j = 0; j < count; j++) {
        float *dkey = w->dkey + j * w->qkv_stride, *dvalue = w->dvalue + j * w->qkv_stride;
        float ds = w->dp[j], p = w->p[j];
        for (int64_t d = 0; d < D; d++) dkey[d] += ds * query[d];
        for (int64_t d = 0; d < D; d++) dvalue[d] += p * dy[d];
    }
}

int KERNEL(attention_backward)(const packed_shape *shape, const float *qkv, const float *y,
                               const float *logsumexp, const float *dy, bool accumulate,
                               float *dqkv)
{
    int64_t C = shape->channels, H = shape->heads, D = C / H;
    int64_t longest = longest_sequence(shape), stride;
    int64_t tokens = shape->cu_seqlens[shape->sequences];
    float *scratch;
    if (scratch_new((2 * D + 3) * longest, &stride, &scratch)) return ICOT_FAILED;
    if (!accumulate) memset(dqkv, 0, (size_t)(tokens * 3 * C) * sizeof *dqkv);

#pragma omp parallel for schedule(dynamic, 4)
    for (int64_t job = 0; job < shape->sequences * H; job++) {
        int64_t b = job / H, h = job % H, start = shape->cu_seqlens[b];
        float *own = scratch + omp_get_thread_num() * stride;
        const float *query = qkv + start * 3 * C + h * D;
        float *dquery = dqkv + start * 3 * C + h * D;
        head_backward work = {
            .length = shape->cu_seqlens[b + 1] - start,
            .width = D,
            .qkv_stride = 3 * C,
            .y_stride = C,
            .scale = 1.0f / sqrtf((float)D),
            .query = query,
            .key = query + C,
            .value = query + 2 * C,
            .y = y + start * C + h * D,
            .dy = dy + start * C + h * D,
            .logsumexp = logsumexp + start * H + h,
            .heads = H,
            .dquery = dquery,
            .dkey = dquery + C,
            .dvalue = dquery + 2 * C,
            .keys = own,
            .values = own + D * longest,
            .p = own + 2 * D * longest,
            .dp = own + (2 * D + 1) * longest,
            .mask = own + (2 * D + 2) * longest,
            .shape = shape,
            .first_row = start * H + h,
        };
        transpose(work.length, D, 3 * C, work.key, work.keys);
        transpose(work.length, D, 3 * C, work.value, work.values);
        for (int64_t i = 0; i < work.length; i++) backward_query(&work, i);
    }
    memory_free(scratch);
    return ICOT_OK;
}

/* ---- Decoding -----------------------------------------------------------------------------------
 */

static float dot(int64_t n, const float *a, const float *b)
{
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

static void append_to_cache(const packed_shape *shape, const kv_cache *cache, int64_t b,
                            const float *qkv)
{
    int64_t C = shape->channels, start = shape->cu_seqlens[b];
    int64_t first = cache->slots[b] * cache->capacity + cache->lengths[b];
    for (int64_t i = 0; i < shape->cu_seqlens[b + 1] - start; i++) {
        const float *row = qkv + (start + i) * 3 * C;
        memcpy(cache->keys + (first + i) * C, row + C, (size_t)C * sizeof *row);
        memcpy(cache->values + (first + i) * C, row + 2 * C, (size_t)C * sizeof *row);
    }
}

int KERNEL(attention_cached)(const packed_shape *shape, const float *qkv, const kv_cache *cache,
                             float *y)
{
    int64_t C = shape->channels, H = shape->heads, D = C / H, stride;
    float scale = 1.0f / sqrtf((float)D), *scratch;
    if (scratch_new(cache->capacity, &stride, &scratch)) return ICOT_FAILED;

#pragma omp parallel for schedule(static)
    for (int64_t b = 0; b < shape->sequences; b++) append_to_cache(shape, cache, b, qkv);

#pragma omp parallel for schedule(dynamic, 4)
    for (int64_t job = 0; job < shape->sequences * H; job++) {
        int64_t b = job / H, h = job % H, start = shape->cu_seqlens[b];
        const float *keys = cache->keys + cache->slots[b] * cache->capacity * C + h * D;
        const float *values = cache->values + cache->slots[b] * cache->capacity * C + h * D;
        float *scores = scratch + omp_get_thread_num() * stride;
        for (int64_t i = 0; i < shape->cu_seqlens[b + 1] - start; i++) {
            int64_t count = cache->lengths[b] + i + 1;
            const float *query = qkv + (start + i) * 3 * C + h * D;
            float *out = y + (start + i) * C + h * D;
            for (int64_t j = 0; j < count; j++) scores[j] = scale * dot(D, query, keys + j * C);
            softmax_in_place(count, scores);
            memset(out, 0, (size_t)D * sizeof *out);
            add_weighted_rows(count, D, C, scores, values, out);
        }
    }
    memory_free(scratch);
    return ICOT_OK;
}
