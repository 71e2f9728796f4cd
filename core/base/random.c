#include "base/random.h"

#include <math.h>

void random_words(icot_random_key key, uint32_t block, uint32_t out[RANDOM_LANES])
{
    philox_words(key, block, out);
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
