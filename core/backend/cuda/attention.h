/*
 * What forward and backward of attention share: work is cut in tiles, so that no T x T matrix ever
 * lies in the card's memory.
 *
 * A block of 16 x 16 threads has OWN rows of its own (queries; in the second part of backward,
 * keys) and walks over the OTHER rows of their sequence. Thread (across, down) works on the scores
 * of own rows down·R … and other rows across·N …, R = OWN/16, N = OTHER/16. Rows lie in shared
 * memory with their D channels, 0 behind the head's width; "turned" ones channel by channel.
 */
#ifndef ICOT_BACKEND_CUDA_ATTENTION_H
#define ICOT_BACKEND_CUDA_ATTENTION_H

#include "backend/cuda/elementary.h"
#include "backend/cuda/kernels.h"
#include "backend/cuda/reduce.h"

constexpr int SIDE = 16, TILE_THREADS = SIDE * SIDE;
constexpr int PAD = 4; /* floats: spreads turned rows over the banks of shared memory */

struct attention_work {
    const int32_t *starts;                              /* cu_seqlens */
    int64_t channels, heads, width, tiles, first_token; /* tiles: of OWN rows, per sequence */
    float scale;                                        /* of the scores: 1/√width */
    bool drops;
    dropout_rule rule;
    icot_random_key key;
    philox_keys keys; /* of its seed: the same for all, so that no thread need work them out */
};

/* Which tile of which head of which sequence a block has. */
struct tile_place {
    int64_t start, length; /* of the sequence, in rows of the batch */
    int64_t head;
    int64_t first; /* row of the sequence that the tile begins with */
};

static inline __device__ tile_place own_place(const attention_work &work, int64_t own)
{
    const int64_t tile = blockIdx.x % work.tiles, rest = blockIdx.x / work.tiles;
    const int64_t sequence = rest / work.heads, start = work.starts[sequence];
    return {start, work.starts[sequence + 1] - start, rest % work.heads, tile * own};
}

static inline attention_work attention_work_of(const packed_shape *shape, int64_t own)
{
    attention_work work;
    work.starts = shape->cu_seqlens.device;
    work.channels = shape->channels;
    work.heads = shape->heads;
    work.width = shape->channels / shape->heads;
    work.tiles = parts_of(longest_sequence(shape), own);
    work.first_token = shape->drawn.first;
    work.scale = 1.0f / sqrtf((float)work.width);
    work.drops = shape->drawn.p > 0.0;
    work.rule = dropout_rule_of(shape->drawn.p);
    work.key = shape->drawn.key;
    work.keys = philox_keys_of(work.key.seed);
    return work;
}

static inline unsigned attention_blocks(const packed_shape *shape, const attention_work &work)
{
    return (unsigned)(shape->sequences * work.heads * work.tiles);
}

/* The widest head that the kernels are made for. */
static inline int check_width(const packed_shape *shape)
{
    constexpr int MOST = 128;
    const int64_t width = shape->channels / shape->heads;
    if (width <= MOST) return OK;
    return fail("attention: got heads of %lld channels; on 'cuda' there can be at most %d",
                (long long)width, MOST);
}

/* Lets a kernel take more shared memory than any may unasked. */
template <typename Kernel> int allow_shared(Kernel *kernel, size_t bytes)
{
    return cuda_check(
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes),
        "attention");
}

/* ---- Tiles ----------------------------------------------------------------------------------- */

/* `rows` (there, width), `stride` apart -> tile (ROWS, D) */
template <int ROWS, int D>
__device__ void load_rows(int64_t there, int64_t width, const float *rows, int64_t stride,
                          float *tile)
{
    for (int i = threadIdx.x; i < ROWS * D; i += TILE_THREADS) {
        const int r = i / D, d = i % D;
        tile[i] = r < there && d < width ? rows[r * stride + d] : 0.0f;
    }
}

/* The same, turned: (D, ROWS + PAD) */
template <int ROWS, int D>
__device__ void load_turned(int64_t there, int64_t width, const float *rows, int64_t stride,
                            float *tile)
{
    for (int i = threadIdx.x; i < ROWS * D; i += TILE_THREADS) {
        const int r = i / D, d = i % D;
        tile[d * (ROWS + PAD) + r] = r < there && d < width ? rows[r * stride + d] : 0.0f;
    }
}

/* products (R, N) = this thread's part of own·otherᵀ, both turned */
template <int OWN, int OTHER, int D>
__device__ void multiply_turned(const float *own, const float *other,
                                float products[OWN / SIDE][OTHER / SIDE])
{
    constexpr int R = OWN / SIDE, N = OTHER / SIDE;
    const float *left = own + threadIdx.x / SIDE * R, *right = other + threadIdx.x % SIDE * N;
    for (int r = 0; r < R; r++) {
        for (int n = 0; n < N; n++) products[r][n] = 0.0f;
    }
#pragma unroll 8
    for (int d = 0; d < D; d++, left += OWN + PAD, right += OTHER + PAD) {
        float a[R], b[N];
#pragma unroll
        for (int r = 0; r < R; r++) a[r] = left[r];
#pragma unroll
        for (int n = 0; n < N; n++) b[n] = right[n];
#pragma unroll
        for (int r = 0; r < R; r++) {
#pragma unroll
            for (int n = 0; n < N; n++) products[r][n] += a[r] * b[n];
        }
    }
}

/* This thread's part of scores to shared memory, turned: (OTHER, OWN + PAD) */
template <int OWN, int OTHER>
__device__ void store_turned(const float values[OWN / SIDE][OTHER / SIDE], float *turned)
{
    constexpr int R = OWN / SIDE, N = OTHER / SIDE;
    float *mine = turned + threadIdx.x % SIDE * N * (OWN + PAD) + threadIdx.x / SIDE * R;
#pragma unroll
    for (int n = 0; n < N; n++) {
#pragma unroll
        for (int r = 0; r < R; r++) mine[n * (OWN + PAD) + r] = values[r][n];
    }
}

/* Channels of a row are shared by 16 threads, D/16 each: which one is number k of this thread's. */
template <int D> __device__ int own_channel(int k)
{
    constexpr int RUN = D / SIDE < 4 ? D / SIDE : 4;
    return k / RUN * SIDE * RUN + (int)threadIdx.x % SIDE * RUN + k % RUN;
}

/* sums (R, D/16) += this thread's part of weights·rows; weights turned, rows (OTHER, D) */
template <int OWN, int OTHER, int D>
__device__ void add_weighted(const float *weights, const float *rows,
                             float sums[OWN / SIDE][D / SIDE])
{
    constexpr int R = OWN / SIDE, CHANNELS = D / SIDE;
    const float *left = weights + threadIdx.x / SIDE * R;
#pragma unroll 4
    for (int j = 0; j < OTHER; j++, left += OWN + PAD, rows += D) {
        float a[R], b[CHANNELS];
#pragma unroll
        for (int r = 0; r < R; r++) a[r] = left[r];
#pragma unroll
        for (int k = 0; k < CHANNELS; k++) b[k] = rows[own_channel<D>(k)];
#pragma unroll
        for (int r = 0; r < R; r++) {
#pragma unroll
            for (int k = 0; k < CHANNELS; k++) sums[r][k] += a[r] * b[k];
        }
    }
}

/* ---- Dropout --------------------------------------------------------------------------------- */

/* The words that decide about four keys from `key` on, a multiple of 4, for a row of the batch; in
 * 32 bits, since in bfloat16 integer arithmetic is what dropout costs. */
static inline __device__ void words_of_keys(const attention_work &work, int64_t query, int64_t head,
                                            int64_t key, uint32_t words[PHILOX_WORDS])
{
    const icot_random_key own = key_of_weights(work.key, (uint32_t)(work.first_token + query),
                                               (uint32_t)work.heads, (uint32_t)head);
    philox_words_by(&work.keys, own, (uint32_t)key / PHILOX_WORDS, words);
}

/* What is left of the weights that a query, a row of the batch, gives to `COUNT` keys from `key`
 * on, a multiple of it. */
template <int COUNT>
__device__ void kept_of_keys(const attention_work &work, int64_t query, int64_t head, int64_t key,
                             float kept[COUNT])
{
    if (!work.drops) {
#pragma unroll
        for (int k = 0; k < COUNT; k++) kept[k] = 1.0f;
        return;
    }
    uint32_t words[PHILOX_WORDS];
    words_of_keys(work, query, head, key, words);
#pragma unroll
    for (int k = 0; k < COUNT; k++) {
        const int word = COUNT == PHILOX_WORDS ? k : (int)(key + k) % PHILOX_WORDS;
        kept[k] = kept_share(work.rule, words[word]);
    }
}

#endif
