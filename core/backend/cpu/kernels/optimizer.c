/* AdamW (Loshchilov, Hutter 2019) and the sum of squares that gradient clipping needs. */
#include "backend/cpu/kernels.h"
#include "base/error.h"

#include <math.h>

/* A fixed number of parts, added in order: the same bits for any number of threads. */
static double squares_of(int64_t n, const float *x)
{
    enum { PARTS = 64 };
    double sums[PARTS];
    int64_t length = (n + PARTS - 1) / PARTS;
#pragma omp parallel for schedule(static) if (n > PARALLEL_ELEMENTS)
    for (int part = 0; part < PARTS; part++) {
        int64_t start = part * length, end = start + length < n ? start + length : n;
        double sum = 0.0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = start; i < end; i++) sum += (double)x[i] * (double)x[i];
        sums[part] = sum;
    }
    double total = 0.0;
    for (int part = 0; part < PARTS; part++) total += sums[part];
    return total;
}

int KERNEL(sum_of_squares)(int64_t count, const number_array *arrays, double *sum)
{
    double total = 0.0;
    for (int64_t i = 0; i < count; i++) total += squares_of(arrays[i].n, arrays[i].data);
    *sum = total;
    return ICOT_OK;
}

/*
 * m = β₁m + (1-β₁)g,  v = β₂v + (1-β₂)g²,
 * θ = θ·(1 - lr·decay) - lr · (m / (1-β₁ᵗ)) / (√(v / (1-β₂ᵘ)) + ε), as in PyTorch's AdamW, where t
 * = u; here one moment may have been zero later than the other, and then needs the larger
 * correction.
 */
void KERNEL(adamw)(int64_t n, const icot_adamw_options *options, const float *grad,
                   float *parameter, float *exp_avg, float *exp_avg_sq)
{
    double correction1 = 1.0 - pow(options->beta1, (double)options->step);
    double correction2 = 1.0 - pow(options->beta2, (double)options->step_sq);
    float beta1 = (float)options->beta1, beta2 = (float)options->beta2;
    float one_minus_beta1 = (float)(1.0 - options->beta1);
    float one_minus_beta2 = (float)(1.0 - options->beta2);
    float step_size = (float)(options->lr / correction1);
    float inverse_root = (float)(1.0 / sqrt(correction2));
    float keep = (float)(1.0 - options->lr * options->weight_decay);
    float eps = (float)options->eps, grad_scale = (float)options->grad_scale;

#pragma omp parallel for simd schedule(static) if (n > PARALLEL_ELEMENTS)
    for (int64_t i = 0; i < n; i++) {
        float g = grad_scale * grad[i];
        float m = beta1 * exp_avg[i] + one_minus_beta1 * g;
        float v = beta2 * exp_avg_sq[i] + one_minus_beta2 * g * g;
        exp_avg[i] = m;
        exp_avg_sq[i] = v;
        parameter[i] = keep * parameter[i] - step_size * m / (sqrtf(v) * inverse_root + eps);
    }
}
