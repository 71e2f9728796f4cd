/*
 * The two linear layers of a transformer block with GELU between, as one operator:
 *
 *   mlp  x (…, C), fc weight (F, C), fc bias (F), proj weight (C, F), proj bias (C),
 *        residual (…, C) or none -> (…, C): gelu(x·fcᵀ + fc bias)·projᵀ + proj bias + residual
 *
 * Of what lies between, only u = x·fcᵀ + fc bias is kept, as a factor; gelu(u) and the gradient of
 * u are made when they are needed, in the form in which they are multiplied.
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
    return (char *)tensor_data(n->saved[0]) + (size_t)(first * s.hidden) * kernels(n)->factor_bytes;
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

/* Rows from `first` on that are worked on together: what one product gives is in the cache for the
 * next. */
static int64_t chunk_rows(const node *n, mlp_shape s, int64_t first)
{
    int64_t most = kernels(n)->rows_at_a_time;
    return s.rows - first < most ? s.rows - first : most;
}

/* u = x·fcᵀ + fc bias, for a chunk of rows from `first` */
static int first_layer(node *n, mlp_shape s, const packed *fc, int64_t first)
{
    const backend *k = kernels(n);
    int64_t rows = chunk_rows(n, s, first);
    factor x;
    if (factor_of(k, rows, s.width, tensor_floats(n->inputs[X]) + first * s.width, &x)) {
        return ICOT_FAILED;
    }
    int status = k->matmul_factor(rows, x.data, &fc->b, tensor_floats(n->inputs[FC_BIAS]),
                                  hidden_rows(n, s, first));
    factor_done(k, &x);
    return status;
}

/* y = gelu(u)·projᵀ + proj bias + residual; h is memory for a chunk of gelu(u) */
static int second_layer(node *n, mlp_shape s, const packed *proj, const factor *h, int64_t first)
{
    int64_t rows = chunk_rows(n, s, first);
    kernels(n)->gelu_factor(rows * s.hidden, hidden_rows(n, s, first), h->data);
    return multiply_onto_residual(n, RESIDUAL, first, rows, h, proj,
                                  tensor_floats(n->inputs[PROJ_BIAS]));
}

static int mlp_forward(node *n)
{
    const backend *k = kernels(n);
    mlp_shape s = mlp_shape_of(n);
    packed fc = {0}, proj = {0};
    factor h = {0};
    int status = ICOT_FAILED;
    if (packed_weight(n, n->inputs[FC_WEIGHT], &fc)) goto done;
    if (packed_weight(n, n->inputs[PROJ_WEIGHT], &proj)) goto done;
    if (factor_new(k, chunk_rows(n, s, 0), s.hidden, &h)) goto done;
    for (int64_t first = 0; first < s.rows; first += k->rows_at_a_time) {
        if (first_layer(n, s, &fc, first) || second_layer(n, s, &proj, &h, first)) goto done;
    }
    status = ICOT_OK;

done:
    factor_done(k, &h);
    packed_done(k, &proj);
    packed_done(k, &fc);
    return status;
}

/* u alone, which is all that backward reads: half of the work. */
static int mlp_forward_saved(node *n)
{
    const backend *k = kernels(n);
    mlp_shape s = mlp_shape_of(n);
    packed fc;
    if (packed_weight(n, n->inputs[FC_WEIGHT], &fc)) return ICOT_FAILED;
    int status = ICOT_OK;
    for (int64_t first = 0; first < s.rows && !status; first += k->rows_at_a_time) {
        status = first_layer(n, s, &fc, first);
    }
    packed_done(k, &fc);
    return status;
}

/* ---- Backward -------------------------------------------------------------------------------- */

/* The factors that the gradients are products of. */
typedef struct mlp_factors {
    factor dy;    /* (R,C) */
    factor h, du; /* (R,F) gelu(u), and the gradient of u */
} mlp_factors;

/*
 * dh = dy·proj and from it h and du, so many rows at a time that dh stays in the cache; `sums`
 * gets the sums of du over the rows.
 */
static int gradient_of_hidden(node *n, mlp_shape s, const packed *proj, mlp_factors *f, float *sums)
{
    const backend *k = kernels(n);
    void *block;
    size_t bytes = (size_t)(chunk_rows(n, s, 0) * s.hidden) * sizeof(float);
    if (k->memory->allocate(bytes, &block)) return ICOT_FAILED;
    int status = ICOT_OK;
    for (int64_t row = 0; row < s.rows && !status; row += k->rows_at_a_time) {
        int64_t rows = chunk_rows(n, s, row);
        status = k->matmul(false, rows, factor_row(k, &f->dy, s.width, row), &proj->b, NULL, false,
                           block) ||
                 k->gelu_factor_backward(rows, s.hidden, hidden_rows(n, s, row), block,
                                         factor_row(k, &f->h, s.hidden, row),
                                         factor_row(k, &f->du, s.hidden, row), row > 0, sums);
    }
    k->memory->release(block);
    return status;
}

/* dproj = dyᵀ h, dproj bias = Σ_rows dy */
static int second_layer_backward(node *n, mlp_shape s, const tensor *grad, const mlp_factors *f)
{
    grad_target dbias;
    if (weight_gradient(n, PROJ_WEIGHT, s.rows, &f->dy, &f->h)) return ICOT_FAILED;
    if (grad_of_input(n, PROJ_BIAS, &dbias)) return ICOT_FAILED;
    if (!dbias.data) return ICOT_OK;
    return kernels(n)->sum_rows(s.rows, s.width, tensor_floats(grad), dbias.accumulate, dbias.data);
}

/* dfc = duᵀ x, dx = du·fc, dfc bias = sums */
static int first_layer_backward(node *n, mlp_shape s, const mlp_factors *f, const float *sums)
{
    const backend *k = kernels(n);
    int status = ICOT_FAILED;
    grad_target dx, dweight, dbias;
    packed x = {0}, fc = {0};
    if (grad_of_input(n, X, &dx) || grad_of_input(n, FC_WEIGHT, &dweight)) goto done;
    if (grad_of_input(n, FC_BIAS, &dbias)) goto done;
    if (dbias.data) k->affine(s.hidden, 1.0, 0.0, sums, dbias.accumulate, dbias.data);
    if (dweight.data) {
        const float *inputs = tensor_floats(n->inputs[X]);
        if (packed_rows(k, s.hidden, s.rows, s.width, inputs, &x)) goto done;
        if (k->matmul(true, s.hidden, f->du.data, &x.b, NULL, dweight.accumulate, dweight.data)) {
            goto done;
        }
    }
    if (dx.data) {
        if (packed_weight_backward(n, n->inputs[FC_WEIGHT], s.rows, &fc)) goto done;
        if (k->matmul(false, s.rows, f->du.data, &fc.b, NULL, dx.accumulate, dx.data)) goto done;
    }
    status = ICOT_OK;

done:
    packed_done(k, &fc);
    packed_done(k, &x);
    return status;
}

static int mlp_backward(node *n, tensor *grad)
{
    const backend *k = kernels(n);
    mlp_shape s = mlp_shape_of(n);
    mlp_factors f = {0};
    packed proj = {0};
    void *sums = NULL;
    int status = ICOT_FAILED;
    if (k->memory->allocate((size_t)s.hidden * sizeof(float), &sums)) goto done;
    if (k->memory->clear(sums, (size_t)s.hidden * sizeof(float))) goto done;
    if (factor_of(k, s.rows, s.width, tensor_floats(grad), &f.dy)) goto done;
    if (factor_new(k, s.rows, s.hidden, &f.h) || factor_new(k, s.rows, s.hidden, &f.du)) goto done;
    if (packed_weight_backward(n, n->inputs[PROJ_WEIGHT], s.rows, &proj)) goto done;
    if (gradient_of_hidden(n, s, &proj, &f, sums)) goto done;
    if (second_layer_backward(n, s, grad, &f) || first_layer_backward(n, s, &f, sums)) goto done;
    status = n->n_inputs > RESIDUAL ? grad_hand_on(n, RESIDUAL, grad) : ICOT_OK;

done:
    packed_done(k, &proj);
    factor_done(k, &f.du);
    factor_done(k, &f.h);
    factor_done(k, &f.dy);
    k->memory->release(sums);
    return status;
}

const operator_entry op_mlp = {.name = "mlp",
                               .min_inputs = 5,
                               .max_inputs = 6,
                               .unread = UNREAD_OUTPUT,
                               .prepare = mlp_prepare,
                               .forward = mlp_forward,
                               .forward_saved = mlp_forward_saved,
                               .backward = mlp_backward};
