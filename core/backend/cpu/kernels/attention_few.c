/*
 * Causal self-attention where sequences have few new rows behind their past, and work on copies
 * (attention.c) would be little else than copying: keys and values are read where they lie, and
 * gradients are added there.
 */
#include "backend/cpu/kernels/attention.h"
#include "backend/cpu/kernels/attention_rows.h"
#include "backend/packed.h"
#include "base/error.h"
#include "base/memory.h"

#include <math.h>

/* What all new rows of a call are attended with, forward or backward. */
typedef struct few_work {
    const packed_shape *shape;
    const past_rows *past;
    const float *rows;
    float *y, *sums;             /* what forward gives: results, and logsumexp */
    const float *logsumexp, *dy; /* what backward is given, */
    float *drows;                /* and adds to */
    float *scratch; /* `stride` floats for each thread: three rows of scores, one of channels */
    int64_t stride, row_length;
} few_work;

/* A head of a new row. */
typedef struct few_query {
    int64_t count;     /* the keys that it sees, its own the last */
    int64_t place;     /* in rows: of the first channel of the head, of the first row it sees */
    int64_t row, head; /* its row of past, for dropout */
    int64_t out;       /* in y: of its first channel */
    int64_t sum;       /* in logsumexp */
} few_query;

typedef void few_function(const few_work *w, const few_query *q, float *scratch);

/* All new rows of one head of a sequence, in their order. */
static void each_query(const few_work *w, int64_t job, int thread, few_function *attend)
{
    const int64_t H = w->shape->heads, C = w->shape->channels, b = job / H, h = job % H;
    const int64_t start = w->past->starts.host[b], before = w->past->lengths.host[b];
    const int64_t first = w->shape->cu_seqlens.host[b], end = w->shape->cu_seqlens.host[b + 1];
    for (int64_t i = first; i < end; i++) {
        const int64_t count = before + i - first + 1;
        const few_query query = {.count = count,
                                 .place = start * 3 * C + h * (C / H),
                                 .row = start + count - 1,
                                 .head = h,
                                 .out = i * C + h * (C / H),
                                 .sum = i * H + h};
        attend(w, &query, w->scratch + thread * w->stride);
    }
}

/* The mask of its weights; NULL: nothing is dropped. */
static const float *mask_of(const few_work *w, const few_query *q, float *mask)
{
    if (w->shape->drawn.p <= 0.0) return NULL;
    KERNEL(attention_mask)(w->shape, q->row, q->head, q->count, mask);
    return mask;
}

static void forward_query(const few_work *w, const few_query *q, float *scratch)
{
    const int64_t C = w->shape->channels, D = C / w->shape->heads, down = 3 * C;
    const float *keys = w->rows + q->place + C, *query = keys - C + (q->count - 1) * down;
    const float *mask = mask_of(w, q, scratch + w->row_length);
    score_rows(D, 1.0f / sqrtf((float)D), query, q->count, keys, down, scratch);
    const softmax_total total = KERNEL(exponentiate)(q->count, padded(q->count), scratch);
    w->sums[q->sum] = total.largest + logf(total.sum);
    for (int64_t j = 0; mask && j < q->count; j++) scratch[j] *= mask[j];
    mix_rows(D, q->count, 1.0f / total.sum, scratch, keys + C, down, w->y + q->out);
}

static void backward_query(const few_work *w, const few_query *q, float *p)
{
    const int64_t C = w->shape->channels, D = C / w->shape->heads, down = 3 * C, count = q->count;
    const float *keys = w->rows + q->place + C, *query = keys - C + (count - 1) * down;
    const float *dy = w->dy + q->out, one = 1.0f;
    float *ds = p + w->row_length, *mask = ds + w->row_length, *dquery = mask + w->row_length;
    float *dkeys = w->drows + q->place + C;
    const attention_row row = {.count = count,
                               .end = padded(count),
                               .scale = 1.0f / sqrtf((float)D),
                               .logsumexp = w->logsumexp[q->sum],
                               .mask = mask_of(w, q, mask)};
    score_rows(D, row.scale, query, count, keys, down, p);
    score_rows(D, 1.0f, dy, count, keys + C, down, ds);
    KERNEL(attention_slopes)(&row, p, ds);
    mix_rows(D, count, 1.0f, ds, keys, down, dquery);
    add_to_rows(D, dquery, 1, &one, dkeys - C + (count - 1) * down, down);
    add_to_rows(D, query, count, ds, dkeys, down);
    add_to_rows(D, dy, count, p, dkeys + C, down);
}

static void forward_job(const void *work, int64_t job, int thread)
{
    each_query(work, job, thread, forward_query);
}

static void backward_job(const void *work, int64_t job, int thread)
{
    each_query(work, job, thread, backward_query);
}

/* Whether what is read is enough to wake the other threads. */
static bool worth_threads(const few_work *w)
{
    int64_t keys = 0;
    for (int64_t b = 0; b < w->shape->sequences; b++) {
        const int64_t asking = w->shape->cu_seqlens.host[b + 1] - w->shape->cu_seqlens.host[b];
        keys += asking * (w->past->lengths.host[b] + asking);
    }
    return keys * w->shape->channels > PARALLEL_ELEMENTS;
}

static int attend_to_few(few_work w, piece_of_work *job)
{
    const int64_t H = w.shape->heads, D = w.shape->channels / H;
    w.row_length = padded(longest_with_past(w.shape, w.past));
    if (KERNEL(scratch_new)(3 * w.row_length + D, &w.stride, &w.scratch)) return ICOT_FAILED;
    const int failed = do_in_shares(worth_threads(&w), w.shape->sequences * H, job, &w);
    memory_free(w.scratch);
    return failed;
}

int KERNEL(attention_few)(const packed_shape *shape, const past_rows *past, const float *rows,
                          float *y, float *logsumexp)
{
    return attend_to_few(
        (few_work){.shape = shape, .past = past, .rows = rows, .y = y, .sums = logsumexp},
        forward_job);
}

int KERNEL(attention_few_backward)(const packed_shape *shape, const past_rows *past,
                                   const float *rows, const float *logsumexp, const float *dy,
                                   float *drows)
{
    return attend_to_few((few_work){.shape = shape,
                                    .past = past,
                                    .rows = rows,
                                    .logsumexp = logsumexp,
                                    .dy = dy,
                                    .drows = drows},
                         backward_job);
}
