#include "backend/cpu/kernels/attention.h"

#include "backend/cpu/kernels/reduce.h"
#include "backend/cpu/vector_math.h"
#include "base/counting.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/random.h"

#include <math.h>
#include <omp.h>

int KERNEL(scratch_new)(int64_t floats_per_thread, int64_t *stride, float **out)
{
    enum { CACHE_LINE = 16 }; /* floats */
    *stride = rounded_up(floats_per_thread, CACHE_LINE);
    void *memory;
    if (memory_alloc((size_t)omp_get_max_threads() * (size_t)*stride * sizeof(float), &memory)) {
        return ICOT_FAILED;
    }
    *out = memory;
    return ICOT_OK;
}

softmax_total KERNEL(exponentiate)(int64_t count, int64_t end, float *scores)
{
    float *last = scores + end - LANES, sums[LANES] = {0};
    const int in_last = (int)(count - (end - LANES));
    for (int l = 0; l < LANES; l++) last[l] = l < in_last ? last[l] : -INFINITY;

    lanes highest = load(last);
    for (const float *block = scores; block < last; block += LANES) {
        highest = larger_lanes(load(block), highest);
    }
    float largest = largest_of(highest);
    for (float *block = scores; block <= last; block += LANES) {
        for (int l = 0; l < LANES; l++) {
            block[l] = vector_exp(block[l] - largest);
            sums[l] += block[l];
        }
    }
    return (softmax_total){.sum = sum_of(load(sums)), .largest = largest};
}

void KERNEL(attention_mask)(const packed_shape *shape, int64_t row, int64_t head, int64_t count,
                            float *mask)
{
    const dropout_draw *drawn = &shape->drawn;
    const icot_random_key key = key_of_weights(drawn->key, (uint32_t)(drawn->first + row),
                                               (uint32_t)shape->heads, (uint32_t)head);
    const dropout_rule rule = dropout_rule_of(drawn->p);
    for (int64_t j = 0; j < count; j += RANDOM_LANES) {
        uint32_t words[RANDOM_LANES];
        random_words(key, (uint32_t)(j / RANDOM_LANES), words);
        for (int64_t k = 0; k < RANDOM_LANES && j + k < count; k++) {
            mask[j + k] = kept_share(rule, words[k]);
        }
    }
}

/* Σ a·b of whole LANES */
static float dot(int64_t n, const float *a, const float *b)
{
    lanes sums = {0};
    for (int64_t j = 0; j < n; j += LANES) sums += load(a + j) * load(b + j);
    return sum_of(sums);
}

/* δ is P·G here: both are at hand, and y need not be. */
void KERNEL(attention_slopes)(const attention_row *row, float *p, float *ds)
{
    const int64_t count = row->count, end = row->end;
    const float scale = row->scale, logsumexp = row->logsumexp, *mask = row->mask;
    for (int64_t j = 0; j < end; j++) p[j] = vector_exp(p[j] - logsumexp);
    for (int64_t j = count; j < end; j++) p[j] = ds[j] = 0.0f;
    for (int64_t j = 0; mask && j < count; j++) ds[j] *= mask[j];
    const float delta = dot(end, p, ds);
    for (int64_t j = 0; j < end; j++) ds[j] = scale * p[j] * (ds[j] - delta);
    for (int64_t j = 0; mask && j < count; j++) p[j] *= mask[j];
}
