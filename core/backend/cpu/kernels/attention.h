/* What attention over whole sequences and attention over a cache have in common. */
#ifndef ICOT_BACKEND_CPU_KERNELS_ATTENTION_H
#define ICOT_BACKEND_CPU_KERNELS_ATTENTION_H

#include "backend/cpu/kernels/strip.h"

/* Whether there is enough to do to wake the other threads. */
static inline bool worth_threads(const packed_shape *shape)
{
    return shape->cu_seqlens[shape->sequences] * shape->channels > PARALLEL_ELEMENTS / 4;
}

/* Memory for each thread, in whole cache lines so that no two threads share one; *stride is what
 * lies between one thread's and the next's. */
int KERNEL(scratch_new)(int64_t floats_per_thread, int64_t *stride, float **out);

/* Turns the first `count` scores into probabilities, those from there to `end` (whole LANES) into
 * 0; gives log Σ exp(score). */
float KERNEL(softmax_in_place)(int64_t count, int64_t end, float *scores);

#endif
