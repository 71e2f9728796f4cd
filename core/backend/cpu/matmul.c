#include "backend/cpu/matmul.h"

#include "backend/cpu/shares.h"
#include "backend/cpu/tiling.h"
#include "base/error.h"
#include "icot.h"

#include <string.h>

#include <cblas.h>

/* The product, whoever does it. */
static tile_product product_of(bool transpose_a, int64_t m, const right_factor *b,
                               const float *bias, bool accumulate)
{
    return (tile_product){.transpose_a = transpose_a,
                          .accumulate = accumulate,
                          .m = m,
                          .n = right_columns(b),
                          .k = right_rows(b),
                          .bias = bias};
}

/* c = bias in every row, or 0 */
static void fill(int64_t m, int64_t n, const float *bias, float *c)
{
#pragma omp parallel for schedule(static) if (m * n > PARALLEL_ELEMENTS)
    for (int64_t i = 0; i < m; i++) {
        if (bias)
            memcpy(c + i * n, bias, (size_t)n * sizeof *c);
        else
            memset(c + i * n, 0, (size_t)n * sizeof *c);
    }
}

/* Nothing to multiply, or an empty sum. */
static bool is_trivial(const tile_product *p, float *c)
{
    if (p->m == 0 || p->n == 0) return true;
    if (p->k > 0) return false;
    if (p->bias || !p->accumulate) fill(p->m, p->n, p->bias, c);
    return true;
}

/* ---- float32 --------------------------------------------------------------------------------- */

/* One row, as in decoding one example: to multiply matrices b would be copied first. */
static void row_times_matrix(const tile_product *p, const float *a, bool transpose_b,
                             const float *b, float *c)
{
    const int64_t rows = transpose_b ? p->n : p->k, columns = transpose_b ? p->k : p->n;
    cblas_sgemv(CblasRowMajor, transpose_b ? CblasNoTrans : CblasTrans, (blasint)rows,
                (blasint)columns, 1.0f, b, (blasint)columns, a, 1, p->accumulate ? 1.0f : 0.0f, c,
                1);
}

static int check_sizes(const tile_product *p)
{
    const int64_t most = sizeof(blasint) < sizeof most ? INT32_MAX : INT64_MAX;
    if (p->m <= most && p->n <= most && p->k <= most) return ICOT_OK;
    return fail("matmul: (%lld,%lld) x (%lld,%lld) is more than OpenBLAS counts, %lld per "
                "dimension; multiply fewer rows at a time",
                (long long)p->m, (long long)p->k, (long long)p->k, (long long)p->n,
                (long long)most);
}

/* Of b as it lies. */
static int multiply_by_blas(tile_product p, const float *a, bool transpose_b, const float *b,
                            float *c)
{
    if (check_sizes(&p)) return ICOT_FAILED;
    if (p.bias) {
        fill(p.m, p.n, p.bias, c);
        p.accumulate = true;
    }
    if (p.m == 1 && !p.transpose_a) {
        row_times_matrix(&p, a, transpose_b, b, c);
        return ICOT_OK;
    }
    cblas_sgemm(CblasRowMajor, p.transpose_a ? CblasTrans : CblasNoTrans,
                transpose_b ? CblasTrans : CblasNoTrans, (blasint)p.m, (blasint)p.n, (blasint)p.k,
                1.0f, a, (blasint)(p.transpose_a ? p.m : p.k), b,
                (blasint)(transpose_b ? p.k : p.n), p.accumulate ? 1.0f : 0.0f, c, (blasint)p.n);
    return ICOT_OK;
}

int cpu_matmul(bool transpose_a, int64_t m, const void *a, const right_factor *b, const float *bias,
               bool accumulate, float *c)
{
    const tile_product p = product_of(transpose_a, m, b, bias, accumulate);
    if (is_trivial(&p, c)) return ICOT_OK;
    if (b->ready_form) return multiply_tiled(TILES_FLOAT32, &p, a, b->ready_form, c);
    return multiply_by_blas(p, a, b->transpose, b->data, c);
}

int cpu_matmul_factor(int64_t m, const void *a, const right_factor *b, const void *bias, void *c)
{
    return cpu_matmul(false, m, a, b, bias, false, c);
}

const char *icot_blas_version(void)
{
    return openblas_get_config();
}

/* ---- bfloat16 -------------------------------------------------------------------------------- */

int cpu_bf16_check(void)
{
#ifdef __x86_64__
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx512bf16")) {
        return fail("bf16: this CPU has no bfloat16 instructions (AVX512_BF16)");
    }
    return ICOT_OK;
#else
    return fail("bf16: only for x86-64 so far");
#endif
}

int cpu_matmul_bf16(bool transpose_a, int64_t m, const void *a, const right_factor *b,
                    const float *bias, bool accumulate, float *c)
{
    tile_product p = product_of(transpose_a, m, b, bias, accumulate);
    if (is_trivial(&p, c)) return ICOT_OK;
    p.k = tiled_depth(TILES_BFLOAT16, transpose_a, m, b);
    return multiply_tiled(TILES_BFLOAT16, &p, a, b->ready_form, c);
}

int cpu_matmul_factor_bf16(int64_t m, const void *a, const right_factor *b, const void *bias,
                           void *c)
{
    tile_product p = product_of(false, m, b, bias, false);
    if (p.m == 0 || p.n == 0) return ICOT_OK;
    if (p.k == 0) return fail("matmul: an empty sum cannot be a factor");
    p.rounded = true;
    return multiply_tiled(TILES_BFLOAT16, &p, a, b->ready_form, c);
}
