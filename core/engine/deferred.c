#include "engine/deferred.h"

#include "backend/backend.h"
#include "base/error.h"
#include "base/memory.h"

/* ---- The list -------------------------------------------------------------------------------- */

/* Twice as much room, at least for LEAST numbers; those that are there move along. */
static int grow(icot_engine *engine)
{
    enum { LEAST = 64 };
    deferred_numbers *deferred = engine->deferred;
    const int64_t capacity = deferred->capacity ? 2 * deferred->capacity : LEAST;
    const size_t bytes = (size_t)deferred->count * sizeof(double);
    void *made = NULL, *moved = NULL;
    if (engine->device->allocate((size_t)capacity * sizeof(double), &made)) return ICOT_FAILED;
    if (memory_alloc(bytes, &moved) || engine->device->copy_out(moved, deferred->list, bytes) ||
        engine->device->copy_in(made, moved, bytes)) {
        engine->device->release(made);
        memory_free(moved);
        return ICOT_FAILED;
    }
    memory_free(moved);
    engine->device->release(deferred->list);
    deferred->list = made;
    deferred->capacity = capacity;
    return ICOT_OK;
}

int deferred_place(icot_engine *engine, double **out)
{
    const deferred_numbers *deferred = engine->deferred;
    if (deferred->count == deferred->capacity && grow(engine)) return ICOT_FAILED;
    *out = deferred->list + deferred->count;
    return ICOT_OK;
}

void deferred_add(icot_engine *engine)
{
    engine->deferred->count++;
}

void deferred_free(icot_engine *engine)
{
    engine->device->release(engine->deferred->list);
    *engine->deferred = (deferred_numbers){0};
}

/* ---- Asking ---------------------------------------------------------------------------------- */

int icot_ask_item(icot_engine *engine, icot_tensor handle)
{
    const tensor *t = tensor_find(engine, "item", handle);
    double *place;
    if (!t) return ICOT_FAILED;
    if (t->dtype != ICOT_FLOAT32 || tensor_numel(t) != 1) {
        return fail("item: got %s %s, expected a single float32 number", dtype_name(t->dtype),
                    tensor_shape_text(t));
    }
    if (deferred_place(engine, &place)) return ICOT_FAILED;
    engine->backend->number_as_double(tensor_floats(t), place);
    deferred_add(engine);
    return ICOT_OK;
}

int icot_ask_hits(icot_engine *engine, icot_tensor of_logits, icot_tensor of_targets)
{
    const tensor *logits = tensor_find(engine, "hits", of_logits);
    const tensor *targets = logits ? tensor_find(engine, "hits", of_targets) : NULL;
    index_array ids;
    double *place;
    if (!targets) return ICOT_FAILED;
    if (logits->dtype != ICOT_FLOAT32 || logits->ndim != 2 || logits->shape[1] == 0 ||
        !tensor_is_contiguous(logits) || targets->dtype != ICOT_INT32 ||
        !tensor_has_shape(targets, 1, logits->shape[0], 0)) {
        return fail("hits: got logits %s %s and targets %s %s, expected contiguous float32 (R,V) "
                    "and int32 (R)",
                    dtype_name(logits->dtype), tensor_shape_text(logits),
                    dtype_name(targets->dtype), tensor_shape_text(targets));
    }
    if (tensor_indices(targets, &ids) || deferred_place(engine, &place) ||
        engine->backend->count_hits(logits->shape[0], logits->shape[1], tensor_floats(logits),
                                    ids.device, place)) {
        return ICOT_FAILED;
    }
    deferred_add(engine);
    return ICOT_OK;
}

/* ---- Reading --------------------------------------------------------------------------------- */

int64_t icot_asked(const icot_engine *engine)
{
    return engine->deferred->count;
}

int icot_answers(icot_engine *engine, double *out, int64_t count)
{
    const int64_t asked = engine->deferred->count;
    engine->deferred->count = 0;
    if (count != asked) {
        return fail("answers: got %lld places, expected %lld", (long long)count, (long long)asked);
    }
    return engine->device->copy_out(out, engine->deferred->list, (size_t)count * sizeof *out);
}

void icot_forget_asked(icot_engine *engine)
{
    engine->deferred->count = 0;
}
