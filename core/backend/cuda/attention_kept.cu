/* Which attention weights dropout keeps, drawn before attention begins: its kernels are bound by
 * their registers, which the cipher's words would take from the sums. */
#include "backend/cuda/attention_bf16.h"

constexpr int ROWS = in_bf16::OWN; /* a block's queries, as many as attention gives one */
constexpr int KEYS = 32;           /* bits of a word */

/* Of `KEYS` keys from `key` on: those that a query, a row of the batch, keeps. */
static __device__ uint32_t kept_bits(const attention_work &work, int64_t query, int64_t head,
                                     int64_t key)
{
    uint32_t bits = 0;
#pragma unroll
    for (int k = 0; k < KEYS; k += PHILOX_WORDS) {
        uint32_t words[PHILOX_WORDS];
        words_of_keys(work, query, head, key + k, words);
#pragma unroll
        for (int i = 0; i < PHILOX_WORDS; i++) {
            const bool is_kept = words[i] >= (uint32_t)work.rule.threshold; /* p < 1 */
            bits |= (uint32_t)is_kept << (k + i);
        }
    }
    return bits;
}

/* All words that a tile of queries reads; nothing is drawn for keys that no query sees. */
static __global__ void __launch_bounds__(in_bf16::THREADS)
    draw_kept_keys(attention_work work, in_bf16::kept_keys kept)
{
    const tile_place at = own_place(work, ROWS);
    if (at.first >= at.length) return;
    const int rows = (int)min((int64_t)ROWS, at.length - at.first);
    const int words = (int)(at.first + ROWS) / KEYS;
    for (int i = (int)threadIdx.x; i < rows * words; i += in_bf16::THREADS) {
        const int64_t query = at.first + i / words, word = i % words;
        const bool is_seen = word * KEYS <= query;
        kept.words[kept.place(at.head, at.start + query) + word] =
            is_seen ? kept_bits(work, at.start + query, at.head, word * KEYS) : 0;
    }
}

namespace in_bf16
{

int draw_kept(const packed_shape *shape, const attention_work &work, kept_keys *out)
{
    kept_keys kept = {NULL, shape->cu_seqlens.host[shape->sequences], work.tiles * (ROWS / KEYS)};
    if (work.drops) {
        const int64_t words = kept.place(work.heads, 0);
        kept.words = (uint32_t *)cuda_scratch((size_t)words * sizeof *kept.words);
        if (!kept.words) return FAILED;
        draw_kept_keys<<<attention_blocks(shape, work), THREADS, 0, cuda_stream>>>(work, kept);
        if (cuda_launched("attention")) {
            cuda_memory.release(kept.words);
            return FAILED;
        }
    }
    *out = kept;
    return OK;
}

} /* namespace in_bf16 */
