/* The engine: one set of tensors, scopes and tape on one device. */
#ifndef ICOT_TENSOR_ENGINE_H
#define ICOT_TENSOR_ENGINE_H

#include "tensor/tensor.h"

struct backend;          /* kernels: backend/backend.h */
struct tape;             /* recorded operators: autograd/tape.h */
struct deferred_numbers; /* numbers that the host reads later: autograd/deferred.h */

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
    const struct backend *backend;
    const device *device;
    struct tape *tape;
    bool grad_enabled;
    struct deferred_numbers *deferred;

    scope outermost; /* what is made outside of any scope */
    scope *innermost;
    int depth; /* scopes open */

    slot *slots;
    int64_t slot_count, first_free_slot;
};

/* Frees all tensors of a scope. */
void scope_release_tensors(icot_engine *engine, scope *closed);

#endif
