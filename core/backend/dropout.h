/* What dropout keeps, on every device: the same numbers wherever they are computed. */
#ifndef ICOT_BACKEND_DROPOUT_H
#define ICOT_BACKEND_DROPOUT_H

#include "base/both_sides.h"
#include "icot.h"

#include <stdint.h>

/* Which elements of an array dropout keeps: the ith is number first + i of those that the key
 * decides about, and each goes with probability p. */
typedef struct dropout_draw {
    double p;
    icot_random_key key;
    int64_t first;
} dropout_draw;

/* A random word, as a fraction of 2^32, is below p: what it decides about is dropped. What stays is
 * scaled by 1/(1-p). */
typedef struct dropout_rule {
    uint64_t threshold;
    float scale;
} dropout_rule;

static inline dropout_rule dropout_rule_of(double p)
{
    const dropout_rule rule = {(uint64_t)(p * 4294967296.0),
                               p < 1.0 ? (float)(1.0 / (1.0 - p)) : 0.0f};
    return rule;
}

/* What is left of one. */
static inline ON_BOTH_SIDES float kept_share(dropout_rule rule, uint32_t word)
{
    return word < rule.threshold ? 0.0f : rule.scale;
}

static inline ON_BOTH_SIDES float what_is_kept(dropout_rule rule, uint32_t word, float x)
{
    return word < rule.threshold ? 0.0f : rule.scale * x; /* NaN is dropped, too */
}

#endif
