/* The kernels of factors (see factor_bytes in backend.h): compiled as the others are, and once more
 * with CPU_ISA=bf16. */
#include "backend/cpu/kernel_sets.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/tiling.h"

static int attend(const packed_shape *shape, const void *qkv, void *y, float *logsumexp)
{
    return KERNEL(attention)(shape, qkv, y, logsumexp);
}

static int attend_backward(const packed_shape *shape, const void *qkv, const void *y,
                           const float *logsumexp, const void *dy, void *dqkv)
{
    return KERNEL(attention_backward)(shape, qkv, y, logsumexp, dy, false, dqkv);
}

static int attend_backward_anew(const packed_shape *shape, const void *qkv, const float *logsumexp,
                                const void *dy, void *y, void *dqkv)
{
    return KERNEL(attention_backward_anew)(shape, qkv, logsumexp, dy, false, y, dqkv);
}

static int sum_rows(int64_t rows, int64_t columns, const void *x, bool accumulate, float *y)
{
    return KERNEL(sum_rows)(rows, columns, x, accumulate, y);
}

void KERNEL(factor_table)(backend *table)
{
#ifdef __AVX512BF16__
    table->round = KERNEL(round);
#endif
#ifdef __AVX2__
    table->make_ready = KERNEL(make_tiles);
#else
    table->make_ready = make_no_tiles;
#endif
    table->gelu_factor = KERNEL(gelu_factor);
    table->gelu_factor_backward = KERNEL(gelu_factor_backward);
    table->attention_factor = attend;
    table->attention_factor_backward = attend_backward;
    table->attention_factor_backward_anew = attend_backward_anew;
    table->sum_rows_factor = sum_rows;
}
