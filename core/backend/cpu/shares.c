#include "backend/cpu/shares.h"

#include "base/error.h"
#include "base/memory.h"

#include <omp.h>

/* The pieces of one thread that were not taken yet: a cache line, as it alone mostly uses it. */
typedef struct share {
    _Alignas(64) int64_t next;
    int64_t end;
} share;

/* The next piece of a share, or -1. */
static int64_t take_piece(share *s)
{
    int64_t piece;
#pragma omp atomic capture
    piece = s->next++;
    return piece < s->end ? piece : -1;
}

int do_in_shares(bool worth_it, int64_t pieces, piece_of_work *do_piece, const void *work)
{
    const int threads = omp_get_max_threads();
    void *block;
    if (!worth_it || threads == 1) {
        for (int64_t i = 0; i < pieces; i++) do_piece(work, i, 0);
        return ICOT_OK;
    }
    if (memory_alloc((size_t)threads * sizeof(share), &block)) return ICOT_FAILED;
    share *shares = block;
    for (int t = 0; t < threads; t++) {
        shares[t] = (share){pieces * t / threads, pieces * (t + 1) / threads};
    }
#pragma omp parallel
    {
        const int self = omp_get_thread_num();
        for (int t = 0; t < threads; t++) {
            share *of = &shares[(self + t) % threads];
            for (int64_t i = take_piece(of); i >= 0; i = take_piece(of)) do_piece(work, i, self);
        }
    }
    memory_free(shares);
    return ICOT_OK;
}
