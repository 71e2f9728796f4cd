/* Matrix products in float32 on the CPU: the one place that knows OpenBLAS. Where it is there,
 * oneDNN takes the shapes for which it is faster. */
#ifndef ICOT_BACKEND_CPU_MATMUL_H
#define ICOT_BACKEND_CPU_MATMUL_H

#include <stdbool.h>
#include <stdint.h>

/* See `matmul` in backend/backend.h. */
int cpu_matmul(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, const void *a,
               int64_t lda, const void *b, int64_t ldb, const float *bias, bool accumulate,
               float *c, int64_t ldc);

#endif
