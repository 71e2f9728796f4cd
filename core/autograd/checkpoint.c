/*
 * Activation checkpointing (Chen et al., "Training deep nets with sublinear memory cost", 2016):
 * what a stretch of the tape, a segment, has computed is dropped, and computed again when backward
 * comes to it.
 *
 * Nodes hold all that their forward needs, random numbers are a function of a key, and kernels give
 * the same bits for the same inputs: so forward is run again as it is, and gradients are the same
 * bits. For everybody outside, the contents are gone for good: they come back within icot_backward
 * only, and each only as long as it is needed.
 */
#include "autograd/tape.h"
#include "base/error.h"

/* ---- Dropping -------------------------------------------------------------------------------- */

void checkpoint_drop(node *n)
{
    if (n->segment < 0 || !n->op->forward) return; /* a view's contents are another node's */
    if (!n->is_result) tensor_drop_contents(n->output);
    for (int k = 0; k < OPERATOR_SAVED; k++) {
        if (n->saved[k]) tensor_drop_contents(n->saved[k]);
    }
}

/* Whether one of the results shares the memory of a node's output. */
static bool is_result(icot_engine *engine, const node *n, const icot_tensor *results,
                      int64_t n_results)
{
    for (int64_t i = 0; i < n_results; i++) {
        const tensor *result = tensor_find(engine, "checkpoint", results[i]);
        if (result->storage == n->output->storage) return true;
    }
    return false;
}

static int check_segment(icot_engine *engine, int64_t from, const icot_tensor *results,
                         int64_t n_results)
{
    const tape *recorded = engine->tape;
    if (from < 0 || from > recorded->count) {
        return fail(
            "checkpoint: the tape had %lld entries and has %lld now; neither backward nor the end "
            "of an outer scope may come in between",
            (long long)from, (long long)recorded->count);
    }
    if (from < recorded->count && recorded->nodes[from].segment >= 0 &&
        recorded->nodes[from].segment < from) {
        return fail("checkpoint: the segment begins in the middle of another one");
    }
    for (int64_t i = 0; i < n_results; i++) {
        if (!tensor_find(engine, "checkpoint", results[i])) return ICOT_FAILED;
    }
    return ICOT_OK;
}

int64_t icot_tape_length(const icot_engine *engine)
{
    return engine->tape->count;
}

int icot_checkpoint(icot_engine *engine, int64_t from, const icot_tensor *results,
                    int64_t n_results)
{
    if (check_segment(engine, from, results, n_results)) return ICOT_FAILED;
    for (int64_t i = from; i < engine->tape->count; i++) {
        node *n = &engine->tape->nodes[i];
        n->segment = from;
        n->is_result = is_result(engine, n, results, n_results);
        if (n->op->forward) n->output->storage->maker = i;
        checkpoint_drop(n);
    }
    return ICOT_OK;
}

/* ---- Computing again ------------------------------------------------------------------------- */

/* Marks the nodes that made the contents of n's inputs, which may be views or detached. */
static void need_inputs(tape *t, const node *n)
{
    for (int i = 0; i < n->n_inputs; i++) {
        const storage *read = n->inputs[i]->storage;
        if (!read->data) t->nodes[read->maker].needed = true;
    }
}

/* Whether anything of a node has to be computed again. */
static bool runs_again(const node *n)
{
    return n->op->forward && ((n->needed && !n->is_result) || n->saved[0]);
}

/*
 * From the last node to the first: an output is needed if its own backward reads it, or backward of
 * a node that it is an input of, or forward of such a node that runs again. That of the last matrix
 * product of a transformer block, for instance, is not.
 */
static void find_needed(tape *t, int64_t from, int64_t last)
{
    for (int64_t i = from; i <= last; i++) t->nodes[i].needed = false;
    for (int64_t i = last; i >= from; i--) {
        node *n = &t->nodes[i];
        if (!(n->op->unread & UNREAD_OUTPUT)) n->needed = true;
        if (runs_again(n) || !(n->op->unread & UNREAD_INPUTS)) need_inputs(t, n);
    }
}

/* A result, which was kept, may be written again: with the same bits. */
static int compute_again(node *n)
{
    bool only_saved = n->op->forward_saved && (!n->needed || n->is_result);
    for (int k = 0; k < OPERATOR_SAVED; k++) {
        if (n->saved[k] && tensor_restore_contents(n->saved[k])) return ICOT_FAILED;
    }
    if (only_saved) return n->op->forward_saved(n);
    if (tensor_restore_contents(n->output)) return ICOT_FAILED;
    return n->op->forward(n);
}

/* Brings back inputs that were made before the segment, and dropped since they are cheap. */
static int restore_from_before(tape *t, int64_t from, const node *n)
{
    for (int i = 0; i < n->n_inputs; i++) {
        const storage *read = n->inputs[i]->storage;
        if (!read->data && read->maker < from && tape_restore(t, n->inputs[i])) return ICOT_FAILED;
    }
    return ICOT_OK;
}

int checkpoint_restore(tape *t, int64_t last)
{
    int64_t from = t->nodes[last].segment;
    find_needed(t, from, last);
    for (int64_t i = from; i <= last; i++) {
        node *n = &t->nodes[i];
        if (!runs_again(n)) continue;
        if (restore_from_before(t, from, n) || compute_again(n)) return ICOT_FAILED;
    }
    return ICOT_OK;
}
