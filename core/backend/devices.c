/* The devices and precisions that there are, by name. */
#include "backend/backend.h"
#include "backend/cpu/cpu.h"
#include "backend/cuda_loader.h"
#include "base/error.h"

#include <string.h>

static int precision_of(const char *name, product_precision *out)
{
    static const char *const names[PRECISIONS] = {"float32", "tf32", "bf16"};
    for (int i = 0; i < PRECISIONS; i++) {
        *out = (product_precision)i;
        if (strcmp(name, names[i]) == 0) return ICOT_OK;
    }
    return fail("precision: '%s' is not known, expected 'float32', 'bf16' or 'tf32'", name);
}

int backend_find(const char *name, const char *precision, const backend **out)
{
    product_precision wanted;
    if (precision_of(precision, &wanted)) return ICOT_FAILED;
    if (strcmp(name, "cuda") == 0) return cuda_backend(wanted, out);
    if (strcmp(name, "cpu") != 0) {
        return fail("device: '%s' is not known, expected 'cpu' or 'cuda'", name);
    }
    if (wanted == IN_TF32) return fail("tf32: needs an NVIDIA card (device = 'cuda')");
    if (wanted == IN_BF16) return cpu_bf16_backend(out);
    *out = cpu_backend();
    return ICOT_OK;
}
