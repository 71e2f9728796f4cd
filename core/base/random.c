#include "base/random.h"

#include <math.h>

/* Multipliers and key increments of Philox4x32, table 2 of the paper. */
static const uint32_t multiplier0 = 0xD2511F53u, multiplier1 = 0xCD9E8D57u;
static const uint32_t weyl0 = 0x9E3779B9u, weyl1 = 0xBB67AE85u;
enum { ROUNDS = 10 };

/*
 * The 64-bit key is the seed; the 128-bit counter is (block, stream, step). Two different
 * (stream, step) pairs can therefore never meet in the same counter.
 */
void random_words(icot_random_key key, uint32_t block, uint32_t out[RANDOM_LANES])
{
    uint32_t c0 = block, c1 = key.stream, c2 = (uint32_t)key.step, c3 = (uint32_t)(key.step >> 32);
    uint32_t k0 = (uint32_t)key.seed, k1 = (uint32_t)(key.seed >> 32);

    for (int round = 0; round < ROUNDS; round++) {
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

static double uniform_of(uint32_t high, uint32_t low)
{
    uint64_t bits = ((uint64_t)high << 32 | low) >> 11;
    return (double)bits * 0x1p-53;
}

double random_uniform_at(icot_random_key key, uint64_t index)
{
    uint32_t words[RANDOM_LANES];
    random_words(key, (uint32_t)(index / 2), words);
    return index % 2 ? uniform_of(words[2], words[3]) : uniform_of(words[0], words[1]);
}

void icot_random_uniform(icot_random_key key, int64_t n, double *out)
{
    for (int64_t i = 0; i < n; i++) out[i] = random_uniform_at(key, (uint64_t)i);
}

void random_normal(icot_random_key key, int64_t n, float mean, float std, float *out)
{
    const double two_pi = 6.283185307179586;
    for (int64_t i = 0; i < n; i += 2) {
        uint32_t words[RANDOM_LANES];
        random_words(key, (uint32_t)(i / 2), words);
        double radius = sqrt(-2.0 * log(1.0 - uniform_of(words[0], words[1])));
        double angle = two_pi * uniform_of(words[2], words[3]);
        out[i] = mean + std * (float)(radius * cos(angle));
        if (i + 1 < n) out[i + 1] = mean + std * (float)(radius * sin(angle));
    }
}

void icot_random_permutation(icot_random_key key, int32_t n, int32_t *out)
{
    for (int32_t i = 0; i < n; i++) out[i] = i;
    for (int32_t i = n - 1; i > 0; i--) { /* Fisher-Yates, from the end */
        int32_t j = (int32_t)(random_uniform_at(key, (uint64_t)i) * (i + 1));
        int32_t swapped = out[i];
        out[i] = out[j];
        out[j] = swapped;
    }
}
