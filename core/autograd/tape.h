/* The tape: operators in the order in which they were applied, for walking back. */
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

/* Forgets all nodes from `mark` on; the tensors that they made become leaves. */
void tape_truncate(tape *t, int64_t mark);

/* Forgets all nodes; what open scopes record from now on is theirs to forget. */
void tape_empty(icot_engine *engine);

#endif
