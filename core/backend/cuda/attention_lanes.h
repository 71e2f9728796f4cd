/* Attention of single queries: warps share the keys, and lanes share the channels of a head. */
#ifndef ICOT_BACKEND_CUDA_ATTENTION_LANES_H
#define ICOT_BACKEND_CUDA_ATTENTION_LANES_H

#include "backend/cuda/attention.h"

constexpr int WARPS = 4, LANE_CHANNELS = 4 /* of at most 128 */;

/* This lane's channels of a row; 0 behind the head's width. */
static __device__ void load_channels(const float *row, int64_t width, float channels[LANE_CHANNELS])
{
    for (int k = 0; k < LANE_CHANNELS; k++) {
        const int64_t d = threadIdx.x % WARP + k * WARP;
        channels[k] = d < width ? row[d] : 0.0f;
    }
}

/* Σ a·b over all lanes, which all get it. */
static __device__ float dot_of_lanes(const float a[LANE_CHANNELS], const float b[LANE_CHANNELS])
{
    float sum = 0.0f;
    for (int k = 0; k < LANE_CHANNELS; k++) sum += a[k] * b[k];
    return warp_sum(sum);
}

/* What a warp, or several, have seen: of this lane's channels, all divided by `sum` in the end. */
struct attended {
    float maximum, sum, mixed[LANE_CHANNELS];
};

static __device__ attended joined(const attended &a, const attended &b)
{
    attended both;
    both.maximum = fmaxf(a.maximum, b.maximum);
    /* one of them has seen a key, so the maximum is a number */
    const float shrink_a = expf(a.maximum - both.maximum),
                shrink_b = expf(b.maximum - both.maximum);
    both.sum = a.sum * shrink_a + b.sum * shrink_b;
    for (int k = 0; k < LANE_CHANNELS; k++) {
        both.mixed[k] = a.mixed[k] * shrink_a + b.mixed[k] * shrink_b;
    }
    return both;
}

/* What all warps have seen together; the first has seen a key in any case. */
static __device__ attended joined_warps(const attended parts[WARPS][WARP])
{
    const int lane = (int)threadIdx.x % WARP;
    attended all = parts[0][lane];
    for (int w = 1; w < WARPS; w++) all = joined(all, parts[w][lane]);
    return all;
}

/* This lane's channels of the result, to a row of it. */
static __device__ void put_mixed(const attended &all, int64_t width, float *row)
{
    for (int k = 0; k < LANE_CHANNELS; k++) {
        const int64_t d = threadIdx.x % WARP + k * WARP;
        if (d < width) row[d] = all.mixed[k] / all.sum;
    }
}

#endif
