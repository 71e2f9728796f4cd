/* The CPU backend: the kernels of the best instruction set that this CPU has. */
#ifndef ICOT_BACKEND_CPU_CPU_H
#define ICOT_BACKEND_CPU_CPU_H

#include "backend/backend.h"

const backend *cpu_backend(void);

/* The same with matrix products in bfloat16; fails with what the machine lacks for it. */
int cpu_bf16_backend(const backend **out);

#endif
