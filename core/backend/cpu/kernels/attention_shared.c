#include "backend/cpu/kernels/attention.h"

#include "backend/cpu/vector_math.h"
#include "base/error.h"
#include "base/memory.h"

#include <math.h>
#include <omp.h>

int KERNEL(scratch_new)(int64_t floats_per_thread, int64_t *stride, float **out)
{
    enum { CACHE_LINE = 16 }; /* floats */
    *stride = (floats_per_thread + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    void *memory;
    if (memory_alloc((size_t)omp_get_max_threads() * (size_t)*stride * sizeof(float), &memory)) {
        return ICOT_FAILED;
    }
    *out = memory;
    return ICOT_OK;
}

float KERNEL(softmax_in_place)(int64_t count, int64_t end, float *scores)
{
    for (int64_t j = count; j < end; j++) scores[j] = -INFINITY;

    float largest[LANES], total[LANES] = {0};
    memcpy(largest, scores, sizeof largest);
    for (int64_t j = LANES; j < end; j += LANES) {
        for (int l = 0; l < LANES; l++) {
            largest[l] = scores[j + l] > largest[l] ? scores[j + l] : largest[l];
        }
    }
    float maximum = largest[0], sum = 0.0f;
    for (int l = 1; l < LANES; l++) maximum = largest[l] > maximum ? largest[l] : maximum;

    for (int64_t j = 0; j < end; j += LANES) {
        for (int l = 0; l < LANES; l++) {
            scores[j + l] = vector_exp(scores[j + l] - maximum);
            total[l] += scores[j + l];
        }
    }
    for (int l = 0; l < LANES; l++) sum += total[l];
    float inverse = 1.0f / sum;
    for (int64_t j = 0; j < end; j++) scores[j] *= inverse;
    return maximum + logf(sum);
}
