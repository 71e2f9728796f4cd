/* oneDNN, if it was there when icot was built and is there now, and this CPU has an AMX unit for
 * bfloat16: else the kernels of our own are quicker (tiling.h). ICOT_ONEDNN=1 takes it without
 * AMX, for comparing, and ICOT_ONEDNN=0 never. */
#ifndef ICOT_BACKEND_CPU_ONEDNN_LOADER_H
#define ICOT_BACKEND_CPU_ONEDNN_LOADER_H

#include "backend/cpu/tiles.h"

typedef struct onednn_library {
    /* see onednn/onednn.h; not 0: refused, and nothing done */
    int (*matmul)(const tile_product *p, const void *a, const void *tiles, void *c);
} onednn_library;

/* NULL: there is none that is of use. Looked for once. */
const onednn_library *onednn_load(void);

#endif
