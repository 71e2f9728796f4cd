#include "backend/cpu/matmul.h"

#include "base/error.h"
#include "icot.h"

#include <cblas.h>

int cpu_matmul(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, const float *a,
               int64_t lda, const float *b, int64_t ldb, bool accumulate, float *c, int64_t ldc)
{
    if (m == 0 || n == 0) return ICOT_OK;
    if (k == 0) { /* an empty sum; BLAS may leave c as it is */
        for (int64_t i = 0; !accumulate && i < m * n; i++) c[i / n * ldc + i % n] = 0.0f;
        return ICOT_OK;
    }
    cblas_sgemm(CblasRowMajor, transpose_a ? CblasTrans : CblasNoTrans,
                transpose_b ? CblasTrans : CblasNoTrans, (blasint)m, (blasint)n, (blasint)k, 1.0f,
                a, (blasint)lda, b, (blasint)ldb, accumulate ? 1.0f : 0.0f, c, (blasint)ldc);
    return ICOT_OK;
}

const char *icot_blas_version(void)
{
    return openblas_get_config();
}
