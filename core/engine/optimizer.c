/* Updating parameters from their gradients. */
#include "autograd/tape.h"
#include "backend/backend.h"
#include "base/error.h"
#include "base/memory.h"
#include "engine/deferred.h"
#include "tensor/engine_parts.h"

/* Writes the norm of the gradients to `place`, which lies in the device's memory. */
static int norm_to(icot_engine *engine, const icot_tensor *handles, int64_t count, double *place)
{
    int64_t found = 0;
    void *list;
    if (memory_alloc((size_t)count * sizeof(number_array), &list)) return ICOT_FAILED;
    number_array *grads = list;
    int status = ICOT_FAILED;
    for (int64_t i = 0; i < count; i++) {
        const tensor *t = tensor_find(engine, "grad_norm", handles[i]);
        if (!t) goto done;
        if (!t->grad || !t->grad_is_set) continue;
        grads[found++] = (number_array){tensor_numel(t), tensor_floats(t->grad)};
    }
    status = engine->backend->norm(found, grads, place);

done:
    memory_free(list);
    return status;
}

int icot_grad_norm(icot_engine *engine, const icot_tensor *handles, int64_t count, double *out)
{
    void *place;
    if (engine->device->allocate(sizeof *out, &place)) return ICOT_FAILED;
    const int status =
        norm_to(engine, handles, count, place) || engine->device->copy_out(out, place, sizeof *out);
    engine->device->release(place);
    return status;
}

int icot_ask_grad_norm(icot_engine *engine, const icot_tensor *handles, int64_t count)
{
    double *place;
    if (deferred_place(engine, &place)) return ICOT_FAILED;
    if (norm_to(engine, handles, count, place)) return ICOT_FAILED;
    deferred_add(engine);
    return ICOT_OK;
}

static int check_moment(const tensor *parameter, const tensor *moment, const char *name)
{
    shape expected = tensor_shape(parameter), given = tensor_shape(moment);
    if (moment->dtype != ICOT_FLOAT32 || !tensor_is_contiguous(moment) ||
        !shape_equal(&expected, &given)) {
        return fail("adamw: %s has shape %s, expected float32 %s", name, shape_text(&given),
                    shape_text(&expected));
    }
    return ICOT_OK;
}

/* The rounded form that a parameter has kept, if AdamW writes it anew; NULL: none. */
static void *rounded_form(const icot_engine *engine, const tensor *parameter)
{
    const bool is_whole = tensor_fills_storage(parameter);
    return engine->backend->rounds_parameters && is_whole ? parameter->storage->derived : NULL;
}

/* Checks one state; out->n stays -1 where no gradient reached the parameter (PyTorch's None). */
static int arrays_of(icot_engine *engine, const icot_adamw_state *state, adamw_arrays *out)
{
    const tensor *p = tensor_find(engine, "adamw", state->parameter);
    const tensor *m = p ? tensor_find(engine, "adamw", state->exp_avg) : NULL;
    const tensor *v = m ? tensor_find(engine, "adamw", state->exp_avg_sq) : NULL;
    if (!v) return ICOT_FAILED;
    if (p->dtype != ICOT_FLOAT32 || !tensor_is_contiguous(p)) {
        return fail("adamw: a parameter must be contiguous float32");
    }
    if (check_moment(p, m, "exp_avg") || check_moment(p, v, "exp_avg_sq")) return ICOT_FAILED;
    *out = (adamw_arrays){.n = -1};
    if (!p->grad || !p->grad_is_set) return ICOT_OK;
    if (tape_check_backward_is_done(engine->tape, p) ||
        tape_check_backward_is_done(engine->tape, m) ||
        tape_check_backward_is_done(engine->tape, v)) {
        return fail_within("adamw");
    }
    *out = (adamw_arrays){.n = tensor_numel(p),
                          .grad = tensor_floats(p->grad),
                          .parameter = tensor_floats(p),
                          .exp_avg = tensor_floats(m),
                          .exp_avg_sq = tensor_floats(v),
                          .rounded = rounded_form(engine, p)};
    return ICOT_OK;
}

static void note_update(icot_engine *engine, const icot_adamw_state *state)
{
    tensor *p = tensor_find(engine, "adamw", state->parameter);
    if (!p->grad || !p->grad_is_set) return;
    if (!rounded_form(engine, p)) tensor_changed(p);
    tensor_changed(tensor_find(engine, "adamw", state->exp_avg));
    tensor_changed(tensor_find(engine, "adamw", state->exp_avg_sq));
}

int icot_adamw_step(icot_engine *engine, const icot_adamw_state *states, int64_t count,
                    const icot_adamw_options *options)
{
    int64_t found = 0;
    void *list;
    if (options->step < 1 || options->step_sq < 1) {
        return fail("adamw: step is %lld, step_sq %lld, expected 1 or more",
                    (long long)options->step, (long long)options->step_sq);
    }
    if (memory_alloc((size_t)count * sizeof(adamw_arrays), &list)) return ICOT_FAILED;
    adamw_arrays *arrays = list;
    int status = ICOT_FAILED;
    for (int64_t i = 0; i < count; i++) {
        if (arrays_of(engine, &states[i], &arrays[found])) goto done;
        if (arrays[found].n >= 0) found++;
    }
    if (engine->backend->adamw(found, arrays, options)) goto done;
    for (int64_t i = 0; i < count; i++) note_update(engine, &states[i]);
    status = ICOT_OK;

done:
    memory_free(list);
    return status;
}
