/*
 * Tensors that are freed before their scope closes: one that its holder has released stays only as
 * long as the tape needs it, and the contents not even that long where they are quickly computed
 * again (`cheap` operators).
 */
#include "autograd/tape.h"
#include "base/error.h"

/* In a checkpointed segment the contents were dropped with all others there. */
static void drop_if_cheap(tape *recorded, tensor *t)
{
    const node *maker = &recorded->nodes[t->node];
    if (!maker->op->cheap || maker->segment >= 0 || t->storage->references > 1) return;
    t->storage->maker = t->node;
    tensor_drop_contents(t);
}

int icot_tensor_release(icot_engine *engine, icot_tensor handle)
{
    tensor *t = tensor_find_any(engine, "release", handle);
    if (!t) return ICOT_FAILED;
    if (!tensor_is_needed(t)) {
        tensor_destroy(engine, t);
        return ICOT_OK;
    }
    t->hidden = true;
    if (t->node >= 0) drop_if_cheap(engine->tape, t);
    return ICOT_OK;
}

int tape_restore(tape *t, const tensor *dropped)
{
    if (dropped->storage->data) return ICOT_OK;
    node *maker = &t->nodes[dropped->storage->maker];
    if (tape_restore_inputs(t, maker)) return ICOT_FAILED;
    if (tensor_restore_contents(maker->output)) return ICOT_FAILED;
    return maker->op->forward(maker);
}

int tape_restore_inputs(tape *t, const node *n)
{
    for (int i = 0; i < n->n_inputs; i++) {
        if (tape_restore(t, n->inputs[i])) return ICOT_FAILED;
    }
    return ICOT_OK;
}
