/* AdamW, and the sum of squares that gradient clipping needs. */
#include "backend/cuda/kernels.h"
#include "backend/cuda/reduce.h"

#include <cmath>

/* ---- Sum of squares, in float64 -------------------------------------------------------------- */

constexpr int PARTS = 64, THREADS = 256; /* blocks that share an array */

/* partial (arrays, PARTS) */
static __global__ void squares_of_parts(const number_array *arrays, double *partial)
{
    const number_array mine = arrays[blockIdx.y];
    double sum = 0.0;
    for (int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x; i < mine.n;
         i += PARTS * THREADS) {
        sum += (double)mine.data[i] * (double)mine.data[i];
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) partial[blockIdx.y * PARTS + blockIdx.x] = sum;
}

/* One block. */
static __global__ void add_parts(int64_t n, const double *partial, double *total)
{
    double sum = 0.0;
    for (int64_t i = threadIdx.x; i < n; i += THREADS) sum += partial[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) *total = sum;
}

static int add_squares(int64_t count, const number_array *arrays, double *partial, double *sum)
{
    const int64_t parts = count * PARTS;
    squares_of_parts<<<dim3(PARTS, (unsigned)count), THREADS, 0, cuda_stream>>>(arrays, partial);
    add_parts<<<1, THREADS, 0, cuda_stream>>>(parts, partial, partial + parts);
    if (cuda_launched("sum_of_squares")) return FAILED;
    return cuda_memory.copy_out(sum, partial + parts, sizeof *sum);
}

int cuda_sum_of_squares(int64_t count, const number_array *arrays, double *sum)
{
    const size_t bytes = (size_t)count * sizeof *arrays;
    if (count == 0) {
        *sum = 0.0;
        return OK;
    }
    number_array *list = (number_array *)cuda_scratch(bytes);
    double *partial = (double *)cuda_scratch((size_t)(count * PARTS + 1) * sizeof *partial);
    int status = FAILED;
    if (list && partial && !cuda_memory.copy_in(list, arrays, bytes)) {
        status = add_squares(count, list, partial, sum);
    }
    cuda_memory.release(partial);
    cuda_memory.release(list);
    return status;
}

/* ---- AdamW ----------------------------------------------------------------------------------- */

/* See the CPU's adamw for the formula. */
void cuda_adamw(int64_t n, const icot_adamw_options *options, const float *grad, float *parameter,
                float *exp_avg, float *exp_avg_sq)
{
    const double correction1 = 1.0 - pow(options->beta1, (double)options->step);
    const double correction2 = 1.0 - pow(options->beta2, (double)options->step_sq);
    const float beta1 = (float)options->beta1, beta2 = (float)options->beta2;
    const float one_minus_beta1 = (float)(1.0 - options->beta1);
    const float one_minus_beta2 = (float)(1.0 - options->beta2);
    const float step_size = (float)(options->lr / correction1);
    const float inverse_root = (float)(1.0 / sqrt(correction2));
    const float keep = (float)(1.0 - options->lr * options->weight_decay);
    const float eps = (float)options->eps, grad_scale = (float)options->grad_scale;
    for_each("adamw", n, [=] __device__(int64_t i) {
        const float g = grad_scale * grad[i];
        const float m = beta1 * exp_avg[i] + one_minus_beta1 * g;
        const float v = beta2 * exp_avg_sq[i] + one_minus_beta2 * g * g;
        exp_avg[i] = m;
        exp_avg_sq[i] = v;
        parameter[i] = keep * parameter[i] - step_size * m / (sqrtf(v) * inverse_root + eps);
    });
}
