/* The devices and precisions that there are, by name. */
#include "backend/backend.h"
#include "backend/cuda_loader.h"
#include "base/error.h"

#include <string.h>

int backend_find(const char *name, const char *precision, const backend **out)
{
    const bool in_bf16 = strcmp(precision, "bf16") == 0;
    if (!in_bf16 && strcmp(precision, "float32") != 0) {
        return fail("precision: '%s' is not known, expected 'float32' or 'bf16'", precision);
    }
    if (strcmp(name, "cuda") == 0) return cuda_backend(in_bf16, out);
    if (strcmp(name, "cpu") != 0) {
        return fail("device: '%s' is not known, expected 'cpu' or 'cuda'", name);
    }
    if (in_bf16) return cpu_bf16_backend(out);
    *out = cpu_backend();
    return ICOT_OK;
}
