#include "autograd/operators/factor.h"

#include "base/error.h"

/* Rows of a factor that lie in memory: as many as the backend may read. */
static int64_t all_rows(const backend *kernels, int64_t rows)
{
    int64_t multiple = kernels->factor_rows;
    return (rows + multiple - 1) / multiple * multiple;
}

int factor_new(const backend *kernels, int64_t rows, int64_t columns, factor *out)
{
    *out = (factor){0};
    size_t used = (size_t)(rows * columns) * kernels->factor_bytes;
    size_t all = (size_t)(all_rows(kernels, rows) * columns) * kernels->factor_bytes;
    if (kernels->memory->allocate(all, &out->own)) return ICOT_FAILED;
    out->data = out->own;
    return kernels->memory->clear((char *)out->data + used, all - used);
}

int factor_of(const backend *kernels, int64_t rows, int64_t columns, const float *x, factor *out)
{
    *out = (factor){.data = (void *)(uintptr_t)x};
    if (!kernels->round) return ICOT_OK;
    if (factor_new(kernels, rows, columns, out)) return ICOT_FAILED;
    kernels->round(rows * columns, x, out->data);
    return ICOT_OK;
}

int factor_of_weight(const backend *kernels, const tensor *weight, factor *out)
{
    /* not of a part, nor of what an operator made */
    const bool kept = kernels->round && tensor_fills_storage(weight) && weight->node < 0;
    void **rounded = &weight->storage->rounded;
    if (kept && *rounded) {
        *out = (factor){.data = *rounded};
        return ICOT_OK;
    }
    if (factor_of(kernels, weight->shape[0], weight->shape[1], tensor_floats(weight), out)) {
        return ICOT_FAILED;
    }
    if (kept) {
        *rounded = out->own;
        out->own = NULL;
    }
    return ICOT_OK;
}

void *factor_row(const backend *kernels, const factor *f, int64_t columns, int64_t row)
{
    return (char *)f->data + (size_t)(row * columns) * kernels->factor_bytes;
}

void factor_done(const backend *kernels, factor *f)
{
    kernels->memory->release(f->own);
    *f = (factor){0};
}
