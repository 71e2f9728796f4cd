/* Numbers change places in registers: two vectors alternating, and so a block transposed. */
#ifndef ICOT_BACKEND_CPU_KERNELS_TRANSPOSE_H
#define ICOT_BACKEND_CPU_KERNELS_TRANSPOSE_H

#include "backend/cpu/kernels.h"
#include "backend/cpu/kernels/lanes.h"

#if defined(__clang__) /* the two compilers' names for the same */
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
typedef int32_t lane_numbers __attribute__((vector_size(LANES * sizeof(int32_t))));
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (lane_numbers){__VA_ARGS__})
#endif

#if defined __AVX512F__
#define FIRST_HALVES  0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define SECOND_HALVES 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif defined __AVX__
#define FIRST_HALVES  0, 8, 1, 9, 2, 10, 3, 11
#define SECOND_HALVES 4, 12, 5, 13, 6, 14, 7, 15
#else
#define FIRST_HALVES  0, 4, 1, 5
#define SECOND_HALVES 2, 6, 3, 7
#endif

/* a and b, LANES numbers each, alternating: of their first halves, of their second halves */
static inline lanes alternate_first(lanes a, lanes b)
{
    return SHUFFLE(a, b, FIRST_HALVES);
}

static inline lanes alternate_second(lanes a, lanes b)
{
    return SHUFFLE(a, b, SECOND_HALVES);
}

/* LANES x LANES: with rows i and i + LANES/2 dealt out in turn, as one shuffles cards, log2(LANES)
 * times, element (i, j) comes to (j, i). */
static inline void transpose_block(lanes rows[LANES])
{
    for (int size = 1; size < LANES; size *= 2) {
        lanes dealt[LANES];
        for (int i = 0; i < LANES / 2; i++) {
            dealt[2 * i] = alternate_first(rows[i], rows[i + LANES / 2]);
            dealt[2 * i + 1] = alternate_second(rows[i], rows[i + LANES / 2]);
        }
        memcpy(rows, dealt, sizeof dealt);
    }
}

#endif
