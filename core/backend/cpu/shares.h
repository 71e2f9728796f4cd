/*
 * Pieces of work among threads: each has a share of neighbouring ones, as `schedule(static)` would
 * give it, so that what one kernel leaves in a core's cache is there for the next; and it helps the
 * others out when it is done with its own. Threads are seldom all as fast: others use their cores.
 */
#ifndef ICOT_BACKEND_CPU_SHARES_H
#define ICOT_BACKEND_CPU_SHARES_H

#include <stdbool.h>
#include <stdint.h>

/* Does one piece; threads are numbered from 0, and there are at most omp_get_max_threads(). */
typedef void piece_of_work(const void *work, int64_t piece, int thread);

/* Does all pieces: on all threads if that is worth it, else on this one alone, thread 0. Fails
 * without memory, before it has begun. */
int do_in_shares(bool worth_it, int64_t pieces, piece_of_work *do_piece, const void *work);

#endif
