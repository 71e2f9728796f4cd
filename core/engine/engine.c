/* The life of an engine: its device and precision, and its scopes. */
#include "autograd/tape.h"
#include "base/error.h"
#include "base/memory.h"
#include "engine/deferred.h"

/* An engine in one block with the parts that it only points to. */
typedef struct whole_engine {
    icot_engine engine; /* first: whoever frees it frees the block */
    tape recorded;
    deferred_numbers deferred;
} whole_engine;

int icot_engine_create(const char *name, icot_engine **out)
{
    const backend *found;
    void *block;
    if (backend_find(name, "float32", &found)) return ICOT_FAILED;
    if (icot_threads() > ICOT_MOST_THREADS && icot_set_threads(ICOT_MOST_THREADS)) {
        return ICOT_FAILED;
    }
    if (memory_alloc_zero(1, sizeof(whole_engine), &block)) return ICOT_FAILED;
    whole_engine *whole = block;
    whole->engine = (icot_engine){.device = found->memory,
                                  .innermost = &whole->engine.outermost,
                                  .first_free_slot = -1,
                                  .backend = found,
                                  .tape = &whole->recorded,
                                  .grad_enabled = true,
                                  .deferred = &whole->deferred};
    *out = &whole->engine;
    return ICOT_OK;
}

void icot_engine_free(icot_engine *engine)
{
    if (!engine) return;
    tape_truncate(engine->tape, 0);
    while (engine->depth > 0) icot_scope_close(engine);
    scope_release_tensors(engine, &engine->outermost);
    deferred_free(engine);
    memory_free(engine->tape->nodes);
    memory_free(engine->slots);
    memory_free(engine); /* whole_engine */
}

const char *icot_engine_device(const icot_engine *engine)
{
    return engine->device->name;
}

const char *icot_engine_description(const icot_engine *engine)
{
    return engine->backend->description();
}

/* Each precision has a form of its own for what is derived from tensors. */
static void forget_derived_forms(icot_engine *engine)
{
    for (int64_t i = 0; i < engine->slot_count; i++) {
        if (engine->slots[i].tensor) tensor_changed(engine->slots[i].tensor);
    }
}

int icot_fuses_layers(const icot_engine *engine)
{
    return engine->backend->fuses_layers;
}

int icot_set_precision(icot_engine *engine, const char *precision)
{
    const backend *chosen;
    if (backend_find(engine->device->name, precision, &chosen)) return ICOT_FAILED;
    if (chosen == engine->backend) return ICOT_OK;
    if (engine->tape->count > 0) { /* what it keeps for backward is in the form of this precision */
        return fail("%s: the precision cannot change while the tape holds operators; run backward "
                    "or close the scope first",
                    precision);
    }
    forget_derived_forms(engine);
    engine->backend = chosen;
    return ICOT_OK;
}

int icot_scope_open(icot_engine *engine)
{
    void *opened;
    if (memory_alloc(sizeof(scope), &opened)) return ICOT_FAILED;
    scope *inner = opened;
    *inner = (scope){.outer = engine->innermost, .tape_mark = engine->tape->count};
    engine->innermost = inner;
    engine->depth++;
    return ICOT_OK;
}

int icot_scope_close(icot_engine *engine)
{
    if (engine->depth == 0) return fail("scope: none is open");
    scope *closed = engine->innermost;
    tape_truncate(engine->tape, closed->tape_mark);
    scope_release_tensors(engine, closed);
    engine->innermost = closed->outer;
    engine->depth--;
    memory_free(closed);
    return ICOT_OK;
}

int icot_scope_depth(const icot_engine *engine)
{
    return engine->depth;
}
