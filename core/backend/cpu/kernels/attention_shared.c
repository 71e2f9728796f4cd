#include "backend/cpu/kernels/attention.h"

#include "backend/cpu/kernels/reduce.h"
#include "backend/cpu/vector_math.h"
#include "base/counting.h"
#include "base/error.h"
#include "base/memory.h"

#include <math.h>
#include <omp.h>

int KERNEL(scratch_new)(int64_t floats_per_thread, int64_t *stride, float **out)
{
    enum { CACHE_LINE = 16 }; /* floats */
    *stride = rounded_up(floats_per_thread, CACHE_LINE);
    void *memory;
    if (memory_alloc((size_t)omp_get_max_threads() * (size_t)*stride * sizeof(float), &memory)) {
        return ICOT_FAILED;
    }
    *out = memory;
    return ICOT_OK;
}

softmax_total KERNEL(exponentiate)(int64_t count, int64_t end, float *scores)
{
    float *last = scores + end - LANES, sums[LANES] = {0};
    const int in_last = (int)(count - (end - LANES));
    for (int l = 0; l < LANES; l++) last[l] = l < in_last ? last[l] : -INFINITY;

    lanes highest = load(last);
    for (const float *block = scores; block < last; block += LANES) {
        highest = larger_lanes(load(block), highest);
    }
    float largest = largest_of(highest);
    for (float *block = scores; block <= last; block += LANES) {
        for (int l = 0; l < LANES; l++) {
            block[l] = vector_exp(block[l] - largest);
            sums[l] += block[l];
        }
    }
    return (softmax_total){.sum = sum_of(load(sums)), .largest = largest};
}
