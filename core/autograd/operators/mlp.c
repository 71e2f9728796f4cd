/*
 * The two linear layers of a transformer block with GELU between, as one operator:
 *
 *   mlp  x (…, C), fc weight (F, C), fc bias (F), proj weight (C, F), proj bias (C),
 *        residual (…, C) or none -> (…, C): gelu(x·fcᵀ + fc bias)·projᵀ + proj bias + residual
 *
 * Only u = x·fcᵀ + fc bias is kept, as a factor; gelu(u) and the gradient of u are computed when
 * they are needed, as factors too.
 */
#include "autograd/operators/factor.h"
#include "autograd/operators/operators.h"
#include "autograd/operators/residual.h"
#include "base/error.h"

enum { X, FC_WEIGHT, FC_BIAS, PROJ_WEIGHT, PROJ_BIAS, RESIDUAL };

typedef struct mlp_shape {
    int64_t rows, width, hidden; /* R, C, F */
} mlp_shape;

static mlp_shape mlp_shape_of(const node *n)
{
    int64_t width = n->inputs[FC_WEIGHT]->shape[1], hidden = n->inputs[FC_WEIGHT]->shape[0];
    return (mlp_shape){.rows = tensor_rows(n->inputs[X]), .width = width, .hidden = hidden};
}

/* u from row `first` on */
static void *hidden_rows(const node *n, mlp_shape s, int64_t first)
{
    const factor u = factor_saved(n, 0);
    return factor_row(kernels(n), &u, s.hidden, first);
}

static int mlp_prepare(node *n)
{
    const tensor *x = n->inputs[X], *fc = n->inputs[FC_WEIGHT], *proj = n->inputs[PROJ_WEIGHT];
    int64_t width = x->ndim ? x->shape[x->ndim - 1] : 0, hidden = fc->ndim ? fc->shape[0] : 0;
    bool fits = x->ndim > 0 && tensor_has_shape(fc, 2, hidden, width) &&
                tensor_has_shape(n->inputs[FC_BIAS], 1, hidden, 0) &&
                tensor_has_shape(proj, 2, width, hidden) &&
                tensor_has_shape(n->inputs[PROJ_BIAS], 1, width, 0);
    if (!fits) {
        return fail("mlp: got input %s and weights %s and %s, expected (..., C), (F, C) and (C, F) "
                    "with biases (F) and (C)",
                    tensor_shape_text(x), tensor_shape_text(fc), tensor_shape_text(proj));
    }
    shape size = tensor_shape(x);
    if (residual_check(n, RESIDUAL, &size)) return ICOT_FAILED;
    if (factor_save(n, 0, mlp_shape_of(n).rows, hidden)) return ICOT_FAILED;
    return node_output(n, &size);
}

/* y = gelu(u)·projᵀ + proj bias + residual; h is memory for a chunk of gelu(u) */
static int second_layer(node *n, mlp_shape s, const ready_right *proj, const factor *h,
                        int64_t first)
{
    int64_t rows = rows_together(n, s.rows, first);
    kernels(n)->gelu_factor(rows * s.hidden, hidden_rows(n, s, first), h->data);
    return multiply_onto_residual(n, RESIDUAL, first, rows, h, proj,
                                  tensor_floats(n->inputs[PROJ_BIAS]));
}

static int mlp_forward(node *n)
{
    const backend *k = kernels(n);
    mlp_shape s = mlp_shape_of(n);
    const factor u = factor_saved(n, 0);
    ready_right fc = {0}, proj = {0};
    factor h = {0};
    int status = ICOT_FAILED;
    if (right_of_weight(n, n->inputs[FC_WEIGHT], &fc)) goto done;
    if (right_of_weight(n, n->inputs[PROJ_WEIGHT], &proj)) goto done;
    if (factor_new(k, rows_together(n, s.rows, 0), s.hidden, &h)) goto done;
    for (int64_t first = 0; first < s.rows; first += k->rows_at_a_time) {
        if (product_rows(n, X, &fc, FC_BIAS, first, &u) || second_layer(n, s, &proj, &h, first))
            goto done;
    }
    status = ICOT_OK;

done:
    factor_done(k, &h);
    right_done(k, &proj);
    right_done(k, &fc);
    return status;
}

/* u alone, which is all that backward reads: half of the work. */
static int mlp_forward_saved(node *n)
{
    const factor u = factor_saved(n, 0);
    return product_of_input(n, X, FC_WEIGHT, FC_BIAS, &u);
}

/* ---- Backward -------------------------------------------------------------------------------- */

/*
 * dh = dy·proj, and with it h = gelu(u) and the gradient of u, which is written over u: a few rows
 * at a time, so that dh stays in the cache. `sums` gets the sums of du over the rows.
 */
static int gradient_of_hidden(node *n, mlp_shape s, const factor *dy, const factor *h, float *sums)
{
    const backend *k = kernels(n);
    const factor u = factor_saved(n, 0);
    const size_t bytes = (size_t)(rows_together(n, s.rows, 0) * s.hidden) * sizeof(float);
    ready_right proj;
    void *block = NULL;
    if (right_of_weight_backward(n, n->inputs[PROJ_WEIGHT], s.rows, &proj)) return ICOT_FAILED;
    int status = factor_clear_rest(k, s.rows, s.hidden, &u) || k->memory->allocate(bytes, &block);
    for (int64_t row = 0; row < s.rows && !status; row += k->rows_at_a_time) {
        const int64_t rows = rows_together(n, s.rows, row);
        void *hidden = hidden_rows(n, s, row);
        status =
            k->matmul(false, rows, factor_row(k, dy, s.width, row), &proj.b, NULL, false, block) ||
            k->gelu_factor_backward(rows, s.hidden, hidden, block, factor_row(k, h, s.hidden, row),
                                    hidden, row > 0, sums);
    }
    k->memory->release(block);
    right_done(k, &proj);
    return status;
}

/* The gradient of u, and dproj = dyᵀ h, dproj bias = Σ_rows dy */
static int second_layer_backward(node *n, mlp_shape s, const tensor *grad, float *sums)
{
    const backend *k = kernels(n);
    const float *slopes = tensor_floats(grad);
    factor dy = {0}, h = {0};
    int status = factor_of(k, s.rows, s.width, slopes, &dy) ||
                 factor_new(k, s.rows, s.hidden, &h) || gradient_of_hidden(n, s, &dy, &h, sums) ||
                 weight_gradient(n, PROJ_WEIGHT, s.rows, &dy, &h);
    factor_done(k, &h);
    factor_done(k, &dy);
    return status ? ICOT_FAILED : bias_gradient(n, PROJ_BIAS, s.rows, s.width, slopes);
}

/* dfc = duᵀ x, dx = du·fc, dfc bias = sums */
static int first_layer_backward(node *n, mlp_shape s, const float *sums)
{
    const factor du = factor_saved(n, 0);
    grad_target dbias;
    if (product_gradients(n, X, FC_WEIGHT, s.rows, &du)) return ICOT_FAILED;
    if (grad_of_input(n, FC_BIAS, &dbias)) return ICOT_FAILED;
    if (dbias.data) {
        kernels(n)->affine(s.hidden, 1.0, 0.0, sums, dbias.accumulate, dbias.data);
    }
    return ICOT_OK;
}

static int mlp_backward(node *n, tensor *grad)
{
    const backend *k = kernels(n);
    const mlp_shape s = mlp_shape_of(n);
    const size_t bytes = (size_t)s.hidden * sizeof(float);
    void *sums = NULL;
    const int status = k->memory->allocate(bytes, &sums) || k->memory->clear(sums, bytes) ||
                       second_layer_backward(n, s, grad, sums) || first_layer_backward(n, s, sums);
    k->memory->release(sums);
    if (status) return ICOT_FAILED;
    return n->n_inputs > RESIDUAL ? grad_hand_on(n, RESIDUAL, grad) : ICOT_OK;
}

const operator_entry op_mlp = {.name = "mlp",
                               .min_inputs = 5,
                               .max_inputs = 6,
                               .unread = UNREAD_OUTPUT,
                               .prepare = mlp_prepare,
                               .forward = mlp_forward,
                               .forward_saved = mlp_forward_saved,
                               .backward = mlp_backward};
