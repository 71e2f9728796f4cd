/* Backward of attention: what the kernels of both precisions are given. */
#ifndef ICOT_BACKEND_CUDA_ATTENTION_BACKWARD_H
#define ICOT_BACKEND_CUDA_ATTENTION_BACKWARD_H

#include "backend/cuda/attention.h"
#include "backend/cuda/elements.h"

template <typename Element> struct backward_arrays {
    const Element *qkv;
    const float *logsumexp;
    const Element *dy;
    const float *delta; /* (T,H): dY·Y of each row and head */
    bool accumulate;
    Element *dqkv;
};

constexpr int DELTA_LANES = 8;

/* delta (T,H): DELTA_LANES threads each, which take N channels at a time */
template <int N, typename Element>
__global__ void deltas_of_rows(int64_t count, int64_t width, const Element *y, const Element *dy,
                               float *delta)
{
    const int64_t i = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) / DELTA_LANES;
    const int lane = (int)threadIdx.x % DELTA_LANES;
    float sum = 0.0f;
    for (int64_t d = lane * N; i < count && d < width; d += DELTA_LANES * N) {
        const auto a = few<N, Element>::load(y, i * width + d);
        const auto b = few<N, Element>::load(dy, i * width + d);
#pragma unroll
        for (int k = 0; k < N; k++) sum += value_of(a.at[k]) * value_of(b.at[k]);
    }
    sum = lanes_joined<DELTA_LANES>(sum, add_up());
    if (lane == 0 && i < count) delta[i] = sum;
}

/* The same of packed sequences, in scratch memory; NULL: there is none left. */
template <typename Element>
float *deltas_of(const packed_shape *shape, const Element *y, const Element *dy)
{
    constexpr int THREADS = 256;
    const int64_t tokens = shape->cu_seqlens.host[shape->sequences];
    const int64_t count = tokens * shape->heads, width = shape->channels / shape->heads;
    float *delta = (float *)cuda_scratch((size_t)count * sizeof *delta);
    if (!delta) return NULL;
    const unsigned blocks = (unsigned)parts_of(count * DELTA_LANES, THREADS);
    if (width % RUN == 0 && begins_a_run(y) && begins_a_run(dy)) {
        deltas_of_rows<RUN><<<blocks, THREADS, 0, cuda_stream>>>(count, width, y, dy, delta);
    } else {
        deltas_of_rows<1><<<blocks, THREADS, 0, cuda_stream>>>(count, width, y, dy, delta);
    }
    return delta;
}

/* Checks, works out delta, and lets the launcher do the rest. */
template <typename Element>
int attention_backward_by(int (*launcher)(const packed_shape *, const backward_arrays<Element> &),
                          const packed_shape *shape, const Element *y,
                          backward_arrays<Element> arrays)
{
    if (check_width(shape)) return FAILED;
    if (shape->cu_seqlens.host[shape->sequences] == 0) return OK;
    float *delta = deltas_of(shape, y, arrays.dy);
    if (!delta) return FAILED;
    arrays.delta = delta;
    const int status = launcher(shape, arrays);
    cuda_memory.release(delta);
    return status;
}

#endif
