/*
 * Matrix products in bfloat16: both factors are rounded into buffers of their own, oneDNN
 * multiplies these and sums in float32.
 *
 * oneDNN makes code for every shape that it meets, which takes longer than a product. The number of
 * tokens differs from batch to batch, so rows (m) are taken in pieces of few sizes, and a sum over
 * tokens (k) is filled up with zeros.
 */
#include "backend/cpu/matmul_bf16.h"

#include "backend/cpu/matmul.h"
#include "backend/cpu/onednn_loader.h"
#include "base/error.h"
#include "base/memory.h"

#include <string.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

enum { LARGE_PIECE = 256, SMALL_PIECE = 64, PARALLEL_ELEMENTS = 16384 };

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

#ifdef __x86_64__
/* To the nearest, ties to even; only called on a CPU that has the instructions. */
__attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16"))) static void
round_row(int64_t n, const float *from, bf16 *to)
{
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        __m256bh rounded = _mm512_cvtneps_pbh(_mm512_loadu_ps(from + i));
        _mm256_storeu_si256((__m256i *)(to + i), (__m256i)rounded);
    }
    if (i == n) return;
    const __mmask16 rest = (__mmask16)((1u << (n - i)) - 1);
    __m256bh rounded = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(rest, from + i));
    _mm256_mask_storeu_epi16(to + i, rest, (__m256i)rounded);
}
#else
static void round_row(int64_t n, const float *from, bf16 *to)
{
    (void)n, (void)from, (void)to; /* cpu_bf16_check has refused it */
}
#endif

/* A stored matrix, rounded; rows are filled up to a multiple of SMALL_PIECE with zeros. */
static int round_matrix(int64_t rows, int64_t columns, const float *from, int64_t ld, bf16 **out)
{
    void *block;
    int64_t all_rows = round_up(rows, SMALL_PIECE);
    if (memory_alloc((size_t)(all_rows * columns) * sizeof(bf16), &block)) return ICOT_FAILED;
    bf16 *rounded = block;
#pragma omp parallel for schedule(static) if (rows * columns > PARALLEL_ELEMENTS)
    for (int64_t r = 0; r < rows; r++) round_row(columns, from + r * ld, rounded + r * columns);
    memset(rounded + rows * columns, 0, (size_t)((all_rows - rows) * columns) * sizeof(bf16));
    *out = rounded;
    return ICOT_OK;
}

static int multiply(const onednn_product *p, const bf16 *a, const bf16 *b, float *c)
{
    if (!onednn_load()(ONEDNN_BFLOAT16, p, a, b, c)) return ICOT_OK;
    return fail("bf16: oneDNN cannot multiply (%lld,%lld) x (%lld,%lld)", (long long)p->m,
                (long long)p->k, (long long)p->k, (long long)p->n);
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
    const int64_t m = p.m;
    int64_t done = 0;
    while (m - done >= SMALL_PIECE) {
        const int64_t left = m - done;
        p.m = left >= LARGE_PIECE ? left / LARGE_PIECE * LARGE_PIECE
                                  : left / SMALL_PIECE * SMALL_PIECE;
        if (multiply(&p, a + done * p.lda, b, c + done * p.ldc)) return ICOT_FAILED;
        done += p.m;
    }
    p.m = m - done;
    return p.m > 0 ? multiply_rest(p, a + done * p.lda, b, c + done * p.ldc) : ICOT_OK;
}

int cpu_matmul_bf16(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k,
                    const float *a, int64_t lda, const float *b, int64_t ldb, bool accumulate,
                    float *c, int64_t ldc)
{
    if (m == 0 || n == 0 || k == 0) {
        return cpu_matmul(transpose_a, transpose_b, m, n, k, a, lda, b, ldb, accumulate, c, ldc);
    }
    int status = ICOT_FAILED;
    bf16 *rounded_a = NULL, *rounded_b = NULL;
    const int64_t a_columns = transpose_a ? m : k, b_columns = transpose_b ? k : n;
    onednn_product p = {.transpose_a = transpose_a,
                        .transpose_b = transpose_b,
                        .m = m,
                        .n = n,
                        .k = k,
                        .lda = a_columns,
                        .ldb = b_columns,
                        .ldc = ldc,
                        .accumulate = accumulate};

    if (round_matrix(transpose_a ? k : m, a_columns, a, lda, &rounded_a)) goto done;
    if (round_matrix(transpose_b ? n : k, b_columns, b, ldb, &rounded_b)) goto done;
    if (!transpose_a) {
        status = multiply_rows(p, rounded_a, rounded_b, c);
    } else {
        if (!transpose_b) p.k = round_up(k, SMALL_PIECE);
        status = multiply(&p, rounded_a, rounded_b, c);
    }

done:
    memory_free(rounded_b);
    memory_free(rounded_a);
    return status;
}
