/* Indices lie on the host, which checks each of them; kernels elsewhere get a copy. */
#include "base/error.h"
#include "tensor/tensor.h"

/* All of the storage at once: views share the copy. */
static int copy_to_device(storage *indices)
{
    void *copy;
    if (indices->near->allocate(indices->bytes, &copy)) return ICOT_FAILED;
    if (indices->near->copy_in(copy, indices->data, indices->bytes)) {
        indices->near->release(copy);
        return ICOT_FAILED;
    }
    indices->derived = copy;
    return ICOT_OK;
}

int tensor_indices(const tensor *t, index_array *out)
{
    storage *held = t->storage;
    const int32_t *host = tensor_ints(t), *near = host;
    if (!held->near->on_host) {
        if (!held->derived && copy_to_device(held)) return ICOT_FAILED;
        near = (const int32_t *)held->derived + t->offset;
    }
    *out = (index_array){.host = host, .device = near};
    return ICOT_OK;
}
