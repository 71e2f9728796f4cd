/*
 * attention_past: qkv (T,3C), past (P,3C), cu_seqlens (B+1), starts (B), lengths (B) -> (T,C).
 *
 * Attention of sequences that are computed bit by bit, as with the KV cache of decoding, but while
 * gradients flow. `past` has a place for every row of every sequence: sequence b begins in row
 * starts[b], and lengths[b] of its rows are there. Its rows of qkv become the next ones (past is
 * written to) and attend to all of them. Calls share a past, and none may write to a row that one
 * on the tape has written or read; what its gradient has for rows that a call has written goes on
 * to the qkv of that call.
 *
 * Parameters as of `attention`; which weights are dropped is drawn by the number of the row of
 * past.
 */
#include "autograd/attention_inputs.h"
#include "autograd/operators/operators.h"
#include "base/error.h"

enum { QKV, PAST, CU_SEQLENS, STARTS, LENGTHS };
enum { SAVED_LOGSUMEXP };

/* What the kernels are told about the sequences. */
typedef struct new_rows {
    packed_shape packed;
    past_rows past;
} new_rows;

static int new_rows_of(const node *n, new_rows *out)
{
    const shape qkv = tensor_shape(n->inputs[QKV]);
    return packed_shape_of_node(n, &qkv, CU_SEQLENS, &out->packed) ||
           tensor_indices(n->inputs[STARTS], &out->past.starts) ||
           tensor_indices(n->inputs[LENGTHS], &out->past.lengths);
}

static int check_shapes(const node *n, const shape *qkv)
{
    const tensor *past = n->inputs[PAST], *starts = n->inputs[STARTS];
    const int64_t sequences = tensor_numel(n->inputs[CU_SEQLENS]) - 1;
    if (past->ndim != 2 || past->shape[1] != qkv->size[1]) {
        return fail("attention_past: got qkv %s and past %s, expected (T,3C) and (P,3C)",
                    shape_text(qkv), tensor_shape_text(past));
    }
    if (tensor_has_shape(starts, 1, sequences, 0) &&
        tensor_has_shape(n->inputs[LENGTHS], 1, sequences, 0)) {
        return ICOT_OK;
    }
    return fail("attention_past: got starts %s and lengths %s, expected (%lld) twice",
                tensor_shape_text(starts), tensor_shape_text(n->inputs[LENGTHS]),
                (long long)sequences);
}

/* Each sequence has room for its rows behind those of the one before. */
static int check_places(const node *n)
{
    const int32_t *first = tensor_ints(n->inputs[CU_SEQLENS]);
    const int32_t *starts = tensor_ints(n->inputs[STARTS]);
    const int32_t *lengths = tensor_ints(n->inputs[LENGTHS]);
    const int64_t sequences = n->inputs[STARTS]->shape[0], rows = n->inputs[PAST]->shape[0];
    int64_t free_from = 0;
    for (int64_t b = 0; b < sequences; b++) {
        const int64_t asking = first[b + 1] - first[b];
        if (lengths[b] < 0) {
            return fail("attention_past: sequence %lld has %d rows", (long long)b, lengths[b]);
        }
        if (starts[b] < free_from) {
            return fail("attention_past: sequence %lld begins in row %d of past, where row %lld is "
                        "the first that is free",
                        (long long)b, starts[b], (long long)free_from);
        }
        free_from = starts[b] + (int64_t)lengths[b] + asking;
        if (free_from > rows) {
            return fail(
                "attention_past: sequence %lld has %d rows and gets %lld in row %d of past, "
                "which has %lld",
                (long long)b, lengths[b], (long long)asking, starts[b], (long long)rows);
        }
    }
    return ICOT_OK;
}

static int attention_past_prepare(node *n)
{
    const shape qkv = tensor_shape(n->inputs[QKV]);
    if (packed_check_parameters(n)) return ICOT_FAILED;
    const int64_t heads = n->params.index[INDEX_HEADS];
    if (packed_check("attention_past", &qkv, n->inputs[CU_SEQLENS], heads) ||
        check_shapes(n, &qkv) || check_places(n) ||
        node_save(n, SAVED_LOGSUMEXP, qkv.size[0], heads)) {
        return ICOT_FAILED;
    }
    const shape size = {.ndim = 2, .size = {qkv.size[0], qkv.size[1] / 3}};
    return node_output(n, &size);
}

static int attention_past_forward(node *n)
{
    new_rows given;
    if (new_rows_of(n, &given)) return ICOT_FAILED;
    tensor_changed(n->inputs[PAST]);
    return kernels(n)->attention_past(&given.packed, &given.past, tensor_floats(n->inputs[QKV]),
                                      tensor_floats(n->inputs[PAST]), tensor_floats(n->output),
                                      tensor_floats(n->saved[SAVED_LOGSUMEXP]));
}

static int attention_past_backward(node *n, tensor *grad)
{
    new_rows given;
    grad_target drows, dqkv;
    if (new_rows_of(n, &given)) return ICOT_FAILED;
    if (grad_of_input_cleared(n, PAST, &drows) || grad_of_input(n, QKV, &dqkv)) return ICOT_FAILED;
    if (!drows.data) return fail("attention_past: past does not require a gradient any more");
    return kernels(n)->attention_past_backward(
        &given.packed, &given.past, tensor_floats(n->inputs[PAST]), tensor_floats(n->output),
        tensor_floats(n->saved[SAVED_LOGSUMEXP]), tensor_floats(grad), drows.data, dqkv);
}

const operator_entry op_attention_past = {.name = "attention_past",
                                          .min_inputs = 5,
                                          .max_inputs = 5,
                                          .int32_inputs =
                                              1u << CU_SEQLENS | 1u << STARTS | 1u << LENGTHS,
                                          .written = 1 + PAST,
                                          .prepare = attention_past_prepare,
                                          .forward = attention_past_forward,
                                          .backward = attention_past_backward};
