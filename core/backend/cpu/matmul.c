#include "backend/cpu/matmul.h"

#include "base/error.h"
#include "icot.h"

#include <string.h>

#include <cblas.h>

enum { PARALLEL_ELEMENTS = 16384 };

/* c = bias in every row, or 0 */
static void fill(int64_t m, int64_t n, const float *bias, float *c, int64_t ldc)
{
#pragma omp parallel for schedule(static) if (m * n > PARALLEL_ELEMENTS)
    for (int64_t i = 0; i < m; i++) {
        if (bias)
            memcpy(c + i * ldc, bias, (size_t)n * sizeof *c);
        else
            memset(c + i * ldc, 0, (size_t)n * sizeof *c);
    }
}

int cpu_matmul(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, const void *a,
               int64_t lda, const void *b, int64_t ldb, const float *bias, bool accumulate,
               float *c, int64_t ldc)
{
    if (m == 0 || n == 0) return ICOT_OK;
    bool empty = k == 0; /* an empty sum; BLAS may leave c as it is */
    if (bias || (empty && !accumulate)) fill(m, n, bias, c, ldc);
    if (empty) return ICOT_OK;
    cblas_sgemm(CblasRowMajor, transpose_a ? CblasTrans : CblasNoTrans,
                transpose_b ? CblasTrans : CblasNoTrans, (blasint)m, (blasint)n, (blasint)k, 1.0f,
                a, (blasint)lda, b, (blasint)ldb, bias || accumulate ? 1.0f : 0.0f, c,
                (blasint)ldc);
    return ICOT_OK;
}

const char *icot_blas_version(void)
{
    return openblas_get_config();
}
