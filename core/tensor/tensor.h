/*
 * Tensors: storage + shape + strides + dtype. Handles, views and lifetimes.
 *
 * A tensor lies in exactly one scope and is freed with it. What Lua holds is a handle: slot number
 * and generation of the slot, so that a handle outliving its tensor is noticed.
 */
#ifndef ICOT_TENSOR_TENSOR_H
#define ICOT_TENSOR_TENSOR_H

#include "icot.h"
#include "tensor/device.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct storage {
    void *data;           /* NULL: the contents were dropped (tensor_drop_contents) */
    const device *device; /* where they lie: of indices, always the host */
    const device *near;   /* where the kernels run */
    int references;       /* tensors that share these bytes */
    void *derived; /* lies on `near`: a weight or bias in the form that matrix products take, or a
                      copy of indices. NULL: not made */
    int64_t derived_rows, derived_columns; /* of that weight or bias */
    size_t bytes;
    int64_t maker; /* entry of the tape that can compute dropped contents again */
} storage;

typedef struct tensor tensor;
struct tensor {
    icot_tensor handle;
    storage *storage;
    int64_t offset; /* of the first element, in elements */
    icot_dtype dtype;
    int ndim;
    int64_t shape[ICOT_MAX_DIMS];
    int64_t strides[ICOT_MAX_DIMS]; /* in elements; 0 in a dimension that was expanded */

    bool requires_grad;
    bool grad_is_set; /* false: .grad holds nothing yet (its memory may be there for reuse) */
    tensor *grad;     /* contiguous, same shape; NULL until first needed */
    tensor *grad_of;  /* the tensor whose gradient this is; NULL for all others */
    int64_t node;     /* entry of the tape that made it; -1 for a leaf */
    int readers;      /* entries of the tape that read it */
    bool hidden;      /* no handle leads to it (any more): it is freed after its last use */

    struct scope *scope;
    tensor *previous, *next; /* in the scope's list */
};

/* A shape on its own, as an operator computes it before the output exists. */
typedef struct shape {
    int ndim;
    int64_t size[ICOT_MAX_DIMS];
} shape;

/* ---- Making and finding tensors ---- */

/* The tensor of a handle; NULL if there is none any more, or its contents were dropped, with a
 * message that begins with `who`. */
tensor *tensor_find(icot_engine *engine, const char *who, icot_tensor handle);
/* The same with contents or without. */
tensor *tensor_find_any(icot_engine *engine, const char *who, icot_tensor handle);
/* The tensors of several handles; the message says which of them is gone. */
int tensor_find_all(icot_engine *engine, const char *who, const icot_tensor *handles, int count,
                    tensor **out);

/* A contiguous tensor in the innermost scope; its contents are not set. */
int tensor_new(icot_engine *engine, icot_dtype dtype, const shape *size, tensor **out);

/* A tensor in the innermost scope on the storage of `base`. */
int tensor_new_view(icot_engine *engine, const tensor *base, const shape *size,
                    const int64_t *strides, int64_t offset, tensor **out);

/* Takes a tensor and its gradient away at once, whoever reads them; NULL is allowed. */
void tensor_destroy(icot_engine *engine, tensor *destroyed);

/*
 * Gives back the memory of a tensor's elements and of all that shares them; shape and strides stay.
 * Restoring makes room for them again, with contents that are not set; it does nothing if they are
 * there.
 */
void tensor_drop_contents(tensor *t);
int tensor_restore_contents(tensor *t);

/* Moves a tensor, but not its gradient, to the scope that `like` lies in. */
void tensor_move_beside(tensor *moved, const tensor *like);

/* To be called whenever the contents are overwritten: frees what was derived from them. */
void tensor_changed(tensor *t);
/* To be asked before that: fails while the tensor is an input of any operator on the tape, whether
 * backward will read its elements or only its shape. */
int tensor_check_not_an_input(const tensor *t);

/* Overwrites all elements, whose number the caller has checked, with those of `in`, row-major on
 * the host; messages begin with `who`. */
int tensor_overwrite(const char *who, tensor *t, const void *in);

/* ---- Looking at tensors ---- */

float *tensor_floats(const tensor *t); /* first element of a float32 tensor */
int32_t *tensor_ints(const tensor *t); /* first element of an int32 tensor, on the host */
int tensor_indices(const tensor *t, index_array *out); /* the same, for kernels too */
void *tensor_data(const tensor *t);                    /* NULL if the contents were dropped */
size_t dtype_bytes(icot_dtype dtype);
const char *dtype_name(icot_dtype dtype);
int64_t tensor_numel(const tensor *t);
/* Whether the shape is (first) or, where `ndim` is 2, (first, second). */
bool tensor_has_shape(const tensor *t, int ndim, int64_t first, int64_t second);
int64_t tensor_rows(const tensor *t); /* product of all sizes but the last */
bool tensor_is_contiguous(const tensor *t);
bool tensor_is_needed(const tensor *t);     /* the tape still needs it, or its gradient */
bool tensor_fills_storage(const tensor *t); /* contiguous, and all of it */
shape tensor_shape(const tensor *t);

int64_t shape_numel(const shape *size);
int shape_check(const shape *size); /* fails if there cannot be that many elements */
bool shape_equal(const shape *a, const shape *b);
void shape_contiguous_strides(const shape *size, int64_t strides[ICOT_MAX_DIMS]);

/* "(2,3,4)" for messages; the text is overwritten by the fourth call after this one. */
const char *shape_text(const shape *size);
const char *tensor_shape_text(const tensor *t);

/*
 * Checks a dimension that a user gave, -1 being the last one: stores 0 … ndim-1 in *out, or fails
 * with a message that begins with `who`.
 */
int dimension_index(const char *who, int64_t given, int ndim, int *out);

#endif
