/*
 * Matrix products in bfloat16: oneDNN multiplies rounded factors and sums in float32.
 *
 * Rows are taken in pieces (pieces.h), and a sum over tokens (k) includes the zeros that factors
 * are filled up with, so that both are multiples of SMALL_PIECE.
 */
#include "backend/cpu/matmul_bf16.h"

#include "backend/cpu/matmul.h"
#include "backend/cpu/onednn_loader.h"
#include "backend/cpu/pieces.h"
#include "base/error.h"
#include "base/memory.h"

typedef uint16_t bf16;

static int64_t round_up(int64_t n, int64_t multiple)
{
    return (n + multiple - 1) / multiple * multiple;
}

int cpu_bf16_check(void)
{
#ifdef __x86_64__
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx512bf16")) {
        return fail("bf16: this CPU has no bfloat16 instructions (AVX512_BF16)");
    }
    if (!onednn_load()) {
        return fail(
            "bf16: oneDNN is missing; install libdnnl-dev (or onednn) and build icot again");
    }
    return ICOT_OK;
#else
    return fail("bf16: only for x86-64 so far");
#endif
}

static int refused(const onednn_product *p)
{
    return fail("bf16: oneDNN cannot multiply (%lld,%lld) x (%lld,%lld)", (long long)p->m,
                (long long)p->k, (long long)p->k, (long long)p->n);
}

static int multiply(const onednn_product *p, const bf16 *a, const bf16 *b, float *c)
{
    return onednn_load()(ONEDNN_BFLOAT16, p, a, b, c) ? refused(p) : ICOT_OK;
}

/* Fewer than SMALL_PIECE rows: a whole piece, of which only these rows are kept. */
static int multiply_rest(onednn_product p, const bf16 *a, const bf16 *b, float *c)
{
    void *block;
    const int64_t rows = p.m, ldc = p.ldc, accumulate = p.accumulate;
    if (memory_alloc((size_t)(SMALL_PIECE * p.n) * sizeof(float), &block)) return ICOT_FAILED;
    const float *piece = block;
    p.m = SMALL_PIECE, p.ldc = p.n, p.accumulate = 0;
    int status = multiply(&p, a, b, block);
    for (int64_t i = 0; i < rows && !status; i++) {
        for (int64_t j = 0; j < p.n; j++) {
            c[i * ldc + j] = piece[i * p.n + j] + (accumulate ? c[i * ldc + j] : 0.0f);
        }
    }
    memory_free(block);
    return status;
}

/* a is not transposed: its rows, which are those of c, are taken in pieces. */
static int multiply_rows(onednn_product p, const bf16 *a, const bf16 *b, float *c)
{
    int64_t done;
    if (multiply_pieces(ONEDNN_BFLOAT16, p, a, b, c, &done)) return refused(&p);
    p.m -= done;
    return p.m > 0 ? multiply_rest(p, a + done * p.lda, b, c + done * p.ldc) : ICOT_OK;
}

int cpu_matmul_bf16(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k,
                    const void *a, int64_t lda, const void *b, int64_t ldb, const float *bias,
                    bool accumulate, float *c, int64_t ldc)
{
    if (m == 0 || n == 0 || k == 0) {
        return cpu_matmul(transpose_a, transpose_b, m, n, k, a, lda, b, ldb, bias, accumulate, c,
                          ldc);
    }
    onednn_product p = {.transpose_a = transpose_a,
                        .transpose_b = transpose_b,
                        .accumulate = accumulate,
                        .m = m,
                        .n = n,
                        .k = k,
                        .lda = lda,
                        .ldb = ldb,
                        .ldc = ldc,
                        .bias = bias};
    if (!transpose_a) return multiply_rows(p, a, b, c);
    if (!transpose_b) p.k = round_up(k, SMALL_PIECE);
    return multiply(&p, a, b, c);
}
