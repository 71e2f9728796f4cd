/* Vectors: LANES numbers at a time. */
#ifndef ICOT_BACKEND_CPU_KERNELS_LANES_H
#define ICOT_BACKEND_CPU_KERNELS_LANES_H

#include "backend/cpu/kernels/elements.h"
#include "backend/cpu/tiles.h"
#include "base/counting.h"

#include <stdint.h>
#include <string.h>

/* As long as the registers are: a longer vector would lie in memory. */
#if defined __AVX512F__
enum { LANES = 16 };
#elif defined __AVX__
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif

/* Of a tile of this instruction set, and of one of its units (tiles.h). */
enum { TILE_COLUMNS = LANES == 16 ? WIDE_TILE_COLUMNS : NARROW_TILE_COLUMNS };
enum { PER_UNIT = sizeof(uint32_t) / sizeof(element) };

/* A vector of the compiler's, so that sums stay in registers. */
typedef float lanes __attribute__((vector_size(LANES * sizeof(float))));

static inline lanes load(const float *from)
{
    lanes v;
    memcpy(&v, from, sizeof v);
    return v;
}

static inline void store(float *to, lanes v)
{
    memcpy(to, &v, sizeof v);
}

/* Up to LANES elements (elements.h), 0 behind them. */
static inline lanes load_some(int64_t count, const element *from)
{
    float all[ELEMENT_GROUP];
    if (count >= LANES) /* known to the compiler: a vector */
        elements_read(LANES, from, all);
    else
        elements_read(count, from, all);
    return load(all);
}

static inline void store_some(int64_t count, lanes v, element *to)
{
    float all[ELEMENT_GROUP] = {0};
    store(all, v);
    if (count >= LANES)
        elements_write(LANES, all, to);
    else
        elements_write(count, all, to);
}

static inline int64_t padded(int64_t n)
{
    return rounded_up(n, LANES);
}

#endif
