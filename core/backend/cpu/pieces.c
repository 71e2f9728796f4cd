#include "backend/cpu/pieces.h"

#include "backend/cpu/onednn_loader.h"
#include "base/error.h"

int multiply_pieces(onednn_type type, onednn_product p, const void *a, const void *b, float *c,
                    int64_t *done)
{
    const int64_t rows = p.m, bytes = type == ONEDNN_BFLOAT16 ? 2 : 4;
    for (*done = 0; rows - *done >= SMALL_PIECE; *done += p.m) {
        const int64_t left = rows - *done, piece = left < LARGE_PIECE ? SMALL_PIECE : LARGE_PIECE;
        p.m = left / piece * piece;
        const char *from = (const char *)a + *done * p.lda * bytes;
        if (onednn_load()(type, &p, from, b, c + *done * p.ldc)) return ICOT_FAILED;
    }
    return ICOT_OK;
}
