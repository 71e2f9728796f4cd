/*
 * Matrix products.
 *
 *   matmul  (…, m, k) x (…, k, n) -> (…, m, n); the second may be a plain (k, n) for all
 *   linear  x (…, in), weight (out, in), bias (out) or none, residual (…, out) or none -> (…, out):
 *           x·weightᵀ + bias + residual
 */
#include "autograd/operators/factor.h"
#include "autograd/operators/operators.h"
#include "autograd/operators/residual.h"
#include "base/error.h"

/* ---- matmul ---------------------------------------------------------------------------------- */

typedef struct product {
    int64_t batch, m, n, k;
    int64_t stride_b; /* elements from one matrix of the second input to the next; 0: shared */
} product;

static int matmul_shapes_error(const node *n, const char *reason)
{
    return fail("matmul: got %s x %s, %s", tensor_shape_text(n->inputs[0]),
                tensor_shape_text(n->inputs[1]), reason);
}

static int matmul_prepare(node *n)
{
    const tensor *a = n->inputs[0], *b = n->inputs[1];
    if (a->ndim < 2 || b->ndim < 2) return matmul_shapes_error(n, "both need two dimensions");
    if (a->shape[a->ndim - 1] != b->shape[b->ndim - 2]) {
        return matmul_shapes_error(n, "inner sizes differ");
    }
    if (b->ndim != 2 && b->ndim != a->ndim) {
        return matmul_shapes_error(n, "leading dimensions differ");
    }
    for (int d = 0; b->ndim > 2 && d < a->ndim - 2; d++) {
        if (a->shape[d] != b->shape[d]) return matmul_shapes_error(n, "leading dimensions differ");
    }
    shape size = tensor_shape(a);
    size.size[size.ndim - 1] = b->shape[b->ndim - 1];
    return node_output(n, &size);
}

/* With a shared second matrix the whole batch is one tall product. */
static product product_of(const node *n)
{
    const tensor *a = n->inputs[0], *b = n->inputs[1];
    product p = {.batch = 1,
                 .m = a->shape[a->ndim - 2],
                 .k = a->shape[a->ndim - 1],
                 .n = b->shape[b->ndim - 1]};
    for (int d = 0; d < a->ndim - 2; d++) p.batch *= a->shape[d];
    if (b->ndim > 2) {
        p.stride_b = p.k * p.n;
    } else {
        p.m *= p.batch;
        p.batch = 1;
    }
    return p;
}

/* A factor of c = op(a)·op(b): a whole matrix, with rows and columns as they are stored. */
typedef struct stored {
    const float *data;
    int64_t rows, columns;
    bool transposed;
} stored;

static int multiply(const node *n, stored a, stored b, bool accumulate, float *c)
{
    const backend *k = kernels(n);
    const int64_t rows = a.transposed ? a.columns : a.rows;
    right_factor right = {
        .transpose = b.transposed, .rows = b.rows, .columns = b.columns, .data = b.data};
    factor left = {0};
    int status = ICOT_FAILED;
    if (factor_of(k, a.rows, a.columns, a.data, &left)) goto done;
    if (k->make_ready(a.transposed, rows, &right)) goto done;
    status = k->matmul(a.transposed, rows, left.data, &right, NULL, accumulate, c);

done:
    k->memory->release(right.ready_form);
    factor_done(k, &left);
    return status;
}

static int matmul_forward(node *n)
{
    product p = product_of(n);
    const float *a = tensor_floats(n->inputs[0]), *b = tensor_floats(n->inputs[1]);
    float *y = tensor_floats(n->output);
    for (int64_t i = 0; i < p.batch; i++) {
        const stored left = {a + i * p.m * p.k, p.m, p.k, false};
        const stored right = {b + i * p.stride_b, p.k, p.n, false};
        if (multiply(n, left, right, false, y + i * p.m * p.n)) return ICOT_FAILED;
    }
    return ICOT_OK;
}

/* dA = dY Bᵀ, dB = Aᵀ dY */
static int matmul_backward(node *n, tensor *grad)
{
    product p = product_of(n);
    const float *a = tensor_floats(n->inputs[0]), *b = tensor_floats(n->inputs[1]);
    const float *dy = tensor_floats(grad);
    grad_target da, db;
    if (grad_of_input(n, 0, &da)) return ICOT_FAILED;
    for (int64_t i = 0; da.data && i < p.batch; i++) {
        const stored left = {dy + i * p.m * p.n, p.m, p.n, false};
        const stored right = {b + i * p.stride_b, p.k, p.n, true};
        if (multiply(n, left, right, da.accumulate, da.data + i * p.m * p.k)) return ICOT_FAILED;
    }
    if (grad_of_input(n, 1, &db)) return ICOT_FAILED;
    for (int64_t i = 0; db.data && i < p.batch; i++) {
        const stored left = {a + i * p.m * p.k, p.m, p.k, true};
        const stored right = {dy + i * p.m * p.n, p.m, p.n, false};
        if (multiply(n, left, right, db.accumulate, db.data + i * p.stride_b)) return ICOT_FAILED;
    }
    return ICOT_OK;
}

const operator_entry op_matmul = {.name = "matmul",
                                  .min_inputs = 2,
                                  .max_inputs = 2,
                                  .unread = UNREAD_OUTPUT,
                                  .prepare = matmul_prepare,
                                  .forward = matmul_forward,
                                  .backward = matmul_backward};

/* ---- linear ---------------------------------------------------------------------------------- */

enum { LINEAR_X, LINEAR_WEIGHT, LINEAR_BIAS, LINEAR_RESIDUAL };

static int linear_prepare(node *n)
{
    const tensor *x = n->inputs[LINEAR_X], *weight = n->inputs[LINEAR_WEIGHT];
    if (x->ndim < 1 || weight->ndim != 2 || x->shape[x->ndim - 1] != weight->shape[1]) {
        return fail("linear: got input %s and weight %s, expected (..., in) and (out, in)",
                    tensor_shape_text(x), tensor_shape_text(weight));
    }
    if (n->n_inputs > LINEAR_BIAS) {
        const tensor *bias = n->inputs[LINEAR_BIAS];
        if (bias->ndim != 1 || bias->shape[0] != weight->shape[0]) {
            return fail("linear: got weight %s and bias %s, expected (out, in) and (out)",
                        tensor_shape_text(weight), tensor_shape_text(bias));
        }
    }
    shape size = tensor_shape(x);
    size.size[size.ndim - 1] = weight->shape[0];
    if (residual_check(n, LINEAR_RESIDUAL, &size)) return ICOT_FAILED;
    return node_output(n, &size);
}

static int linear_forward(node *n)
{
    const backend *k = kernels(n);
    const tensor *weight = n->inputs[LINEAR_WEIGHT];
    int64_t rows = tensor_rows(n->inputs[LINEAR_X]), in = weight->shape[1];
    const float *bias = n->n_inputs > LINEAR_BIAS ? tensor_floats(n->inputs[LINEAR_BIAS]) : NULL;
    factor x = {0};
    ready_right w = {0};
    int status = ICOT_FAILED;
    if (factor_of(k, rows, in, tensor_floats(n->inputs[LINEAR_X]), &x)) goto done;
    if (right_of_weight(n, weight, &w)) goto done;
    status = multiply_onto_residual(n, LINEAR_RESIDUAL, 0, rows, &x, &w, bias);

done:
    right_done(k, &w);
    factor_done(k, &x);
    return status;
}

static int linear_backward(node *n, tensor *grad)
{
    const backend *k = kernels(n);
    int64_t rows = tensor_rows(n->inputs[LINEAR_X]), out = n->inputs[LINEAR_WEIGHT]->shape[0];
    factor dy;
    if (factor_of(k, rows, out, tensor_floats(grad), &dy)) return ICOT_FAILED;
    int status = product_gradients(n, LINEAR_X, LINEAR_WEIGHT, rows, &dy);
    factor_done(k, &dy);
    if (status) return ICOT_FAILED;
    if (n->n_inputs > LINEAR_BIAS &&
        bias_gradient(n, LINEAR_BIAS, rows, out, tensor_floats(grad))) {
        return ICOT_FAILED;
    }
    return n->n_inputs > LINEAR_RESIDUAL ? grad_hand_on(n, LINEAR_RESIDUAL, grad) : ICOT_OK;
}

const operator_entry op_linear = {.name = "linear",
                                  .min_inputs = 2,
                                  .max_inputs = 4,
                                  .unread = UNREAD_OUTPUT,
                                  .prepare = linear_prepare,
                                  .forward = linear_forward,
                                  .backward = linear_backward};
