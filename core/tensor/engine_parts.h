/*
 * What an engine consists of: a set of tensors and scopes, a tape, and the kernels of one device.
 *
 * The struct stands here because this is the lowest room that looks into an engine. What the rooms
 * above keep in it comes last; what the pointers lead to, only those rooms know.
 */
#ifndef ICOT_TENSOR_ENGINE_PARTS_H
#define ICOT_TENSOR_ENGINE_PARTS_H

#include "tensor/tensor.h"

typedef struct scope {
    struct scope *outer;
    tensor *first;     /* list of the tensors that lie in it */
    int64_t tape_mark; /* length of the tape when it was opened */
} scope;

typedef struct slot {
    tensor *tensor;      /* NULL: free */
    uint32_t generation; /* counts the tensors that this slot has held */
    int64_t next_free;   /* -1: the last free one */
} slot;

struct icot_engine {
    const device *device;

    scope outermost; /* what is made outside of any scope */
    scope *innermost;
    int depth; /* scopes open */

    slot *slots;
    int64_t slot_count, first_free_slot;

    /* ---- Of the rooms above ---- */
    const struct backend *backend;     /* the kernels */
    struct tape *tape;                 /* the operators that were recorded */
    bool grad_enabled;                 /* whether operators are recorded */
    struct deferred_numbers *deferred; /* numbers that the host reads later */
};

/* Frees all tensors of a scope. */
void scope_release_tensors(icot_engine *engine, scope *closed);

#endif
