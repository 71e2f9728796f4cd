/*
 * Causal self-attention of new rows to those that were there before, in training: new rows are
 * written behind their past, and attended to with it.
 */
#include "backend/cpu/kernels.h"
#include "backend/packed.h"
#include "base/error.h"

#include <string.h>

/* New rows of sequence b lie in one piece behind its past: the first of them, of rows (P,3C). */
static int64_t first_place(const packed_shape *shape, const past_rows *past, int64_t b)
{
    return ((int64_t)past->starts.host[b] + past->lengths.host[b]) * 3 * shape->channels;
}

static void append(const packed_shape *shape, const past_rows *past, const float *qkv, float *rows)
{
    const int32_t *first = shape->cu_seqlens.host;
    const int64_t width = 3 * shape->channels;
    for (int64_t b = 0; b < shape->sequences; b++) {
        const size_t bytes = (size_t)((first[b + 1] - first[b]) * width) * sizeof *rows;
        memcpy(rows + first_place(shape, past, b), qkv + first[b] * width, bytes);
    }
}

/* Whether it is quicker to read rows where they lie, again for each new one, than to copy them:
 * with AVX2, heads of 32 and 64 and pasts of 20 to 200 rows, 4 times for one new row, 1.1 to 1.6
 * times for 8, and no longer for 16 to 32. */
static bool few_are_new(const packed_shape *shape)
{
    enum { FEW = 8 };
    return longest_sequence(shape) <= FEW;
}

int KERNEL(attention_past)(const packed_shape *shape, const past_rows *past, const float *qkv,
                           float *rows, float *y, float *logsumexp)
{
    append(shape, past, qkv, rows);
    return few_are_new(shape) ? KERNEL(attention_few)(shape, past, rows, y, logsumexp)
                              : KERNEL(attention_behind)(shape, past, rows, y, logsumexp);
}

/* Moves what the new rows have got; without a target it is gone. */
static void take(const packed_shape *shape, const past_rows *past, float *drows, grad_target dqkv)
{
    const int32_t *first = shape->cu_seqlens.host;
    const int64_t width = 3 * shape->channels;
    for (int64_t b = 0; b < shape->sequences; b++) {
        const int64_t n = (first[b + 1] - first[b]) * width;
        float *from = drows + first_place(shape, past, b);
        float *to = dqkv.data ? dqkv.data + first[b] * width : NULL;
        for (int64_t i = 0; to && i < n; i++) to[i] = dqkv.accumulate ? to[i] + from[i] : from[i];
        memset(from, 0, (size_t)n * sizeof *from);
    }
}

int KERNEL(attention_past_backward)(const packed_shape *shape, const past_rows *past,
                                    const float *rows, const float *y, const float *logsumexp,
                                    const float *dy, float *drows, grad_target dqkv)
{
    (void)y; /* δ is worked out without it, as in attention */
    const int failed =
        few_are_new(shape)
            ? KERNEL(attention_few_backward)(shape, past, rows, logsumexp, dy, drows)
            : KERNEL(attention_behind_backward)(shape, past, rows, logsumexp, dy, drows);
    if (!failed) take(shape, past, drows, dqkv);
    return failed;
}
