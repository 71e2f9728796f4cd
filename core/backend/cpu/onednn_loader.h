/* oneDNN, if it was there when icot was built and is there now. */
#ifndef ICOT_BACKEND_CPU_ONEDNN_LOADER_H
#define ICOT_BACKEND_CPU_ONEDNN_LOADER_H

#include "backend/cpu/onednn/onednn.h"

typedef struct onednn_library {
    int (*takes_tiles)(onednn_type type);
    int (*matmul)(onednn_type type, const onednn_product *p, const void *a, const void *tiles,
                  void *c);
} onednn_library;

/* NULL: there is none. Looked for once. */
const onednn_library *onednn_load(void);

/* Whether it is there and multiplies by tiles of this type; found out once. */
int onednn_serves(onednn_type type);

#endif
