/*
 * Causal self-attention over packed sequences, one (sequence, head) at a time.
 *
 * Rows of qkv hold query, key and value of a token, C channels each; head h uses channels
 * h·D … h·D+D-1. All work is done LANES numbers at a time, in loops of constant length that stay in
 * registers: scores run along the keys (transposed and padded in scratch memory), sums of rows
 * along the channels. Rows of scores are padded with -∞, which weighs nothing.
 */
#include "backend/cpu/kernels.h"
#include "backend/cpu/vector_math.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/random.h"

#include <math.h>
#include <omp.h>
#include <string.h>

/* A vector of the compiler's, so that sums stay in registers (two or four of them where the
 * instruction set has shorter ones). */
enum { LANES = 16 };
typedef float lanes __attribute__((vector_size(LANES * sizeof(float))));

static inline lanes load(const float *from)
{
    lanes v;
    memcpy(&v, from, sizeof v);
    return v;
}

static inline void store(float *to, lanes v)
{
    memcpy(to, &v, sizeof v);
}

static int64_t padded(int64_t n)
{
    return (n + LANES - 1) / LANES * LANES;
}

static int64_t longest_sequence(const packed_shape *shape)
{
    int64_t longest = 0;
    for (int64_t b = 0; b < shape->sequences; b++) {
        int64_t length = shape->cu_seqlens[b + 1] - shape->cu_seqlens[b];
        longest = length > longest ? length : longest;
    }
    return longest;
}

/* Whether there is enough to do to wake the other threads. */
static bool worth_threads(const packed_shape *shape)
{
    return shape->cu_seqlens[shape->sequences] * shape->channels > PARALLEL_ELEMENTS / 4;
}

/* Memory for each thread, in whole blocks of LANES so that no two threads share a cache line. */
static int scratch_new(int64_t floats_per_thread, int64_t *stride, float **out)
{
    *stride = padded(floats_per_thread);
    void *memory;
    if (memory_alloc((size_t)omp_get_max_threads() * (size_t)*stride * sizeof(float), &memory)) {
        return ICOT_FAILED;
    }
    *out = memory;
    return ICOT_OK;
}

/* ---- Building blocks ------------------------------------------------------------------------- */

/* rows (length, stride), D columns of which count -> transposed (D, padded length), 0 at the end */
static void transpose(int64_t length, int64_t width, int64_t stride, const float *rows,
                      float *transposed)
{
    int64_t row_length = padded(length);
    for (int64_t d = 0; d < width; d++) {
        float *row = transposed + d * row_length;
        for (int64_t i = 0; i < length; i++) row[i] = rows[i * stride + d];
        for (int64_t i = length; i < row_length; i++) row[i] = 0.0f;
    }
}

/* out_j = scale · Σ_d vector_d · transposed_dj, for whole blocks of keys up to `count` */
static void dot_columns(int64_t count, int64_t width, int64_t row_length, float scale,
                        const float *vector, const float *transposed, float *out)
{
    for (int64_t block = 0; block < count; block += LANES) {
        lanes even = {0}, odd = {0};
        int64_t d = 0;
        for (; d + 1 < width; d += 2) {
            even += vector[d] * load(transposed + d * row_length + block);
            odd += vector[d + 1] * load(transposed + (d + 1) * row_length + block);
        }
        if (d < width) even += vector[d] * load(transposed + d * row_length + block);
        store(out + block, scale * (even + odd));
    }
}

/*
 * target_d += Σ_j weights_j · rows_jd: channels in blocks of LANES, four rows in flight so that the
 * additions don't wait for each other; what is left of the channels one by one.
 */
static void add_weighted_rows(int64_t count, int64_t width, const float *weights,
                              int64_t weight_stride, const float *rows, int64_t row_stride,
                              float *target)
{
    int64_t d = 0;
    for (; d + LANES <= width; d += LANES) {
        lanes sum0 = {0}, sum1 = {0}, sum2 = {0}, sum3 = {0};
        const float *w = weights, *row = rows + d;
        int64_t j = 0;
        for (; j + 4 <= count; j += 4, w += 4 * weight_stride, row += 4 * row_stride) {
            sum0 += w[0] * load(row);
            sum1 += w[weight_stride] * load(row + row_stride);
            sum2 += w[2 * weight_stride] * load(row + 2 * row_stride);
            sum3 += w[3 * weight_stride] * load(row + 3 * row_stride);
        }
        for (; j < count; j++, w += weight_stride, row += row_stride) sum0 += w[0] * load(row);
        store(target + d, load(target + d) + (sum0 + sum1) + (sum2 + sum3));
    }
    for (; d < width; d++) {
        float sum = 0.0f;
        for (int64_t j = 0; j < count; j++) {
            sum += weights[j * weight_stride] * rows[j * row_stride + d];
        }
        target[d] += sum;
    }
}

/* Turns the first `count` scores into probabilities, the rest of the last block into 0; gives
 * log Σ exp(score). */
static float softmax_in_place(int64_t count, float *scores)
{
    int64_t end = padded(count);
    for (int64_t j = count; j < end; j++) scores[j] = -INFINITY;

    float largest[LANES], total[LANES] = {0};
    memcpy(largest, scores, sizeof largest);
    for (int64_t j = LANES; j < end; j += LANES) {
        for (int l = 0; l < LANES; l++) {
            largest[l] = scores[j + l] > largest[l] ? scores[j + l] : largest[l];
        }
    }
    float maximum = largest[0], sum = 0.0f;
    for (int l = 1; l < LANES; l++) maximum = largest[l] > maximum ? largest[l] : maximum;

    for (int64_t j = 0; j < end; j += LANES) {
        for (int l = 0; l < LANES; l++) {
            scores[j + l] = vector_exp(scores[j + l] - maximum);
            total[l] += scores[j + l];
        }
    }
    for (int l = 0; l < LANES; l++) sum += total[l];
    float inverse = 1.0f / sum;
    for (int64_t j = 0; j < end; j++) scores[j] *= inverse;
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

/* ---- Forward --------------------------------------------------------------------------------- */

int KERNEL(attention)(const packed_shape *shape, const float *qkv, float *y, float *logsumexp)
{
    int64_t C = shape->channels, H = shape->heads, D = C / H;
    int64_t longest = padded(longest_sequence(shape)), stride;
    float scale = 1.0f / sqrtf((float)D), *scratch;
    if (scratch_new((D + 2) * longest, &stride, &scratch)) return ICOT_FAILED;

#pragma omp parallel for schedule(dynamic, 4) if (worth_threads(shape))
    for (int64_t job = 0; job < shape->sequences * H; job++) {
        int64_t b = job / H, h = job % H, start = shape->cu_seqlens[b];
        int64_t length = shape->cu_seqlens[b + 1] - start;
        const float *query = qkv + start * 3 * C + h * D, *key = query + C, *value = key + C;
        float *keys = scratch + omp_get_thread_num() * stride; /* (D, padded length) */
        float *scores = keys + D * longest, *mask = scores + longest;

        transpose(length, D, 3 * C, key, keys);
        for (int64_t i = 0; i < length; i++) {
            float *out = y + (start + i) * C + h * D;
            dot_columns(i + 1, D, padded(length), scale, query + i * 3 * C, keys, scores);
            logsumexp[(start + i) * H + h] = softmax_in_place(i + 1, scores);
            if (shape->dropout > 0.0) {
                dropout_mask(shape, (start + i) * H + h, i + 1, mask);
                for (int64_t j = 0; j <= i; j++) scores[j] *= mask[j];
            }
            memset(out, 0, (size_t)D * sizeof *out);
            add_weighted_rows(i + 1, D, scores, 1, value, 3 * C, out);
        }
    }
    memory_free(scratch);
    return ICOT_OK;
}

/* ---- Backward -------------------------------------------------------------------------------- */

/* What the backward pass of one (sequence, head) works on. */
typedef struct head_backward {
    const packed_shape *shape;
    int64_t length, row_length; /* tokens; the same padded */
    int64_t first_row;          /* token · H + head of the first query */
    const float *query, *key, *value, *y, *dy, *logsumexp;
    float *dquery, *dkey, *dvalue;
    float *keys, *values; /* scratch: transposed, (D, row_length) */
    float *p, *ds;        /* scratch: weights and gradients of scores, (length, row_length) */
    float *mask;          /* scratch: (row_length) */
} head_backward;

/*
 * With P = softmax(scale·QKᵀ), Y = PV and δ_i = dY_i·Y_i:
 *   dV = Pᵀ dY,  dS = scale · P ∘ (dY Vᵀ - δ),  dQ = dS K,  dK = dSᵀ Q
 * With dropout, Y = (P∘M)V for a mask M: dV takes P∘M, and dS takes (dY Vᵀ)∘M; δ stays the same.
 * This computes row i of P∘M and of dS.
 */
static void weights_of_query(const head_backward *w, int64_t i)
{
    int64_t C = w->shape->channels, H = w->shape->heads, D = C / H, count = i + 1;
    const float *dy = w->dy + i * C, *y = w->y + i * C;
    float scale = 1.0f / sqrtf((float)D), logsumexp = w->logsumexp[i * H], delta = 0.0f;
    float *p = w->p + i * w->row_length, *ds = w->ds + i * w->row_length;

    for (int64_t d = 0; d < D; d++) delta += dy[d] * y[d];
    dot_columns(count, D, w->row_length, scale, w->query + i * 3 * C, w->keys, p);
    dot_columns(count, D, w->row_length, 1.0f, dy, w->values, ds);
    if (w->shape->dropout > 0.0) {
        dropout_mask(w->shape, w->first_row + i * H, count, w->mask);
        for (int64_t j = 0; j < count; j++) {
            float weight = vector_exp(p[j] - logsumexp);
            p[j] = weight * w->mask[j];
            ds[j] = scale * weight * (ds[j] * w->mask[j] - delta);
        }
    } else {
        for (int64_t block = 0; block < count; block += LANES) {
            for (int l = 0; l < LANES; l++) { /* what lies beyond `count` is not used */
                p[block + l] = vector_exp(p[block + l] - logsumexp);
                ds[block + l] = scale * p[block + l] * (ds[block + l] - delta);
            }
        }
    }
}

static void backward_head(const head_backward *w)
{
    int64_t C = w->shape->channels, D = C / w->shape->heads, length = w->length;
    transpose(length, D, 3 * C, w->key, w->keys);
    transpose(length, D, 3 * C, w->value, w->values);
    for (int64_t i = 0; i < length; i++) {
        weights_of_query(w, i);
        add_weighted_rows(i + 1, D, w->ds + i * w->row_length, 1, w->key, 3 * C,
                          w->dquery + i * 3 * C);
    }
    for (int64_t j = 0; j < length; j++) { /* key j is seen by the queries from j on */
        int64_t first = j * w->row_length + j;
        add_weighted_rows(length - j, D, w->ds + first, w->row_length, w->query + j * 3 * C, 3 * C,
                          w->dkey + j * 3 * C);
        add_weighted_rows(length - j, D, w->p + first, w->row_length, w->dy + j * C, C,
                          w->dvalue + j * 3 * C);
    }
}

int KERNEL(attention_backward)(const packed_shape *shape, const float *qkv, const float *y,
                               const float *logsumexp, const float *dy, bool accumulate,
                               float *dqkv)
{
    int64_t C = shape->channels, H = shape->heads, D = C / H;
    int64_t longest = padded(longest_sequence(shape)), stride;
    int64_t tokens = shape->cu_seqlens[shape->sequences];
    float *scratch;
    if (scratch_new((2 * D + 2 * longest + 1) * longest, &stride, &scratch)) return ICOT_FAILED;
    if (!accumulate) memset(dqkv, 0, (size_t)(tokens * 3 * C) * sizeof *dqkv);

#pragma omp parallel for schedule(dynamic, 4) if (worth_threads(shape))
    for (int64_t job = 0; job < shape->sequences * H; job++) {
        int64_t b = job / H, h = job % H, start = shape->cu_seqlens[b];
        int64_t length = shape->cu_seqlens[b + 1] - start;
        const float *query = qkv + start * 3 * C + h * D;
        float *dquery = dqkv + start * 3 * C + h * D;
        float *own = scratch + omp_get_thread_num() * stride;
        head_backward work = {
            .shape = shape,
            .length = length,
            .row_length = padded(length),
            .first_row = start * H + h,
            .query = query,
            .key = query + C,
            .value = query + 2 * C,
            .y = y + start * C + h * D,
            .dy = dy + start * C + h * D,
            .logsumexp = logsumexp + start * H + h,
            .dquery = dquery,
            .dkey = dquery + C,
            .dvalue = dquery + 2 * C,
            .keys = own,
            .values = own + D * longest,
            .p = own + 2 * D * longest,
            .ds = own + (2 * D + longest) * longest,
            .mask = own + (2 * D + 2 * longest) * longest,
        };
        backward_head(&work);
    }
    memory_free(scratch);
    return ICOT_OK;
}

/* ---- Decoding -------------------------------------------------------------------------------- */

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
    if (scratch_new(padded(cache->capacity), &stride, &scratch)) return ICOT_FAILED;

#pragma omp parallel for schedule(static) if (worth_threads(shape))
    for (int64_t b = 0; b < shape->sequences; b++) append_to_cache(shape, cache, b, qkv);

#pragma omp parallel for schedule(dynamic, 4) if (worth_threads(shape))
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
            add_weighted_rows(count, D, scores, 1, values, C, out);
        }
    }
    memory_free(scratch);
    return ICOT_OK;
}
