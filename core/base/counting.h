/* Counting: parts of a size, multiples of it, the smaller of two numbers. */
#ifndef ICOT_BASE_COUNTING_H
#define ICOT_BASE_COUNTING_H

#include "base/both_sides.h"

#include <stdint.h>

/* Of so many, the last of which may be smaller. */
static inline ON_BOTH_SIDES int64_t parts_of(int64_t n, int64_t size)
{
    return (n + size - 1) / size;
}

static inline ON_BOTH_SIDES int64_t rounded_up(int64_t n, int64_t multiple)
{
    return parts_of(n, multiple) * multiple;
}

static inline ON_BOTH_SIDES int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

#endif
