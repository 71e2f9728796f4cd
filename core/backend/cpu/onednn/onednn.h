/* What libicot_onednn.so exports; core/backend/cpu/onednn_loader.c finds it at run time. */
#ifndef ICOT_BACKEND_CPU_ONEDNN_H
#define ICOT_BACKEND_CPU_ONEDNN_H

#include <stdint.h>

typedef enum onednn_type { ONEDNN_FLOAT32, ONEDNN_BFLOAT16 } onednn_type;

/* c (m,n) = op(a) (m,k) · op(b) (k,n), plus bias (n), or added to what c holds: one of these, or
 * neither */
typedef struct onednn_product {
    int transpose_a, transpose_b, accumulate;
    int64_t m, n, k;
    int64_t lda, ldb, ldc; /* elements from one stored row to the next */
    const float *bias;     /* NULL: none */
} onednn_product;

/* `type` is that of a and b. Not 0: oneDNN refused it. */
__attribute__((visibility("default"))) int onednn_matmul(onednn_type type, const onednn_product *p,
                                                         const void *a, const void *b, float *c);

__attribute__((visibility("default"))) void onednn_describe(int *major, int *minor, int *patch);

#endif
