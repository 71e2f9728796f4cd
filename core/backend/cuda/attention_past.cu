/*
 * Causal self-attention of new rows to those that were there before, in training. New rows are few,
 * mostly one of each sequence: a block for each and its heads, and backward one for each key, too,
 * so that each sum has one owner and one order.
 */
#include "backend/cuda/attention_backward.h"
#include "backend/cuda/attention_lanes.h"

struct past_work {
    attention_work attention;       /* its starts are those of the new rows */
    const int32_t *starts, *before; /* of each sequence in the past, and how many rows are there */
    const float *rows;              /* (P,3C) */
};

/* A head of a new row, or of a key: number blockIdx.y of its sequence. */
struct head_place {
    int64_t start, before, asking; /* of the sequence in the past; rows that are there, and new */
    int64_t first;                 /* the first new row */
    int64_t head, offset;          /* of its channels */
};

static __device__ head_place place_of_block(const past_work &work)
{
    const int64_t b = blockIdx.x / work.attention.heads, head = blockIdx.x % work.attention.heads;
    const int64_t first = work.attention.starts[b];
    return {work.starts[b], work.before[b], work.attention.starts[b + 1] - first,
            first,          head,           head * work.attention.width};
}

enum third { QUERY, KEY, VALUE };

/* Where the head's channels of row i of the sequence begin, in rows (P,3C). */
static __device__ int64_t channel_of(const past_work &work, const head_place &at, int64_t i,
                                     third which)
{
    const int64_t C = work.attention.channels;
    return (at.start + i) * 3 * C + which * C + at.offset;
}

/* What dropout leaves of the weight that row i of the sequence gives to a key. */
static __device__ float kept_of(const past_work &work, const head_place &at, int64_t i, int64_t key)
{
    float kept;
    kept_of_keys<1>(work.attention, at.start + i, at.head, key, &kept);
    return kept;
}

/* ---- Rows come and go ------------------------------------------------------------------------ */

/* move(element of the new rows, its place in the past); a block per sequence and new row. */
template <typename Move> __global__ void move_rows(past_work work, int64_t columns, Move move)
{
    const int64_t b = blockIdx.x, first = work.attention.starts[b];
    if (blockIdx.y >= work.attention.starts[b + 1] - first) return;
    const int64_t row = first + blockIdx.y, place = work.starts[b] + work.before[b] + blockIdx.y;
    for (int64_t c = threadIdx.x; c < columns; c += blockDim.x) {
        move(row * columns + c, place * columns + c);
    }
}

struct append_element {
    const float *qkv;
    float *rows;

    __device__ void operator()(int64_t i, int64_t place) const
    {
        rows[place] = qkv[i];
    }
};

struct take_element {
    float *drows;
    grad_target dqkv;

    __device__ void operator()(int64_t i, int64_t place) const
    {
        if (dqkv.data) dqkv.data[i] = drows[place] + (dqkv.accumulate ? dqkv.data[i] : 0.0f);
        drows[place] = 0.0f;
    }
};

/* ---- Forward --------------------------------------------------------------------------------- */

/* What this warp's share of the keys gives to a query, row i of the sequence. */
static __device__ attended attend_as_warp(const past_work &work, const head_place &at, int64_t i)
{
    const int64_t width = work.attention.width;
    attended seen = {-INFINITY, 0.0f, {}};
    float q[LANE_CHANNELS], k[LANE_CHANNELS];
    load_channels(work.rows + channel_of(work, at, i, QUERY), width, q);
    for (int64_t j = threadIdx.x / WARP; j <= i; j += WARPS) {
        attended one = {0.0f, 1.0f, {}};
        const float kept = kept_of(work, at, i, j);
        load_channels(work.rows + channel_of(work, at, j, KEY), width, k);
        load_channels(work.rows + channel_of(work, at, j, VALUE), width, one.mixed);
        for (int c = 0; c < LANE_CHANNELS; c++) one.mixed[c] *= kept;
        one.maximum = work.attention.scale * dot_of_lanes(q, k);
        seen = joined(seen, one);
    }
    return seen;
}

static __global__ void attend_to_past(past_work work, float *y, float *logsumexp)
{
    __shared__ attended parts[WARPS][WARP];
    const head_place at = place_of_block(work);
    if (blockIdx.y >= at.asking) return;
    const int lane = (int)threadIdx.x % WARP;
    parts[threadIdx.x / WARP][lane] = attend_as_warp(work, at, at.before + blockIdx.y);
    __syncthreads();
    if (threadIdx.x >= WARP) return;
    const attended all = joined_warps(parts);
    const int64_t row = at.first + blockIdx.y;
    put_mixed(all, work.attention.width, y + row * work.attention.channels + at.offset);
    if (lane == 0) logsumexp[row * work.attention.heads + at.head] = all.maximum + logf(all.sum);
}

/* ---- Backward -------------------------------------------------------------------------------- */

struct past_gradients {
    const float *logsumexp, *dy, *delta;
    float *drows;
};

/* Of a query and a key, rows i and j of the sequence: P∘M and dS. */
struct past_slopes {
    float weight, slope;
};

static __device__ past_slopes slopes_of(const past_work &work, const past_gradients &given,
                                        const head_place &at, int64_t i, int64_t j,
                                        const float score, const float product)
{
    const int64_t row = (at.first + i - at.before) * work.attention.heads + at.head;
    const float scale = work.attention.scale, kept = kept_of(work, at, i, j);
    const float weight = expf(scale * score - given.logsumexp[row]);
    return {weight * kept, scale * weight * (product * kept - given.delta[row])};
}

/* What the warps have summed up goes to the gradient of a row's query, key or value. */
static __device__ void add_sums(const float sums[WARPS][WARP][LANE_CHANNELS], int64_t width,
                                float *to)
{
    const int lane = (int)threadIdx.x % WARP;
    for (int k = 0; k < LANE_CHANNELS; k++) {
        float sum = 0.0f;
        for (int w = 0; w < WARPS; w++) sum += sums[w][lane][k];
        if (lane + k * WARP < width) to[lane + k * WARP] += sum;
    }
}

/* dQ of a new row; warps share the keys. */
static __global__ void gradients_of_queries(past_work work, past_gradients given)
{
    __shared__ float sums[WARPS][WARP][LANE_CHANNELS];
    const head_place at = place_of_block(work);
    if (blockIdx.y >= at.asking) return;
    const int64_t width = work.attention.width, i = at.before + blockIdx.y;
    const int64_t row = (at.first + blockIdx.y) * work.attention.channels + at.offset;
    float q[LANE_CHANNELS], dy[LANE_CHANNELS], dquery[LANE_CHANNELS] = {};
    load_channels(work.rows + channel_of(work, at, i, QUERY), width, q);
    load_channels(given.dy + row, width, dy);
    for (int64_t j = threadIdx.x / WARP; j <= i; j += WARPS) {
        float key[LANE_CHANNELS], value[LANE_CHANNELS];
        load_channels(work.rows + channel_of(work, at, j, KEY), width, key);
        load_channels(work.rows + channel_of(work, at, j, VALUE), width, value);
        const float score = dot_of_lanes(q, key), product = dot_of_lanes(dy, value);
        const past_slopes found = slopes_of(work, given, at, i, j, score, product);
        for (int k = 0; k < LANE_CHANNELS; k++) dquery[k] += found.slope * key[k];
    }
    for (int k = 0; k < LANE_CHANNELS; k++) {
        sums[threadIdx.x / WARP][threadIdx.x % WARP][k] = dquery[k];
    }
    __syncthreads();
    if (threadIdx.x >= WARP) return;
    add_sums(sums, width, given.drows + channel_of(work, at, i, QUERY));
}

/* dK and dV of a row, old or new; warps share the queries that see it. */
static __global__ void gradients_of_keys(past_work work, past_gradients given)
{
    __shared__ float of_key[WARPS][WARP][LANE_CHANNELS];
    __shared__ float of_value[WARPS][WARP][LANE_CHANNELS];
    const head_place at = place_of_block(work);
    const int64_t width = work.attention.width, j = blockIdx.y, length = at.before + at.asking;
    if (at.asking == 0 || j >= length) return;
    float key[LANE_CHANNELS], value[LANE_CHANNELS];
    float dkey[LANE_CHANNELS] = {}, dvalue[LANE_CHANNELS] = {};
    load_channels(work.rows + channel_of(work, at, j, KEY), width, key);
    load_channels(work.rows + channel_of(work, at, j, VALUE), width, value);
    for (int64_t i = max(j, at.before) + threadIdx.x / WARP; i < length; i += WARPS) {
        const int64_t row = (at.first + i - at.before) * work.attention.channels + at.offset;
        float q[LANE_CHANNELS], dy[LANE_CHANNELS];
        load_channels(work.rows + channel_of(work, at, i, QUERY), width, q);
        load_channels(given.dy + row, width, dy);
        const float score = dot_of_lanes(q, key), product = dot_of_lanes(dy, value);
        const past_slopes found = slopes_of(work, given, at, i, j, score, product);
        for (int k = 0; k < LANE_CHANNELS; k++) {
            dkey[k] += found.slope * q[k];
            dvalue[k] += found.weight * dy[k];
        }
    }
    for (int k = 0; k < LANE_CHANNELS; k++) {
        of_key[threadIdx.x / WARP][threadIdx.x % WARP][k] = dkey[k];
        of_value[threadIdx.x / WARP][threadIdx.x % WARP][k] = dvalue[k];
    }
    __syncthreads();
    if (threadIdx.x >= WARP) return;
    add_sums(of_key, width, given.drows + channel_of(work, at, j, KEY));
    add_sums(of_value, width, given.drows + channel_of(work, at, j, VALUE));
}

/* ---- Both ------------------------------------------------------------------------------------ */

static past_work past_work_of(const packed_shape *shape, const past_rows *past, const float *rows)
{
    return {attention_work_of(shape, 1), past->starts.device, past->lengths.device, rows};
}

/* A grid has so many blocks across a sequence, and its heads can be so wide. */
static int check_sizes(const packed_shape *shape, const past_rows *past)
{
    constexpr int64_t MOST_ROWS = 65535;
    const int64_t longest = longest_with_past(shape, past);
    if (longest <= MOST_ROWS) return check_width(shape);
    return fail("attention_past: got a sequence of %lld rows; on 'cuda' there can be at most %lld",
                (long long)longest, (long long)MOST_ROWS);
}

int cuda_attention_past(const packed_shape *shape, const past_rows *past, const float *qkv,
                        float *rows, float *y, float *logsumexp)
{
    const past_work work = past_work_of(shape, past, rows);
    const int64_t columns = 3 * shape->channels;
    const unsigned sequences = (unsigned)shape->sequences;
    const unsigned asking = (unsigned)longest_sequence(shape);
    if (check_sizes(shape, past)) return FAILED;
    if (asking == 0) return OK;
    move_rows<<<dim3(sequences, asking), row_threads(columns), 0, cuda_stream>>>(
        work, columns, append_element{qkv, rows});
    attend_to_past<<<dim3(sequences * (unsigned)shape->heads, asking), WARPS * WARP, 0,
                     cuda_stream>>>(work, y, logsumexp);
    return cuda_launched("attention_past");
}

int cuda_attention_past_backward(const packed_shape *shape, const past_rows *past,
                                 const float *rows, const float *y, const float *logsumexp,
                                 const float *dy, float *drows, grad_target dqkv)
{
    const past_work work = past_work_of(shape, past, rows);
    const int64_t columns = 3 * shape->channels;
    const unsigned sequences = (unsigned)shape->sequences;
    const unsigned asking = (unsigned)longest_sequence(shape);
    const unsigned heads = sequences * (unsigned)shape->heads;
    if (asking == 0) return OK;
    float *delta = deltas_of(shape, y, dy);
    if (!delta) return FAILED;
    const past_gradients given = {logsumexp, dy, delta, drows};
    gradients_of_queries<<<dim3(heads, asking), WARPS * WARP, 0, cuda_stream>>>(work, given);
    gradients_of_keys<<<dim3(heads, (unsigned)longest_with_past(shape, past)), WARPS * WARP, 0,
                        cuda_stream>>>(work, given);
    move_rows<<<dim3(sequences, asking), row_threads(columns), 0, cuda_stream>>>(
        work, columns, take_element{drows, dqkv});
    cuda_memory.release(delta);
    return cuda_launched("attention_past");
}
