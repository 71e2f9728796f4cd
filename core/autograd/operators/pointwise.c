/* Elementwise operators; the ones with two inputs broadcast as in PyTorch. */
#include "autograd/operators/operators.h"
#include "autograd/operators/residual.h"
#include "base/error.h"

#include <string.h>

/* ---- One input ------------------------------------------------------------------------------- */

static int same_shape_output(node *n)
{
    return node_output_like(n, n->inputs[0]);
}

static int unary_forward(node *n, unary_kind kind)
{
    kernels(n)->unary(kind, tensor_numel(n->output), tensor_floats(n->inputs[0]),
                      tensor_floats(n->output));
    return ICOT_OK;
}

static int unary_backward(node *n, const tensor *grad, unary_kind kind)
{
    grad_target dx;
    if (grad_of_input(n, 0, &dx)) return ICOT_FAILED;
    if (!dx.data) return ICOT_OK;
    kernels(n)->unary_backward(kind, tensor_numel(n->output), tensor_floats(n->inputs[0]),
                               tensor_floats(n->output), tensor_floats(grad), dx.accumulate,
                               dx.data);
    return ICOT_OK;
}

#define UNARY_OPERATOR(word, KIND)                                                                 \
    static int word##_forward(node *n)                                                             \
    {                                                                                              \
        return unary_forward(n, KIND);                                                             \
    }                                                                                              \
    static int word##_backward(node *n, tensor *grad)                                              \
    {                                                                                              \
        return unary_backward(n, grad, KIND);                                                      \
    }                                                                                              \
    const operator_entry op_##word = {.name = #word,                                               \
                                      .min_inputs = 1,                                             \
                                      .max_inputs = 1,                                             \
                                      .prepare = same_shape_output,                                \
                                      .forward = word##_forward,                                   \
                                      .backward = word##_backward};

UNARY_OPERATOR(neg, UNARY_NEG)
UNARY_OPERATOR(exp, UNARY_EXP)
UNARY_OPERATOR(log, UNARY_LOG)
UNARY_OPERATOR(sqrt, UNARY_SQRT)
UNARY_OPERATOR(tanh, UNARY_TANH)
UNARY_OPERATOR(sigmoid, UNARY_SIGMOID)
UNARY_OPERATOR(relu, UNARY_RELU)
UNARY_OPERATOR(gelu, UNARY_GELU)

/* affine: y = number[0]·x + number[1] */
static int affine_forward(node *n)
{
    kernels(n)->affine(tensor_numel(n->output), n->params.number[0], n->params.number[1],
                       tensor_floats(n->inputs[0]), false, tensor_floats(n->output));
    return ICOT_OK;
}

static int affine_backward(node *n, tensor *grad)
{
    grad_target dx;
    if (grad_of_input(n, 0, &dx)) return ICOT_FAILED;
    if (!dx.data) return ICOT_OK;
    kernels(n)->affine(tensor_numel(n->output), n->params.number[0], 0.0, tensor_floats(grad),
                       dx.accumulate, dx.data);
    return ICOT_OK;
}

const operator_entry op_affine = {.name = "affine",
                                  .min_inputs = 1,
                                  .max_inputs = 1,
                                  .unread = UNREAD_INPUTS | UNREAD_OUTPUT,
                                  .prepare = same_shape_output,
                                  .forward = affine_forward,
                                  .backward = affine_backward};

/* pow: y = x ^ number[0] */
static int pow_forward(node *n)
{
    kernels(n)->power(tensor_numel(n->output), n->params.number[0], tensor_floats(n->inputs[0]),
                      tensor_floats(n->output));
    return ICOT_OK;
}

static int pow_backward(node *n, tensor *grad)
{
    grad_target dx;
    if (grad_of_input(n, 0, &dx)) return ICOT_FAILED;
    if (!dx.data) return ICOT_OK;
    kernels(n)->power_backward(tensor_numel(n->output), n->params.number[0],
                               tensor_floats(n->inputs[0]), tensor_floats(grad), dx.accumulate,
                               dx.data);
    return ICOT_OK;
}

const operator_entry op_pow = {.name = "pow",
                               .min_inputs = 1,
                               .max_inputs = 1,
                               .prepare = same_shape_output,
                               .forward = pow_forward,
                               .backward = pow_backward};

/*
 * dropout x (…), residual (…) or none -> (…): what is kept of x, plus the residual. number[0] is
 * the share p that is dropped. Random numbers of the key decide, element i by number index[0] + i;
 * index[0] is 0 if not given.
 */
enum { DROPOUT_X, DROPOUT_RESIDUAL };

static int dropout_prepare(node *n)
{
    if (node_check_dropout(n, 0)) return ICOT_FAILED;
    if (n->params.index[0] < 0) {
        return fail("dropout: got %lld as the first number, expected 0 or more",
                    (long long)n->params.index[0]);
    }
    shape size = tensor_shape(n->inputs[DROPOUT_X]);
    if (residual_check(n, DROPOUT_RESIDUAL, &size)) return ICOT_FAILED;
    return same_shape_output(n);
}

static void drop(const node *n, const float *x, const float *onto, float *y)
{
    kernels(n)->dropout(tensor_numel(n->output), n->params.number[0], n->params.key,
                        n->params.index[0], x, onto, y);
}

static int dropout_forward(node *n)
{
    const bool onto = n->n_inputs > DROPOUT_RESIDUAL;
    drop(n, tensor_floats(n->inputs[DROPOUT_X]),
         onto ? tensor_floats(n->inputs[DROPOUT_RESIDUAL]) : NULL, tensor_floats(n->output));
    return ICOT_OK;
}

static int dropout_backward(node *n, tensor *grad)
{
    grad_target dx;
    if (grad_of_input(n, DROPOUT_X, &dx)) return ICOT_FAILED;
    if (dx.data) drop(n, tensor_floats(grad), dx.accumulate ? dx.data : NULL, dx.data);
    return n->n_inputs > DROPOUT_RESIDUAL ? grad_hand_on(n, DROPOUT_RESIDUAL, grad) : ICOT_OK;
}

const operator_entry op_dropout = {.name = "dropout",
                                   .min_inputs = 1,
                                   .max_inputs = 2,
                                   .unread = UNREAD_INPUTS | UNREAD_OUTPUT,
                                   .prepare = dropout_prepare,
                                   .forward = dropout_forward,
                                   .backward = dropout_backward};

/* ---- Two inputs ------------------------------------------------------------------------------ */

/* Strides of x seen in the broadcast shape: 0 where x has one element, or no such dimension. */
static void broadcast_strides(const tensor *x, int ndim, int64_t strides[ICOT_MAX_DIMS])
{
    for (int d = 0; d < ndim; d++) {
        int own = d - (ndim - x->ndim);
        strides[d] = own >= 0 && x->shape[own] != 1 ? x->strides[own] : 0;
    }
}

static int broadcast_output(node *n)
{
    const tensor *a = n->inputs[0], *b = n->inputs[1];
    shape size = {.ndim = a->ndim > b->ndim ? a->ndim : b->ndim};
    for (int d = 0; d < size.ndim; d++) {
        int own_a = d - (size.ndim - a->ndim), own_b = d - (size.ndim - b->ndim);
        int64_t size_a = own_a >= 0 ? a->shape[own_a] : 1,
                size_b = own_b >= 0 ? b->shape[own_b] : 1;
        if (size_a != size_b && size_a != 1 && size_b != 1) {
            return fail("%s: shapes %s and %s cannot be broadcast together", n->op->name,
                        tensor_shape_text(a), tensor_shape_text(b));
        }
        size.size[d] = size_a == 1 ? size_b : size_a;
    }
    return node_output(n, &size);
}

/* One run where both inputs and the output lie in memory alike, the usual case. */
static strided_loop binary_loop(const node *n)
{
    const tensor *a = n->inputs[0], *b = n->inputs[1], *y = n->output;
    shape shape_a = tensor_shape(a), shape_b = tensor_shape(b), shape_y = tensor_shape(y);
    strided_loop loop = {.ndim = y->ndim};
    if (shape_equal(&shape_a, &shape_b) && tensor_is_contiguous(a) && tensor_is_contiguous(b)) {
        return (strided_loop){.ndim = 1, .size = {tensor_numel(y)}, .strides = {{1}, {1}, {1}}};
    }
    memcpy(loop.size, shape_y.size, sizeof loop.size);
    broadcast_strides(a, y->ndim, loop.strides[0]);
    broadcast_strides(b, y->ndim, loop.strides[1]);
    memcpy(loop.strides[2], y->strides, sizeof loop.strides[2]);
    return loop;
}

static int binary_forward(node *n, binary_kind kind)
{
    if (tensor_numel(n->output) == 0) return ICOT_OK;
    strided_loop loop = binary_loop(n);
    kernels(n)->binary(kind, &loop, tensor_floats(n->inputs[0]), tensor_floats(n->inputs[1]),
                       tensor_floats(n->output));
    return ICOT_OK;
}

/* Adds a gradient in the shape of the output to that of input i, summing what was broadcast. */
static void reduce_into(const node *n, int i, const float *d, float *target)
{
    const tensor *y = n->output, *x = n->inputs[i];
    shape own = tensor_shape(x);
    tensor grad_layout = *x; /* gradients are contiguous, whatever the strides of x are */
    shape_contiguous_strides(&own, grad_layout.strides);

    strided_loop loop = {.ndim = y->ndim};
    memcpy(loop.size, y->shape, sizeof loop.size);
    memcpy(loop.strides[0], y->strides, sizeof loop.strides[0]);
    broadcast_strides(&grad_layout, y->ndim, loop.strides[1]);
    kernels(n)->strided_copy(&loop, d, true, target);
}

static int binary_grad(node *n, const tensor *grad, binary_kind kind, int i)
{
    shape own = tensor_shape(n->inputs[i]), full = tensor_shape(n->output);
    bool linear = kind == BINARY_ADD || kind == BINARY_SUB;
    double sign = kind == BINARY_SUB && i == 1 ? -1.0 : 1.0;
    int64_t numel = tensor_numel(n->output);
    grad_target target;

    if (linear && shape_equal(&own, &full)) { /* residual connections come this way */
        if (grad_of_input(n, i, &target)) return ICOT_FAILED;
        if (!target.data) return ICOT_OK;
        kernels(n)->affine(numel, sign, 0.0, tensor_floats(grad), target.accumulate, target.data);
        return ICOT_OK;
    }
    if (grad_of_input_cleared(n, i, &target)) return ICOT_FAILED;
    if (!target.data || numel == 0) return ICOT_OK;

    tensor *product;
    if (tensor_new(n->engine, ICOT_FLOAT32, &full, &product)) return ICOT_FAILED;
    if (linear) {
        kernels(n)->affine(numel, sign, 0.0, tensor_floats(grad), false, tensor_floats(product));
    } else {
        strided_loop loop = binary_loop(n);
        kernels(n)->binary_backward(kind, i, &loop, tensor_floats(n->inputs[0]),
                                    tensor_floats(n->inputs[1]), tensor_floats(grad),
                                    tensor_floats(product));
    }
    reduce_into(n, i, tensor_floats(product), target.data);
    tensor_destroy(n->engine, product);
    return ICOT_OK;
}

static int binary_backward(node *n, const tensor *grad, binary_kind kind)
{
    if (binary_grad(n, grad, kind, 0)) return ICOT_FAILED;
    return binary_grad(n, grad, kind, 1);
}

#define BINARY_OPERATOR(word, KIND, UNREAD)                                                        \
    static int word##_forward(node *n)                                                             \
    {                                                                                              \
        return binary_forward(n, KIND);                                                            \
    }                                                                                              \
    static int word##_backward(node *n, tensor *grad)                                              \
    {                                                                                              \
        return binary_backward(n, grad, KIND);                                                     \
    }                                                                                              \
    const operator_entry op_##word = {.name = #word,                                               \
                                      .min_inputs = 2,                                             \
                                      .max_inputs = 2,                                             \
                                      .strided = true,                                             \
                                      .unread = UNREAD,                                            \
                                      .prepare = broadcast_output,                                 \
                                      .forward = word##_forward,                                   \
                                      .backward = word##_backward};

BINARY_OPERATOR(add, BINARY_ADD, UNREAD_INPUTS | UNREAD_OUTPUT)
BINARY_OPERATOR(sub, BINARY_SUB, UNREAD_INPUTS | UNREAD_OUTPUT)
BINARY_OPERATOR(mul, BINARY_MUL, UNREAD_OUTPUT)
BINARY_OPERATOR(div, BINARY_DIV, UNREAD_OUTPUT)
