/* Matrix products in bfloat16 with float32 sums. */
#ifndef ICOT_BACKEND_CPU_MATMUL_BF16_H
#define ICOT_BACKEND_CPU_MATMUL_BF16_H

#include <stdbool.h>
#include <stdint.h>

/* Whether oneDNN is there and this CPU multiplies bfloat16 itself; fails with what is missing. */
int cpu_bf16_check(void);

/* See `matmul` in backend/backend.h; a and b are bfloat16, filled up with rows of zeros to whole
 * pieces (pieces.h). */
int cpu_matmul_bf16(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k,
                    const void *a, int64_t lda, const void *b, int64_t ldb, const float *bias,
                    bool accumulate, float *c, int64_t ldc);

#endif
