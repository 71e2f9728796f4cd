/*
 * Causal self-attention, its products in bfloat16, backward: as in attention_backward.cu, once by
 * those who own queries, for dQ, and once by those who own keys, for dK and dV.
 */
#include "backend/cuda/attention_backward.h"
#include "backend/cuda/attention_bf16.h"

namespace in_bf16
{

/* First and second are Q and dY, or K and V. */
template <int OTHER, int D> struct gradient_tiles {
    bf16 own_first[OWN * (D + GAP)], own_second[OWN * (D + GAP)];
    bf16 other_first[OTHER * (D + GAP)], other_second[OTHER * (D + GAP)];
    float logsumexp[OTHER], delta[OTHER]; /* of the other rows, where these are queries */
};

/* Score s and slope (dY Vᵀ) of a query and a key that it sees become P∘M and dS. */
static __device__ void weigh(const attention_work &work, float logsumexp, float delta, float kept,
                             float *score, float *slope)
{
    const float weight = __expf(work.scale * *score - logsumexp);
    *slope = work.scale * weight * (*slope * kept - delta);
    *score = weight * kept;
}

/* ---- Who owns queries: dQ -------------------------------------------------------------------- */

template <int OTHER>
static __device__ void weigh_queries(const attention_work &work, const tile_place &at,
                                     int64_t query, int64_t key, const float logsumexp[2],
                                     const float delta[2], float scores[OTHER / 8][4],
                                     float slopes[OTHER / 8][4])
{
#pragma unroll
    for (int n = 0; n < OTHER / 8; n++) {
        float kept[4] = {1.0f, 1.0f, 1.0f, 1.0f};
        if (work.drops) kept_of_query_rows(work, at.start + query, at.head, key + 8 * n, kept);
#pragma unroll
        for (int e = 0; e < 4; e++) {
            weigh(work, logsumexp[e / 2], delta[e / 2], kept[e], &scores[n][e], &slopes[n][e]);
            if (key + column_of(n, e) > query + row_of(e)) slopes[n][e] = 0.0f;
        }
    }
}

template <int OTHER, int D, typename Element>
__global__ void __launch_bounds__(THREADS, D <= 64 ? 4 : 3)
    query_gradients_in_bf16(attention_work work, backward_arrays<Element> arrays)
{
    extern __shared__ float4 shared[];
    gradient_tiles<OTHER, D> &tiles = *(gradient_tiles<OTHER, D> *)shared;
    const tile_place at = own_place(work, OWN);
    if (at.first >= at.length) return;
    const int64_t C = work.channels, own_rows = at.length - at.first;
    const int64_t offset = at.head * work.width, query = at.first + warp_row();
    const Element *rows = arrays.qkv + at.start * 3 * C + offset;
    const Element *slopes = arrays.dy + at.start * C + offset;
    float dquery[D / 8][4] = {}, logsumexp[2], delta[2];
    for (int r = 0; r < 2; r++) {
        const int64_t row = query + row_of(2 * r), i = (at.start + row) * work.heads + at.head;
        logsumexp[r] = row < at.length ? arrays.logsumexp[i] : 0.0f;
        delta[r] = row < at.length ? arrays.delta[i] : 0.0f;
    }
    load_tile<OWN, D>(own_rows, work.width, rows + at.first * 3 * C, 3 * C, tiles.own_first);
    load_tile<OWN, D>(own_rows, work.width, slopes + at.first * C, C, tiles.own_second);

    for (int64_t first = 0; first < at.first + OWN && first < at.length; first += OTHER) {
        const Element *keys = rows + first * 3 * C + C;
        const int64_t there = at.length - first;
        float scores[OTHER / 8][4], ds[OTHER / 8][4];
        __syncthreads(); /* the tiles of the last turn are done with */
        load_tile<OTHER, D>(there, work.width, keys, 3 * C, tiles.other_first);
        load_tile<OTHER, D>(there, work.width, keys + C, 3 * C, tiles.other_second);
        __syncthreads();
        multiply_rows<OTHER, D>(tiles.own_first, tiles.other_first, scores);
        multiply_rows<OTHER, D>(tiles.own_second, tiles.other_second, ds);
        weigh_queries<OTHER>(work, at, query, first, logsumexp, delta, scores, ds);
        add_weighted_rows<OTHER, D>(ds, tiles.other_first, dquery);
    }
    const float as_is[2] = {1.0f, 1.0f};
    store_sums<D>(dquery, as_is, at.length - query, work.width, arrays.accumulate,
                  arrays.dqkv + (at.start + query) * 3 * C + offset, 3 * C);
}

/* ---- Who owns keys: dK and dV ---------------------------------------------------------------- */

/* logsumexp and delta of the queries from `first` on */
template <int OTHER, int D, typename Element>
static __device__ void load_of_queries(const attention_work &work,
                                       const backward_arrays<Element> &arrays, const tile_place &at,
                                       int64_t first, gradient_tiles<OTHER, D> &tiles)
{
    for (int i = threadIdx.x; i < OTHER; i += THREADS) {
        const int64_t of = (at.start + first + i) * work.heads + at.head;
        const bool there = first + i < at.length;
        tiles.logsumexp[i] = there ? arrays.logsumexp[of] : 0.0f;
        tiles.delta[i] = there ? arrays.delta[of] : 0.0f;
    }
}

template <int OTHER, int D>
static __device__ void weigh_keys(const attention_work &work, const tile_place &at, int64_t query,
                                  int64_t key, const gradient_tiles<OTHER, D> &tiles,
                                  float scores[OTHER / 8][4], float slopes[OTHER / 8][4])
{
#pragma unroll
    for (int n = 0; n < OTHER / 8; n++) {
        float kept[4] = {1.0f, 1.0f, 1.0f, 1.0f};
        if (work.drops) kept_of_key_rows(work, at.start + query + 8 * n, at.head, key, kept);
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const int column = column_of(n, e);
            weigh(work, tiles.logsumexp[column], tiles.delta[column], kept[e], &scores[n][e],
                  &slopes[n][e]);
            const bool seen = key + row_of(e) <= query + column && query + column < at.length;
            scores[n][e] = seen ? scores[n][e] : 0.0f;
            slopes[n][e] = seen ? slopes[n][e] : 0.0f;
        }
    }
}

template <int OTHER, int D, typename Element>
__global__ void __launch_bounds__(THREADS, D <= 64 ? 3 : 2) /* blocks at a time: fewer registers */
    key_gradients_in_bf16(attention_work work, backward_arrays<Element> arrays)
{
    extern __shared__ float4 shared[];
    gradient_tiles<OTHER, D> &tiles = *(gradient_tiles<OTHER, D> *)shared;
    const tile_place at = own_place(work, OWN);
    if (at.first >= at.length) return;
    const int64_t C = work.channels, own_rows = at.length - at.first;
    const int64_t offset = at.head * work.width, key = at.first + warp_row();
    const Element *rows = arrays.qkv + at.start * 3 * C + offset;
    const Element *slopes = arrays.dy + at.start * C + offset, *keys = rows + at.first * 3 * C + C;
    float dkey[D / 8][4] = {}, dvalue[D / 8][4] = {};
    load_tile<OWN, D>(own_rows, work.width, keys, 3 * C, tiles.own_first);
    load_tile<OWN, D>(own_rows, work.width, keys + C, 3 * C, tiles.own_second);

    /* no query before the first key sees it; OWN is a multiple of OTHER */
    for (int64_t first = at.first; first < at.length; first += OTHER) {
        const int64_t there = at.length - first;
        float scores[OTHER / 8][4], ds[OTHER / 8][4];
        __syncthreads(); /* the tiles of the last turn are done with */
        load_tile<OTHER, D>(there, work.width, rows + first * 3 * C, 3 * C, tiles.other_first);
        load_tile<OTHER, D>(there, work.width, slopes + first * C, C, tiles.other_second);
        load_of_queries(work, arrays, at, first, tiles);
        __syncthreads();
        multiply_rows<OTHER, D>(tiles.own_first, tiles.other_first, scores);
        multiply_rows<OTHER, D>(tiles.own_second, tiles.other_second, ds);
        weigh_keys<OTHER, D>(work, at, first, key, tiles, scores, ds);
        add_weighted_rows<OTHER, D>(scores, tiles.other_second, dvalue);
        add_weighted_rows<OTHER, D>(ds, tiles.other_first, dkey);
    }
    const float as_is[2] = {1.0f, 1.0f};
    Element *to = arrays.dqkv + (at.start + key) * 3 * C + offset + C;
    store_sums<D>(dkey, as_is, at.length - key, work.width, arrays.accumulate, to, 3 * C);
    store_sums<D>(dvalue, as_is, at.length - key, work.width, arrays.accumulate, to + C, 3 * C);
}

/* ---- Both ------------------------------------------------------------------------------------ */

/* A kernel of those that own KEYS holds more sums, and so fewer QUERIES at a time. */
template <int KEYS, int QUERIES, int D, typename Element>
static int launch(const packed_shape *shape, const backward_arrays<Element> &arrays)
{
    const attention_work work = attention_work_of(shape, OWN);
    const unsigned blocks = attention_blocks(shape, work);
    const size_t for_queries = sizeof(gradient_tiles<KEYS, D>);
    const size_t for_keys = sizeof(gradient_tiles<QUERIES, D>);
    if (allow_shared(query_gradients_in_bf16<KEYS, D, Element>, for_queries)) return FAILED;
    if (allow_shared(key_gradients_in_bf16<QUERIES, D, Element>, for_keys)) return FAILED;
    query_gradients_in_bf16<KEYS, D><<<blocks, THREADS, for_queries, cuda_stream>>>(work, arrays);
    key_gradients_in_bf16<QUERIES, D><<<blocks, THREADS, for_keys, cuda_stream>>>(work, arrays);
    return cuda_launched("attention");
}

template <typename Element>
static int launch_for_width(const packed_shape *shape, const backward_arrays<Element> &arrays)
{
    const int64_t width = shape->channels / shape->heads;
    if (width <= 32) return launch<64, 32, 32>(shape, arrays);
    if (width <= 64) return launch<64, 32, 64>(shape, arrays);
    return launch<32, 16, 128>(shape, arrays);
}

} /* namespace in_bf16 */

int cuda_attention_backward_bf16(const packed_shape *shape, const float *qkv, const float *y,
                                 const float *logsumexp, const float *dy, bool accumulate,
                                 float *dqkv)
{
    return attention_backward_by(in_bf16::launch_for_width<float>, shape, y,
                                 {qkv, logsumexp, dy, NULL, accumulate, dqkv});
}

int cuda_attention_backward_of_factors(const packed_shape *shape, const void *qkv, const void *y,
                                       const float *logsumexp, const void *dy, void *dqkv)
{
    return attention_backward_by(
        in_bf16::launch_for_width<bf16>, shape, (const bf16 *)y,
        {(const bf16 *)qkv, logsumexp, (const bf16 *)dy, NULL, false, (bf16 *)dqkv});
}
