/*
 * AdamW of one number, which the CPU's kernels and the card's have in common:
 *
 * m = β₁m + (1-β₁)g,  v = β₂v + (1-β₂)g²,
 * θ = θ·(1 - lr·decay) - lr · (m / (1-β₁ᵗ)) / (√(v / (1-β₂ᵘ)) + ε), as in PyTorch's AdamW, where t
 * = u; here one moment may have been zero later than the other, and then needs the larger
 * correction.
 */
#ifndef ICOT_BACKEND_ADAMW_H
#define ICOT_BACKEND_ADAMW_H

#include "base/both_sides.h"
#include "icot.h"

#include <math.h>

/* What is the same for all numbers. */
typedef struct adamw_factors {
    float beta1, beta2, one_minus_beta1, one_minus_beta2;
    float step_size, inverse_root, keep, eps, grad_scale;
} adamw_factors;

static inline adamw_factors adamw_factors_of(const icot_adamw_options *options)
{
    const double correction1 = 1.0 - pow(options->beta1, (double)options->step);
    const double correction2 = 1.0 - pow(options->beta2, (double)options->step_sq);
    adamw_factors f;
    f.beta1 = (float)options->beta1;
    f.beta2 = (float)options->beta2;
    f.one_minus_beta1 = (float)(1.0 - options->beta1);
    f.one_minus_beta2 = (float)(1.0 - options->beta2);
    f.step_size = (float)(options->lr / correction1);
    f.inverse_root = (float)(1.0 / sqrt(correction2));
    f.keep = (float)(1.0 - options->lr * options->weight_decay);
    f.eps = (float)options->eps;
    f.grad_scale = (float)options->grad_scale;
    return f;
}

static inline ON_BOTH_SIDES void adamw_update(adamw_factors f, float grad, float *parameter,
                                              float *exp_avg, float *exp_avg_sq)
{
    const float g = f.grad_scale * grad;
    const float m = f.beta1 * *exp_avg + f.one_minus_beta1 * g;
    const float v = f.beta2 * *exp_avg_sq + f.one_minus_beta2 * g * g;
    *exp_avg = m;
    *exp_avg_sq = v;
    *parameter = f.keep * *parameter - f.step_size * m / (sqrtf(v) * f.inverse_root + f.eps);
}

#endif
