/* Elementwise kernels: y_i depends on x_i alone, with broadcasting through strides of 0. */
#include "backend/binary.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/vector_math.h"
#include "backend/dropout.h"
#include "base/counting.h"
#include "base/random.h"

#include <math.h>

/*
 * A function per kind, so that each gets a loop of its own that the compiler can vectorize.
 * Splitting an array among threads is the caller's work: for_each_block.
 */
typedef void unary_loop(int64_t n, const float *x, float *y);
typedef void unary_backward_loop(int64_t n, const float *x, const float *y, const float *dy,
                                 bool accumulate, float *dx);

#define UNARY(name, value, slope)                                                                  \
    static void name##_loop(int64_t n, const float *restrict xs, float *restrict ys)               \
    {                                                                                              \
        for (int64_t i = 0; i < n; i++) {                                                          \
            float x = xs[i];                                                                       \
            ys[i] = (value);                                                                       \
        }                                                                                          \
    }                                                                                              \
    static void name##_backward_loop(int64_t n, const float *restrict xs,                          \
                                     const float *restrict ys, const float *restrict dys,          \
                                     bool accumulate, float *restrict dxs)                         \
    {                                                                                              \
        for (int64_t i = 0; accumulate && i < n; i++) {                                            \
            float x = xs[i], y = ys[i];                                                            \
            (void)x, (void)y;                                                                      \
            dxs[i] += dys[i] * (slope);                                                            \
        }                                                                                          \
        for (int64_t i = 0; !accumulate && i < n; i++) {                                           \
            float x = xs[i], y = ys[i];                                                            \
            (void)x, (void)y;                                                                      \
            dxs[i] = dys[i] * (slope);                                                             \
        }                                                                                          \
    }

UNARY(neg, -x, -1.0f)
UNARY(exp, vector_exp(x), y)
UNARY(log, logf(x), 1.0f / x)
UNARY(sqrt, sqrtf(x), 0.5f / y)
UNARY(tanh, vector_tanh(x), 1.0f - y * y)
UNARY(sigmoid, vector_sigmoid(x), y *(1.0f - y))
UNARY(relu, x<0.0f ? 0.0f : x /* NaN stays */, x> 0.0f ? 1.0f : 0.0f)
UNARY(gelu, vector_gelu(x), vector_gelu_slope(x))

static unary_loop *const forward_loops[UNARY_COUNT] = {
    [UNARY_NEG] = neg_loop,   [UNARY_EXP] = exp_loop,   [UNARY_LOG] = log_loop,
    [UNARY_SQRT] = sqrt_loop, [UNARY_TANH] = tanh_loop, [UNARY_SIGMOID] = sigmoid_loop,
    [UNARY_RELU] = relu_loop, [UNARY_GELU] = gelu_loop,
};
static unary_backward_loop *const backward_loops[UNARY_COUNT] = {
    [UNARY_NEG] = neg_backward_loop,   [UNARY_EXP] = exp_backward_loop,
    [UNARY_LOG] = log_backward_loop,   [UNARY_SQRT] = sqrt_backward_loop,
    [UNARY_TANH] = tanh_backward_loop, [UNARY_SIGMOID] = sigmoid_backward_loop,
    [UNARY_RELU] = relu_backward_loop, [UNARY_GELU] = gelu_backward_loop,
};

enum { BLOCK = 4096 }; /* elements: what one thread takes at a time, small enough for its cache */

static int64_t block_length(int64_t n, int64_t start)
{
    return smaller(n - start, BLOCK);
}

void KERNEL(unary)(unary_kind kind, int64_t n, const float *x, float *y)
{
#pragma omp parallel for schedule(static) if (n > PARALLEL_ELEMENTS)
    for (int64_t i = 0; i < n; i += BLOCK) forward_loops[kind](block_length(n, i), x + i, y + i);
}

void KERNEL(unary_backward)(unary_kind kind, int64_t n, const float *x, const float *y,
                            const float *dy, bool accumulate, float *dx)
{
#pragma omp parallel for schedule(static) if (n > PARALLEL_ELEMENTS)
    for (int64_t i = 0; i < n; i += BLOCK) {
        backward_loops[kind](block_length(n, i), x + i, y + i, dy + i, accumulate, dx + i);
    }
}

void KERNEL(number_as_double)(const float *x, double *y)
{
    *y = (double)*x;
}

void KERNEL(affine)(int64_t n, double scale, double shift, const float *x, bool accumulate,
                    float *y)
{
    float a = (float)scale, b = (float)shift;
    if (accumulate) {
#pragma omp parallel for simd schedule(static) if (n > PARALLEL_ELEMENTS)
        for (int64_t i = 0; i < n; i++) y[i] += a * x[i] + b;
    } else {
#pragma omp parallel for simd schedule(static) if (n > PARALLEL_ELEMENTS)
        for (int64_t i = 0; i < n; i++) y[i] = a * x[i] + b;
    }
}

void KERNEL(power)(int64_t n, double exponent, const float *x, float *y)
{
    float e = (float)exponent;
#pragma omp parallel for schedule(static) if (n > PARALLEL_ELEMENTS)
    for (int64_t i = 0; i < n; i++) y[i] = powf(x[i], e);
}

void KERNEL(power_backward)(int64_t n, double exponent, const float *x, const float *dy,
                            bool accumulate, float *dx)
{
    float e = (float)exponent;
#pragma omp parallel for schedule(static) if (n > PARALLEL_ELEMENTS)
    for (int64_t i = 0; i < n; i++) {
        float slope = e == 0.0f ? 0.0f : e * powf(x[i], e - 1.0f);
        dx[i] = (accumulate ? dx[i] : 0.0f) + dy[i] * slope;
    }
}

/* ---- Two arrays ------------------------------------------------------------------------------ */

static int64_t inner_size(const strided_loop *loop)
{
    return loop->ndim ? loop->size[loop->ndim - 1] : 1;
}

static int64_t outer_count(const strided_loop *loop)
{
    int64_t count = 1;
    for (int d = 0; d + 1 < loop->ndim; d++) count *= loop->size[d];
    return count;
}

/* Offset in array `which` at which the inner run number `outer` (row-major) begins. */
static int64_t run_offset(const strided_loop *loop, int which, int64_t outer)
{
    int64_t offset = 0;
    for (int d = loop->ndim - 2; d >= 0; d--) {
        offset += outer % loop->size[d] * loop->strides[which][d];
        outer /= loop->size[d];
    }
    return offset;
}

static int64_t inner_stride(const strided_loop *loop, int which)
{
    return loop->ndim ? loop->strides[which][loop->ndim - 1] : 0;
}

/* One run along the last dimension; the branches stand outside of the loops. */
static void binary_run(binary_kind kind, int64_t n, const float *a, int64_t stride_a,
                       const float *b, int64_t stride_b, float *y)
{
    if (stride_a == 1 && stride_b == 1) {
        switch (kind) {
        case BINARY_ADD:
            for (int64_t i = 0; i < n; i++) y[i] = a[i] + b[i];
            break;
        case BINARY_SUB:
            for (int64_t i = 0; i < n; i++) y[i] = a[i] - b[i];
            break;
        case BINARY_MUL:
            for (int64_t i = 0; i < n; i++) y[i] = a[i] * b[i];
            break;
        case BINARY_DIV:
            for (int64_t i = 0; i < n; i++) y[i] = a[i] / b[i];
            break;
        }
    } else {
        for (int64_t i = 0; i < n; i++) y[i] = combine(kind, a[i * stride_a], b[i * stride_b]);
    }
}

/* Threads take runs in blocks, so that they share a long one, too. */
static int64_t blocks_per_run(const strided_loop *loop)
{
    return parts_of(inner_size(loop), BLOCK);
}

/* Where in array `which` element `start` of the inner run number `outer` lies. */
static int64_t place(const strided_loop *loop, int which, int64_t outer, int64_t start)
{
    return run_offset(loop, which, outer) + start * inner_stride(loop, which);
}

void KERNEL(binary)(binary_kind kind, const strided_loop *loop, const float *a, const float *b,
                    float *y)
{
    int64_t inner = inner_size(loop), outer = outer_count(loop), blocks = blocks_per_run(loop);
    int64_t stride_a = inner_stride(loop, 0), stride_b = inner_stride(loop, 1);
#pragma omp parallel for schedule(static) if (outer * inner > PARALLEL_ELEMENTS)
    for (int64_t i = 0; i < outer * blocks; i++) {
        int64_t o = i / blocks, start = i % blocks * BLOCK;
        binary_run(kind, block_length(inner, start), a + place(loop, 0, o, start), stride_a,
                   b + place(loop, 1, o, start), stride_b, y + o * inner + start);
    }
}

void KERNEL(binary_backward)(binary_kind kind, int which, const strided_loop *loop, const float *a,
                             const float *b, const float *dy, float *d)
{
    int64_t inner = inner_size(loop), outer = outer_count(loop), blocks = blocks_per_run(loop);
    int64_t stride_a = inner_stride(loop, 0), stride_b = inner_stride(loop, 1);
#pragma omp parallel for schedule(static) if (outer * inner > PARALLEL_ELEMENTS)
    for (int64_t k = 0; k < outer * blocks; k++) {
        int64_t o = k / blocks, start = k % blocks * BLOCK, n = block_length(inner, start);
        const float *own_a = a + place(loop, 0, o, start), *own_b = b + place(loop, 1, o, start);
        const float *own_dy = dy + o * inner + start;
        float *own_d = d + o * inner + start;
        for (int64_t i = 0; i < n; i++) {
            float slope = combine_slope(kind, which, own_a[i * stride_a], own_b[i * stride_b]);
            own_d[i] = own_dy[i] * slope;
        }
    }
}

/* Not parallel: with a target stride of 0 two runs may add to the same element. */
void KERNEL(strided_copy)(const strided_loop *loop, const float *source, bool accumulate,
                          float *target)
{
    int64_t inner = inner_size(loop), outer = outer_count(loop);
    int64_t from = inner_stride(loop, 0), to = inner_stride(loop, 1);
    for (int64_t o = 0; o < outer; o++) {
        const float *x = source + run_offset(loop, 0, o);
        float *y = target + run_offset(loop, 1, o);
        if (!accumulate) {
            for (int64_t i = 0; i < inner; i++) y[i * to] = x[i * from];
        } else if (to == 0) {
            double sum = 0.0;
            for (int64_t i = 0; i < inner; i++) sum += (double)x[i * from];
            *y += (float)sum;
        } else {
            for (int64_t i = 0; i < inner; i++) y[i * to] += x[i * from];
        }
    }
}

/* ---- Dropout --------------------------------------------------------------------------------- */

/*
 * Word first + i of the key's sequence decides about element i (backend/dropout.h). The backward
 * pass is the same function of the gradient.
 */
void KERNEL(dropout)(int64_t n, double p, icot_random_key key, int64_t first, const float *x,
                     const float *onto, float *y)
{
    const dropout_rule rule = dropout_rule_of(p);
    int64_t end = first + n;
#pragma omp parallel for schedule(static) if (n > PARALLEL_ELEMENTS)
    for (int64_t block = first / RANDOM_LANES; block < parts_of(end, RANDOM_LANES); block++) {
        uint32_t words[RANDOM_LANES];
        random_words(key, (uint32_t)block, words);
        int64_t word = block * RANDOM_LANES;
        for (int64_t k = word < first ? first - word : 0; k < RANDOM_LANES && word + k < end; k++) {
            int64_t i = word + k - first;
            y[i] = (onto ? onto[i] : 0.0f) + what_is_kept(rule, words[k], x[i]);
        }
    }
}
