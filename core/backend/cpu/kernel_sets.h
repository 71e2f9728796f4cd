/* What is there of each instruction set: made in kernels/, listed in kernel_sets.c. */
#ifndef ICOT_BACKEND_CPU_KERNEL_SETS_H
#define ICOT_BACKEND_CPU_KERNEL_SETS_H

#include "backend/backend.h"
#include "backend/cpu/tiling.h"

/* Fill in what kernels/table.c says; the rest of the table is the same for all instruction sets. */
void cpu_table_generic(backend *table);
#ifdef __x86_64__
void cpu_table_avx2(backend *table);
void cpu_table_avx512(backend *table);

/* The kernels of factors alone. */
void factor_table_bf16(backend *table);

tile_kernel multiply_tiles_avx2, multiply_tiles_avx512, multiply_tiles_bf16;
#endif

typedef struct instruction_set {
    const char *name;
    bool (*is_here)(void); /* whether this CPU has it */
    void (*fill)(backend *table);
    tile_kernel *multiply_tiles; /* NULL: OpenBLAS is quicker */
} instruction_set;

/* Those that kernels were compiled for, the best one last; behind it the name is NULL. */
enum { MOST_INSTRUCTION_SETS = 3 };
extern const instruction_set instruction_sets[MOST_INSTRUCTION_SETS + 1];

#endif
