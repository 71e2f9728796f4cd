/* A vector made one number: halves are put together until one is left. */
#ifndef ICOT_BACKEND_CPU_KERNELS_REDUCE_H
#define ICOT_BACKEND_CPU_KERNELS_REDUCE_H

#include "backend/cpu/kernels/transpose.h"

static inline lanes larger(lanes a, lanes b)
{
    typedef int32_t bits __attribute__((vector_size(sizeof(lanes))));
    bits above = a > b;
    return (lanes)((above & (bits)a) | (~above & (bits)b));
}

static inline float largest_of(lanes v)
{
    for (int n = LANES; n > 1; n /= 2) v = larger(alternate_first(v, v), alternate_second(v, v));
    return v[0];
}

static inline float sum_of(lanes v)
{
    for (int n = LANES; n > 1; n /= 2) v = alternate_first(v, v) + alternate_second(v, v);
    return v[0];
}

#endif
