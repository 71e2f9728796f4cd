/* Matrix products on the CPU: the one place that knows OpenBLAS, which does those in float32 whose
 * right factor is not in tiles. See `matmul` in backend/backend.h. */
#ifndef ICOT_BACKEND_CPU_MATMUL_H
#define ICOT_BACKEND_CPU_MATMUL_H

#include "backend/backend.h"

int cpu_matmul(bool transpose_a, int64_t m, const void *a, const right_factor *b, const float *bias,
               bool accumulate, float *c);
int cpu_matmul_factor(int64_t m, const void *a, const right_factor *b, const void *bias, void *c);

/* In bfloat16 with float32 sums: a and b are filled up with rows of zeros as tiled_multiple says
 * (tiling.h). */
int cpu_matmul_bf16(bool transpose_a, int64_t m, const void *a, const right_factor *b,
                    const float *bias, bool accumulate, float *c);
int cpu_matmul_factor_bf16(int64_t m, const void *a, const right_factor *b, const void *bias,
                           void *c);

/* Whether this CPU multiplies bfloat16 itself; fails with what is missing. */
int cpu_bf16_check(void);

#endif
