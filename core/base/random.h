/*
 * Counter-based random numbers, of Philox4x32-10 (base/philox.h). Number i of a key is a pure
 * function of (seed, stream, step, i): nothing has to be replayed to resume a run, and threads need
 * no state of their own.
 */
#ifndef ICOT_BASE_RANDOM_H
#define ICOT_BASE_RANDOM_H

#include "base/philox.h"
#include "icot.h"

#include <stdint.h>

enum { RANDOM_LANES = PHILOX_WORDS };

/* Words 4·block … 4·block+3 of the key's sequence; block < 2^32. */
void random_words(icot_random_key key, uint32_t block, uint32_t out[RANDOM_LANES]);

/* Number `index` of a key, below 2^33; behind that they repeat. In [0, 1), 53 random bits. */
double random_uniform_at(icot_random_key key, uint64_t index);

/* n numbers, at most 2^33, of a normal distribution (Box-Muller), float32. */
void random_normal(icot_random_key key, int64_t n, float mean, float std, float *out);

#endif
