/* Causal self-attention of new tokens over a cache of keys and values, for decoding. */
#include "backend/cpu/kernels/attention.h"
#include "base/error.h"
#include "base/memory.h"

#include <math.h>
#include <omp.h>

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
    if (KERNEL(scratch_new)(padded(cache->capacity), &stride, &scratch)) return ICOT_FAILED;

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
            KERNEL(softmax_in_place)(count, padded(count), scores);
            memset(out, 0, (size_t)D * sizeof *out);
            add_weighted_rows(count, D, scores, 1, values, C, out);
        }
    }
    memory_free(scratch);
    return ICOT_OK;
}
