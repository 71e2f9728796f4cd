#include "backend/cpu/packing.h"

#include "backend/cpu/onednn_loader.h"
#include "base/error.h"

/* Below these sizes packing takes longer than it saves. */
enum { FEWEST_ROWS = 16, FEWEST_COLUMNS = 16 };

static int64_t depth_in_bfloat16(bool transpose_a, const right_factor *b)
{
    if (!transpose_a || b->transpose) return right_rows(b);
    return (b->rows + SUMMED_ROWS - 1) / SUMMED_ROWS * SUMMED_ROWS;
}

/* What a left factor in float32 has behind its last row is unknown, so OpenBLAS does the rest. */
static int64_t depth_in_float32(bool transpose_a, int64_t m, const right_factor *b)
{
    const int64_t k = right_rows(b);
    if (m < FEWEST_ROWS || right_columns(b) < FEWEST_COLUMNS || k < FEWEST_ROWS) return 0;
    if (!transpose_a) return k;
    return b->transpose ? 0 : k / SUMMED_ROWS * SUMMED_ROWS;
}

int64_t packed_depth(onednn_type type, bool transpose_a, int64_t m, const right_factor *b)
{
    if (m == 0 || b->rows == 0 || b->columns == 0 || !onednn_serves(type)) return 0;
    return type == ONEDNN_BFLOAT16 ? depth_in_bfloat16(transpose_a, b)
                                   : depth_in_float32(transpose_a, m, b);
}

/* ---- Products -------------------------------------------------------------------------------- */

static few_rows_kernel *few_rows[2]; /* by onednn_type */

void packing_use(onednn_type type, few_rows_kernel *kernel)
{
    few_rows[type] = kernel;
}

int multiply_packed(onednn_type type, onednn_product p, const void *a, const void *tiles, void *c)
{
    static const int64_t sizes[] = {256, 16, 1};
    enum { SIZES = sizeof sizes / sizeof *sizes };
    const onednn_library *onednn = onednn_load();
    if (p.transpose_a) return onednn->matmul(type, &p, a, tiles, c);

    const int64_t bytes = type == ONEDNN_BFLOAT16 ? 2 : 4, c_bytes = p.rounded ? 2 : 4;
    const char *from = a;
    char *to = c;
    int64_t left = p.m;
    for (int i = 0; i < SIZES && left > FEW_ROWS; i++) {
        p.m = left / sizes[i] * sizes[i];
        if (p.m == 0) continue;
        if (onednn->matmul(type, &p, from, tiles, to)) return ICOT_FAILED;
        from += p.m * p.k * bytes, to += p.m * p.n * c_bytes, left -= p.m;
    }
    p.m = left;
    if (left > 0) few_rows[type](&p, from, tiles, to);
    return ICOT_OK;
}
