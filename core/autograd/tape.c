#include "autograd/tape.h"

#include "base/error.h"
#include "base/memory.h"

int tape_reserve(tape *t)
{
    return memory_grow(&t->nodes, &t->capacity, t->count + 1, sizeof(node));
}

void tape_record(tape *t, const node *n)
{
    n->output->node = t->count;
    n->output->requires_grad = true;
    for (int i = 0; i < n->n_inputs; i++) n->inputs[i]->readers++;
    t->nodes[t->count++] = *n;
}

/* Whether backward, or what is computed again for it, reads the inputs of a node. */
static bool reads_inputs(const node *n)
{
    return n->segment >= 0 || n->op->cheap || !(n->op->unread & UNREAD_INPUTS);
}

int tape_check_backward_is_done(const tape *recorded, const tensor *t)
{
    for (int64_t i = 0; t->readers > 0 && i < recorded->count; i++) {
        const node *n = &recorded->nodes[i];
        for (int k = 0; k < n->n_inputs; k++) {
            if (n->inputs[k] == t && reads_inputs(n)) return tensor_check_not_an_input(t);
        }
    }
    return ICOT_OK;
}

/* Frees a tensor that no handle leads to, if the tape needs it no more either. */
static void release_if_hidden(icot_engine *engine, tensor *t)
{
    if (t->hidden && t->readers == 0 && t->node < 0) tensor_destroy(engine, t);
}

void tape_truncate(tape *t, int64_t mark)
{
    while (t->count > mark) {
        node *last = &t->nodes[--t->count];
        for (int k = 0; k < OPERATOR_SAVED; k++) tensor_destroy(last->engine, last->saved[k]);
        for (int i = 0; i < last->n_inputs; i++) {
            last->inputs[i]->readers--;
            release_if_hidden(last->engine, last->inputs[i]);
        }
        last->output->node = -1;
        release_if_hidden(last->engine, last->output);
    }
}

void tape_empty(icot_engine *engine)
{
    tape_truncate(engine->tape, 0);
    for (scope *open = engine->innermost; open; open = open->outer) open->tape_mark = 0;
}
