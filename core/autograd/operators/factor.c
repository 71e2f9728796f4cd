#include "autograd/operators/factor.h"

#include "base/counting.h"
#include "base/error.h"

/* Rows that a factor has in memory: as many as the backend may read. */
static int64_t all_rows(const backend *kernels, int64_t rows)
{
    return rounded_up(rows, kernels->factor_rows);
}

int factor_clear_rest(const backend *kernels, int64_t rows, int64_t columns, const factor *f)
{
    const int64_t rest = all_rows(kernels, rows) - rows;
    return kernels->memory->clear(factor_row(kernels, f, columns, rows),
                                  (size_t)(rest * columns) * kernels->factor_bytes);
}

int factor_new(const backend *kernels, int64_t rows, int64_t columns, factor *out)
{
    *out = (factor){0};
    size_t all = (size_t)(all_rows(kernels, rows) * columns) * kernels->factor_bytes;
    if (kernels->memory->allocate(all, &out->own)) return ICOT_FAILED;
    out->data = out->own;
    if (!factor_clear_rest(kernels, rows, columns, out)) return ICOT_OK;
    factor_done(kernels, out);
    return ICOT_FAILED;
}

int factor_of(const backend *kernels, int64_t rows, int64_t columns, const float *x, factor *out)
{
    *out = (factor){.data = (void *)(uintptr_t)x};
    if (!kernels->round) return ICOT_OK;
    if (factor_new(kernels, rows, columns, out)) return ICOT_FAILED;
    kernels->round(rows * columns, x, out->data);
    return ICOT_OK;
}

int factor_save(node *n, int which, int64_t rows, int64_t columns)
{
    const backend *k = kernels(n);
    const shape size = {.ndim = 2, .size = {all_rows(k, rows), columns}};
    if (shape_check(&size)) return ICOT_FAILED;
    const int64_t bytes = shape_numel(&size) * (int64_t)k->factor_bytes;
    const shape room = {.ndim = 1, .size = {parts_of(bytes, sizeof(float))}};
    return tensor_new(n->engine, ICOT_FLOAT32, &room, &n->saved[which]);
}

factor factor_saved(const node *n, int which)
{
    return (factor){.data = tensor_data(n->saved[which])};
}

void *factor_row(const backend *kernels, const factor *f, int64_t columns, int64_t row)
{
    return (char *)f->data + (size_t)(row * columns) * kernels->factor_bytes;
}

void factor_done(const backend *kernels, factor *f)
{
    kernels->memory->release(f->own);
    *f = (factor){0};
}

/* ---- Right factors --------------------------------------------------------------------------- */

/* Weights are made ready as if for so many rows: which library multiplies must not depend on
 * whether a form was kept from another product, since the libraries round differently. */
enum { MANY_ROWS = 1 << 20 };

static int right_ready(const backend *kernels, bool transpose_a, int64_t m, right_factor b,
                       ready_right *out)
{
    *out = (ready_right){.b = b};
    return kernels->make_ready(transpose_a, m, &out->b);
}

static right_factor matrix_of(const tensor *weight, bool transpose)
{
    return (right_factor){.transpose = transpose,
                          .rows = weight->shape[0],
                          .columns = weight->shape[1],
                          .data = tensor_floats(weight)};
}

/* Whether it is a whole parameter: not a part of one, nor made by an operator. */
static bool lasts(const tensor *weight)
{
    return tensor_fills_storage(weight) && weight->node < 0;
}

/* Whether what is kept was made of the same matrix: views of one storage may differ in shape. */
static bool is_kept(const storage *held, const right_factor *b)
{
    return held->derived && held->derived_rows == b->rows && held->derived_columns == b->columns;
}

static void keep_beside(storage *held, ready_right *p)
{
    held->derived = p->b.ready_form;
    held->derived_rows = p->b.rows;
    held->derived_columns = p->b.columns;
    p->kept = true;
}

/* Makes a weight ready, or takes the form that it has kept, if use_kept allows that. With `keep` a
 * parameter keeps the form, unless it has another one, which may be in use. */
static int weight_ready(const node *n, const tensor *weight, int64_t rows, right_factor b,
                        bool use_kept, bool keep, ready_right *out)
{
    storage *held = weight->storage;
    if (use_kept && lasts(weight) && is_kept(held, &b)) {
        *out = (ready_right){.b = b, .kept = true};
        out->b.ready_form = held->derived;
        return ICOT_OK;
    }
    if (right_ready(kernels(n), false, rows, b, out)) return ICOT_FAILED;
    if (keep && lasts(weight) && out->b.ready_form && !held->derived) keep_beside(held, out);
    return ICOT_OK;
}

int right_of_weight(const node *n, const tensor *weight, ready_right *out)
{
    const bool keep = !n->engine->grad_enabled || kernels(n)->ready_for_all;
    return weight_ready(n, weight, MANY_ROWS, matrix_of(weight, true), true, keep, out);
}

int right_of_bias(const node *n, const tensor *bias, ready_right *out)
{
    const right_factor b = {.rows = 1, .columns = tensor_numel(bias), .data = tensor_floats(bias)};
    *out = (ready_right){.b = b};
    if (!kernels(n)->rounds_parameters) return ICOT_OK;
    return weight_ready(n, bias, 1, b, true, true, out);
}

const void *bias_of(const ready_right *p)
{
    return p->b.ready_form ? p->b.ready_form : p->b.data;
}

int right_of_weight_backward(const node *n, const tensor *weight, int64_t rows, ready_right *out)
{
    const bool alike = kernels(n)->ready_for_all;
    return weight_ready(n, weight, rows, matrix_of(weight, false), alike, alike, out);
}

/* The gradient of input `which`, a weight (out, in): dyᵀ·x, where x (rows, in) is not ready yet. */
static int gradient_of_weight(node *n, int which, const factor *dy, right_factor x)
{
    const backend *k = kernels(n);
    const int64_t out = n->inputs[which]->shape[0];
    grad_target target;
    ready_right right;
    if (grad_of_input(n, which, &target)) return ICOT_FAILED;
    if (!target.data) return ICOT_OK;
    if (right_ready(k, true, out, x, &right)) return ICOT_FAILED;
    const int status =
        k->matmul(true, out, dy->data, &right.b, NULL, target.accumulate, target.data);
    right_done(k, &right);
    return status;
}

int weight_gradient(node *n, int which, int64_t rows, const factor *dy, const factor *x)
{
    const int64_t in = n->inputs[which]->shape[1];
    return gradient_of_weight(
        n, which, dy,
        (right_factor){.is_factor = true, .rows = rows, .columns = in, .data = x->data});
}

int bias_gradient(node *n, int which, int64_t rows, int64_t width, const float *dy)
{
    grad_target target;
    if (grad_of_input(n, which, &target)) return ICOT_FAILED;
    if (!target.data) return ICOT_OK;
    return kernels(n)->sum_rows(rows, width, dy, target.accumulate, target.data);
}

int bias_gradient_of_factor(node *n, int which, int64_t rows, int64_t width, const factor *dy)
{
    grad_target target;
    if (grad_of_input(n, which, &target)) return ICOT_FAILED;
    if (!target.data) return ICOT_OK;
    return kernels(n)->sum_rows_factor(rows, width, dy->data, target.accumulate, target.data);
}

static int left_gradient(node *n, int x, int weight, int64_t rows, const factor *dy)
{
    const backend *k = kernels(n);
    grad_target dx;
    ready_right right;
    if (grad_of_input(n, x, &dx)) return ICOT_FAILED;
    if (!dx.data) return ICOT_OK;
    if (right_of_weight_backward(n, n->inputs[weight], rows, &right)) return ICOT_FAILED;
    const int status = k->matmul(false, rows, dy->data, &right.b, NULL, dx.accumulate, dx.data);
    right_done(k, &right);
    return status;
}

int product_gradients(node *n, int x, int weight, int64_t rows, const factor *dy)
{
    const int64_t in = n->inputs[weight]->shape[1];
    const right_factor left = {.rows = rows, .columns = in, .data = tensor_floats(n->inputs[x])};
    if (left_gradient(n, x, weight, rows, dy)) return ICOT_FAILED;
    return gradient_of_weight(n, weight, dy, left);
}

void right_done(const backend *kernels, ready_right *p)
{
    if (!p->kept) kernels->memory->release(p->b.ready_form);
    *p = (ready_right){0};
}

/* ---- Products of inputs ---------------------------------------------------------------------- */

int64_t rows_together(const node *n, int64_t rows, int64_t first)
{
    return smaller(rows - first, kernels(n)->rows_at_a_time);
}

int product_rows(node *n, int x, const ready_right *weight, int bias, int64_t first,
                 const factor *out)
{
    const backend *k = kernels(n);
    const int64_t in = weight->b.columns, rows = rows_together(n, tensor_rows(n->inputs[x]), first);
    factor left = {0};
    ready_right added = {0};
    const int status = factor_of(k, rows, in, tensor_floats(n->inputs[x]) + first * in, &left) ||
                       right_of_bias(n, n->inputs[bias], &added) ||
                       k->matmul_factor(rows, left.data, &weight->b, bias_of(&added),
                                        factor_row(k, out, weight->b.rows, first));
    right_done(k, &added);
    factor_done(k, &left);
    return status ? ICOT_FAILED : ICOT_OK;
}

int product_of_input(node *n, int x, int weight, int bias, const factor *out)
{
    const int64_t rows = tensor_rows(n->inputs[x]);
    ready_right right;
    if (right_of_weight(n, n->inputs[weight], &right)) return ICOT_FAILED;
    int status = ICOT_OK;
    for (int64_t first = 0; first < rows && !status; first += kernels(n)->rows_at_a_time) {
        status = product_rows(n, x, &right, bias, first, out);
    }
    right_done(kernels(n), &right);
    return status;
}
