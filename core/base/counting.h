/* Counting: parts of a size, multiples of it, the smaller and the larger of two numbers. */
#ifndef ICOT_BASE_COUNTING_H
#define ICOT_BASE_COUNTING_H

#include "base/both_sides.h"

#include <stddef.h>
#include <stdint.h>

/* How many parts of a size make up n; the last may be smaller. */
static inline ON_BOTH_SIDES int64_t parts_of(int64_t n, int64_t size)
{
    return (n + size - 1) / size;
}

static inline ON_BOTH_SIDES int64_t rounded_up(int64_t n, int64_t multiple)
{
    return parts_of(n, multiple) * multiple;
}

/* The same for sizes of memory. */
static inline ON_BOTH_SIDES size_t bytes_rounded_up(size_t bytes, size_t unit)
{
    return (bytes + unit - 1) / unit * unit;
}

static inline ON_BOTH_SIDES int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline ON_BOTH_SIDES int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

#endif
