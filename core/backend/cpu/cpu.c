#include "backend/cpu/cpu.h"

#include "backend/cpu/kernel_sets.h"
#include "backend/cpu/matmul.h"
#include "backend/cpu/tiling.h"
#include "base/error.h"

#include <pthread.h>

static backend table, bf16_table;
static const instruction_set *chosen;
static pthread_once_t once = PTHREAD_ONCE_INIT, bf16_once = PTHREAD_ONCE_INIT;

static const instruction_set *best_here(void)
{
    const instruction_set *best = instruction_sets;
    for (const instruction_set *each = best; each->name; each++) {
        if (each->is_here()) best = each;
    }
    return best;
}

static void choose_instruction_set(void)
{
    chosen = best_here();
    table.memory = &host_memory;
    table.description = icot_cpu_kernels;
    table.rows_at_a_time = 1024; /* 1 % quicker than 512, with 4 layers of width 256 */
    table.factor_bytes = sizeof(float);
    table.factor_rows = 1;
    table.matmul = cpu_matmul;
    table.matmul_factor = cpu_matmul_factor;
    chosen->fill(&table);
    tiling_use(TILES_FLOAT32, chosen->multiply_tiles);
}

static void choose_kernels(void)
{
    choose_instruction_set();
    bf16_table = table;
    bf16_table.layers = NULL;
#ifdef __x86_64__
    bf16_table.factor_bytes = sizeof(uint16_t);
    factor_table_bf16(&bf16_table);
    bf16_table.matmul = cpu_matmul_bf16;
    bf16_table.matmul_factor = cpu_matmul_factor_bf16;
    tiling_use(TILES_BFLOAT16, multiply_tiles_bf16);
#endif
}

/* May load oneDNN, so not before bf16 is asked for. */
static void choose_who_multiplies_bf16(void)
{
    bf16_table.factor_rows = tiled_multiple(TILES_BFLOAT16);
}

const backend *cpu_backend(void)
{
    pthread_once(&once, choose_kernels);
    return &table;
}

int cpu_bf16_backend(const backend **out)
{
    if (cpu_bf16_check()) return ICOT_FAILED;
    pthread_once(&once, choose_kernels);
    pthread_once(&bf16_once, choose_who_multiplies_bf16);
    *out = &bf16_table;
    return ICOT_OK;
}

const char *icot_cpu_kernels(void)
{
    pthread_once(&once, choose_kernels);
    return chosen->name;
}
