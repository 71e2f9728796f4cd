/*
 * The tape: operators in the order in which they were applied, for walking back. Its functions are
 * in tape.c, unless a line says otherwise.
 */
#ifndef ICOT_AUTOGRAD_TAPE_H
#define ICOT_AUTOGRAD_TAPE_H

#include "autograd/operator.h"

typedef struct tape {
    node *nodes;
    int64_t count, capacity;
} tape;

/* Room for one more node, so that tape_record cannot fail after the work was done. */
int tape_reserve(tape *t);
void tape_record(tape *t, const node *n);

/* To be asked before a tensor is overwritten: fails if backward will yet read its elements, and not
 * only its shape. (tensor_check_not_an_input is stricter, and knows no operators.) */
int tape_check_backward_is_done(const tape *recorded, const tensor *t);

/* Forgets all nodes from `mark` on; the tensors that they made become leaves. */
void tape_truncate(tape *t, int64_t mark);

/* Forgets all nodes. Scopes that are open forget, when they close, what is recorded from now on. */
void tape_empty(icot_engine *engine);

/* ---- In checkpoint.c ---- */

/*
 * Brings back what icot_checkpoint has dropped of a segment, as far as backward needs it. It begins
 * there with node `last`: those behind it have no gradient.
 */
int checkpoint_restore(tape *t, int64_t last);
/* Drops the contents of one node, again; does nothing if it lies in no segment. */
void checkpoint_drop(node *n);

/* ---- In lifetime.c ---- */

/*
 * Brings back the contents that icot_tensor_release has dropped, of one tensor or of all inputs of
 * a node. Those of checkpointed segments must be there.
 */
int tape_restore(tape *t, const tensor *dropped);
int tape_restore_inputs(tape *t, const node *n);

#endif
