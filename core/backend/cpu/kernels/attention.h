/* What attention over whole sequences and attention over a cache have in common. */
#ifndef ICOT_BACKEND_CPU_KERNELS_ATTENTION_H
#define ICOT_BACKEND_CPU_KERNELS_ATTENTION_H

#include "backend/cpu/kernels.h"
#include "backend/cpu/kernels/lanes.h"

/* Memory for each thread, in whole cache lines so that no two threads share one; *stride is what
 * lies between one thread's and the next's. */
int KERNEL(scratch_new)(int64_t floats_per_thread, int64_t *stride, float **out);

/* What exponentials have to be divided by, and what was subtracted before. */
typedef struct softmax_total {
    float sum, largest;
} softmax_total;

/* Turns the first `count` scores into exp(score - largest of them), those from there to `end`
 * (whole LANES) into 0. */
softmax_total KERNEL(exponentiate)(int64_t count, int64_t end, float *scores);

#endif
