/* The CUDA backend, if it was there when icot was built and is there now. */
#ifndef ICOT_BACKEND_CUDA_LOADER_H
#define ICOT_BACKEND_CUDA_LOADER_H

#include "backend/backend.h"

/* Opens the library and the card when it is first called; fails with what is missing. */
int cuda_backend(product_precision wanted, const backend **out);

#endif
