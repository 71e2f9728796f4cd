/*
 * Elements of factors (backend.h, factor_bytes), as the kernels read and write them: float32, or
 * with CPU_ISA=bf16, for a CPU that rounds to the nearest itself, ties to even, bfloat16.
 */
#ifndef ICOT_BACKEND_CPU_KERNELS_ELEMENTS_H
#define ICOT_BACKEND_CPU_KERNELS_ELEMENTS_H

#include <stdint.h>
#include <string.h>
#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

enum { ELEMENT_GROUP = 16 }; /* elements at a time */

#ifdef __AVX512BF16__
typedef uint16_t element;

/* The first n of a group as float32; the rest are zeros. */
static inline void elements_read(int64_t n, const element *from, float to[ELEMENT_GROUP])
{
    const __mmask16 some = (__mmask16)((1u << n) - 1);
    __m512i bits = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(some, from));
    _mm512_storeu_ps(to, (__m512)_mm512_slli_epi32(bits, 16));
}

/* The first n of a group from float32. */
static inline void elements_write(int64_t n, const float from[ELEMENT_GROUP], element *to)
{
    const __mmask16 some = (__mmask16)((1u << n) - 1);
    __m256i rounded = (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(from));
    _mm256_mask_storeu_epi16(to, some, rounded);
}
#else
typedef float element;

static inline void elements_read(int64_t n, const element *from, float to[ELEMENT_GROUP])
{
    memcpy(to, from, (size_t)n * sizeof *to);
    memset(to + n, 0, (size_t)(ELEMENT_GROUP - n) * sizeof *to);
}

static inline void elements_write(int64_t n, const float from[ELEMENT_GROUP], element *to)
{
    memcpy(to, from, (size_t)n * sizeof *to);
}
#endif

#endif
