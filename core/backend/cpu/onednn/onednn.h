/* What libicot_onednn.so exports; core/backend/cpu/onednn_loader.c finds it at run time. */
#ifndef ICOT_BACKEND_CPU_ONEDNN_H
#define ICOT_BACKEND_CPU_ONEDNN_H

#include "backend/cpu/tiles.h"

/* Whether oneDNN has its fast kernels for tiles of bfloat16, on this CPU. */
__attribute__((visibility("default"))) int onednn_takes_tiles(void);

/* Of bfloat16. Not 0: oneDNN refused it. */
__attribute__((visibility("default"))) int onednn_matmul(const tile_product *p, const void *a,
                                                         const void *tiles, void *c);

__attribute__((visibility("default"))) void onednn_describe(int *major, int *minor, int *patch);

#endif
