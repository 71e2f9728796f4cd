/*
 * Matrix products.
 *
 *   matmul  (…, m, k) x (…, k, n) -> (…, m, n); the second may be a plain (k, n) for all
 *   linear  x (…, in), weight (out, in), bias (out) or none -> (…, out), as in PyTorch
 */
#include "autograd/operators/operators.h"
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

static int matmul_forward(node *n)
{
    product p = product_of(n);
    const float *a = tensor_floats(n->inputs[0]), *b = tensor_floats(n->inputs[1]);
    float *y = tensor_floats(n->output);
    for (int64_t i = 0; i < p.batch; i++) {
        if (kernels(n)->matmul(false, false, p.m, p.n, p.k, a + i * p.m * p.k, p.k,
                               b + i * p.stride_b, p.n, false, y + i * p.m * p.n, p.n)) {
            return ICOT_FAILED;
        }
    }
    return ICOT_OK;
}

/* dA = dY Bᵀ, dB = Aᵀ dY */
static int matmul_backward(node *n, const tensor *grad)
{
    product p = product_of(n);
    const float *a = tensor_floats(n->inputs[0]), *b = tensor_floats(n->inputs[1]);
    const float *dy = tensor_floats(grad);
    grad_target da, db;
    if (grad_of_input(n, 0, &da)) return ICOT_FAILED;
    for (int64_t i = 0; da.data && i < p.batch; i++) {
        if (kernels(n)->matmul(false, true, p.m, p.k, p.n, dy + i * p.m * p.n, p.n,
                               b + i * p.stride_b, p.n, da.accumulate, da.data + i * p.m * p.k,
                               p.k)) {
            return ICOT_FAILED;
        }
    }
    if (grad_of_input(n, 1, &db)) return ICOT_FAILED;
    for (int64_t i = 0; db.data && i < p.batch; i++) {
        if (kernels(n)->matmul(true, false, p.k, p.n, p.m, a + i * p.m * p.k, p.k,
                               dy + i * p.m * p.n, p.n, db.accumulate, db.data + i * p.stride_b,
                               p.n)) {
            return ICOT_FAILED;
        }
    }
    return ICOT_OK;
}

const operator_entry op_matmul = {.name = "matmul",
                                  .min_inputs = 2,
                                  .max_inputs = 2,
                                  .prepare = matmul_prepare,
                                  .forward = matmul_forward,
                                  .backward = matmul_backward};

/* ---- linear ---------------------------------------------------------------------------------- */

static int linear_prepare(node *n)
{
    const tensor *x = n->inputs[0], *weight = n->inputs[1];
    if (x->ndim < 1 || weight->ndim != 2 || x->shape[x->ndim - 1] != weight->shape[1]) {
        return fail("linear: got input %s and weight %s, expected (..., in) and (out, in)",
                    tensor_shape_text(x), tensor_shape_text(weight));
    }
    if (n->n_inputs == 3) {
        const tensor *bias = n->inputs[2];
        if (bias->ndim != 1 || bias->shape[0] != weight->shape[0]) {
            return fail("linear: got weight %s and bias %s, expected (out, in) and (out)",
                        tensor_shape_text(weight), tensor_shape_text(bias));
        }
    }
    shape size = tensor_shape(x);
    size.size[size.ndim - 1] = weight->shape[0];
    return node_output(n, &size);
}

/* Rows of x, whatever its leading dimensions are. */
static int64_t linear_rows(const node *n)
{
    const tensor *x = n->inputs[0];
    int64_t rows = 1;
    for (int d = 0; d < x->ndim - 1; d++) rows *= x->shape[d];
    return rows;
}

static int linear_forward(node *n)
{
    int64_t rows = linear_rows(n), out = n->inputs[1]->shape[0], in = n->inputs[1]->shape[1];
    bool biased = n->n_inputs == 3;
    float *y = tensor_floats(n->output);
    if (biased) kernels(n)->bias_rows(rows, out, tensor_floats(n->inputs[2]), y);
    return kernels(n)->matmul(false, true, rows, out, in, tensor_floats(n->inputs[0]), in,
                              tensor_floats(n->inputs[1]), in, biased, y, out);
}

/* dx = dy W, dW = dyᵀ x, db = Σ_rows dy */
static int linear_backward(node *n, const tensor *grad)
{
    int64_t rows = linear_rows(n), out = n->inputs[1]->shape[0], in = n->inputs[1]->shape[1];
    const float *dy = tensor_floats(grad);
    grad_target dx, dweight, dbias = {0};
    if (grad_of_input(n, 0, &dx) || grad_of_input(n, 1, &dweight)) return ICOT_FAILED;
    if (n->n_inputs == 3 && grad_of_input(n, 2, &dbias)) return ICOT_FAILED;
    if (dx.data &&
        kernels(n)->matmul(false, false, rows, in, out, dy, out, tensor_floats(n->inputs[1]), in,
                           dx.accumulate, dx.data, in)) {
        return ICOT_FAILED;
    }
    if (dweight.data &&
        kernels(n)->matmul(true, false, out, in, rows, dy, out, tensor_floats(n->inputs[0]), in,
                           dweight.accumulate, dweight.data, in)) {
        return ICOT_FAILED;
    }
    if (dbias.data) kernels(n)->sum_rows(rows, out, dy, dbias.accumulate, dbias.data);
    return ICOT_OK;
}

const operator_entry op_linear = {.name = "linear",
                                  .min_inputs = 2,
                                  .max_inputs = 3,
                                  .prepare = linear_prepare,
                                  .forward = linear_forward,
                                  .backward = linear_backward};
