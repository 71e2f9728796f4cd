/*
 * Operators: what one is, and the table of all of them.
 *
 * An operator checks its inputs and makes the output (prepare), computes it (forward), and sends
 * the gradient of the output on to its inputs (backward). All three see one application of it: a
 * node. The gradient test walks the same table.
 */
#ifndef ICOT_AUTOGRAD_OPERATOR_H
#define ICOT_AUTOGRAD_OPERATOR_H

#include "backend/backend.h"
#include "tensor/engine_parts.h"
#include "tensor/tensor.h"

enum { OPERATOR_SAVED = 10 };

typedef struct node {
    const struct operator_entry *op;
    icot_engine *engine;
    int n_inputs;
    tensor *inputs[ICOT_MAX_INPUTS];
    tensor *output;
    tensor *saved[OPERATOR_SAVED]; /* what forward keeps for backward; NULL behind the last */
    icot_op_params params;

    int64_t segment; /* first node of the checkpointed segment that it lies in; -1: none */
    bool is_result;  /* the segment keeps its output, or a view of that */
    bool needed;     /* backward needs the output; see checkpoint.c */
} node;

/* Tensors whose elements backward does not read: checkpointing need not bring them back. */
enum { UNREAD_INPUTS = 1, UNREAD_OUTPUT = 2 };

typedef struct operator_entry {
    const char *name;
    int min_inputs, max_inputs;
    unsigned int32_inputs; /* bit i: input i holds int32 indices, and gets no gradient */
    bool strided;          /* takes inputs of any strides; others get contiguous copies */
    bool cheap;            /* quickly computed again: the output need not be kept */
    int written;     /* the input that forward writes to, counted from 1; 0: none; see below */
    unsigned unread; /* UNREAD_* of float inputs and output; 0: backward may read them all */

    int (*prepare)(node *n);                /* checks; makes output and saved tensors */
    int (*forward)(node *n);                /* NULL for views: nothing to compute. The same inputs
                                             * give the same bits each time */
    int (*forward_saved)(node *n);          /* the saved tensors alone; NULL: forward does it */
    int (*backward)(node *n, tensor *grad); /* grad: of the output, contiguous */
} operator_entry;

/*
 * An input that is written to is a leaf of its own memory, which no other operator on the tape
 * reads. If any input wants a gradient, it wants one as well, and has none yet: what is written
 * there is read by later applications, and comes back by way of that gradient. So backward is
 * called if either the output or this input has got one (the output's is 0 then), and moves on what
 * belongs to what was written.
 */

/* The table, in autograd/operators/table.c; icot_operator_count says how many there are. */
const operator_entry *operator_at(int index); /* NULL: none */

/* Applies an operator to tensors; the core's own way in (icot_apply is the public one). */
int operator_apply(icot_engine *engine, const operator_entry *op, tensor *const *inputs,
                   int n_inputs, const icot_op_params *params, tensor **out);

/* ---- For the operators themselves ---- */

/* Makes the output, float32, of the given shape. */
int node_output(node *n, const shape *size);
int node_output_like(node *n, const tensor *like);

/* Makes saved[which], float32 (rows, columns). */
int node_save(node *n, int which, int64_t rows, int64_t columns);

/* Fails unless each index of input i, `what` in the message, names one of `count` rows: kernels do
 * not check. */
int node_check_ids(const node *n, int i, const char *what, int64_t count);

/* Fails unless number[which] is a share that dropout may drop: 0 <= p < 1. */
int node_check_dropout(const node *n, int which);

/* Prepares the gradient of input i for writing. The caller must then write all of it. */
int grad_of_input(node *n, int i, grad_target *out);

/* The same, cleared first if it held nothing: for kernels that always add. */
int grad_of_input_cleared(node *n, int i, grad_target *out);

/*
 * Passes the gradient of the output on to input i, of the same shape, as it is. Where the input has
 * none yet, it may take over the memory: nothing may be done with `grad` after that.
 */
int grad_hand_on(node *n, int i, tensor *grad);

static inline const backend *kernels(const node *n)
{
    return n->engine->backend;
}

#endif
