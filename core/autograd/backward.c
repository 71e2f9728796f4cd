/* Walking the tape back: gradients of a scalar with respect to every leaf that asked for one. */
#include "autograd/operator.h"
#include "autograd/tape.h"
#include "base/error.h"

/* The gradient lies in the same scope as its tensor and goes with it. */
static int make_grad(icot_engine *engine, tensor *t)
{
    if (t->grad) return ICOT_OK;
    shape size = tensor_shape(t);
    if (tensor_new(engine, ICOT_FLOAT32, &size, &t->grad)) return ICOT_FAILED;
    t->grad->grad_of = t;
    tensor_move_beside(t->grad, t);
    return ICOT_OK;
}

int grad_of_input(node *n, int i, grad_target *out)
{
    tensor *input = n->inputs[i];
    *out = (grad_target){0};
    if (!input->requires_grad) return ICOT_OK;
    if (make_grad(n->engine, input)) return ICOT_FAILED;
    if (tape_check_backward_is_done(n->engine->tape, input->grad))
        return fail_within("backward, a gradient");
    tensor_changed(input->grad);
    *out = (grad_target){.data = tensor_floats(input->grad), .accumulate = input->grad_is_set};
    input->grad_is_set = true;
    return ICOT_OK;
}

int grad_of_input_cleared(node *n, int i, grad_target *out)
{
    if (grad_of_input(n, i, out)) return ICOT_FAILED;
    if (!out->data || out->accumulate) return ICOT_OK;
    size_t bytes = (size_t)tensor_numel(n->inputs[i]) * sizeof(float);
    out->accumulate = true;
    return n->engine->device->clear(out->data, bytes);
}

int grad_hand_on(node *n, int i, tensor *grad)
{
    tensor *input = n->inputs[i];
    grad_target target;
    if (input->requires_grad && !input->grad && grad->grad_of == n->output) {
        n->output->grad = NULL;
        input->grad = grad;
        input->grad_is_set = true;
        grad->grad_of = input;
        tensor_move_beside(grad, input);
        return ICOT_OK;
    }
    if (grad_of_input(n, i, &target)) return ICOT_FAILED;
    if (!target.data) return ICOT_OK;
    n->engine->backend->affine(tensor_numel(grad), 1.0, 0.0, tensor_floats(grad), target.accumulate,
                               target.data);
    return ICOT_OK;
}

static int seed_gradient(icot_engine *engine, tensor *loss)
{
    const float one = 1.0f;
    if (make_grad(engine, loss)) return ICOT_FAILED;
    tensor_changed(loss->grad);
    loss->grad_is_set = true;
    return engine->device->copy_in(tensor_floats(loss->grad), &one, sizeof one);
}

/* Only leaves keep their gradient; that of an intermediate is freed once it was passed on. One that
 * the tape reads, because somebody computed with it, stays until it is written again. */
static void drop_grad(icot_engine *engine, tensor *t)
{
    t->grad_is_set = false;
    if (!t->grad || t->grad->readers > 0) return;
    tensor_destroy(engine, t->grad);
    t->grad = NULL;
}

/* After a failure: what is incomplete, or was never written, must not be taken for a gradient. */
static void drop_incomplete(icot_engine *engine, const node *n)
{
    for (int i = 0; i < n->n_inputs; i++) drop_grad(engine, n->inputs[i]);
}

/* Whether gradients flow into a node: by its output, or by what it has written to an input. */
static bool has_gradient(const node *n)
{
    const int written = n->op->written;
    return n->output->grad_is_set || (written > 0 && n->inputs[written - 1]->grad_is_set);
}

/* Gradients that came by what was written alone: that of the output is 0. */
static int grad_of_output(node *n)
{
    if (n->output->grad_is_set) return ICOT_OK;
    if (make_grad(n->engine, n->output)) return ICOT_FAILED;
    n->output->grad_is_set = true;
    const size_t bytes = (size_t)tensor_numel(n->output) * sizeof(float);
    return n->engine->device->clear(tensor_floats(n->output->grad), bytes);
}

/* Backward of node i; *restored is the checkpointed segment whose contents are there. */
static int pass_on(tape *recorded, int64_t i, int64_t *restored)
{
    node *n = &recorded->nodes[i];
    if (n->segment != *restored) {
        *restored = n->segment;
        if (n->segment >= 0 && checkpoint_restore(recorded, i)) return ICOT_FAILED;
    }
    if (!(n->op->unread & UNREAD_INPUTS) && tape_restore_inputs(recorded, n)) return ICOT_FAILED;
    if (grad_of_output(n)) return ICOT_FAILED;
    return n->op->backward(n, n->output->grad);
}

int icot_backward(icot_engine *engine, icot_tensor handle)
{
    tensor *loss = tensor_find(engine, "backward", handle);
    if (!loss) return ICOT_FAILED;
    if (tensor_numel(loss) != 1 || loss->dtype != ICOT_FLOAT32) {
        return fail("backward: got a %s tensor of shape %s, expected a single float32 number",
                    dtype_name(loss->dtype), tensor_shape_text(loss));
    }
    if (loss->node < 0) {
        return fail("backward: nothing was recorded for this tensor (no input requires a gradient, "
                    "or backward was called before)");
    }
    int status = seed_gradient(engine, loss);
    tape *recorded = engine->tape;
    int64_t restored = -1;
    for (int64_t i = recorded->count - 1; i >= 0; i--) {
        node *n = &recorded->nodes[i];
        if (!status && has_gradient(n)) status = pass_on(recorded, i, &restored);
        if (status) drop_incomplete(engine, n);
        drop_grad(engine, n->output);
        checkpoint_drop(n);
        tape_truncate(recorded, i); /* frees at once what nobody holds */
    }
    tape_empty(engine);
    return status;
}

int icot_requires_grad(icot_engine *engine, icot_tensor handle, int requires_grad)
{
    tensor *t = tensor_find_any(engine, "requires_grad", handle);
    if (!t) return ICOT_FAILED;
    if (t->dtype != ICOT_FLOAT32) return fail("requires_grad: an int32 tensor has no gradient");
    if (t->node >= 0) return fail("requires_grad: only a leaf can be switched, use detach first");
    t->requires_grad = requires_grad != 0;
    return ICOT_OK;
}

int icot_grad(icot_engine *engine, icot_tensor handle, icot_tensor *out)
{
    tensor *t = tensor_find_any(engine, "grad", handle);
    if (!t) return ICOT_FAILED;
    *out = t->grad && t->grad_is_set ? t->grad->handle : 0;
    return ICOT_OK;
}

int icot_zero_grad(icot_engine *engine, const icot_tensor *handles, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        tensor *t = tensor_find_any(engine, "zero_grad", handles[i]);
        if (!t) return ICOT_FAILED;
        drop_grad(engine, t); /* so the next step's activations get the memory first */
    }
    return ICOT_OK;
}
