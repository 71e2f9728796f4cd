/*
 * Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011), for the host
 * and for devices: both draw the same words.
 */
#ifndef ICOT_BASE_PHILOX_H
#define ICOT_BASE_PHILOX_H

#include "base/both_sides.h"
#include "icot.h"

#include <stdint.h>

enum {
    PHILOX_WORDS = 4, /* 32-bit words that one call gives */
    PHILOX_ROUNDS = 10
};

/* Of the cipher's two 32-bit keys, those of each round. */
typedef struct philox_keys {
    uint32_t round[PHILOX_ROUNDS][2];
} philox_keys;

static inline ON_BOTH_SIDES philox_keys philox_keys_of(uint64_t seed)
{
    const uint32_t weyl0 = 0x9E3779B9u, weyl1 = 0xBB67AE85u; /* table 2 of the paper */
    philox_keys keys;
    for (uint32_t i = 0; i < PHILOX_ROUNDS; i++) {
        keys.round[i][0] = (uint32_t)seed + i * weyl0;
        keys.round[i][1] = (uint32_t)(seed >> 32) + i * weyl1;
    }
    return keys;
}

/* The counter becomes four random words. */
static inline ON_BOTH_SIDES void philox_encipher(const philox_keys *keys,
                                                 uint32_t counter[PHILOX_WORDS])
{
    const uint32_t multiplier0 = 0xD2511F53u, multiplier1 = 0xCD9E8D57u; /* the same table */
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    for (int i = 0; i < PHILOX_ROUNDS; i++) {
        const uint64_t product0 = (uint64_t)multiplier0 * c0, product1 = (uint64_t)multiplier1 * c2;
        c0 = (uint32_t)(product1 >> 32) ^ c1 ^ keys->round[i][0];
        c2 = (uint32_t)(product0 >> 32) ^ c3 ^ keys->round[i][1];
        c1 = (uint32_t)product1;
        c3 = (uint32_t)product0;
    }
    counter[0] = c0;
    counter[1] = c1;
    counter[2] = c2;
    counter[3] = c3;
}

/*
 * Words 4·block … 4·block+3 of the key's sequence; block < 2^32. The 64-bit key of the cipher is
 * the seed, of which `keys` were made; the 128-bit counter is (block, stream, step). Two different
 * (stream, step) pairs can therefore never meet in the same counter.
 */
static inline ON_BOTH_SIDES void philox_words_by(const philox_keys *keys, icot_random_key key,
                                                 uint32_t block, uint32_t out[PHILOX_WORDS])
{
    out[0] = block;
    out[1] = key.stream;
    out[2] = (uint32_t)key.step;
    out[3] = (uint32_t)(key.step >> 32);
    philox_encipher(keys, out);
}

static inline ON_BOTH_SIDES void philox_words(icot_random_key key, uint32_t block,
                                              uint32_t out[PHILOX_WORDS])
{
    const philox_keys keys = philox_keys_of(key.seed);
    philox_words_by(&keys, key, block, out);
}

#endif
