/* What the core knows of the machine and of itself: versions, threads, clock, sizes of structs. */
#include "base/error.h"
#include "icot.h"

#include <omp.h>
#include <string.h>
#include <time.h>

#ifndef ICOT_VERSION
#define ICOT_VERSION "unknown"
#endif

int icot_abi(void)
{
    return ICOT_ABI;
}

const char *icot_version(void)
{
    return ICOT_VERSION;
}

size_t icot_sizeof(const char *type)
{
    static const struct {
        const char *name;
        size_t bytes;
    } sizes[] = {
        {"icot_memory", sizeof(icot_memory)},
        {"icot_random_key", sizeof(icot_random_key)},
        {"icot_tensor_info", sizeof(icot_tensor_info)},
        {"icot_op_params", sizeof(icot_op_params)},
        {"icot_adamw_options", sizeof(icot_adamw_options)},
        {"icot_adamw_state", sizeof(icot_adamw_state)},
        {"icot_example", sizeof(icot_example)},
        {"icot_removal", sizeof(icot_removal)},
        {"icot_batch", sizeof(icot_batch)},
        {"icot_tokenizer_parts", sizeof(icot_tokenizer_parts)},
        {"icot_column", sizeof(icot_column)},
        {"icot_named_tensor", sizeof(icot_named_tensor)},
        {"icot_stored_tensor", sizeof(icot_stored_tensor)},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        if (strcmp(sizes[i].name, type) == 0) return sizes[i].bytes;
    }
    return 0;
}

int icot_threads(void)
{
    return omp_get_max_threads();
}

int icot_set_threads(int count)
{
    if (count < 1 || count > ICOT_MOST_THREADS) {
        return fail("threads: got %d, expected 1 to %d", count, ICOT_MOST_THREADS);
    }
    omp_set_num_threads(count); /* OpenBLAS (its OpenMP flavour) follows this too */
    return ICOT_OK;
}

double icot_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
