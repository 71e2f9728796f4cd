/* A vector made one number: halves are put together until one is left; and chunks of rows made one
 * sum. */
#ifndef ICOT_BACKEND_CPU_KERNELS_REDUCE_H
#define ICOT_BACKEND_CPU_KERNELS_REDUCE_H

#include "backend/cpu/kernels/transpose.h"

static inline lanes larger_lanes(lanes a, lanes b)
{
    typedef int32_t bits __attribute__((vector_size(sizeof(lanes))));
    bits above = a > b;
    return (lanes)((above & (bits)a) | (~above & (bits)b));
}

static inline float largest_of(lanes v)
{
    for (int n = LANES; n > 1; n /= 2)
        v = larger_lanes(alternate_first(v, v), alternate_second(v, v));
    return v[0];
}

static inline float sum_of(lanes v)
{
    for (int n = LANES; n > 1; n /= 2) v = alternate_first(v, v) + alternate_second(v, v);
    return v[0];
}

/* sums (C) from those of each chunk of rows, which lie `down` apart, in their order: the same for
 * any number of threads. On top of what is there if accumulate is set. */
static inline void add_chunks(int64_t chunks, int64_t columns, int64_t down, const float *partial,
                              bool accumulate, float *sums)
{
    for (int64_t c = 0; c < columns; c++) {
        double total = accumulate ? (double)sums[c] : 0.0;
        for (int64_t i = 0; i < chunks; i++) total += (double)partial[i * down + c];
        sums[c] = (float)total;
    }
}

#endif
