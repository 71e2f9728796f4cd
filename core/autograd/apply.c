/* Applying an operator: check, make contiguous, compute, record. */
#include "autograd/operator.h"
#include "autograd/operators/operators.h"
#include "autograd/tape.h"
#include "base/error.h"

static int check_inputs(const operator_entry *op, tensor *const *inputs, int n_inputs)
{
    if (n_inputs < op->min_inputs || n_inputs > op->max_inputs) {
        return fail("%s: got %d tensors, expected %d to %d", op->name, n_inputs, op->min_inputs,
                    op->max_inputs);
    }
    for (int i = 0; i < n_inputs; i++) {
        icot_dtype expected = op->int32_inputs >> i & 1 ? ICOT_INT32 : ICOT_FLOAT32;
        if (inputs[i]->dtype != expected) {
            return fail("%s: tensor %d is %s, expected %s", op->name, i + 1,
                        dtype_name(inputs[i]->dtype), dtype_name(expected));
        }
    }
    return ICOT_OK;
}

/* Most kernels want contiguous memory; the copy is an operator too, so gradients pass through. */
static int make_contiguous(node *n, int i)
{
    tensor **input = &n->inputs[i];
    if (tensor_is_contiguous(*input)) return ICOT_OK;
    if ((*input)->dtype != ICOT_FLOAT32) {
        return fail("%s: tensor %d is int32 and has to be contiguous", n->op->name, i + 1);
    }
    const icot_op_params none = {0};
    if (operator_apply(n->engine, &op_contiguous, input, 1, &none, input)) return ICOT_FAILED;
    (*input)->hidden = true;
    return ICOT_OK;
}

/* Frees the copies that make_contiguous made, if the tape doesn't need them. */
static void release_copies(node *n, tensor *const *inputs)
{
    for (int i = 0; i < n->n_inputs; i++) {
        tensor *copy = n->inputs[i];
        if (copy && copy != inputs[i] && copy->node < 0) tensor_destroy(n->engine, copy);
    }
}

int icot_grad_enabled(const icot_engine *engine)
{
    return engine->grad_enabled;
}

void icot_set_grad_enabled(icot_engine *engine, int enabled)
{
    engine->grad_enabled = enabled != 0;
}

static bool wants_grad(const icot_engine *engine, const node *n)
{
    if (!engine->grad_enabled) return false;
    for (int i = 0; i < n->n_inputs; i++) {
        if (n->inputs[i]->requires_grad) return true;
    }
    return false;
}

/* Whether another operator on the tape reads a tensor. */
static bool others_read(const tape *recorded, const tensor *t, const operator_entry *op)
{
    for (int64_t i = 0; t->readers > 0 && i < recorded->count; i++) {
        const node *n = &recorded->nodes[i];
        for (int k = 0; n->op != op && k < n->n_inputs; k++) {
            if (n->inputs[k] == t) return true;
        }
    }
    return false;
}

/* What operator.h says of an input that is written to. */
static int check_written(const node *n)
{
    const int which = n->op->written;
    if (which == 0) return ICOT_OK;
    const tensor *written = n->inputs[which - 1];
    const char *problem = NULL;
    if (written->node >= 0 || written->storage->references > 1) {
        problem = "is written to: it has to be a leaf, and no view";
    } else if (wants_grad(n->engine, n) && !written->requires_grad) {
        problem = "is written to, and has to require a gradient, since another tensor does";
    } else if (wants_grad(n->engine, n) && written->grad_is_set) {
        problem = "is written to, and has a gradient of what was there before; zero it first";
    } else if (others_read(n->engine->tape, written, n->op)) {
        problem = "cannot be written to: the tape still reads it";
    }
    for (int i = 0; i < n->n_inputs; i++) {
        if (i == which - 1 || n->inputs[i] != written) continue;
        problem = "is written to, and cannot be another of its tensors as well";
    }
    return problem ? fail("%s: tensor %d %s", n->op->name, which, problem) : ICOT_OK;
}

int operator_apply(icot_engine *engine, const operator_entry *op, tensor *const *inputs,
                   int n_inputs, const icot_op_params *params, tensor **out)
{
    if (check_inputs(op, inputs, n_inputs)) return ICOT_FAILED;
    node n = {.op = op, .engine = engine, .n_inputs = n_inputs, .params = *params, .segment = -1};
    for (int i = 0; i < n_inputs; i++) n.inputs[i] = inputs[i];
    if (check_written(&n)) return ICOT_FAILED;
    for (int i = 0; i < n_inputs; i++) {
        if (!op->strided && make_contiguous(&n, i)) goto failed;
    }
    if (tape_reserve(engine->tape)) goto failed;
    if (op->prepare(&n)) goto failed;
    if (op->forward && op->forward(&n)) goto failed;

    if (wants_grad(engine, &n)) {
        tape_record(engine->tape, &n);
    } else {
        for (int k = 0; k < OPERATOR_SAVED; k++) tensor_destroy(engine, n.saved[k]);
        release_copies(&n, inputs);
    }
    *out = n.output;
    return ICOT_OK;

failed:
    for (int k = 0; k < OPERATOR_SAVED; k++) tensor_destroy(engine, n.saved[k]);
    tensor_destroy(engine, n.output);
    release_copies(&n, inputs);
    return ICOT_FAILED;
}

int icot_apply(icot_engine *engine, int index, const icot_tensor *handles, int n_inputs,
               const icot_op_params *params, icot_tensor *out)
{
    const operator_entry *op = operator_at(index);
    if (!op) return fail("apply: there is no operator %d", index);
    if (n_inputs < 0 || n_inputs > ICOT_MAX_INPUTS) {
        return fail("%s: got %d tensors, at most %d can be given", op->name, n_inputs,
                    ICOT_MAX_INPUTS);
    }
    if (params->n_index < 0 || params->n_index > ICOT_MAX_INDICES) {
        return fail("%s: got %d indices, at most %d can be given", op->name, params->n_index,
                    ICOT_MAX_INDICES);
    }
    tensor *inputs[ICOT_MAX_INPUTS], *output;
    if (tensor_find_all(engine, op->name, handles, n_inputs, inputs)) return ICOT_FAILED;
    if (operator_apply(engine, op, inputs, n_inputs, params, &output)) return ICOT_FAILED;
    *out = output->handle;
    return ICOT_OK;
}

int node_output(node *n, const shape *size)
{
    return tensor_new(n->engine, ICOT_FLOAT32, size, &n->output);
}

int node_output_like(node *n, const tensor *like)
{
    shape size = tensor_shape(like);
    return node_output(n, &size);
}

int node_save(node *n, int which, int64_t rows, int64_t columns)
{
    const shape size = {.ndim = 2, .size = {rows, columns}};
    return tensor_new(n->engine, ICOT_FLOAT32, &size, &n->saved[which]);
}

int node_check_ids(const node *n, int i, const char *what, int64_t count)
{
    const int32_t *id = tensor_ints(n->inputs[i]);
    for (int64_t k = 0, numel = tensor_numel(n->inputs[i]); k < numel; k++) {
        if (id[k] < 0 || id[k] >= count) {
            return fail("%s: %s %lld is %d, expected 0 to %lld", n->op->name, what, (long long)k,
                        id[k], (long long)count - 1);
        }
    }
    return ICOT_OK;
}

int node_check_dropout(const node *n, int which)
{
    const double p = n->params.number[which];
    if (p >= 0.0 && p < 1.0) return ICOT_OK;
    return fail("%s: got p = %g of dropout, expected 0 <= p < 1", n->op->name, p);
}
