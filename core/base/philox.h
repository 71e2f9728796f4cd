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

/*
 * Words 4·block … 4·block+3 of the key's sequence; block < 2^32. The 64-bit key of the cipher is
 * the seed; the 128-bit counter is (block, stream, step). Two different (stream, step) pairs can
 * therefore never meet in the same counter.
 */
static inline ON_BOTH_SIDES void philox_words(icot_random_key key, uint32_t block,
                                              uint32_t out[PHILOX_WORDS])
{
    /* multipliers and key increments of Philox4x32, table 2 of the paper */
    const uint32_t multiplier0 = 0xD2511F53u, multiplier1 = 0xCD9E8D57u;
    const uint32_t weyl0 = 0x9E3779B9u, weyl1 = 0xBB67AE85u;
    uint32_t c0 = block, c1 = key.stream, c2 = (uint32_t)key.step, c3 = (uint32_t)(key.step >> 32);
    uint32_t k0 = (uint32_t)key.seed, k1 = (uint32_t)(key.seed >> 32);

    for (int round = 0; round < PHILOX_ROUNDS; round++) {
        uint64_t product0 = (uint64_t)multiplier0 * c0, product1 = (uint64_t)multiplier1 * c2;
        uint32_t n0 = (uint32_t)(product1 >> 32) ^ c1 ^ k0;
        uint32_t n2 = (uint32_t)(product0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)product1;
        c3 = (uint32_t)product0;
        c0 = n0;
        c2 = n2;
        k0 += weyl0;
        k1 += weyl1;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

#endif
