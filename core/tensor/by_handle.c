/* What callers do with tensors by their handles: make, free, describe, keep and detach them. */
#include "base/error.h"
#include "tensor/engine_parts.h"

#include <string.h>

/* A tensor whose contents are not set. */
static int tensor_from_sizes(icot_engine *engine, icot_dtype dtype, int ndim, const int64_t *sizes,
                             tensor **out)
{
    if (ndim < 0 || ndim > ICOT_MAX_DIMS) {
        return fail("tensor: got %d dimensions, expected 0 to %d", ndim, ICOT_MAX_DIMS);
    }
    if (dtype != ICOT_FLOAT32 && dtype != ICOT_INT32) {
        return fail("tensor: %d is not a dtype", (int)dtype);
    }
    shape size = {.ndim = ndim};
    for (int d = 0; d < ndim; d++) {
        if (sizes[d] < 0) {
            return fail("tensor: dimension %d has size %lld, expected 0 or more", d,
                        (long long)sizes[d]);
        }
        size.size[d] = sizes[d];
    }
    return tensor_new(engine, dtype, &size, out);
}

int icot_tensor_create_empty(icot_engine *engine, icot_dtype dtype, int ndim, const int64_t *sizes,
                             icot_tensor *out)
{
    tensor *made;
    if (tensor_from_sizes(engine, dtype, ndim, sizes, &made)) return ICOT_FAILED;
    *out = made->handle;
    return ICOT_OK;
}

int icot_tensor_create(icot_engine *engine, icot_dtype dtype, int ndim, const int64_t *sizes,
                       icot_tensor *out)
{
    tensor *made;
    if (tensor_from_sizes(engine, dtype, ndim, sizes, &made)) return ICOT_FAILED;
    if (made->storage->device->clear(made->storage->data, made->storage->bytes)) {
        tensor_destroy(engine, made);
        return ICOT_FAILED;
    }
    *out = made->handle;
    return ICOT_OK;
}

int icot_tensor_free(icot_engine *engine, icot_tensor handle)
{
    tensor *t = tensor_find_any(engine, "free", handle);
    if (!t) return ICOT_FAILED;
    if (tensor_is_needed(t)) {
        return fail("free: the tape still needs this tensor; run backward or close the scope "
                    "first");
    }
    tensor_destroy(engine, t);
    return ICOT_OK;
}

int icot_tensor_describe(icot_engine *engine, icot_tensor handle, icot_tensor_info *out)
{
    tensor *t = tensor_find_any(engine, "describe", handle);
    if (!t) return ICOT_FAILED;
    *out = (icot_tensor_info){.dtype = t->dtype,
                              .ndim = t->ndim,
                              .numel = tensor_numel(t),
                              .contiguous = tensor_is_contiguous(t),
                              .requires_grad = t->requires_grad,
                              .data = t->storage->device->on_host ? tensor_data(t) : NULL};
    memcpy(out->shape, t->shape, sizeof out->shape);
    memcpy(out->strides, t->strides, sizeof out->strides);
    return ICOT_OK;
}

int icot_tensor_keep(icot_engine *engine, icot_tensor handle)
{
    tensor *t = tensor_find(engine, "keep", handle);
    if (!t) return ICOT_FAILED;
    if (t->scope != engine->innermost || !engine->innermost->outer) {
        return fail("keep: only a tensor of the innermost open scope can be moved out of it");
    }
    tensor outer = {.scope = engine->innermost->outer};
    tensor_move_beside(t, &outer);
    if (t->grad) tensor_move_beside(t->grad, &outer);
    return ICOT_OK;
}

int icot_tensor_detach(icot_engine *engine, icot_tensor handle, icot_tensor *out)
{
    tensor *t = tensor_find(engine, "detach", handle);
    if (!t) return ICOT_FAILED;
    shape size = tensor_shape(t);
    tensor *made;
    if (tensor_new_view(engine, t, &size, t->strides, t->offset, &made)) return ICOT_FAILED;
    *out = made->handle;
    return ICOT_OK;
}
