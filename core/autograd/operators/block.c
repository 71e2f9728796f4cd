/*
 * A transformer block (see block.h):
 *
 *   block  x (T, C), the parameters of both halves: weight and bias of ln_1 (C), c_attn (3C, C) and
 *          (3C), c_proj (C, C) and (C), ln_2 (C), c_fc (F, C) and (F), c_proj (C, F) and (C);
 *          cu_seqlens (B+1), rows (R) or none -> (T, C), or (R, C), only these rows, which ascend
 *
 *   index[0]     the number of heads
 *   index[1]     the number of y's first row in the batch of the update, by which dropout of what
 *                the halves add is drawn
 *   index[2]     the number of x's first token there, by which that of attention weights is drawn
 *   index[3…5]   streams of dropout, each with seed and step of the key: for attention weights, for
 *                what attention adds and for what the MLP adds
 *   number[0…1]  eps of ln_1 and of ln_2
 *   number[2…4]  the shares that dropout drops, in the order of the streams
 */
#include "autograd/operators/block.h"
#include "autograd/attention_inputs.h"
#include "autograd/operators/operators.h"
#include "base/error.h"

enum { X, OF_ATTENTION, OF_MLP = OF_ATTENTION + HALF_PARAMETERS };
enum { CU_SEQLENS = OF_MLP + HALF_PARAMETERS, PICKED, MOST_INPUTS };
enum { SAVED_LOGSUMEXP = 2 * HALF_SAVED, SAVED_MID, SAVED };
enum { HEADS, FIRST_ROW, FIRST_TOKEN, WEIGHTS_STREAM, ATTENTION_STREAM, MLP_STREAM, INDICES };
enum { ATTENTION_EPS, MLP_EPS, WEIGHTS_DROPOUT, ATTENTION_DROPOUT, MLP_DROPOUT /* number[…] */ };

_Static_assert((int)SAVED <= (int)OPERATOR_SAVED && (int)MOST_INPUTS <= (int)ICOT_MAX_INPUTS,
               "a node has room for them");

/* ---- Its halves ------------------------------------------------------------------------------ */

static dropout_draw draw_of(const node *n, int share, int stream, int64_t first)
{
    dropout_draw drawn = {.p = n->params.number[share], .key = n->params.key, .first = first};
    drawn.key.stream = (uint32_t)n->params.index[stream];
    return drawn;
}

/* The number of y's first element in the batch of the update. */
static int64_t first_element(const node *n)
{
    return n->params.index[FIRST_ROW] * n->inputs[OF_MLP + SECOND_WEIGHT]->shape[0];
}

static block_half half_of(node *n, int parameters, int saved, int64_t rows)
{
    const tensor *first = n->inputs[parameters + FIRST_WEIGHT];
    return (block_half){.n = n,
                        .parameters = parameters,
                        .saved = saved,
                        .rows = rows,
                        .width = first->shape[1],
                        .first = first->shape[0],
                        .inner = n->inputs[parameters + SECOND_WEIGHT]->shape[1],
                        .picked = {.all = rows, .count = rows}};
}

static block_half attention_half(node *n)
{
    const int64_t tokens = n->inputs[X]->shape[0];
    block_half h = half_of(n, OF_ATTENTION, 0, tokens);
    h.picked = picked_of(n, PICKED, tokens);
    h.eps = n->params.number[ATTENTION_EPS];
    h.drawn = draw_of(n, ATTENTION_DROPOUT, ATTENTION_STREAM, first_element(n));
    return h;
}

/* All its rows are rows of y. */
static block_half mlp_half(node *n)
{
    block_half h =
        half_of(n, OF_MLP, HALF_SAVED, picked_of(n, PICKED, n->inputs[X]->shape[0]).count);
    h.eps = n->params.number[MLP_EPS];
    h.drawn = draw_of(n, MLP_DROPOUT, MLP_STREAM, first_element(n));
    return h;
}

static const float *half_floats(const block_half *h, int parameter)
{
    return tensor_floats(h->n->inputs[half_input(h, parameter)]);
}

static float *half_statistics(const block_half *h)
{
    return tensor_floats(h->n->saved[h->saved + STATISTICS]);
}

/* The shape of queries, keys and values, which have no tensor of their own. */
static shape qkv_shape(const block_half *attention)
{
    return (shape){.ndim = 2, .size = {attention->rows, attention->first}};
}

static int sequences_of(const block_half *attention, packed_shape *out)
{
    const node *n = attention->n;
    const shape qkv = qkv_shape(attention);
    const dropout_draw drawn =
        draw_of(n, WEIGHTS_DROPOUT, WEIGHTS_STREAM, n->params.index[FIRST_TOKEN]);
    return packed_shape_of(&qkv, n->inputs[CU_SEQLENS], n->params.index[HEADS], drawn, out);
}

/* ---- Before ---------------------------------------------------------------------------------- */

static int check_parameters(const node *n)
{
    const char *who = n->op->name;
    if (!kernels(n)->layers) {
        return fail("%s: this device has no kernels for whole layers in this precision", who);
    }
    if (n->params.n_index < INDICES) {
        return fail("%s: expected the number of heads, a row, a token and three streams", who);
    }
    for (int i = FIRST_ROW; i <= FIRST_TOKEN; i++) {
        if (n->params.index[i] >= 0) continue;
        return fail("%s: got %lld as the first %s, expected 0 or more", who,
                    (long long)n->params.index[i], i == FIRST_ROW ? "row" : "token");
    }
    for (int i = ATTENTION_EPS; i <= MLP_EPS; i++) {
        const double eps = n->params.number[i];
        if (!(eps > 0.0)) return fail("%s: got eps = %g, expected more than 0", who, eps);
    }
    return node_check_dropout(n, WEIGHTS_DROPOUT) || node_check_dropout(n, ATTENTION_DROPOUT) ||
           node_check_dropout(n, MLP_DROPOUT);
}

static int check_shapes(node *n)
{
    const tensor *x = n->inputs[X];
    if (half_check(n, "attention", x, OF_ATTENTION) || half_check(n, "MLP", x, OF_MLP)) {
        return ICOT_FAILED;
    }
    const block_half attention = attention_half(n), mlp = mlp_half(n);
    if (attention.first != 3 * attention.width || attention.inner != attention.width) {
        return fail("%s: got attention weights %s and %s, expected (3C, C) and (C, C)", n->op->name,
                    tensor_shape_text(n->inputs[OF_ATTENTION + FIRST_WEIGHT]),
                    tensor_shape_text(n->inputs[OF_ATTENTION + SECOND_WEIGHT]));
    }
    if (mlp.first != mlp.inner) {
        return fail("%s: got MLP weights of %lld and %lld hidden channels, expected the same",
                    n->op->name, (long long)mlp.first, (long long)mlp.inner);
    }
    const shape qkv = qkv_shape(&attention);
    return packed_check(n->op->name, &qkv, n->inputs[CU_SEQLENS], n->params.index[HEADS]) ||
           picked_check(n, PICKED, attention.rows);
}

static int block_prepare(node *n)
{
    if (check_parameters(n) || check_shapes(n)) return ICOT_FAILED;
    const block_half attention = attention_half(n), mlp = mlp_half(n);
    const shape size = {.ndim = 2, .size = {mlp.rows, mlp.width}};
    if (half_save(&attention) || half_save(&mlp) ||
        node_save(n, SAVED_LOGSUMEXP, attention.rows, n->params.index[HEADS]) ||
        node_save(n, SAVED_MID, mlp.rows, mlp.width)) {
        return ICOT_FAILED;
    }
    return node_output(n, &size);
}

/* ---- Forward --------------------------------------------------------------------------------- */

static float *mid_of(const node *n)
{
    return tensor_floats(n->saved[SAVED_MID]);
}

static int attend(const block_half *h)
{
    const backend *k = kernels(h->n);
    packed_shape sequences;
    k->layers->layer_norm(h->rows, h->width, h->eps, tensor_floats(h->n->inputs[X]),
                          half_floats(h, NORM_WEIGHT), half_floats(h, NORM_BIAS),
                          half_factor(h, NORMED).data, half_statistics(h));
    if (sequences_of(h, &sequences) || half_first(h)) return ICOT_FAILED;
    return k->attention_factor(&sequences, half_factor(h, FIRST).data, half_factor(h, INNER).data,
                               tensor_floats(h->n->saved[SAVED_LOGSUMEXP]));
}

/* mid, of the rows that are picked, and its norm */
static int add_and_normalize(const block_half *attention, const block_half *mlp,
                             const factor *product)
{
    node *n = attention->n;
    const backend *k = kernels(n);
    const float *x;
    void *own;
    if (picked_take_floats(n, attention->picked, attention->width, tensor_floats(n->inputs[X]), &x,
                           &own)) {
        return ICOT_FAILED;
    }
    k->layers->residual_norm(mlp->rows, mlp->width, &attention->drawn, product->data, x, mlp->eps,
                             half_floats(mlp, NORM_WEIGHT), half_floats(mlp, NORM_BIAS), mid_of(n),
                             half_factor(mlp, NORMED).data, half_statistics(mlp));
    k->memory->release(own);
    return ICOT_OK;
}

static int join_halves(const block_half *attention, const block_half *mlp)
{
    factor product = {0};
    const int status =
        half_product(attention, &product) || add_and_normalize(attention, mlp, &product);
    factor_done(kernels(mlp->n), &product);
    return status ? ICOT_FAILED : ICOT_OK;
}

/* The first layer of the MLP and GELU, in one product */
static int forward_hidden(const block_half *h)
{
    const node *n = h->n;
    const backend *k = kernels(n);
    ready_right weight = {0}, bias = {0};
    const int status =
        right_of_weight(n, n->inputs[half_input(h, FIRST_WEIGHT)], &weight) ||
        right_of_bias(n, n->inputs[half_input(h, FIRST_BIAS)], &bias) ||
        k->layers->gelu_product(h->rows, half_factor(h, NORMED).data, &weight.b, bias_of(&bias),
                                half_factor(h, FIRST).data, half_factor(h, INNER).data);
    right_done(k, &bias);
    right_done(k, &weight);
    return status ? ICOT_FAILED : ICOT_OK;
}

/* All but y */
static int block_forward_saved(node *n)
{
    const block_half attention = attention_half(n), mlp = mlp_half(n);
    return attend(&attention) || join_halves(&attention, &mlp) || forward_hidden(&mlp);
}

static int block_forward(node *n)
{
    const block_half mlp = mlp_half(n);
    const backend *k = kernels(n);
    factor product = {0};
    const int status = block_forward_saved(n) || half_product(&mlp, &product);
    if (!status) {
        k->layers->dropout(mlp.rows * mlp.width, &mlp.drawn, product.data, mid_of(n),
                           tensor_floats(n->output));
    }
    factor_done(k, &product);
    return status ? ICOT_FAILED : ICOT_OK;
}

/* ---- Backward -------------------------------------------------------------------------------- */

/* The gradient of the MLP's product, d, from that of y */
static int product_backward(const block_half *h, const tensor *grad, factor *d)
{
    const backend *k = kernels(h->n);
    grad_target dbias;
    if (grad_of_input(h->n, half_input(h, SECOND_BIAS), &dbias)) return ICOT_FAILED;
    if (factor_new(k, h->rows, h->width, d)) return ICOT_FAILED;
    return k->layers->dropout_backward(h->rows, h->width, &h->drawn, tensor_floats(grad), d->data,
                                       dbias.accumulate, dbias.data);
}

/* The gradient of GELU's input, from that of the product */
static int hidden_backward(const block_half *h, const factor *d, factor *dfirst)
{
    const node *n = h->n;
    const backend *k = kernels(n);
    ready_right weight = {0};
    const int status =
        factor_new(k, h->rows, h->first, dfirst) ||
        right_of_weight_backward(n, n->inputs[half_input(h, SECOND_WEIGHT)], h->rows, &weight) ||
        k->layers->gelu_product_backward(h->rows, d->data, &weight.b, half_factor(h, FIRST).data,
                                         dfirst->data);
    right_done(k, &weight);
    return status ? ICOT_FAILED : ICOT_OK;
}

/* From the gradient of y to that of the norm in the middle */
static int mlp_backward(const block_half *h, const tensor *grad, factor *dnormed)
{
    const backend *k = kernels(h->n);
    factor d = {0}, dfirst = {0};
    const int status = product_backward(h, grad, &d) || hidden_backward(h, &d, &dfirst) ||
                       half_second_weight_backward(h, &d) ||
                       half_first_backward(h, &dfirst, dnormed);
    factor_done(k, &dfirst);
    factor_done(k, &d);
    return status ? ICOT_FAILED : ICOT_OK;
}

/* The gradients of mid, which reaches y as residual, too, and of attention's product, d */
static int join_backward(const block_half *attention, const block_half *mlp, const factor *dnormed,
                         const tensor *grad, float *dmid, factor *d)
{
    node *n = mlp->n;
    const int of[3] = {half_input(mlp, NORM_WEIGHT), half_input(mlp, NORM_BIAS),
                       half_input(attention, SECOND_BIAS)};
    grad_target sums[3];
    for (int i = 0; i < 3; i++) {
        if (grad_of_input(n, of[i], &sums[i])) return ICOT_FAILED;
    }
    if (factor_new(kernels(n), mlp->rows, mlp->width, d)) return ICOT_FAILED;
    return kernels(n)->layers->residual_norm_backward(
        mlp->rows, mlp->width, mid_of(n), half_floats(mlp, NORM_WEIGHT), half_statistics(mlp),
        dnormed->data, tensor_floats(grad), &attention->drawn, dmid, d->data, sums);
}

/* From the gradient of attention's product to that of its norm */
static int attention_backward(const block_half *h, const factor *d, factor *dnormed)
{
    const node *n = h->n;
    const backend *k = kernels(n);
    packed_shape sequences;
    factor dinner = {0}, dfirst = {0};
    int status = sequences_of(h, &sequences) || half_inner_backward(h, d, &dinner) ||
                 factor_new(k, h->rows, h->first, &dfirst);
    if (!status) {
        status = k->attention_factor_backward(
            &sequences, half_factor(h, FIRST).data, half_factor(h, INNER).data,
            tensor_floats(n->saved[SAVED_LOGSUMEXP]), dinner.data, dfirst.data);
    }
    if (!status) {
        status = half_second_weight_backward(h, d) || half_first_backward(h, &dfirst, dnormed);
    }
    factor_done(k, &dfirst);
    factor_done(k, &dinner);
    return status ? ICOT_FAILED : ICOT_OK;
}

/* Memory for the gradient of mid: that of x's gradient, where mid's is the first part of it. */
static int make_dmid(const block_half *attention, float **dmid, void **own)
{
    node *n = attention->n;
    const size_t bytes = (size_t)(attention->picked.count * attention->width) * sizeof(float);
    grad_target dx = {0};
    *own = NULL;
    if (!attention->picked.ids && !n->inputs[X]->grad_is_set && grad_of_input(n, X, &dx)) {
        return ICOT_FAILED;
    }
    *dmid = dx.data;
    if (dx.data) return ICOT_OK;
    if (kernels(n)->memory->allocate(bytes, own)) return ICOT_FAILED;
    *dmid = *own;
    return ICOT_OK;
}

/* x's gradient by way of the residual, where it is not dmid itself */
static int residual_backward(const block_half *h, const float *dmid)
{
    node *n = h->n;
    const backend *k = kernels(n);
    const int64_t numel = h->rows * h->width;
    const float *all = dmid;
    void *spread = NULL;
    grad_target dx;
    if (grad_of_input(n, X, &dx)) return ICOT_FAILED;
    if (!dx.data || dx.data == dmid) return ICOT_OK;
    if (h->picked.ids && !dx.accumulate) {
        return picked_spread_floats(n, h->picked, h->width, dmid, dx.data);
    }
    if (h->picked.ids) {
        if (k->memory->allocate((size_t)numel * sizeof(float), &spread)) return ICOT_FAILED;
        all = spread;
    }
    const int status =
        spread ? picked_spread_floats(n, h->picked, h->width, dmid, spread) : ICOT_OK;
    if (!status) k->affine(numel, 1.0, 0.0, all, dx.accumulate, dx.data);
    k->memory->release(spread);
    return status;
}

/* x's gradient by way of the norm, on top */
static int norm_backward(const block_half *h, const factor *dnormed)
{
    node *n = h->n;
    const int of[3] = {X, half_input(h, NORM_WEIGHT), half_input(h, NORM_BIAS)};
    grad_target target[3];
    for (int i = 0; i < 3; i++) {
        if (grad_of_input(n, of[i], &target[i])) return ICOT_FAILED;
    }
    const bool accumulate[3] = {target[0].accumulate, target[1].accumulate, target[2].accumulate};
    return kernels(n)->layers->layer_norm_backward(h->rows, h->width, tensor_floats(n->inputs[X]),
                                                   half_floats(h, NORM_WEIGHT), half_statistics(h),
                                                   dnormed->data, accumulate, target[0].data,
                                                   target[1].data, target[2].data);
}

/* The gradients of all but attention's half: of mid, and of attention's product, d */
static int later_backward(const block_half *attention, const block_half *mlp, const tensor *grad,
                          float *dmid, factor *d)
{
    factor dnormed = {0};
    const int status =
        mlp_backward(mlp, grad, &dnormed) || join_backward(attention, mlp, &dnormed, grad, dmid, d);
    factor_done(kernels(mlp->n), &dnormed);
    return status ? ICOT_FAILED : ICOT_OK;
}

static int block_backward(node *n, tensor *grad)
{
    const block_half attention = attention_half(n), mlp = mlp_half(n);
    const backend *k = kernels(n);
    factor d = {0}, dnormed = {0};
    float *dmid;
    void *own = NULL;
    const int status = make_dmid(&attention, &dmid, &own) ||
                       later_backward(&attention, &mlp, grad, dmid, &d) ||
                       attention_backward(&attention, &d, &dnormed) ||
                       residual_backward(&attention, dmid) || norm_backward(&attention, &dnormed);
    factor_done(k, &dnormed);
    factor_done(k, &d);
    k->memory->release(own);
    return status ? ICOT_FAILED : ICOT_OK;
}

const operator_entry op_block = {.name = "block",
                                 .min_inputs = CU_SEQLENS + 1,
                                 .max_inputs = MOST_INPUTS,
                                 .int32_inputs = 1u << CU_SEQLENS | 1u << PICKED,
                                 .unread = UNREAD_OUTPUT,
                                 .prepare = block_prepare,
                                 .forward = block_forward,
                                 .forward_saved = block_forward_saved,
                                 .backward = block_backward};
