/*
 * Sums and softmax.
 *
 *   sum, mean             index[0] dimension, index[1] keepdim (0 or 1); no index: over everything
 *   softmax, log_softmax  over the last dimension
 */
#include "autograd/operators/operators.h"
#include "base/error.h"

/* The input seen as (outer, n, inner), the middle being summed. */
typedef struct reduction {
    int64_t outer, n, inner;
} reduction;

static reduction reduction_of(const node *n)
{
    const tensor *x = n->inputs[0];
    if (n->params.n_index == 0) return (reduction){.outer = 1, .n = tensor_numel(x), .inner = 1};
    int dimension = (int)n->params.index[0];
    reduction r = {.outer = 1, .n = x->shape[dimension], .inner = 1};
    for (int d = 0; d < dimension; d++) r.outer *= x->shape[d];
    for (int d = dimension + 1; d < x->ndim; d++) r.inner *= x->shape[d];
    return r;
}

static int sum_prepare(node *n)
{
    const tensor *x = n->inputs[0];
    shape size = {0};
    if (n->params.n_index > 0) {
        int dimension;
        if (n->params.n_index != 2) return fail("%s: expected dimension and keepdim", n->op->name);
        if (dimension_index(n->op->name, n->params.index[0], x->ndim, &dimension)) {
            return ICOT_FAILED;
        }
        n->params.index[0] = dimension;
        for (int d = 0; d < x->ndim; d++) {
            if (d != dimension)
                size.size[size.ndim++] = x->shape[d];
            else if (n->params.index[1])
                size.size[size.ndim++] = 1;
        }
    }
    return node_output(n, &size);
}

static int mean_prepare(node *n)
{
    if (sum_prepare(n)) return ICOT_FAILED;
    if (reduction_of(n).n == 0) {
        return fail("mean: there are no elements in shape %s", tensor_shape_text(n->inputs[0]));
    }
    return ICOT_OK;
}

static int scaled_sum_forward(node *n, double scale)
{
    reduction r = reduction_of(n);
    kernels(n)->sum(r.outer, r.n, r.inner, scale, tensor_floats(n->inputs[0]),
                    tensor_floats(n->output));
    return ICOT_OK;
}

static int scaled_sum_backward(node *n, const tensor *grad, double scale)
{
    reduction r = reduction_of(n);
    grad_target dx;
    if (grad_of_input(n, 0, &dx)) return ICOT_FAILED;
    if (!dx.data) return ICOT_OK;
    kernels(n)->sum_backward(r.outer, r.n, r.inner, scale, tensor_floats(grad), dx.accumulate,
                             dx.data);
    return ICOT_OK;
}

static int sum_forward(node *n)
{
    return scaled_sum_forward(n, 1.0);
}

static int sum_backward(node *n, tensor *grad)
{
    return scaled_sum_backward(n, grad, 1.0);
}

static int mean_forward(node *n)
{
    return scaled_sum_forward(n, 1.0 / (double)reduction_of(n).n);
}

static int mean_backward(node *n, tensor *grad)
{
    return scaled_sum_backward(n, grad, 1.0 / (double)reduction_of(n).n);
}

const operator_entry op_sum = {.name = "sum",
                               .min_inputs = 1,
                               .max_inputs = 1,
                               .unread = UNREAD_INPUTS | UNREAD_OUTPUT,
                               .prepare = sum_prepare,
                               .forward = sum_forward,
                               .backward = sum_backward};
const operator_entry op_mean = {.name = "mean",
                                .min_inputs = 1,
                                .max_inputs = 1,
                                .unread = UNREAD_INPUTS | UNREAD_OUTPUT,
                                .prepare = mean_prepare,
                                .forward = mean_forward,
                                .backward = mean_backward};

/* ---- Softmax --------------------------------------------------------------------------------- */

static int softmax_prepare(node *n)
{
    const tensor *x = n->inputs[0];
    if (x->ndim == 0 || x->shape[x->ndim - 1] == 0) {
        return fail("%s: a tensor of shape %s has no last dimension to work on", n->op->name,
                    tensor_shape_text(x));
    }
    return node_output_like(n, x);
}

static int any_softmax_forward(node *n, bool logarithm)
{
    int64_t columns = n->output->shape[n->output->ndim - 1];
    kernels(n)->softmax(tensor_numel(n->output) / columns, columns, logarithm,
                        tensor_floats(n->inputs[0]), tensor_floats(n->output));
    return ICOT_OK;
}

static int any_softmax_backward(node *n, const tensor *grad, bool logarithm)
{
    int64_t columns = n->output->shape[n->output->ndim - 1];
    grad_target dx;
    if (grad_of_input(n, 0, &dx)) return ICOT_FAILED;
    if (!dx.data) return ICOT_OK;
    kernels(n)->softmax_backward(tensor_numel(n->output) / columns, columns, logarithm,
                                 tensor_floats(n->output), tensor_floats(grad), dx.accumulate,
                                 dx.data);
    return ICOT_OK;
}

static int softmax_forward(node *n)
{
    return any_softmax_forward(n, false);
}

static int softmax_backward(node *n, tensor *grad)
{
    return any_softmax_backward(n, grad, false);
}

static int log_softmax_forward(node *n)
{
    return any_softmax_forward(n, true);
}

static int log_softmax_backward(node *n, tensor *grad)
{
    return any_softmax_backward(n, grad, true);
}

const operator_entry op_softmax = {.name = "softmax",
                                   .min_inputs = 1,
                                   .max_inputs = 1,
                                   .prepare = softmax_prepare,
                                   .forward = softmax_forward,
                                   .backward = softmax_backward};
const operator_entry op_log_softmax = {.name = "log_softmax",
                                       .min_inputs = 1,
                                       .max_inputs = 1,
                                       .prepare = softmax_prepare,
                                       .forward = log_softmax_forward,
                                       .backward = log_softmax_backward};
