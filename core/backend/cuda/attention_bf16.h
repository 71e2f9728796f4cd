/*
 * What forward and backward of attention in bfloat16 share. As in attention.h a block has OWN rows
 * and walks over the OTHER rows of their sequence, but the products go over tensor cores: each warp
 * has 16 of the rows, and scores and sums lie in its registers as fragments.h says. Softmax, its
 * gradient and all sums are float32.
 *
 * Tiles in shared memory are rows of D bfloat16 channels, 0 behind the head's width, and a GAP
 * that spreads them over the banks.
 */
#ifndef ICOT_BACKEND_CUDA_ATTENTION_BF16_H
#define ICOT_BACKEND_CUDA_ATTENTION_BF16_H

#include "backend/cuda/approximate.h"
#include "backend/cuda/attention.h"
#include "backend/cuda/elements.h"
#include "backend/cuda/fragments.h"

namespace in_bf16
{

constexpr int WARPS = 4, THREADS = WARPS * WARP, WARP_ROWS = 16, OWN = WARPS * WARP_ROWS;
constexpr int GAP = 8; /* elements between rows: those of a matrix lie in different banks */

static __device__ int lane_id()
{
    return (int)threadIdx.x % WARP;
}

/* The first row that is this warp's own, in its tile. */
static __device__ int warp_row()
{
    return (int)threadIdx.x / WARP * WARP_ROWS;
}

/* Where a lane's number `e` (0 to 3) of fragment n lies: row of the warp's 16, and column. */
static __device__ int row_of(int e)
{
    return lane_id() / 4 + e / 2 * 8;
}

static __device__ int column_of(int n, int e)
{
    return n * 8 + lane_id() % 4 * 2 + e % 2;
}

/* ---- Tiles ----------------------------------------------------------------------------------- */

/* `rows` (there, width), `stride` apart -> tile (ROWS, D + GAP) */
template <int ROWS, int D>
__device__ void load_tile(int64_t there, int64_t width, const float *rows, int64_t stride,
                          bf16 *tile)
{
    const bool whole = width % RUN == 0 && begins_a_run(rows);
    for (int i = threadIdx.x; i < ROWS * D / RUN; i += THREADS) {
        const int r = i / (D / RUN), d = i % (D / RUN) * RUN;
        const float *from = rows + r * stride + d;
        run_of<float> x = {};
        if (r < there && whole && d < width) {
            x = load_run(from, 0);
        } else if (r < there && !whole) {
#pragma unroll
            for (int k = 0; k < RUN; k++) x.at[k] = d + k < width ? from[k] : 0.0f;
        }
        *(uint2 *)(tile + r * (D + GAP) + d) = {rounded_pair(x.at[0], x.at[1]),
                                                rounded_pair(x.at[2], x.at[3])};
    }
}

/* The same of rows that are bfloat16 already; they may be on their way until the bundle of copies
 * is waited for. */
template <int ROWS, int D>
__device__ void load_tile(int64_t there, int64_t width, const bf16 *rows, int64_t stride,
                          bf16 *tile)
{
    constexpr int PIECE = 16 / sizeof(bf16), ACROSS = D / PIECE, DOWN = THREADS / ACROSS;
    const bool whole = width % PIECE == 0 && (uintptr_t)rows % 16 == 0;
    const int first = (int)threadIdx.x / ACROSS, d = (int)threadIdx.x % ACROSS * PIECE;
    const int last = d < (int)width ? (int)there : 0; /* of the rows, the one behind the last */
    const bf16 *from = rows + first * stride + d;
    bf16 *to = tile + first * (D + GAP) + d;
    if (whole) {
#pragma unroll
        for (int r = 0; r < ROWS; r += DOWN, from += DOWN * stride) {
            copy_ahead(to + r * (D + GAP), from, first + r < last);
        }
        return;
    }
#pragma unroll 1
    for (int r = 0; r < ROWS; r += DOWN, from += DOWN * stride) {
        for (int k = 0; k < PIECE; k++) {
            const bool is_there = first + r < last && d + k < (int)width;
            to[r * (D + GAP) + k] = is_there ? from[k] : element_of<bf16>(0.0f);
        }
    }
}

/* Two neighbours in a row; the second may lie behind its end. */
template <typename Element>
__device__ void store_pair(float one, float two, bool both, bool accumulate, Element *place)
{
    struct alignas(2 * sizeof(Element)) pair {
        Element one, two;
    };
    if (accumulate) one += value_of(place[0]), two += both ? value_of(place[1]) : 0.0f;
    if (both && (uintptr_t)place % sizeof(pair) == 0) {
        *(pair *)place = {element_of<Element>(one), element_of<Element>(two)};
        return;
    }
    place[0] = element_of<Element>(one);
    if (both) place[1] = element_of<Element>(two);
}

/* sums (16, D) of a warp, each row times its scale, to `there` rows, `stride` apart */
template <int D, typename Element>
__device__ void store_sums(const float sums[D / 8][4], const float scale[2], int64_t there,
                           int64_t width, bool accumulate, Element *rows, int64_t stride)
{
#pragma unroll
    for (int r = 0; r < 2; r++) {
        if (row_of(2 * r) >= there) continue;
#pragma unroll
        for (int n = 0; n < D / 8; n++) {
            const int column = column_of(n, 0);
            if (column >= width) continue;
            store_pair(scale[r] * sums[n][2 * r], scale[r] * sums[n][2 * r + 1], column + 1 < width,
                       accumulate, rows + row_of(2 * r) * stride + column);
        }
    }
}

/* Two tiles of the rows that a block walks over, which are read together. */
template <int OTHER, int D> struct pair_of_tiles {
    bf16 first[OTHER * (D + GAP)], second[OTHER * (D + GAP)];
};

/*
 * The walk: body(row, tiles) for each OTHER rows from `begin` to `end`; load(row, tiles) fetches
 * those that come next while body works on the ones before.
 */
template <int OTHER, typename Tiles, typename Load, typename Body>
__device__ void walk_over(int begin, int end, Tiles tiles[2], Load load, Body body)
{
    int now = 0;
    load(begin, tiles[now]);
    close_bundle();
    for (int row = begin; row < end; row += OTHER, now = 1 - now) {
        if (row + OTHER < end) load(row + OTHER, tiles[1 - now]);
        close_bundle(); /* an empty one behind the end, so that the count is right */
        wait_for_bundles<1>();
        __syncthreads();
        body(row, tiles[now]);
        __syncthreads(); /* all are done with the tile before it is overwritten */
    }
}

/* ---- Products -------------------------------------------------------------------------------- */

/* products (16, OTHER) = the warp's own rows · otherᵀ; both are tiles */
template <int OTHER, int D>
__device__ void multiply_rows(const bf16 *own, const bf16 *other, float products[OTHER / 8][4])
{
    const int lane = lane_id();
    const bf16 *left = own + (warp_row() + lane % 16) * (D + GAP) + lane / 16 * 8;
    const bf16 *right = other + (lane % 8 + lane / 16 * 8) * (D + GAP) + lane / 8 % 2 * 8;
#pragma unroll
    for (int n = 0; n < OTHER / 8; n++) {
        products[n][0] = products[n][1] = products[n][2] = products[n][3] = 0.0f;
    }
#pragma unroll
    for (int k = 0; k < D; k += 16) {
        uint32_t a[4];
        load_matrices(left + k, a);
#pragma unroll
        for (int n = 0; n < OTHER; n += 16) {
            uint32_t b[4];
            load_matrices(right + n * (D + GAP) + k, b);
            multiply_add(products[n / 8], a, b[0], b[1]);
            multiply_add(products[n / 8 + 1], a, b[2], b[3]);
        }
    }
}

/* sums (16, D) += weights (16, OTHER) · rows (OTHER, D), a tile */
template <int OTHER, int D>
__device__ void add_weighted_rows(const float weights[OTHER / 8][4], const bf16 *rows,
                                  float sums[D / 8][4])
{
    const int lane = lane_id();
    const bf16 *right = rows + lane % 16 * (D + GAP) + lane / 16 * 8;
#pragma unroll
    for (int k = 0; k < OTHER; k += 16) {
        const float *low = weights[k / 8], *high = weights[k / 8 + 1];
        const uint32_t a[4] = {rounded_pair(low[0], low[1]), rounded_pair(low[2], low[3]),
                               rounded_pair(high[0], high[1]), rounded_pair(high[2], high[3])};
#pragma unroll
        for (int n = 0; n < D; n += 16) {
            uint32_t b[4];
            load_matrices_turned(right + k * (D + GAP) + n, b);
            multiply_add(sums[n / 8], a, b[0], b[1]);
            multiply_add(sums[n / 8 + 1], a, b[2], b[3]);
        }
    }
}

/* ---- Dropout --------------------------------------------------------------------------------- */

/*
 * Which keys each query keeps: bit key % 32 of word key / 32, in `groups` words for each row of the
 * batch and head, (H, T, groups). Keys and queries count from where their sequence begins.
 */
struct kept_keys {
    uint32_t *words; /* NULL: all are kept */
    int64_t tokens, groups;

    __host__ __device__ int64_t place(int64_t head, int64_t row) const
    {
        return (head * tokens + row) * groups;
    }
};

/* Draws them, if any are dropped; memory.release takes back the words. */
int draw_kept(const packed_shape *shape, const attention_work &work, kept_keys *kept);

/* What the weights of a fragment whose rows are queries are masked by: for each of a lane's two
 * rows the bits of OTHER keys, moved so that the lane's own begin with bit 0. */
template <int OTHER> struct kept_of_rows {
    uint32_t bits[2][OTHER / 32];

    /* Of the queries from `query` on and the keys from `key` on, a multiple of OTHER. */
    __device__ void load(const kept_keys &kept, const tile_place &at, int query, int key)
    {
        const uint32_t *words = kept.words + kept.place(at.head, at.start);
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const int row = min(query + row_of(2 * r), (int)at.length - 1);
            const int place = row * (int)kept.groups + key / 32; /* less than a T x T matrix */
#pragma unroll
            for (int w = 0; w < OTHER / 32; w++) {
                bits[r][w] = kept.words ? words[place + w] >> column_of(0, 0) : ~0u;
            }
        }
    }

    __device__ bool has(int n, int e) const
    {
        return bits[e / 2][n / 4] & (1u << (n % 4 * 8 + e % 2));
    }
};

/* What the weights that are kept are multiplied by; kernels do so once, with what they sum up. */
static __device__ float scale_of_kept(const attention_work &work)
{
    return work.drops ? work.rule.scale : 1.0f;
}

} /* namespace in_bf16 */

#endif
