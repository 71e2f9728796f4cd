/*
 * Causal self-attention of new tokens over a cache of keys and values, for decoding.
 *
 * There are few rows, and short ones: what counts is that nothing waits. Keys are taken four at a
 * time, so that their sums are folded together, and some heads of a sequence are worked on in turn,
 * so that there is always a row that doesn't hang on the one before.
 */
#include "backend/cpu/kernels/attention.h"
#include "backend/cpu/kernels/attention_rows.h"
#include "base/counting.h"
#include "base/error.h"
#include "base/memory.h"

#include <math.h>
#include <omp.h>

enum { MOST_HEADS_AT_ONCE = 4 };

/* Some heads of one sequence; the arrays begin at the first of these heads. */
typedef struct head_group {
    int64_t heads, width, channels; /* heads of the group; D; C */
    int64_t cached, tokens;         /* in the cache before; new */
    const float *qkv;               /* (tokens, 3C) */
    float *keys, *values;           /* (capacity, C) */
    float *y;                       /* (tokens, C) */
    float *weights;                 /* scratch, (heads, row_length) */
    int64_t row_length;             /* the cache's capacity, in whole LANES */
} head_group;

static void append_to_cache(const head_group *g)
{
    int64_t C = g->channels;
    size_t bytes = (size_t)(g->heads * g->width) * sizeof(float);
    for (int64_t i = 0; i < g->tokens; i++) {
        const float *row = g->qkv + i * 3 * C;
        memcpy(g->keys + (g->cached + i) * C, row + C, bytes);
        memcpy(g->values + (g->cached + i) * C, row + 2 * C, bytes);
    }
}

/* The scores of token i's queries and all keys that they see; of up to 3 beyond, something. */
static void score_heads(const head_group *g, int64_t i)
{
    int64_t C = g->channels, D = g->width, count = g->cached + i + 1;
    float scale = 1.0f / sqrtf((float)D);
    for (int64_t j = 0; j < count; j += KEYS_AT_ONCE) {
        const float *keys[KEYS_AT_ONCE];
        for (int k = 0; k < KEYS_AT_ONCE; k++) {
            keys[k] = g->keys + (j + k < count ? j + k : count - 1) * C;
        }
        for (int64_t h = 0; h < g->heads; h++) {
            score_keys(D, scale, g->qkv + i * 3 * C + h * D, keys,
                       g->weights + h * g->row_length + j);
            for (int k = 0; k < KEYS_AT_ONCE; k++) keys[k] += D;
        }
    }
}

static void attend(const head_group *g, int64_t i)
{
    int64_t C = g->channels, D = g->width, count = g->cached + i + 1;
    float sums[MOST_HEADS_AT_ONCE];
    score_heads(g, i);
    for (int64_t h = 0; h < g->heads; h++) {
        sums[h] = KERNEL(exponentiate)(count, padded(count), g->weights + h * g->row_length).sum;
    }
    for (int64_t h = 0; h < g->heads; h++) {
        mix_rows(D, count, 1.0f / sums[h], g->weights + h * g->row_length, g->values + h * D, C,
                 g->y + i * C + h * D);
    }
}

/* What the heads of all sequences are attended with. */
typedef struct cached_work {
    const packed_shape *shape;
    const kv_cache *cache;
    const float *qkv;
    float *y, *scratch;
    int64_t at_once, stride; /* heads of a group; what lies between two threads' scratch */
} cached_work;

static head_group group_of(const cached_work *w, int64_t b, int64_t head)
{
    const packed_shape *shape = w->shape;
    int64_t C = shape->channels, D = C / shape->heads, start = shape->cu_seqlens.host[b];
    int64_t in_cache = w->cache->slots.host[b] * w->cache->capacity * C + head * D;
    return (head_group){
        .heads = smaller(shape->heads - head, w->at_once),
        .width = D,
        .channels = C,
        .cached = w->cache->lengths.host[b],
        .tokens = shape->cu_seqlens.host[b + 1] - start,
        .qkv = w->qkv + start * 3 * C + head * D,
        .keys = w->cache->keys + in_cache,
        .values = w->cache->values + in_cache,
        .y = w->y + start * C + head * D,
        .weights = w->scratch + omp_get_thread_num() * w->stride,
        .row_length = padded(w->cache->capacity),
    };
}

/* Threads take some groups at a time: to ask for each costs as much as a short one. */
static void attend_all(const cached_work *w)
{
    enum { TIMES = 8 }; /* that a thread asks for more */
    int64_t groups = parts_of(w->shape->heads, w->at_once);
    int64_t jobs = w->shape->sequences * groups, chunk = jobs / (TIMES * omp_get_num_threads()) + 1;
#pragma omp for schedule(dynamic, chunk) nowait
    for (int64_t job = 0; job < jobs; job++) {
        const head_group g = group_of(w, job / groups, job % groups * w->at_once);
        append_to_cache(&g);
        for (int64_t i = 0; i < g.tokens; i++) attend(&g, i);
    }
}

/* Numbers of keys that are read, all together. */
static int64_t numbers_read(const packed_shape *shape, const kv_cache *cache)
{
    int64_t keys = 0;
    for (int64_t b = 0; b < shape->sequences; b++) {
        int64_t tokens = shape->cu_seqlens.host[b + 1] - shape->cu_seqlens.host[b];
        keys += tokens * (cache->lengths.host[b] + tokens);
    }
    return keys * shape->channels;
}

/* Heads of a sequence that are worked on together: few enough that each thread has some to do. */
static int64_t heads_at_once(const packed_shape *shape, int64_t threads)
{
    enum { JOBS = 4 }; /* per thread */
    int64_t most = threads > 1 ? shape->sequences * shape->heads / (JOBS * threads) : shape->heads;
    return most < 1 ? 1 : smaller(most, MOST_HEADS_AT_ONCE);
}

int KERNEL(attention_cached)(const packed_shape *shape, const float *qkv, const kv_cache *cache,
                             float *y)
{
    enum { NUMBERS_PER_ELEMENT = 8 }; /* one multiplication each: little work */
    bool shared = numbers_read(shape, cache) > NUMBERS_PER_ELEMENT * PARALLEL_ELEMENTS;
    cached_work work = {.shape = shape, .cache = cache, .qkv = qkv, .y = y};
    work.at_once = heads_at_once(shape, shared ? omp_get_max_threads() : 1);
    if (KERNEL(scratch_new)(work.at_once * padded(cache->capacity), &work.stride, &work.scratch)) {
        return ICOT_FAILED;
    }
    BY_THREADS(shared, attend_all(&work));
    memory_free(work.scratch);
    return ICOT_OK;
}
