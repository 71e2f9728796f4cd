#include "backend/cpu/matmul.h"

#include "backend/cpu/kernels.h"
#include "backend/cpu/onednn_loader.h"
#include "backend/cpu/pieces.h"
#include "base/error.h"
#include "icot.h"

#include <string.h>

#include <cblas.h>

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

/* One row, as in decoding one example: to multiply matrices b would be copied first. */
static void row_times_matrix(const onednn_product *p, const float *a, const float *b, float *c)
{
    const int64_t rows = p->transpose_b ? p->n : p->k, columns = p->transpose_b ? p->k : p->n;
    cblas_sgemv(CblasRowMajor, p->transpose_b ? CblasNoTrans : CblasTrans, (blasint)rows,
                (blasint)columns, 1.0f, b, (blasint)p->ldb, a, 1, p->accumulate ? 1.0f : 0.0f, c,
                1);
}

static void blas(const onednn_product *p, const float *a, const float *b, float *c)
{
    if (p->m == 1 && !p->transpose_a) {
        row_times_matrix(p, a, b, c);
        return;
    }
    cblas_sgemm(CblasRowMajor, p->transpose_a ? CblasTrans : CblasNoTrans,
                p->transpose_b ? CblasTrans : CblasNoTrans, (blasint)p->m, (blasint)p->n,
                (blasint)p->k, 1.0f, a, (blasint)p->lda, b, (blasint)p->ldb,
                p->accumulate ? 1.0f : 0.0f, c, (blasint)p->ldc);
}

/* OpenBLAS, onto the bias if there is one. */
static void multiply_by_blas(onednn_product p, const float *a, const float *b, float *c)
{
    if (p.bias) {
        fill(p.m, p.n, p.bias, c, p.ldc);
        p.accumulate = true;
    }
    blas(&p, a, b, c);
}

/*
 * Whether oneDNN is the faster one: with small weights (it packs less), as long as there are rows
 * enough for its pieces. Measured on AVX-512: 1.2 to 1.5 times as fast with widths of 128, 1.05 to
 * 1.3 times with 256, and from 768 on OpenBLAS is. What is chosen depends on the shape alone.
 */
static bool suits_onednn(const onednn_product *p)
{
    enum { LARGEST_WEIGHT = 256 * 1024 };
    const int64_t tokens = p->transpose_a ? p->k : p->m, weight = p->transpose_a ? p->m : p->k;
    return tokens >= SMALL_PIECE && weight * p->n <= LARGEST_WEIGHT && weight >= 16 && p->n >= 16;
}

/* Whole pieces by oneDNN; what is left over, or all if oneDNN refuses, by OpenBLAS. */
static void multiply_by_both(onednn_product p, const float *a, const float *b, float *c)
{
    int64_t done;
    if (!p.transpose_a) {
        multiply_pieces(ONEDNN_FLOAT32, p, a, b, c, &done);
        p.m -= done;
        if (p.m > 0) multiply_by_blas(p, a + done * p.lda, b, c + done * p.ldc);
        return;
    }
    const int64_t k = p.k;
    p.k = done = k / SMALL_PIECE * SMALL_PIECE;
    if (onednn_load()(ONEDNN_FLOAT32, &p, a, b, c)) {
        p.k = k;
        multiply_by_blas(p, a, b, c);
    } else if (k > done) {
        p.k = k - done, p.accumulate = true;
        blas(&p, a + done * p.lda, b + (p.transpose_b ? done : done * p.ldb), c);
    }
}

int cpu_matmul(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, const void *a,
               int64_t lda, const void *b, int64_t ldb, const float *bias, bool accumulate,
               float *c, int64_t ldc)
{
    const onednn_product p = {.transpose_a = transpose_a,
                              .transpose_b = transpose_b,
                              .accumulate = accumulate,
                              .m = m,
                              .n = n,
                              .k = k,
                              .lda = lda,
                              .ldb = ldb,
                              .ldc = ldc,
                              .bias = bias};
    if (m == 0 || n == 0) return ICOT_OK;
    if (k == 0) { /* an empty sum; BLAS may leave c as it is */
        if (bias || !accumulate) fill(m, n, bias, c, ldc);
        return ICOT_OK;
    }
    if (suits_onednn(&p) && onednn_load())
        multiply_by_both(p, a, b, c);
    else
        multiply_by_blas(p, a, b, c);
    return ICOT_OK;
}

const char *icot_blas_version(void)
{
    return openblas_get_config();
}
