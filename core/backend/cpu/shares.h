/* Work among threads: when it is worth that, and how they share it. */
#ifndef ICOT_BACKEND_CPU_SHARES_H
#define ICOT_BACKEND_CPU_SHARES_H

#include <stdbool.h>
#include <stdint.h>

/* A loop over fewer elements than this is not worth waking the other threads for. */
enum { PARALLEL_ELEMENTS = 16384 };

/*
 * Calls a function whose loop is an `omp for`: on all threads if that is worth it, else on this one
 * alone. OpenMP's own `if` would do the latter in a team of one, at whose end libgomp asks the
 * system to wake the others: 0.3 µs, as much as a small kernel takes.
 */
#define BY_THREADS(worth_it, call)                                                                 \
    do {                                                                                           \
        if (worth_it) {                                                                            \
            _Pragma("omp parallel") call;                                                          \
        } else {                                                                                   \
            call;                                                                                  \
        }                                                                                          \
    } while (0)

/*
 * Pieces of work: each thread has a share of neighbouring ones, as `schedule(static)` would give
 * it, so that what one kernel leaves in a core's cache is there for the next; and it helps the
 * others out when it is done with its own. Threads are seldom all as fast: others use their cores.
 */

/* Does one piece; threads are numbered from 0, and there are at most omp_get_max_threads(). */
typedef void piece_of_work(const void *work, int64_t piece, int thread);

/* Does all pieces: on all threads if that is worth it, else on this one alone, thread 0. Fails
 * without memory, before it has begun. */
int do_in_shares(bool worth_it, int64_t pieces, piece_of_work *do_piece, const void *work);

#endif
