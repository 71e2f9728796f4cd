/*
 * Causal self-attention, backward; backend.h has the formulas. δ_i is worked out first, as
 * dY_i·Y_i.
 *
 * P and dS are computed twice: by those who own queries, for dQ, and by those who own keys, for dK
 * and dV. So each sum has one owner and one order, and nothing is added atomically.
 */
#include "backend/cuda/attention_backward.h"

/* Shared memory of a block. First and second are Q and dY, or K and V. */
template <int OWN, int OTHER, int D> struct backward_tiles {
    float own_first[D * (OWN + PAD)], own_second[D * (OWN + PAD)];         /* turned */
    float other_first[D * (OTHER + PAD)], other_second[D * (OTHER + PAD)]; /* turned */
    float first_rows[OTHER * D], second_rows[OTHER * D];                   /* the same, as is */
    float slopes[OTHER * (OWN + PAD)], weights[OTHER * (OWN + PAD)];       /* dS, P∘M; turned */
};

/* Score and (dY Vᵀ) of a query, a row of its sequence, and a key become P∘M and dS. */
static __device__ void weigh(const attention_work &work, const backward_arrays<float> &arrays,
                             const tile_place &at, int64_t query, int64_t key, float kept,
                             float *score, float *slope)
{
    if (key > query || query >= at.length) {
        *score = *slope = 0.0f;
        return;
    }
    const int64_t i = (at.start + query) * work.heads + at.head;
    const float weight = expf(work.scale * *score - arrays.logsumexp[i]);
    *slope = work.scale * weight * (*slope * kept - arrays.delta[i]);
    *score = weight * kept;
}

/* sums (R, D/16) of this thread to rows of dqkv, 3C apart */
template <int R, int D>
__device__ void put_gradient(const attention_work &work, const tile_place &at, int64_t row,
                             const float sums[R][D / SIDE], bool accumulate, float *to)
{
    for (int r = 0; r < R && row + r < at.length; r++) {
        for (int k = 0; k < D / SIDE; k++) {
            const int channel = own_channel<D>(k);
            if (channel >= work.width) continue;
            float *place = to + (row + r) * 3 * work.channels + channel;
            *place = accumulate ? *place + sums[r][k] : sums[r][k];
        }
    }
}

/* ---- Who owns queries: dQ -------------------------------------------------------------------- */

template <int OWN, int OTHER, int D>
__global__ void __launch_bounds__(TILE_THREADS)
    query_gradients(attention_work work, backward_arrays<float> arrays)
{
    constexpr int R = OWN / SIDE, N = OTHER / SIDE;
    extern __shared__ float4 shared[];
    backward_tiles<OWN, OTHER, D> &tiles = *(backward_tiles<OWN, OTHER, D> *)shared;
    const tile_place at = own_place(work, OWN);
    if (at.first >= at.length) return;
    const int64_t C = work.channels, own_rows = at.length - at.first;
    const int64_t offset = at.head * work.width, query = at.first + threadIdx.x / SIDE * R;
    const float *rows = arrays.qkv + at.start * 3 * C + offset;
    const float *slopes = arrays.dy + at.start * C + offset;
    float dquery[R][D / SIDE] = {};
    load_turned<OWN, D>(own_rows, work.width, rows + at.first * 3 * C, 3 * C, tiles.own_first);
    load_turned<OWN, D>(own_rows, work.width, slopes + at.first * C, C, tiles.own_second);

    for (int64_t first = 0; first < at.first + OWN && first < at.length; first += OTHER) {
        const float *keys = rows + first * 3 * C + C;
        const int64_t there = at.length - first, key = first + threadIdx.x % SIDE * N;
        float scores[R][N], ds[R][N];
        __syncthreads(); /* the tiles of the last turn are done with */
        load_turned<OTHER, D>(there, work.width, keys, 3 * C, tiles.other_first);
        load_turned<OTHER, D>(there, work.width, keys + C, 3 * C, tiles.other_second);
        load_rows<OTHER, D>(there, work.width, keys, 3 * C, tiles.first_rows);
        __syncthreads();
        multiply_turned<OWN, OTHER, D>(tiles.own_first, tiles.other_first, scores);
        multiply_turned<OWN, OTHER, D>(tiles.own_second, tiles.other_second, ds);
        for (int r = 0; r < R; r++) {
            float kept[N];
            kept_of_keys<N>(work, at.start + query + r, at.head, key, kept);
            for (int n = 0; n < N; n++) {
                weigh(work, arrays, at, query + r, key + n, kept[n], &scores[r][n], &ds[r][n]);
            }
        }
        store_turned<OWN, OTHER>(ds, tiles.slopes);
        __syncthreads();
        add_weighted<OWN, OTHER, D>(tiles.slopes, tiles.first_rows, dquery);
    }
    put_gradient<R, D>(work, at, query, dquery, arrays.accumulate,
                       arrays.dqkv + at.start * 3 * C + offset);
}

/* ---- Who owns keys: dK and dV ---------------------------------------------------------------- */

template <int OWN, int OTHER, int D>
__global__ void __launch_bounds__(TILE_THREADS)
    key_gradients(attention_work work, backward_arrays<float> arrays)
{
    constexpr int R = OWN / SIDE, N = OTHER / SIDE;
    extern __shared__ float4 shared[];
    backward_tiles<OWN, OTHER, D> &tiles = *(backward_tiles<OWN, OTHER, D> *)shared;
    const tile_place at = own_place(work, OWN);
    if (at.first >= at.length) return;
    const int64_t C = work.channels, own_rows = at.length - at.first;
    const int64_t offset = at.head * work.width, key = at.first + threadIdx.x / SIDE * R;
    const float *rows = arrays.qkv + at.start * 3 * C + offset;
    const float *slopes = arrays.dy + at.start * C + offset, *keys = rows + at.first * 3 * C + C;
    float dkey[R][D / SIDE] = {}, dvalue[R][D / SIDE] = {};
    load_turned<OWN, D>(own_rows, work.width, keys, 3 * C, tiles.own_first);
    load_turned<OWN, D>(own_rows, work.width, keys + C, 3 * C, tiles.own_second);

    /* no query before the first key sees it; OWN is a multiple of OTHER */
    for (int64_t first = at.first; first < at.length; first += OTHER) {
        const int64_t there = at.length - first, query = first + threadIdx.x % SIDE * N;
        float scores[R][N], ds[R][N];
        __syncthreads(); /* the tiles of the last turn are done with */
        load_turned<OTHER, D>(there, work.width, rows + first * 3 * C, 3 * C, tiles.other_first);
        load_turned<OTHER, D>(there, work.width, slopes + first * C, C, tiles.other_second);
        load_rows<OTHER, D>(there, work.width, rows + first * 3 * C, 3 * C, tiles.first_rows);
        load_rows<OTHER, D>(there, work.width, slopes + first * C, C, tiles.second_rows);
        __syncthreads();
        multiply_turned<OWN, OTHER, D>(tiles.own_first, tiles.other_first, scores);
        multiply_turned<OWN, OTHER, D>(tiles.own_second, tiles.other_second, ds);
        for (int n = 0; n < N; n++) {
            float kept[R];
            kept_of_keys<R>(work, at.start + query + n, at.head, key, kept);
            for (int r = 0; r < R; r++) {
                weigh(work, arrays, at, query + n, key + r, kept[r], &scores[r][n], &ds[r][n]);
            }
        }
        store_turned<OWN, OTHER>(ds, tiles.slopes);
        store_turned<OWN, OTHER>(scores, tiles.weights);
        __syncthreads();
        add_weighted<OWN, OTHER, D>(tiles.slopes, tiles.first_rows, dkey);
        add_weighted<OWN, OTHER, D>(tiles.weights, tiles.second_rows, dvalue);
    }
    float *to = arrays.dqkv + at.start * 3 * C + offset + C;
    put_gradient<R, D>(work, at, key, dkey, arrays.accumulate, to);
    put_gradient<R, D>(work, at, key, dvalue, arrays.accumulate, to + C);
}

/* ---- Both ------------------------------------------------------------------------------------ */

template <int OWN, int OTHER, int D>
static int launch(const packed_shape *shape, const backward_arrays<float> &arrays)
{
    const attention_work work = attention_work_of(shape, OWN);
    const unsigned blocks = attention_blocks(shape, work);
    const size_t bytes = sizeof(backward_tiles<OWN, OTHER, D>);
    if (allow_shared(query_gradients<OWN, OTHER, D>, bytes)) return FAILED;
    if (allow_shared(key_gradients<OWN, OTHER, D>, bytes)) return FAILED;
    query_gradients<OWN, OTHER, D><<<blocks, TILE_THREADS, bytes, cuda_stream>>>(work, arrays);
    key_gradients<OWN, OTHER, D><<<blocks, TILE_THREADS, bytes, cuda_stream>>>(work, arrays);
    return cuda_launched("attention");
}

static int launch_for_width(const packed_shape *shape, const backward_arrays<float> &arrays)
{
    const int64_t width = shape->channels / shape->heads;
    if (width <= 32) return launch<64, 32, 32>(shape, arrays);
    if (width <= 64) return launch<64, 32, 64>(shape, arrays);
    return launch<32, 16, 128>(shape, arrays);
}

int cuda_attention_backward(const packed_shape *shape, const float *qkv, const float *y,
                            const float *logsumexp, const float *dy, bool accumulate, float *dqkv)
{
    return attention_backward_by(launch_for_width, shape, y,
                                 {qkv, logsumexp, dy, NULL, accumulate, dqkv});
}
