/*
 * Pieces of work among threads: each has a share of neighbouring ones, as `schedule(static)` would
 * give it, so that what one kernel leaves in a core's cache is there for the next; and it helps the
 * others out when it is done with its own. Threads are seldom all as fast: others use their cores.
 */
#ifndef ICOT_BACKEND_CPU_KERNELS_SHARES_H
#define ICOT_BACKEND_CPU_KERNELS_SHARES_H

#include <stdint.h>

/* The pieces of one thread that were not taken yet: a cache line, as it alone mostly uses it. */
typedef struct share {
    _Alignas(64) int64_t next;
    int64_t end;
} share;

static inline void share_out(int64_t pieces, int threads, share *shares)
{
    for (int t = 0; t < threads; t++) {
        shares[t] = (share){pieces * t / threads, pieces * (t + 1) / threads};
    }
}

/* The next piece of a share, or -1. */
static inline int64_t take_piece(share *s)
{
    int64_t piece;
#pragma omp atomic capture
    piece = s->next++;
    return piece < s->end ? piece : -1;
}

#endif
