/* What the kernels of attention have in common. */
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

/* What is kept of the weights that a row of the batch gives to its first `count` keys. */
void KERNEL(attention_mask)(const packed_shape *shape, int64_t row, int64_t head, int64_t count,
                            float *mask);

/* What backward has to know about the query of a row. */
typedef struct attention_row {
    int64_t count, end; /* the keys that it sees; those whose scores are there, whole LANES */
    float scale, logsumexp;
    const float *mask; /* (count); NULL: nothing is dropped */
} attention_row;

/* Turns its row of scale·QKᵀ (end) and of dY Vᵀ (end) into one of P∘M and of dS (backend.h). */
void KERNEL(attention_slopes)(const attention_row *row, float *p, float *ds);

#endif
