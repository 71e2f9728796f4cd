/* Walks over arrays with strides: broadcasting in two-array kernels, and copies between layouts. */
#include "backend/binary.h"
#include "backend/cuda/kernels.h"
#include "backend/cuda/reduce.h"

/*
 * Neighbouring dimensions that are one in all `arrays` become one: what lies in memory without gaps
 * is a walk along a single dimension then, whatever its shape.
 */
static strided_loop collapsed(const strided_loop *loop, int arrays)
{
    strided_loop made = {};
    for (int d = 0; d < loop->ndim; d++) {
        bool joins = made.ndim > 0;
        for (int a = 0; joins && a < arrays; a++) {
            joins = made.strides[a][made.ndim - 1] == loop->size[d] * loop->strides[a][d];
        }
        const int at = joins ? made.ndim - 1 : made.ndim++;
        made.size[at] = joins ? made.size[at] * loop->size[d] : loop->size[d];
        for (int a = 0; a < arrays; a++) made.strides[a][at] = loop->strides[a][d];
    }
    return made;
}

static int64_t count_of(const strided_loop *loop)
{
    int64_t count = 1;
    for (int d = 0; d < loop->ndim; d++) count *= loop->size[d];
    return count;
}

/* Both arrays lie in memory as the result does. */
static bool is_one_run(const strided_loop *walk)
{
    return walk->ndim == 1 && walk->strides[0][0] == 1 && walk->strides[1][0] == 1;
}

/* Offset in array `which` of element number i, row-major. */
static __device__ int64_t offset_of(const strided_loop &loop, int which, int64_t i)
{
    int64_t offset = 0;
    for (int d = loop.ndim - 1; d > 0; d--) {
        offset += i % loop.size[d] * loop.strides[which][d];
        i /= loop.size[d];
    }
    return loop.ndim ? offset + i * loop.strides[which][0] : 0;
}

/* ---- Two arrays ------------------------------------------------------------------------------ */

void cuda_binary(binary_kind kind, const strided_loop *loop, const float *a, const float *b,
                 float *y)
{
    const strided_loop walk = collapsed(loop, 2);
    if (is_one_run(&walk)) {
        map(
            "binary", walk.size[0],
            [=] __device__(float one, float two) { return combine(kind, one, two); }, y, a, b);
        return;
    }
    for_each("binary", count_of(&walk), [=] __device__(int64_t i) {
        y[i] = combine(kind, a[offset_of(walk, 0, i)], b[offset_of(walk, 1, i)]);
    });
}

void cuda_binary_backward(binary_kind kind, int which, const strided_loop *loop, const float *a,
                          const float *b, const float *dy, float *d)
{
    const strided_loop walk = collapsed(loop, 2);
    for_each("binary", count_of(&walk), [=] __device__(int64_t i) {
        const float x = a[offset_of(walk, 0, i)], y = b[offset_of(walk, 1, i)];
        d[i] = dy[i] * combine_slope(kind, which, x, y);
    });
}

/* ---- Copies ---------------------------------------------------------------------------------- */

/* The dimensions along which the target stands still, or those along which it moves. */
static strided_loop part_of(const strided_loop &all, bool still)
{
    strided_loop part = {};
    for (int d = 0; d < all.ndim; d++) {
        if ((all.strides[1][d] == 0) != still) continue;
        part.size[part.ndim] = all.size[d];
        for (int a = 0; a < 2; a++) part.strides[a][part.ndim] = all.strides[a][d];
        part.ndim++;
    }
    return part;
}

/* What falls together in the target, and where. */
struct falling {
    strided_loop moving, still;
    const float *source;
    bool accumulate;
    float *target;

    __device__ const float *source_of(int64_t i) const
    {
        return source + offset_of(moving, 0, i);
    }

    __device__ void put(int64_t i, double sum) const
    {
        float *to = target + offset_of(moving, 1, i);
        *to = accumulate ? *to + (float)sum : (float)sum;
    }
};

/* A block per element of the target. */
static __global__ void add_up_falling(int64_t terms, falling all)
{
    const float *from = all.source_of(blockIdx.x);
    double sum = 0.0;
    for (int64_t t = threadIdx.x; t < terms; t += blockDim.x) {
        sum += (double)from[offset_of(all.still, 0, t)];
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) all.put(blockIdx.x, sum);
}

/* All that falls on an element is added up in order, by one thread, or by a block where it is much
 * and the elements are few. */
void cuda_strided_copy(const strided_loop *loop, const float *source, bool accumulate,
                       float *target)
{
    const strided_loop walk = collapsed(loop, 2);
    const falling all = {part_of(walk, false), part_of(walk, true), source, accumulate, target};
    const int64_t sums = count_of(&all.moving), terms = count_of(&all.still);
    if (are_few_long_sums(sums, terms)) {
        add_up_falling<<<(unsigned)sums, row_threads(terms), 0, cuda_stream>>>(terms, all);
        cuda_launched("strided_copy");
        return;
    }
    for_each("strided_copy", sums, [=] __device__(int64_t i) {
        const float *from = all.source_of(i);
        double sum = 0.0;
        for (int64_t t = 0; t < terms; t++) sum += (double)from[offset_of(all.still, 0, t)];
        all.put(i, sum);
    });
}
