/* oneDNN, if it was there when icot was built and is there now. */
#ifndef ICOT_BACKEND_CPU_ONEDNN_LOADER_H
#define ICOT_BACKEND_CPU_ONEDNN_LOADER_H

#include "backend/cpu/onednn/onednn.h"

typedef int onednn_matmul_function(onednn_type type, const onednn_product *p, const void *a,
                                   const void *b, float *c);

/* NULL: there is none. Looked for once. */
onednn_matmul_function *onednn_load(void);

#endif
