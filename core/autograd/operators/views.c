/*
 * Operators that rearrange: views on the same memory, and the two that copy.
 *
 *   reshape     index[0 … n-1] the new sizes, one of which may be -1
 *   permute     index[d] the input dimension that becomes dimension d
 *   slice       index[0] dimension, index[1] start, index[2] length
 *   expand      index[0 … n-1] the new sizes; dimensions of size 1 are repeated
 *   concat      index[0] dimension
 */
#include "autograd/operators/operators.h"
#include "base/error.h"

#include <string.h>

/* ---- Moving elements between two layouts ----------------------------------------------------- */

static strided_loop copy_loop(const shape *size, const int64_t *from, const int64_t *to)
{
    strided_loop loop = {.ndim = size->ndim};
    memcpy(loop.size, size->size, sizeof loop.size);
    memcpy(loop.strides[0], from, (size_t)size->ndim * sizeof *from);
    memcpy(loop.strides[1], to, (size_t)size->ndim * sizeof *to);
    return loop;
}

/*
 * The backward pass of every view: element i of the output is some element of the input, so its
 * gradient is added there. `strides` and `offset` place the output inside a contiguous input.
 */
static int view_backward(node *n, const tensor *grad, const int64_t *strides, int64_t offset)
{
    grad_target dx;
    if (grad_of_input_cleared(n, 0, &dx)) return ICOT_FAILED;
    if (!dx.data || tensor_numel(n->output) == 0) return ICOT_OK;
    shape size = tensor_shape(n->output);
    strided_loop loop = copy_loop(&size, grad->strides, strides);
    kernels(n)->strided_copy(&loop, tensor_floats(grad), true, dx.data + offset);
    return ICOT_OK;
}

static void contiguous_strides_of(const tensor *x, int64_t strides[ICOT_MAX_DIMS])
{
    shape size = tensor_shape(x);
    shape_contiguous_strides(&size, strides);
}

/* ---- reshape --------------------------------------------------------------------------------- */

static int shape_from_params(const node *n, shape *out)
{
    if (n->params.n_index > ICOT_MAX_DIMS) {
        return fail("%s: got %d dimensions, at most %d are possible", n->op->name,
                    n->params.n_index, ICOT_MAX_DIMS);
    }
    *out = (shape){.ndim = n->params.n_index};
    memcpy(out->size, n->params.index, (size_t)out->ndim * sizeof *out->size);
    return ICOT_OK;
}

static int infer_size(const node *n, shape *size)
{
    int64_t known = 1, numel = tensor_numel(n->inputs[0]);
    int unknown = -1;
    for (int d = 0; d < size->ndim; d++) {
        if (size->size[d] == -1 && unknown < 0) {
            unknown = d;
        } else if (size->size[d] < 0 || __builtin_mul_overflow(known, size->size[d], &known)) {
            return fail("reshape: %s is not a shape", shape_text(size));
        }
    }
    if (unknown >= 0 && known > 0 && numel % known == 0) size->size[unknown] = numel / known;
    if ((unknown >= 0 && size->size[unknown] < 0) || shape_numel(size) != numel) {
        return fail("reshape: a tensor of shape %s cannot become %s",
                    tensor_shape_text(n->inputs[0]), shape_text(size));
    }
    return ICOT_OK;
}

static int reshape_prepare(node *n)
{
    shape size;
    if (shape_from_params(n, &size) || infer_size(n, &size) || shape_check(&size)) {
        return ICOT_FAILED;
    }
    int64_t strides[ICOT_MAX_DIMS];
    shape_contiguous_strides(&size, strides);
    return tensor_new_view(n->engine, n->inputs[0], &size, strides, n->inputs[0]->offset,
                           &n->output);
}

static int reshape_backward(node *n, tensor *grad)
{
    grad_target dx;
    if (grad_of_input(n, 0, &dx)) return ICOT_FAILED;
    if (!dx.data) return ICOT_OK;
    kernels(n)->affine(tensor_numel(grad), 1.0, 0.0, tensor_floats(grad), dx.accumulate, dx.data);
    return ICOT_OK;
}

const operator_entry op_reshape = {.name = "reshape",
                                   .min_inputs = 1,
                                   .max_inputs = 1,
                                   .unread = UNREAD_INPUTS | UNREAD_OUTPUT,
                                   .prepare = reshape_prepare,
                                   .backward = reshape_backward};

/* ---- permute --------------------------------------------------------------------------------- */

static int permute_prepare(node *n)
{
    const tensor *x = n->inputs[0];
    bool seen[ICOT_MAX_DIMS] = {false};
    shape size = {.ndim = x->ndim};
    int64_t strides[ICOT_MAX_DIMS] = {0};
    if (n->params.n_index != x->ndim) {
        return fail("permute: got %d dimensions for a tensor with %d", n->params.n_index, x->ndim);
    }
    for (int d = 0; d < x->ndim; d++) {
        int from;
        if (dimension_index("permute", n->params.index[d], x->ndim, &from)) return ICOT_FAILED;
        if (seen[from]) return fail("permute: dimension %d is named twice", from);
        seen[from] = true;
        n->params.index[d] = from;
        size.size[d] = x->shape[from];
        strides[d] = x->strides[from];
    }
    return tensor_new_view(n->engine, x, &size, strides, x->offset, &n->output);
}

static int permute_backward(node *n, tensor *grad)
{
    int64_t own[ICOT_MAX_DIMS], strides[ICOT_MAX_DIMS] = {0};
    contiguous_strides_of(n->inputs[0], own);
    for (int d = 0; d < n->output->ndim; d++) strides[d] = own[n->params.index[d]];
    return view_backward(n, grad, strides, 0);
}

const operator_entry op_permute = {.name = "permute",
                                   .min_inputs = 1,
                                   .max_inputs = 1,
                                   .strided = true,
                                   .unread = UNREAD_INPUTS | UNREAD_OUTPUT,
                                   .prepare = permute_prepare,
                                   .backward = permute_backward};

/* ---- slice ----------------------------------------------------------------------------------- */

static int slice_prepare(node *n)
{
    const tensor *x = n->inputs[0];
    int dimension;
    if (n->params.n_index != 3) return fail("slice: expected dimension, start and length");
    if (dimension_index("slice", n->params.index[0], x->ndim, &dimension)) return ICOT_FAILED;
    int64_t start = n->params.index[1], length = n->params.index[2];
    if (start < 0 || length < 0 || start > x->shape[dimension] - length) {
        return fail("slice: start %lld and length %lld leave dimension %d of %s", (long long)start,
                    (long long)length, dimension, tensor_shape_text(x));
    }
    n->params.index[0] = dimension;
    shape size = tensor_shape(x);
    size.size[dimension] = length;
    return tensor_new_view(n->engine, x, &size, x->strides,
                           x->offset + start * x->strides[dimension], &n->output);
}

static int slice_backward(node *n, tensor *grad)
{
    int64_t strides[ICOT_MAX_DIMS];
    contiguous_strides_of(n->inputs[0], strides);
    return view_backward(n, grad, strides, n->params.index[1] * strides[n->params.index[0]]);
}

const operator_entry op_slice = {.name = "slice",
                                 .min_inputs = 1,
                                 .max_inputs = 1,
                                 .strided = true,
                                 .unread = UNREAD_INPUTS | UNREAD_OUTPUT,
                                 .prepare = slice_prepare,
                                 .backward = slice_backward};

/* ---- expand ---------------------------------------------------------------------------------- */

/* Strides of `x`, given as x_strides, in the expanded shape of n. */
static int expand_strides(const node *n, const shape *size, const int64_t *x_strides,
                          int64_t strides[ICOT_MAX_DIMS])
{
    const tensor *x = n->inputs[0];
    for (int d = 0; d < size->ndim; d++) {
        int own = d - (size->ndim - x->ndim);
        bool repeated = own < 0 || (x->shape[own] == 1 && size->size[d] != 1);
        if (size->size[d] < 0 || (!repeated && x->shape[own] != size->size[d])) {
            return fail("expand: a tensor of shape %s cannot become %s", tensor_shape_text(x),
                        shape_text(size));
        }
        strides[d] = repeated ? 0 : x_strides[own];
    }
    return ICOT_OK;
}

static int expand_prepare(node *n)
{
    shape size;
    int64_t strides[ICOT_MAX_DIMS] = {0};
    if (shape_from_params(n, &size)) return ICOT_FAILED;
    if (size.ndim < n->inputs[0]->ndim) {
        return fail("expand: %s has fewer dimensions than %s", shape_text(&size),
                    tensor_shape_text(n->inputs[0]));
    }
    if (expand_strides(n, &size, n->inputs[0]->strides, strides) || shape_check(&size)) {
        return ICOT_FAILED;
    }
    return tensor_new_view(n->engine, n->inputs[0], &size, strides, n->inputs[0]->offset,
                           &n->output);
}

static int expand_backward(node *n, tensor *grad)
{
    int64_t own[ICOT_MAX_DIMS] = {0}, strides[ICOT_MAX_DIMS] = {0};
    shape size = tensor_shape(n->output);
    contiguous_strides_of(n->inputs[0], own);
    if (expand_strides(n, &size, own, strides)) return ICOT_FAILED;
    return view_backward(n, grad, strides, 0);
}

const operator_entry op_expand = {.name = "expand",
                                  .min_inputs = 1,
                                  .max_inputs = 1,
                                  .strided = true,
                                  .unread = UNREAD_INPUTS | UNREAD_OUTPUT,
                                  .prepare = expand_prepare,
                                  .backward = expand_backward};

/* ---- contiguous: a copy in row-major order --------------------------------------------------- */

static int contiguous_prepare(node *n)
{
    return node_output_like(n, n->inputs[0]);
}

static int contiguous_forward(node *n)
{
    if (tensor_numel(n->output) == 0) return ICOT_OK;
    shape size = tensor_shape(n->output);
    strided_loop loop = copy_loop(&size, n->inputs[0]->strides, n->output->strides);
    kernels(n)->strided_copy(&loop, tensor_floats(n->inputs[0]), false, tensor_floats(n->output));
    return ICOT_OK;
}

const operator_entry op_contiguous = {.name = "contiguous",
                                      .min_inputs = 1,
                                      .max_inputs = 1,
                                      .strided = true,
                                      .unread = UNREAD_INPUTS | UNREAD_OUTPUT,
                                      .prepare = contiguous_prepare,
                                      .forward = contiguous_forward,
                                      .backward = reshape_backward};

/* ---- concat ---------------------------------------------------------------------------------- */

static int concat_prepare(node *n)
{
    const tensor *first = n->inputs[0];
    int dimension;
    if (n->params.n_index != 1) return fail("concat: expected the dimension");
    if (dimension_index("concat", n->params.index[0], first->ndim, &dimension)) return ICOT_FAILED;
    n->params.index[0] = dimension;
    shape size = tensor_shape(first);
    for (int i = 1; i < n->n_inputs; i++) {
        shape other = tensor_shape(n->inputs[i]);
        size.size[dimension] += other.ndim == size.ndim ? other.size[dimension] : 0;
        other.size[dimension] = size.size[dimension];
        if (!shape_equal(&size, &other)) {
            return fail("concat: shapes %s and %s differ outside dimension %d",
                        tensor_shape_text(first), tensor_shape_text(n->inputs[i]), dimension);
        }
    }
    return node_output(n, &size);
}

/* Where the part of the output begins that input i fills, in elements. */
static int64_t concat_offset(const node *n, int i)
{
    int dimension = (int)n->params.index[0];
    int64_t before = 0;
    for (int k = 0; k < i; k++) before += n->inputs[k]->shape[dimension];
    return before * n->output->strides[dimension];
}

static int concat_forward(node *n)
{
    for (int i = 0; i < n->n_inputs; i++) {
        const tensor *x = n->inputs[i];
        if (tensor_numel(x) == 0) continue;
        shape size = tensor_shape(x);
        strided_loop loop = copy_loop(&size, x->strides, n->output->strides);
        kernels(n)->strided_copy(&loop, tensor_floats(x), false,
                                 tensor_floats(n->output) + concat_offset(n, i));
    }
    return ICOT_OK;
}

static int concat_backward(node *n, tensor *grad)
{
    for (int i = 0; i < n->n_inputs; i++) {
        grad_target dx;
        if (grad_of_input(n, i, &dx)) return ICOT_FAILED;
        shape size = tensor_shape(n->inputs[i]);
        if (!dx.data || shape_numel(&size) == 0) continue;
        int64_t own[ICOT_MAX_DIMS];
        shape_contiguous_strides(&size, own);
        strided_loop loop = copy_loop(&size, grad->strides, own);
        kernels(n)->strided_copy(&loop, tensor_floats(grad) + concat_offset(n, i), dx.accumulate,
                                 dx.data);
    }
    return ICOT_OK;
}

const operator_entry op_concat = {.name = "concat",
                                  .min_inputs = 1,
                                  .max_inputs = ICOT_MAX_INPUTS,
                                  .strided = true,
                                  .unread = UNREAD_INPUTS | UNREAD_OUTPUT,
                                  .prepare = concat_prepare,
                                  .forward = concat_forward,
                                  .backward = concat_backward};
