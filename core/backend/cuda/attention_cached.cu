/*
 * Causal self-attention of new tokens over a cache of keys and values, for decoding.
 *
 * A block has one new token and head; its warps share the keys, and lanes share the channels. Each
 * warp keeps a softmax of its own as it goes along, and in the end they are joined.
 */
#include "backend/cuda/attention_lanes.h"

struct cached_work {
    const int32_t *starts, *slots, *lengths;
    int64_t channels, heads, width, capacity;
    float scale;
    const float *qkv;
    float *keys, *values, *y;
};

/* Keys and values of the new tokens; a block per sequence and new token. */
static __global__ void append(cached_work work)
{
    const int64_t b = blockIdx.x, C = work.channels, start = work.starts[b];
    if (blockIdx.y >= work.starts[b + 1] - start) return;
    const float *row = work.qkv + (start + blockIdx.y) * 3 * C;
    const int64_t place = work.slots[b] * work.capacity + work.lengths[b] + blockIdx.y;
    for (int64_t c = threadIdx.x; c < C; c += blockDim.x) {
        work.keys[place * C + c] = row[C + c];
        work.values[place * C + c] = row[2 * C + c];
    }
}

static __device__ attended attend_as_warp(const cached_work &work, int64_t count,
                                          const float *query, const float *keys,
                                          const float *values)
{
    attended seen = {-INFINITY, 0.0f, {}};
    float q[LANE_CHANNELS], k[LANE_CHANNELS];
    load_channels(query, work.width, q);
    for (int64_t j = threadIdx.x / WARP; j < count; j += WARPS) {
        attended one = {0.0f, 1.0f, {}};
        load_channels(keys + j * work.channels, work.width, k);
        load_channels(values + j * work.channels, work.width, one.mixed);
        one.maximum = work.scale * dot_of_lanes(q, k);
        seen = joined(seen, one);
    }
    return seen;
}

/* Block (sequence · H + head, new token) */
static __global__ void attend_to_cache(cached_work work)
{
    __shared__ attended parts[WARPS][WARP];
    const int64_t b = blockIdx.x / work.heads, head = blockIdx.x % work.heads;
    const int64_t start = work.starts[b], C = work.channels, offset = head * work.width;
    if (blockIdx.y >= work.starts[b + 1] - start) return;
    const int64_t first = work.slots[b] * work.capacity * C + offset, row = start + blockIdx.y;
    const int lane = (int)threadIdx.x % WARP;
    parts[threadIdx.x / WARP][lane] =
        attend_as_warp(work, work.lengths[b] + blockIdx.y + 1, work.qkv + row * 3 * C + offset,
                       work.keys + first, work.values + first);
    __syncthreads();
    if (threadIdx.x >= WARP) return;
    put_mixed(joined_warps(parts), work.width, work.y + row * C + offset);
}

int cuda_attention_cached(const packed_shape *shape, const float *qkv, const kv_cache *cache,
                          float *y)
{
    const int64_t longest = longest_sequence(shape), width = shape->channels / shape->heads;
    if (check_width(shape)) return FAILED;
    if (longest == 0) return OK;
    const cached_work work = {shape->cu_seqlens.device,
                              cache->slots.device,
                              cache->lengths.device,
                              shape->channels,
                              shape->heads,
                              width,
                              cache->capacity,
                              1.0f / sqrtf((float)width),
                              qkv,
                              cache->keys,
                              cache->values,
                              y};
    const unsigned sequences = (unsigned)shape->sequences, tokens = (unsigned)longest;
    append<<<dim3(sequences, tokens), row_threads(shape->channels), 0, cuda_stream>>>(work);
    attend_to_cache<<<dim3(sequences * (unsigned)shape->heads, tokens), WARPS * WARP, 0,
                      cuda_stream>>>(work);
    return cuda_launched("attention_cached");
}
