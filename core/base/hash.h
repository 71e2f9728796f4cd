/* Hashing for tables and digests; none of it is meant to withstand an attacker. */
#ifndef ICOT_BASE_HASH_H
#define ICOT_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* FNV-1a with 64 bits (Fowler, Noll and Vo): from the basis on, one value after the other. */
#define HASH_BASIS UINT64_C(0xCBF29CE484222325)

static inline uint64_t hash_with(uint64_t hash, uint32_t value)
{
    return (hash ^ value) * UINT64_C(0x100000001B3); /* FNV's prime: 2^40 + 2^8 + 0xB3 */
}

static inline uint64_t hash_of_bytes(const void *data, size_t bytes)
{
    uint64_t hash = HASH_BASIS;
    for (size_t i = 0; i < bytes; i++) hash = hash_with(hash, ((const unsigned char *)data)[i]);
    return hash;
}

/* Lets the low bits, which choose the slot of a table, depend on the high ones too. */
static inline uint64_t hash_folded(uint64_t hash)
{
    return hash ^ (hash >> 32);
}

/* 2^64 / the golden ratio, odd: products with it scatter neighbouring numbers, best in their high
 * bits (Knuth, The Art of Computer Programming, volume 3, section 6.4). */
#define GOLDEN_MULTIPLIER UINT64_C(0x9E3779B97F4A7C15)

#endif
