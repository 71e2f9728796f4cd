/* Causal self-attention over packed sequences, forward: softmax tile by tile. */
#include "backend/cuda/attention.h"

/* Shared memory of a block: turned queries, keys and weights, and values. */
template <int OWN, int OTHER, int D> struct forward_tiles {
    float queries[D * (OWN + PAD)];
    float keys[D * (OTHER + PAD)];
    float values[OTHER * D];
    float weights[OTHER * (OWN + PAD)];
};

/* Of one of a thread's queries: what is known of its softmax after the keys so far. */
struct running_softmax {
    float maximum, sum;
};

/*
 * Softmax of a query goes on by the scores of one tile: they become exp(score - maximum so far),
 * and what was summed up before, `mixed` too, is scaled to the new maximum.
 */
template <int N, int CHANNELS>
__device__ void add_scores(float scores[N], running_softmax *state, float mixed[CHANNELS])
{
    float largest = state->maximum, sum = 0.0f;
#pragma unroll
    for (int n = 0; n < N; n++) largest = fmaxf(largest, scores[n]);
    largest = lanes_joined<SIDE>(largest, take_larger());
#pragma unroll
    for (int n = 0; n < N; n++) {
        scores[n] = expf(scores[n] - largest);
        sum += scores[n];
    }
    const float shrink = expf(state->maximum - largest);
    state->sum = state->sum * shrink + lanes_joined<SIDE>(sum, add_up());
    state->maximum = largest;
#pragma unroll
    for (int k = 0; k < CHANNELS; k++) mixed[k] *= shrink;
}

/* Scores of a query with N keys: scaled, with those that it does not see gone. */
template <int N>
__device__ void mask(const attention_work &work, int64_t query, int64_t key, float scores[N])
{
#pragma unroll
    for (int n = 0; n < N; n++) {
        scores[n] = key + n <= query ? work.scale * scores[n] : -INFINITY;
    }
}

template <int OWN, int OTHER, int D>
__global__ void __launch_bounds__(TILE_THREADS)
    attend(attention_work work, const float *qkv, float *y, float *logsumexp)
{
    constexpr int R = OWN / SIDE, N = OTHER / SIDE;
    extern __shared__ float4 shared[];
    forward_tiles<OWN, OTHER, D> &tiles = *(forward_tiles<OWN, OTHER, D> *)shared;
    const tile_place at = own_place(work, OWN);
    if (at.first >= at.length) return;
    const int64_t C = work.channels, own_rows = at.length - at.first;
    const float *rows = qkv + at.start * 3 * C + at.head * work.width;
    const int64_t query = at.first + threadIdx.x / SIDE * R; /* the first of this thread's */
    running_softmax state[R];
    float mixed[R][D / SIDE] = {}; /* Σ weight·value, before it is divided by the sum of weights */
    for (int r = 0; r < R; r++) state[r] = {-INFINITY, 0.0f};
    load_turned<OWN, D>(own_rows, work.width, rows + at.first * 3 * C, 3 * C, tiles.queries);

    for (int64_t first = 0; first < at.first + OWN && first < at.length; first += OTHER) {
        const float *keys = rows + first * 3 * C + C;
        const int64_t key = first + threadIdx.x % SIDE * N;
        float scores[R][N];
        __syncthreads(); /* the tiles of the last turn are done with */
        load_turned<OTHER, D>(at.length - first, work.width, keys, 3 * C, tiles.keys);
        load_rows<OTHER, D>(at.length - first, work.width, keys + C, 3 * C, tiles.values);
        __syncthreads();
        multiply_turned<OWN, OTHER, D>(tiles.queries, tiles.keys, scores);
#pragma unroll
        for (int r = 0; r < R; r++) {
            float kept[N];
            mask<N>(work, query + r, key, scores[r]);
            add_scores<N, D / SIDE>(scores[r], &state[r], mixed[r]);
            kept_of_keys<N>(work, at.start + query + r, at.head, key, kept);
            for (int n = 0; n < N; n++) scores[r][n] *= kept[n];
        }
        store_turned<OWN, OTHER>(scores, tiles.weights);
        __syncthreads();
        add_weighted<OWN, OTHER, D>(tiles.weights, tiles.values, mixed);
    }

    for (int r = 0; r < R && query + r < at.length; r++) {
        const int64_t row = at.start + query + r;
        for (int k = 0; k < D / SIDE; k++) {
            const int channel = own_channel<D>(k);
            if (channel >= work.width) continue;
            y[row * C + at.head * work.width + channel] = mixed[r][k] / state[r].sum;
        }
        if (threadIdx.x % SIDE == 0) {
            logsumexp[row * work.heads + at.head] = state[r].maximum + logf(state[r].sum);
        }
    }
}

template <int OWN, int OTHER, int D>
static int launch(const packed_shape *shape, const float *qkv, float *y, float *logsumexp)
{
    const attention_work work = attention_work_of(shape, OWN);
    const unsigned blocks = attention_blocks(shape, work);
    const size_t bytes = sizeof(forward_tiles<OWN, OTHER, D>);
    if (blocks == 0) return OK;
    if (allow_shared(attend<OWN, OTHER, D>, bytes)) return FAILED;
    attend<OWN, OTHER, D><<<blocks, TILE_THREADS, bytes, cuda_stream>>>(work, qkv, y, logsumexp);
    return cuda_launched("attention");
}

int cuda_attention(const packed_shape *shape, const float *qkv, float *y, float *logsumexp)
{
    const int64_t width = shape->channels / shape->heads;
    if (check_width(shape)) return FAILED;
    if (width <= 32) return launch<64, 64, 32>(shape, qkv, y, logsumexp);
    if (width <= 64) return launch<64, 64, 64>(shape, qkv, y, logsumexp);
    return launch<64, 32, 128>(shape, qkv, y, logsumexp);
}
