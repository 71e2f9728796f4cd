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
    struct others : pair_of_tiles<OTHER, D> {
        float logsumexp[OTHER], delta[OTHER]; /* where they are queries */
        uint2 kept[OTHER];                    /* bits of the block's own keys */
    } others[2];
};

/* What the kernels need to know of a query: powers of two and slopes are scaled already. */
static __device__ float scaled_logsumexp(float logsumexp)
{
    return LOG2_E * logsumexp;
}

/*
 * Score and slope (dY Vᵀ) of a query and a key become P∘M, but for the scale of what is kept, and
 * dS = P ∘ (scale·M∘dY Vᵀ - scale·δ); logsumexp and delta are scaled.
 */
static __device__ void weigh(const attention_work &work, float logsumexp, float delta, bool kept,
                             float *score, float *slope)
{
    const float weight = power_of_two(work.scale * LOG2_E * *score - logsumexp);
    const float factor = kept ? work.scale * scale_of_kept(work) : 0.0f;
    *slope = weight * (factor * *slope - delta);
    *score = kept ? weight : 0.0f;
}

/* ---- Who owns queries: dQ -------------------------------------------------------------------- */

template <int OTHER>
static __device__ void weigh_queries(const attention_work &work, const kept_of_rows<OTHER> &kept,
                                     int query, int key, const float logsumexp[2],
                                     const float delta[2], float scores[OTHER / 8][4],
                                     float slopes[OTHER / 8][4])
{
#pragma unroll
    for (int n = 0; n < OTHER / 8; n++) {
#pragma unroll
        for (int e = 0; e < 4; e++) {
            weigh(work, logsumexp[e / 2], delta[e / 2], kept.has(n, e), &scores[n][e],
                  &slopes[n][e]);
        }
    }
    if (key + OTHER <= query) return; /* all keys are seen by all */
#pragma unroll
    for (int n = 0; n < OTHER / 8; n++) {
#pragma unroll
        for (int e = 0; e < 4; e++) {
            if (key + column_of(n, e) > query + row_of(e)) slopes[n][e] = 0.0f;
        }
    }
}

template <int OTHER, int D, typename Element>
__global__ void __launch_bounds__(THREADS, D <= 64 ? 4 : 3)
    query_gradients_in_bf16(attention_work work, kept_keys kept, backward_arrays<Element> arrays)
{
    extern __shared__ float4 shared[];
    gradient_tiles<OTHER, D> &tiles = *(gradient_tiles<OTHER, D> *)shared;
    const tile_place at = own_place(work, OWN);
    if (at.first >= at.length) return;
    const int64_t C = work.channels, offset = at.head * work.width;
    const int length = (int)at.length, query = (int)at.first + warp_row();
    const Element *rows = arrays.qkv + at.start * 3 * C + offset;
    const Element *slopes = arrays.dy + at.start * C + offset;
    float dquery[D / 8][4] = {}, logsumexp[2], delta[2];
    for (int r = 0; r < 2; r++) {
        const int row = query + row_of(2 * r);
        const int64_t i = (at.start + row) * work.heads + at.head;
        logsumexp[r] = row < length ? scaled_logsumexp(arrays.logsumexp[i]) : 0.0f;
        delta[r] = row < length ? work.scale * arrays.delta[i] : 0.0f;
    }
    load_tile<OWN, D>(length - at.first, work.width, rows + at.first * 3 * C, 3 * C,
                      tiles.own_first);
    load_tile<OWN, D>(length - at.first, work.width, slopes + at.first * C, C, tiles.own_second);

    typedef typename gradient_tiles<OTHER, D>::others key_tiles;
    const auto load = [&](int first, key_tiles &to) {
        const Element *keys = rows + first * 3 * C + C;
        load_tile<OTHER, D>(length - first, work.width, keys, 3 * C, to.first);
        load_tile<OTHER, D>(length - first, work.width, keys + C, 3 * C, to.second);
    };
    const int end = min((int)at.first + OWN, length); /* of the keys that a query sees */
    walk_over<OTHER>(0, end, tiles.others, load, [&](int first, key_tiles &keys) {
        float scores[OTHER / 8][4], ds[OTHER / 8][4];
        kept_of_rows<OTHER> kept_here; /* on its way while the scores are worked out */
        if (query >= length) return;   /* the warp's rows lie behind the sequence's end */
        kept_here.load(kept, at, query, first);
        multiply_rows<OTHER, D>(tiles.own_first, keys.first, scores);
        multiply_rows<OTHER, D>(tiles.own_second, keys.second, ds);
        weigh_queries<OTHER>(work, kept_here, query, first, logsumexp, delta, scores, ds);
        add_weighted_rows<OTHER, D>(ds, keys.first, dquery);
    });
    const float as_is[2] = {1.0f, 1.0f};
    store_sums<D>(dquery, as_is, length - query, work.width, arrays.accumulate,
                  arrays.dqkv + (at.start + query) * 3 * C + offset, 3 * C);
}

/* ---- Who owns keys: dK and dV ---------------------------------------------------------------- */

/* logsumexp and delta of the queries from `first` on, and which of the block's own keys they keep;
 * on their way until the bundle of copies is waited for, and zeros behind the sequence's end. */
template <int OTHER, typename Element, typename Tiles>
static __device__ void load_of_queries(const attention_work &work, const kept_keys &kept,
                                       const backward_arrays<Element> &arrays, const tile_place &at,
                                       int first, Tiles &to)
{
    static_assert(OTHER <= THREADS, "each thread has one of them, or none");
    const int i = (int)threadIdx.x;
    const bool there = first + i < (int)at.length;
    const int64_t row = at.start + (there ? first + i : 0), of = row * work.heads + at.head;
    if (i >= OTHER) return;
    copy_number_ahead(to.logsumexp + i, arrays.logsumexp + of, there);
    copy_number_ahead(to.delta + i, arrays.delta + of, there);
    if (!work.drops) return;
    const uint32_t *bits = kept.words + kept.place(at.head, row) + at.first / 32;
    copy_number_ahead(to.kept + i, (const uint2 *)bits, there);
}

/* Queries behind the sequence's end need no mask: their rows of Q and dY are zeros. */
template <int OTHER, typename Tiles>
static __device__ void weigh_keys(const attention_work &work, int query, int key,
                                  const Tiles &queries, float scores[OTHER / 8][4],
                                  float slopes[OTHER / 8][4])
{
    const int own = warp_row() % 32 + row_of(0); /* bit of the lane's first key */
#pragma unroll
    for (int n = 0; n < OTHER / 8; n++) {
#pragma unroll
        for (int c = 0; c < 2; c++) { /* the lane's two queries */
            const int column = column_of(n, c);
            const float logsumexp = scaled_logsumexp(queries.logsumexp[column]);
            const float delta = work.scale * queries.delta[column];
            const uint2 both = queries.kept[column];
            const uint32_t bits = work.drops ? (warp_row() < 32 ? both.x : both.y) >> own : ~0u;
            weigh(work, logsumexp, delta, bits & 1u, &scores[n][c], &slopes[n][c]);
            weigh(work, logsumexp, delta, bits & (1u << 8), &scores[n][c + 2], &slopes[n][c + 2]);
        }
    }
    if (query >= key + WARP_ROWS) return; /* all keys are seen by all */
#pragma unroll
    for (int n = 0; n < OTHER / 8; n++) {
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const bool seen = key + row_of(e) <= query + column_of(n, e);
            scores[n][e] = seen ? scores[n][e] : 0.0f;
            slopes[n][e] = seen ? slopes[n][e] : 0.0f;
        }
    }
}

template <int OTHER, int D, typename Element>
__global__ void __launch_bounds__(THREADS, D <= 64 ? 4 : 2) /* blocks at a time: fewer registers */
    key_gradients_in_bf16(attention_work work, kept_keys kept, backward_arrays<Element> arrays)
{
    extern __shared__ float4 shared[];
    gradient_tiles<OTHER, D> &tiles = *(gradient_tiles<OTHER, D> *)shared;
    const tile_place at = own_place(work, OWN);
    if (at.first >= at.length) return;
    const int64_t C = work.channels, offset = at.head * work.width;
    const int length = (int)at.length, key = (int)at.first + warp_row();
    const Element *rows = arrays.qkv + at.start * 3 * C + offset;
    const Element *slopes = arrays.dy + at.start * C + offset, *keys = rows + at.first * 3 * C + C;
    float dkey[D / 8][4] = {}, dvalue[D / 8][4] = {};
    load_tile<OWN, D>(length - at.first, work.width, keys, 3 * C, tiles.own_first);
    load_tile<OWN, D>(length - at.first, work.width, keys + C, 3 * C, tiles.own_second);

    typedef typename gradient_tiles<OTHER, D>::others query_tiles;
    const auto load = [&](int first, query_tiles &to) {
        load_tile<OTHER, D>(length - first, work.width, rows + first * 3 * C, 3 * C, to.first);
        load_tile<OTHER, D>(length - first, work.width, slopes + first * C, C, to.second);
        load_of_queries<OTHER>(work, kept, arrays, at, first, to);
    };
    /* no query before the first key sees it; OWN is a multiple of OTHER */
    walk_over<OTHER>((int)at.first, length, tiles.others, load, [&](int first, query_tiles &q) {
        float scores[OTHER / 8][4], ds[OTHER / 8][4];
        if (first + OTHER <= key || key >= length) return; /* no query sees the warp's keys */
        multiply_rows<OTHER, D>(tiles.own_first, q.first, scores);
        multiply_rows<OTHER, D>(tiles.own_second, q.second, ds);
        weigh_keys<OTHER>(work, first, key, q, scores, ds);
        add_weighted_rows<OTHER, D>(scores, q.second, dvalue);
        add_weighted_rows<OTHER, D>(ds, q.first, dkey);
    });
    const float as_is[2] = {1.0f, 1.0f}, of_kept = scale_of_kept(work),
                scale[2] = {of_kept, of_kept};
    Element *to = arrays.dqkv + (at.start + key) * 3 * C + offset + C;
    store_sums<D>(dkey, as_is, length - key, work.width, arrays.accumulate, to, 3 * C);
    store_sums<D>(dvalue, scale, length - key, work.width, arrays.accumulate, to + C, 3 * C);
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
    kept_keys kept;
    if (allow_shared(query_gradients_in_bf16<KEYS, D, Element>, for_queries)) return FAILED;
    if (allow_shared(key_gradients_in_bf16<QUERIES, D, Element>, for_keys)) return FAILED;
    if (draw_kept(shape, work, &kept)) return FAILED;
    query_gradients_in_bf16<KEYS, D>
        <<<blocks, THREADS, for_queries, cuda_stream>>>(work, kept, arrays);
    key_gradients_in_bf16<QUERIES, D>
        <<<blocks, THREADS, for_keys, cuda_stream>>>(work, kept, arrays);
    cuda_memory.release(kept.words);
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

int cuda_attention_factor_backward_bf16(const packed_shape *shape, const void *qkv, const void *y,
                                        const float *logsumexp, const void *dy, void *dqkv)
{
    return attention_backward_by(
        in_bf16::launch_for_width<bf16>, shape, (const bf16 *)y,
        {(const bf16 *)qkv, logsumexp, (const bf16 *)dy, NULL, false, (bf16 *)dqkv});
}
