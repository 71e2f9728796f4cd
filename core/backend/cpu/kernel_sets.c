#include "backend/cpu/kernel_sets.h"

static bool always(void)
{
    return true;
}

#ifdef __x86_64__
static bool has_avx2(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static bool has_avx512(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
}
#endif

const instruction_set instruction_sets[] = {
    {"generic", always, cpu_table_generic, NULL},
#ifdef __x86_64__
    {"avx2", has_avx2, cpu_table_avx2, multiply_tiles_avx2},
    {"avx512", has_avx512, cpu_table_avx512, multiply_tiles_avx512},
#endif
    {NULL, NULL, NULL, NULL},
};
