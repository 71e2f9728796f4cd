/* Functions of one number, as the CPU has them in vector_math.h, and dropout of a matrix. */
#ifndef ICOT_BACKEND_CUDA_ELEMENTARY_H
#define ICOT_BACKEND_CUDA_ELEMENTARY_H

#include "backend/cuda/cuda.h"
#include "backend/dropout.h"
#include "backend/gelu.h"
#include "base/philox.h"

static inline __device__ float sigmoid(float x)
{
    return 1.0f / (1.0f + expf(-x));
}

static inline __device__ float gelu(float x)
{
    return x * sigmoid(gelu_argument(x));
}

/* Dropout of a matrix, of which element i hangs on word first + i of the key's sequence. */
struct matrix_dropout {
    bool drops;
    dropout_rule rule;
    icot_random_key key;
    int64_t first;

    /* What is kept of N elements from the ith on: of one, or of a run that a block of words decides
     * about. */
    template <int N> __device__ few<N, float> kept(const few<N, float> &x, int64_t i) const
    {
        static_assert(N == 1 || N == PHILOX_WORDS, "others may need several blocks");
        uint32_t words[PHILOX_WORDS];
        if (!drops) return x;
        philox_words(key, (uint32_t)((first + i) / PHILOX_WORDS), words);
        few<N, float> out;
#pragma unroll
        for (int k = 0; k < N; k++) {
            const uint32_t word = words[N == 1 ? (first + i) % PHILOX_WORDS : k];
            out.at[k] = what_is_kept(rule, word, x.at[k]);
        }
        return out;
    }
};

static inline matrix_dropout matrix_dropout_of(const dropout_draw *drawn)
{
    return {drawn->p > 0.0, dropout_rule_of(drawn->p), drawn->key, drawn->first};
}

#endif
