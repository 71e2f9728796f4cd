/*
 * Between the core and libicot_cuda.so, which it opens when a device of that name is asked for. The
 * library has no way back into the core but what is lent to it here.
 */
#ifndef ICOT_BACKEND_CUDA_PLUGIN_H
#define ICOT_BACKEND_CUDA_PLUGIN_H

#include "backend/backend.h"

/* Raised when a kernel takes or gives something else than before. */
enum { CUDA_PLUGIN_ABI = 4 };

typedef struct cuda_core {
    /* error_set_as */
    __attribute__((format(printf, 2, 3))) void (*error)(int kind, const char *format, ...);
} cuda_core;

typedef struct cuda_tables {
    int abi;            /* CUDA_PLUGIN_ABI */
    size_t table_bytes; /* sizeof(backend) */
    const backend *in[PRECISIONS];
} cuda_tables;

/* What the library exports as "icot_cuda_open": starts the first card that CUDA shows, once. The
 * tables' frame (abi, table_bytes) is filled in even if that fails, with a message. */
typedef int cuda_open_function(const cuda_core *core, cuda_tables *out);

#endif
