/*
 * Causal self-attention over packed sequences, one (sequence, head) at a time.
 *
 * Rows of qkv hold query, key and value of a token, C channels each; head h uses channels
 * h·D … h·D+D-1. What a head needs is copied into scratch memory, where rows lie close together,
 * and then multiplied strip by strip (strip.h): as many keys as the last query of a strip sees.
 *
 * Compiled as the other kernels are, and once more with CPU_ISA=bf16, where what is read and
 * written is bfloat16 (elements.h); all between is float32.
 */
#include "backend/cpu/kernels/attention.h"
#include "backend/cpu/kernels/strip.h"
#include "backend/cpu/kernels/transpose.h"
#include "backend/cpu/shares.h"
#include "backend/packed.h"
#include "base/counting.h"
#include "base/error.h"
#include "base/memory.h"

#include <math.h>

/* Whether there is enough to do to wake the other threads. An element of q takes more than one of a
 * plain loop, since it meets all keys before it: it counts as four of them. */
static bool worth_threads(const packed_shape *shape)
{
    enum { TIMES_THE_WORK = 4 };
    const int64_t elements = shape->cu_seqlens.host[shape->sequences] * shape->channels;
    return elements > PARALLEL_ELEMENTS / TIMES_THE_WORK;
}

/* ---- Sequences ------------------------------------------------------------------------------- */

/* Rows of a sequence in qkv; the first `past` of them ask for nothing, and have no row of y. */
typedef struct span {
    int64_t start, length, past;
    int64_t out; /* the row of y of the first that asks */
} span;

/* past: NULL for sequences of which all rows ask */
static span span_of(const packed_shape *shape, const past_rows *past, int64_t b)
{
    const int64_t out = shape->cu_seqlens.host[b], asking = shape->cu_seqlens.host[b + 1] - out;
    if (!past) return (span){.start = out, .length = asking, .out = out};
    const int64_t before = past->lengths.host[b];
    return (span){.start = past->starts.host[b],
                  .length = asking > 0 ? before + asking : 0,
                  .past = asking > 0 ? before : 0,
                  .out = out};
}

static int64_t longest_span(const packed_shape *shape, const past_rows *past)
{
    return past ? longest_with_past(shape, past) : longest_sequence(shape);
}

/* ---- Copies of a head's rows ----------------------------------------------------------------- */

/*
 * The rows of one head lie far apart, so each is a new wait for memory. The next head's lie right
 * behind them, and are mostly what this thread needs next: they are called for in time.
 */
static inline void prefetch_next_head(const element *row, int64_t width)
{
    for (int64_t d = 0; d < width; d += LANES) __builtin_prefetch(row + width + d);
}

/* rows (length, stride), D columns of which count -> (length, padded D), 0 at the end of each */
static matrix gather_head(int64_t length, int64_t width, int64_t stride, const element *rows,
                          float *copy)
{
    int64_t across = padded(width);
    for (int64_t i = 0; i < length; i++) {
        prefetch_next_head(rows + i * stride, width);
        for (int64_t d = 0; d < width; d += LANES) {
            store(copy + i * across + d, load_some(width - d, rows + i * stride + d));
        }
    }
    return (matrix){.data = copy, .down = across, .across = 1};
}

/* The same, transposed: (D, padded length), 0 at the end of each row */
static matrix transpose_head(int64_t length, int64_t width, int64_t stride, const element *rows,
                             float *copy)
{
    int64_t across = padded(length);
    for (int64_t i = 0; i < length; i++) prefetch_next_head(rows + i * stride, width);
    for (int64_t i = 0; i < length; i += LANES) {
        for (int64_t d = 0; d < width; d += LANES) {
            int64_t there = smaller(length - i, LANES);
            int64_t wide = smaller(width - d, LANES);
            lanes block[LANES] = {0};
            for (int64_t r = 0; r < there; r++) {
                block[r] = load_some(wide, rows + (i + r) * stride + d);
            }
            transpose_block(block);
            for (int64_t c = 0; c < wide; c++) store(copy + (d + c) * across + i, block[c]);
        }
    }
    return (matrix){.data = copy, .down = across, .across = 1};
}

/* from (rows, padded D) to (rows, stride), D columns each */
static void put_rows(int64_t rows, int64_t width, const float *from, bool accumulate, element *to,
                     int64_t stride)
{
    for (int64_t i = 0; i < rows; i++, from += padded(width), to += stride) {
        prefetch_next_head(to, width);
        for (int64_t d = 0; d < width; d += LANES) {
            lanes sum = load(from + d);
            if (accumulate) sum += load_some(width - d, to + d);
            store_some(width - d, sum, to + d);
        }
    }
}

/* The matrix without its first rows. */
static matrix below(matrix m, int64_t rows)
{
    m.data += rows * m.down;
    return m;
}

/* ---- Forward --------------------------------------------------------------------------------- */

/* What the forward pass of one (sequence, head) works on. */
typedef struct head_forward {
    const packed_shape *shape;
    span at;              /* the sequence */
    int64_t width;        /* D */
    int64_t head;         /* which one it is */
    const element *query; /* of the sequence's first row; rows lie 3C apart */
    matrix keys;          /* copy: (D, padded length) */
    matrix values;        /* copy: (length, padded D) */
    float *scores;        /* scratch (STRIP_ROWS, padded length): a strip of scores, then weights */
    float *strip;         /* scratch (STRIP_ROWS, padded D): of queries, later of results */
    float *mask;          /* scratch (padded length): a row of the mask */
    element *y;           /* the first row of results; rows lie C apart */
    float *logsumexp;     /* of the first that asks; those of the others lie H apart */
} head_forward;

/* Turns the first `count` scores into probabilities, those from there to `end` (whole LANES) into
 * 0; gives log Σ exp(score). */
static float softmax_in_place(int64_t count, int64_t end, float *scores)
{
    const softmax_total total = KERNEL(exponentiate)(count, end, scores);
    float inverse = 1.0f / total.sum;
    for (int64_t j = 0; j < end; j++) scores[j] *= inverse;
    return total.largest + logf(total.sum);
}

static void forward_strip(const head_forward *w, int64_t first)
{
    int64_t H = w->shape->heads, C = w->shape->channels, rows = strip_rows(first, w->at.length);
    int64_t seen = first + rows, end = padded(seen), asked = first - w->at.past;
    const matrix queries = gather_head(rows, w->width, 3 * C, w->query + first * 3 * C, w->strip);
    multiply_strip(rows, end, w->width, 1.0f / sqrtf((float)w->width), queries, w->keys, w->scores,
                   end);
    for (int64_t r = 0; r < rows; r++) {
        int64_t i = first + r, count = i + 1;
        float *weights = w->scores + r * end;
        w->logsumexp[(asked + r) * H] = softmax_in_place(count, end, weights);
        if (w->shape->drawn.p > 0.0) {
            KERNEL(attention_mask)(w->shape, w->at.start + i, w->head, count, w->mask);
            for (int64_t j = 0; j < count; j++) weights[j] *= w->mask[j];
        }
    }
    const matrix weights = {.data = w->scores, .down = end, .across = 1};
    multiply_strip(rows, padded(w->width), seen, 1.0f, weights, w->values, w->strip,
                   padded(w->width));
    put_rows(rows, w->width, w->strip, false, w->y + asked * C, C);
}

typedef struct forward_work {
    const packed_shape *shape;
    const past_rows *past;
    const element *qkv;
    element *y;
    float *logsumexp;
    float *scratch; /* `stride` floats for each thread */
    int64_t longest, stride;
} forward_work;

/* A piece of work is a (sequence, head). */
static void forward_head(const void *work, int64_t job, int thread)
{
    const forward_work *f = work;
    const packed_shape *shape = f->shape;
    const int64_t C = shape->channels, H = shape->heads, D = C / H, Dp = padded(D);
    const int64_t h = job % H, longest = f->longest;
    const span at = span_of(shape, f->past, job / H);
    const element *query = f->qkv + at.start * 3 * C + h * D;
    float *own = f->scratch + thread * f->stride;
    const head_forward head = {
        .shape = shape,
        .at = at,
        .width = D,
        .head = h,
        .query = query,
        .keys = transpose_head(at.length, D, 3 * C, query + C, own),
        .values = gather_head(at.length, D, 3 * C, query + 2 * C, own + D * longest),
        .scores = own + (D + Dp) * longest,
        .mask = own + (D + Dp + STRIP_ROWS) * longest,
        .strip = own + (D + Dp + STRIP_ROWS + 1) * longest,
        .y = f->y + at.out * C + h * D,
        .logsumexp = f->logsumexp + at.out * H + h,
    };
    for (int64_t i = at.past; i < at.length; i += strip_rows(i, at.length)) {
        forward_strip(&head, i);
    }
}

int KERNEL(attention_behind)(const packed_shape *shape, const past_rows *past, const element *qkv,
                             element *y, float *logsumexp)
{
    const int64_t D = shape->channels / shape->heads, Dp = padded(D);
    forward_work work = {.shape = shape, .past = past, .qkv = qkv, .y = y, .logsumexp = logsumexp};
    work.longest = padded(longest_span(shape, past));
    if (KERNEL(scratch_new)((D + Dp + STRIP_ROWS + 1) * work.longest + STRIP_ROWS * Dp,
                            &work.stride, &work.scratch)) {
        return ICOT_FAILED;
    }
    const int failed =
        do_in_shares(worth_threads(shape), shape->sequences * shape->heads, forward_head, &work);
    memory_free(work.scratch);
    return failed;
}

int KERNEL(attention)(const packed_shape *shape, const element *qkv, element *y, float *logsumexp)
{
    return KERNEL(attention_behind)(shape, NULL, qkv, y, logsumexp);
}

/* ---- Backward -------------------------------------------------------------------------------- */

/* What the backward pass of one (sequence, head) works on. */
typedef struct head_backward {
    const packed_shape *shape;
    span at;                           /* the sequence */
    int64_t width;                     /* D */
    int64_t row_length;                /* padded length */
    int64_t head;                      /* which one it is */
    const float *logsumexp;            /* of the first that asks; the others' lie H apart */
    matrix queries, slopes;            /* copies of those that ask: (asking, padded D), dy's rows */
    matrix keys, values;               /* copies: (length, padded D) */
    matrix keys_across, values_across; /* copies: (D, row_length) */
    float *p;                          /* scratch (asking, row_length): P, then P∘M */
    float *ds;                         /* scratch (asking, row_length): dY Vᵀ, then dS */
    float *strip;                      /* scratch (STRIP_ROWS, padded D) */
    float *mask;                       /* scratch (row_length): a row of the mask */
    bool accumulate;                   /* adds to dquery, dkey and dvalue */
    element *y;                        /* first row of results, C apart; NULL: not wanted */
    element *dquery, *dkey, *dvalue;   /* of the sequence's first row, 3C apart */
} head_backward;

/* Turns a row of scale·QKᵀ and of dY Vᵀ, that of row i of the sequence, into one of P∘M and of dS,
 * with 0 from key i+1 to `end`. */
static void weights_of_query(const head_backward *w, int64_t i, int64_t end)
{
    const int64_t asked = i - w->at.past, down = asked * w->row_length;
    const bool drops = w->shape->drawn.p > 0.0;
    if (drops) KERNEL(attention_mask)(w->shape, w->at.start + i, w->head, i + 1, w->mask);
    const attention_row row = {.count = i + 1,
                               .end = end,
                               .scale = 1.0f / sqrtf((float)w->width),
                               .logsumexp = w->logsumexp[asked * w->shape->heads],
                               .mask = drops ? w->mask : NULL};
    KERNEL(attention_slopes)(&row, w->p + down, w->ds + down);
}

/* Weights, gradients of scores, dQ and, if it is wanted, Y for a strip of queries. */
static void backward_of_queries(const head_backward *w, int64_t first)
{
    int64_t rows = strip_rows(first, w->at.length), seen = first + rows, end = padded(seen);
    int64_t C = w->shape->channels, D = w->width, asked = first - w->at.past;
    float *p = w->p + asked * w->row_length, *ds = w->ds + asked * w->row_length;
    multiply_strip(rows, end, D, 1.0f / sqrtf((float)D), below(w->queries, asked), w->keys_across,
                   p, w->row_length);
    multiply_strip(rows, end, D, 1.0f, below(w->slopes, asked), w->values_across, ds,
                   w->row_length);
    for (int64_t r = 0; r < rows; r++) weights_of_query(w, first + r, end);
    const matrix of_scores = {.data = ds, .down = w->row_length, .across = 1};
    multiply_strip(rows, padded(D), seen, 1.0f, of_scores, w->keys, w->strip, padded(D));
    put_rows(rows, D, w->strip, w->accumulate, w->dquery + first * 3 * C, 3 * C);
    if (!w->y) return;
    const matrix weights = {.data = p, .down = w->row_length, .across = 1};
    multiply_strip(rows, padded(D), seen, 1.0f, weights, w->values, w->strip, padded(D));
    put_rows(rows, D, w->strip, false, w->y + asked * C, C);
}

/* dK and dV for a strip of keys: key j is seen by the queries from j on. */
static void backward_of_keys(const head_backward *w, int64_t first)
{
    int64_t rows = strip_rows(first, w->at.length), C = w->shape->channels, D = w->width;
    const int64_t asked = larger(first - w->at.past, 0); /* the first query that sees it */
    const int64_t seen_by = w->at.length - w->at.past - asked;
    const int64_t corner = asked * w->row_length + first;
    const matrix ds = {.data = w->ds + corner, .down = 1, .across = w->row_length};
    const matrix p = {.data = w->p + corner, .down = 1, .across = w->row_length};
    multiply_strip(rows, padded(D), seen_by, 1.0f, ds, below(w->queries, asked), w->strip,
                   padded(D));
    put_rows(rows, D, w->strip, w->accumulate, w->dkey + first * 3 * C, 3 * C);
    multiply_strip(rows, padded(D), seen_by, 1.0f, p, below(w->slopes, asked), w->strip, padded(D));
    put_rows(rows, D, w->strip, w->accumulate, w->dvalue + first * 3 * C, 3 * C);
}

/* The scratch memory of a head: four copies of its rows and two of its columns, P and dS, … */
static int64_t backward_floats(int64_t D, int64_t longest, int64_t asking)
{
    return (4 * padded(D) + 2 * D + 2 * asking + 1) * longest + STRIP_ROWS * padded(D);
}

typedef struct backward_work {
    const packed_shape *shape;
    const past_rows *past;
    const element *qkv, *dy;
    const float *logsumexp;
    bool accumulate;
    element *y, *dqkv;
    float *scratch; /* `stride` floats for each thread */
    int64_t stride;
} backward_work;

static void backward_head(const void *work, int64_t job, int thread)
{
    const backward_work *all = work;
    const packed_shape *shape = all->shape;
    const int64_t C = shape->channels, H = shape->heads, D = C / H, h = job % H;
    const span at = span_of(shape, all->past, job / H);
    const int64_t length = at.length, asking = length - at.past, across = padded(length);
    const int64_t copy = padded(D) * across;
    const element *query = all->qkv + at.start * 3 * C + h * D, *asked = query + at.past * 3 * C;
    element *dquery = all->dqkv + at.start * 3 * C + h * D;
    float *scratch = all->scratch + thread * all->stride, *columns = scratch + 4 * copy;
    float *scores = columns + 2 * D * across, *rest = scores + 2 * asking * across;
    head_backward w = {
        .shape = shape,
        .at = at,
        .width = D,
        .row_length = across,
        .head = h,
        .logsumexp = all->logsumexp + at.out * H + h,
        .queries = gather_head(asking, D, 3 * C, asked, scratch),
        .keys = gather_head(length, D, 3 * C, query + C, scratch + copy),
        .slopes = gather_head(asking, D, C, all->dy + at.out * C + h * D, scratch + 2 * copy),
        .keys_across = transpose_head(length, D, 3 * C, query + C, columns),
        .values_across = transpose_head(length, D, 3 * C, query + 2 * C, columns + D * across),
        .p = scores,
        .ds = scores + asking * across,
        .mask = rest,
        .strip = rest + across,
        .accumulate = all->accumulate,
        .dquery = dquery,
        .dkey = dquery + C,
        .dvalue = dquery + 2 * C,
    };
    if (all->y) {
        w.values = gather_head(length, D, 3 * C, query + 2 * C, scratch + 3 * copy);
        w.y = all->y + at.out * C + h * D;
    }
    for (int64_t i = at.past; i < length; i += strip_rows(i, length)) backward_of_queries(&w, i);
    for (int64_t j = 0; j < length; j += STRIP_ROWS) backward_of_keys(&w, j);
}

static int backward_by(backward_work work)
{
    const packed_shape *shape = work.shape;
    const int64_t D = shape->channels / shape->heads, longest = longest_span(shape, work.past);
    const int64_t floats = backward_floats(D, padded(longest), longest_sequence(shape));
    if (KERNEL(scratch_new)(floats, &work.stride, &work.scratch)) return ICOT_FAILED;
    const int failed =
        do_in_shares(worth_threads(shape), shape->sequences * shape->heads, backward_head, &work);
    memory_free(work.scratch);
    return failed;
}

int KERNEL(attention_backward_anew)(const packed_shape *shape, const element *qkv,
                                    const float *logsumexp, const element *dy, bool accumulate,
                                    element *y, element *dqkv)
{
    return backward_by((backward_work){.shape = shape,
                                       .qkv = qkv,
                                       .dy = dy,
                                       .logsumexp = logsumexp,
                                       .accumulate = accumulate,
                                       .y = y,
                                       .dqkv = dqkv});
}

int KERNEL(attention_behind_backward)(const packed_shape *shape, const past_rows *past,
                                      const element *qkv, const float *logsumexp, const element *dy,
                                      element *dqkv)
{
    return backward_by((backward_work){.shape = shape,
                                       .past = past,
                                       .qkv = qkv,
                                       .dy = dy,
                                       .logsumexp = logsumexp,
                                       .accumulate = true,
                                       .dqkv = dqkv});
}

/* δ is worked out without y (weights_of_query). */
int KERNEL(attention_backward)(const packed_shape *shape, const element *qkv, const element *y,
                               const float *logsumexp, const element *dy, bool accumulate,
                               element *dqkv)
{
    (void)y;
    return KERNEL(attention_backward_anew)(shape, qkv, logsumexp, dy, accumulate, NULL, dqkv);
}
