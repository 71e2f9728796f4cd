/* Causal self-attention over packed sequences, its products in bfloat16, forward. */
#include "backend/cuda/attention_bf16.h"

namespace in_bf16
{

template <int OTHER, int D> struct forward_tiles {
    bf16 queries[OWN * (D + GAP)];
    pair_of_tiles<OTHER, D> others[2]; /* keys and values */
};

/* What is known of the softmax of a lane's two queries after the keys so far. */
struct two_softmaxes {
    float maximum[2], sum[2];
};

/* Of the scores with the keys from `key` on, those that a query does not see are gone. */
template <int OTHER> static __device__ void mask(int query, int key, float scores[OTHER / 8][4])
{
#pragma unroll
    for (int n = 0; n < OTHER / 8; n++) {
#pragma unroll
        for (int e = 0; e < 4; e++) {
            if (key + column_of(n, e) > query + row_of(e)) scores[n][e] = -INFINITY;
        }
    }
}

/* Softmax goes on by a tile of scores, not scaled yet: they become exp(scale·(score - maximum so
 * far)); `shrink` is what the sums of before must be multiplied by. Each query sees a key. */
template <int OTHER>
static __device__ void add_scores(float scale, float scores[OTHER / 8][4], two_softmaxes *state,
                                  float shrink[2])
{
    const float power = scale * LOG2_E;
#pragma unroll
    for (int r = 0; r < 2; r++) {
        float largest = state->maximum[r], sum = 0.0f;
#pragma unroll
        for (int n = 0; n < OTHER / 8; n++) {
            largest = fmaxf(largest, fmaxf(scores[n][2 * r], scores[n][2 * r + 1]));
        }
        largest = lanes_joined<4>(largest, take_larger());
        const float from = power * largest;
#pragma unroll
        for (int n = 0; n < OTHER / 8; n++) {
#pragma unroll
            for (int e = 2 * r; e < 2 * r + 2; e++) {
                scores[n][e] = power_of_two(power * scores[n][e] - from);
                sum += scores[n][e];
            }
        }
        shrink[r] = power_of_two(power * state->maximum[r] - from);
        state->sum[r] = state->sum[r] * shrink[r] + lanes_joined<4>(sum, add_up());
        state->maximum[r] = largest;
    }
}

template <int OTHER>
static __device__ void drop(const kept_of_rows<OTHER> &kept, float weights[OTHER / 8][4])
{
#pragma unroll
    for (int n = 0; n < OTHER / 8; n++) {
#pragma unroll
        for (int e = 0; e < 4; e++) weights[n][e] = kept.has(n, e) ? weights[n][e] : 0.0f;
    }
}

template <int OTHER, int D, typename Element>
__global__ void __launch_bounds__(THREADS, D <= 64 ? 4 : 3)
    attend_in_bf16(attention_work work, kept_keys kept, const Element *qkv, Element *y,
                   float *logsumexp)
{
    extern __shared__ float4 shared[];
    forward_tiles<OTHER, D> &tiles = *(forward_tiles<OTHER, D> *)shared;
    const tile_place at = own_place(work, OWN);
    if (at.first >= at.length) return;
    const int64_t C = work.channels;
    const int length = (int)at.length, query = (int)at.first + warp_row(); /* the warp's first */
    const Element *rows = qkv + at.start * 3 * C + at.head * work.width;
    two_softmaxes state = {{-INFINITY, -INFINITY}, {0.0f, 0.0f}};
    float mixed[D / 8][4] = {}; /* Σ weight·value, before it is divided by the sum of weights */
    load_tile<OWN, D>(at.length - at.first, work.width, rows + at.first * 3 * C, 3 * C,
                      tiles.queries);

    const auto load = [&](int first, pair_of_tiles<OTHER, D> &to) {
        const Element *keys = rows + first * 3 * C + C;
        load_tile<OTHER, D>(length - first, work.width, keys, 3 * C, to.first);
        load_tile<OTHER, D>(length - first, work.width, keys + C, 3 * C, to.second);
    };
    const int end = min((int)at.first + OWN, length); /* of the keys that a query sees */
    walk_over<OTHER>(0, end, tiles.others, load, [&](int first, pair_of_tiles<OTHER, D> &keys) {
        float scores[OTHER / 8][4], shrink[2];
        kept_of_rows<OTHER> kept_here; /* on its way while the scores are worked out */
        if (query >= length) return;   /* the warp's rows lie behind the sequence's end */
        kept_here.load(kept, at, query, first);
        multiply_rows<OTHER, D>(tiles.queries, keys.first, scores);
        if (first + OTHER > query) mask<OTHER>(query, first, scores);
        add_scores<OTHER>(work.scale, scores, &state, shrink);
        if (work.drops) drop(kept_here, scores);
#pragma unroll
        for (int n = 0; n < D / 8; n++) {
#pragma unroll
            for (int e = 0; e < 4; e++) mixed[n][e] *= shrink[e / 2];
        }
        add_weighted_rows<OTHER, D>(scores, keys.second, mixed);
    });

    const float of_kept = scale_of_kept(work);
    const float inverse[2] = {of_kept / state.sum[0], of_kept / state.sum[1]};
    const int64_t row = at.start + query;
    store_sums<D>(mixed, inverse, length - query, work.width, false,
                  y + row * C + at.head * work.width, C);
    for (int r = 0; r < 2 && lane_id() % 4 == 0; r++) {
        if (query + row_of(2 * r) >= length) continue;
        logsumexp[(row + row_of(2 * r)) * work.heads + at.head] =
            work.scale * state.maximum[r] + logf(state.sum[r]);
    }
}

template <int OTHER, int D, typename Element>
static int launch(const packed_shape *shape, const Element *qkv, Element *y, float *logsumexp)
{
    const attention_work work = attention_work_of(shape, OWN);
    const unsigned blocks = attention_blocks(shape, work);
    const size_t bytes = sizeof(forward_tiles<OTHER, D>);
    kept_keys kept;
    if (blocks == 0) return OK;
    if (allow_shared(attend_in_bf16<OTHER, D, Element>, bytes)) return FAILED;
    if (draw_kept(shape, work, &kept)) return FAILED;
    attend_in_bf16<OTHER, D>
        <<<blocks, THREADS, bytes, cuda_stream>>>(work, kept, qkv, y, logsumexp);
    cuda_memory.release(kept.words);
    return cuda_launched("attention");
}

template <typename Element>
static int launch_for_width(const packed_shape *shape, const Element *qkv, Element *y,
                            float *logsumexp)
{
    const int64_t width = shape->channels / shape->heads;
    if (check_width(shape)) return FAILED;
    if (width <= 32) return launch<64, 32>(shape, qkv, y, logsumexp);
    if (width <= 64) return launch<64, 64>(shape, qkv, y, logsumexp);
    return launch<32, 128>(shape, qkv, y, logsumexp);
}

} /* namespace in_bf16 */

int cuda_attention_bf16(const packed_shape *shape, const float *qkv, float *y, float *logsumexp)
{
    return in_bf16::launch_for_width(shape, qkv, y, logsumexp);
}

int cuda_attention_factor_bf16(const packed_shape *shape, const void *qkv, void *y,
                               float *logsumexp)
{
    return in_bf16::launch_for_width(shape, (const bf16 *)qkv, (bf16 *)y, logsumexp);
}
