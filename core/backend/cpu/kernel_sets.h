/* What is there of each instruction set: kernels/ makes it, cpu.c chooses. */
#ifndef ICOT_BACKEND_CPU_KERNEL_SETS_H
#define ICOT_BACKEND_CPU_KERNEL_SETS_H

#include "backend/backend.h"
#include "backend/cpu/packing.h"

/* Fill in what kernels/table.c says; the rest of the table is the same for every instruction set.
 */
void cpu_table_generic(backend *table);
#ifdef __x86_64__
void cpu_table_avx2(backend *table);
void cpu_table_avx512(backend *table);

/* The kernels of factors alone. */
void factor_table_bf16(backend *table);

tile_kernel multiply_tiles_avx2, multiply_tiles_avx512, multiply_tiles_bf16;
#endif

#endif
