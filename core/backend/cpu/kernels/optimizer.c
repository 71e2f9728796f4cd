/* AdamW (Loshchilov, Hutter 2019) and the norm that gradient clipping needs. */
#include "backend/adamw.h"
#include "backend/cpu/kernels.h"
#include "base/counting.h"
#include "base/error.h"

#include <math.h>

/* A fixed number of parts, added in order: the same bits for any number of threads. */
static double squares_of(int64_t n, const float *x)
{
    enum { PARTS = 64 };
    double sums[PARTS];
    int64_t length = parts_of(n, PARTS);
#pragma omp parallel for schedule(static) if (n > PARALLEL_ELEMENTS)
    for (int part = 0; part < PARTS; part++) {
        int64_t start = part * length, end = smaller(start + length, n);
        double sum = 0.0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = start; i < end; i++) sum += (double)x[i] * (double)x[i];
        sums[part] = sum;
    }
    double total = 0.0;
    for (int part = 0; part < PARTS; part++) total += sums[part];
    return total;
}

int KERNEL(norm)(int64_t count, const number_array *arrays, double *norm)
{
    double total = 0.0;
    for (int64_t i = 0; i < count; i++) total += squares_of(arrays[i].n, arrays[i].data);
    *norm = sqrt(total);
    return ICOT_OK;
}

/* ---- AdamW ----------------------------------------------------------------------------------- */

static void update(const adamw_arrays *arrays, adamw_factors factors)
{
    const int64_t n = arrays->n;
    const float *grad = arrays->grad;
    float *parameter = arrays->parameter, *exp_avg = arrays->exp_avg;
    float *exp_avg_sq = arrays->exp_avg_sq;
#pragma omp parallel for simd schedule(static) firstprivate(factors) if (n > PARALLEL_ELEMENTS)
    for (int64_t i = 0; i < n; i++) {
        adamw_update(factors, grad[i], &parameter[i], &exp_avg[i], &exp_avg_sq[i]);
    }
}

int KERNEL(adamw)(int64_t count, const adamw_arrays *arrays, const icot_adamw_options *options)
{
    const adamw_factors factors = adamw_factors_of(options);
    for (int64_t i = 0; i < count; i++) update(&arrays[i], factors);
    return ICOT_OK;
}
