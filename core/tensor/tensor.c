#include "tensor/tensor.h"

#include "base/error.h"
#include "base/memory.h"
#include "tensor/engine_parts.h"

#include <string.h>

/* ---- Handles: slot number + 1 in the low half, generation in the high half ------------------- */

static int grow_slots(icot_engine *engine)
{
    int64_t count = engine->slot_count;
    if (memory_grow(&engine->slots, &count, count + 1, sizeof(slot))) return ICOT_FAILED;
    for (int64_t i = engine->slot_count; i < count; i++) {
        engine->slots[i] = (slot){.next_free = i + 1 < count ? i + 1 : -1};
    }
    engine->first_free_slot = engine->slot_count;
    engine->slot_count = count;
    return ICOT_OK;
}

static int take_slot(icot_engine *engine, tensor *t)
{
    if (engine->first_free_slot < 0 && grow_slots(engine)) return ICOT_FAILED;
    int64_t index = engine->first_free_slot;
    slot *taken = &engine->slots[index];
    engine->first_free_slot = taken->next_free;
    taken->tensor = t;
    taken->generation++;
    t->handle = (uint64_t)taken->generation << 32 | (uint64_t)(index + 1);
    return ICOT_OK;
}

static void give_back_slot(icot_engine *engine, icot_tensor handle)
{
    int64_t index = (int64_t)(handle & UINT32_MAX) - 1;
    engine->slots[index].tensor = NULL;
    engine->slots[index].next_free = engine->first_free_slot;
    engine->first_free_slot = index;
}

static tensor *look_up(icot_engine *engine, icot_tensor handle)
{
    int64_t index = (int64_t)(handle & UINT32_MAX) - 1;
    if (index >= 0 && index < engine->slot_count) {
        slot *found = &engine->slots[index];
        tensor *t = found->tensor;
        if (t && found->generation == handle >> 32 && !t->hidden) return t;
    }
    error_set(
        "this tensor is gone: its scope was closed, or it was freed or released (keep() moves "
        "a tensor out of a scope)");
    return NULL;
}

static tensor *look_up_contents(icot_engine *engine, icot_tensor handle)
{
    tensor *found = look_up(engine, handle);
    if (!found || found->storage->data) return found;
    error_set("this tensor's contents were dropped: it lies within a checkpointed segment (only "
              "what the checkpointed function returns can be used)");
    return NULL;
}

tensor *tensor_find(icot_engine *engine, const char *who, icot_tensor handle)
{
    tensor *found = look_up_contents(engine, handle);
    if (!found) error_prefix("%s", who);
    return found;
}

tensor *tensor_find_any(icot_engine *engine, const char *who, icot_tensor handle)
{
    tensor *found = look_up(engine, handle);
    if (!found) error_prefix("%s", who);
    return found;
}

int tensor_find_all(icot_engine *engine, const char *who, const icot_tensor *handles, int count,
                    tensor **out)
{
    for (int i = 0; i < count; i++) {
        out[i] = look_up_contents(engine, handles[i]);
        if (!out[i]) return fail_within("%s, tensor %d", who, i + 1);
    }
    return ICOT_OK;
}

/* ---- Scopes: lists of tensors ---------------------------------------------------------------- */

static void link_into(scope *target, tensor *t)
{
    t->scope = target;
    t->previous = NULL;
    t->next = target->first;
    if (t->next) t->next->previous = t;
    target->first = t;
}

static void unlink_from_scope(tensor *t)
{
    if (t->previous)
        t->previous->next = t->next;
    else
        t->scope->first = t->next;
    if (t->next) t->next->previous = t->previous;
}

void tensor_move_beside(tensor *moved, const tensor *like)
{
    unlink_from_scope(moved);
    link_into(like->scope, moved);
}

void scope_release_tensors(icot_engine *engine, scope *closed)
{
    while (closed->first) tensor_destroy(engine, closed->first);
}

/* ---- Making and freeing ---------------------------------------------------------------------- */

static void drop_storage(storage *dropped)
{
    if (!dropped || --dropped->references > 0) return;
    dropped->near->release(dropped->derived);
    dropped->device->release(dropped->data);
    memory_free(dropped);
}

static int storage_new(const device *place, const device *near, size_t bytes, storage **out)
{
    void *made, *data;
    if (memory_alloc(sizeof(storage), &made)) return ICOT_FAILED;
    if (place->allocate(bytes, &data)) {
        memory_free(made);
        return ICOT_FAILED;
    }
    *out = made;
    **out = (storage){.data = data, .device = place, .near = near, .references = 1, .bytes = bytes};
    return ICOT_OK;
}

/* Makes the tensor itself; it takes over one reference to the storage, also when it fails. */
static int tensor_on_storage(icot_engine *engine, storage *bytes, icot_dtype dtype,
                             const shape *size, const int64_t *strides, int64_t offset,
                             tensor **out)
{
    void *made = NULL;
    if (memory_alloc(sizeof(tensor), &made)) goto failed;
    tensor *t = made;
    *t = (tensor){
        .storage = bytes, .offset = offset, .dtype = dtype, .ndim = size->ndim, .node = -1};
    memcpy(t->shape, size->size, sizeof t->shape);
    memcpy(t->strides, strides, sizeof t->strides);
    if (take_slot(engine, t)) goto failed;
    link_into(engine->innermost, t);
    *out = t;
    return ICOT_OK;

failed:
    memory_free(made);
    drop_storage(bytes);
    return ICOT_FAILED;
}

int tensor_new(icot_engine *engine, icot_dtype dtype, const shape *size, tensor **out)
{
    if (shape_check(size)) return ICOT_FAILED;
    size_t bytes = (size_t)shape_numel(size) * dtype_bytes(dtype);
    int64_t strides[ICOT_MAX_DIMS] = {0};
    shape_contiguous_strides(size, strides);
    storage *held;
    const device *place = dtype == ICOT_INT32 ? &host_memory : engine->device;
    if (storage_new(place, engine->device, bytes, &held)) return ICOT_FAILED;
    return tensor_on_storage(engine, held, dtype, size, strides, 0, out);
}

int tensor_new_view(icot_engine *engine, const tensor *base, const shape *size,
                    const int64_t *strides, int64_t offset, tensor **out)
{
    int64_t all_strides[ICOT_MAX_DIMS] = {0};
    memcpy(all_strides, strides, (size_t)size->ndim * sizeof *strides);
    base->storage->references++;
    return tensor_on_storage(engine, base->storage, base->dtype, size, all_strides, offset, out);
}

void tensor_drop_contents(tensor *t)
{
    tensor_changed(t);
    t->storage->device->release(t->storage->data);
    t->storage->data = NULL;
}

int tensor_restore_contents(tensor *t)
{
    if (t->storage->data) return ICOT_OK;
    return t->storage->device->allocate(t->storage->bytes, &t->storage->data);
}

void tensor_destroy(icot_engine *engine, tensor *destroyed)
{
    if (!destroyed) return;
    if (destroyed->grad_of) { /* a scope frees gradients before the older tensors they belong to */
        destroyed->grad_of->grad = NULL;
        destroyed->grad_of->grad_is_set = false;
    }
    tensor_destroy(engine, destroyed->grad);
    unlink_from_scope(destroyed);
    give_back_slot(engine, destroyed->handle);
    drop_storage(destroyed->storage);
    memory_free(destroyed);
}

void tensor_changed(tensor *t)
{
    if (!t->storage->derived) return;
    t->storage->near->release(t->storage->derived);
    t->storage->derived = NULL;
}

/* ---- Looking at tensors ---------------------------------------------------------------------- */

bool tensor_has_shape(const tensor *t, int ndim, int64_t first, int64_t second)
{
    return t->ndim == ndim && t->shape[0] == first && (ndim == 1 || t->shape[1] == second);
}

int64_t tensor_rows(const tensor *t)
{
    int64_t rows = 1;
    for (int d = 0; d < t->ndim - 1; d++) rows *= t->shape[d];
    return rows;
}

bool tensor_is_needed(const tensor *t)
{
    return t->readers > 0 || t->node >= 0 || (t->grad && t->grad->readers > 0);
}

int tensor_check_not_an_input(const tensor *t)
{
    if (t->readers == 0) return ICOT_OK;
    return fail("this tensor cannot be overwritten: the tape still reads it; run backward or close "
                "the scope first");
}

bool tensor_fills_storage(const tensor *t)
{
    size_t bytes = (size_t)tensor_numel(t) * dtype_bytes(t->dtype);
    return tensor_is_contiguous(t) && bytes == t->storage->bytes;
}

void *tensor_data(const tensor *t)
{
    if (!t->storage->data) return NULL;
    return (char *)t->storage->data + (size_t)t->offset * dtype_bytes(t->dtype);
}

float *tensor_floats(const tensor *t)
{
    return tensor_data(t);
}

int32_t *tensor_ints(const tensor *t)
{
    return tensor_data(t);
}
