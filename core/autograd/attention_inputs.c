#include "autograd/attention_inputs.h"

#include "base/error.h"

int packed_check(const char *who, const shape *qkv, const tensor *cu_seqlens, int64_t heads)
{
    if (qkv->ndim != 2 || qkv->size[1] % 3 != 0 || cu_seqlens->ndim != 1 ||
        cu_seqlens->shape[0] < 1) {
        return fail("%s: got qkv %s and cu_seqlens %s, expected (T,3C) and (B+1)", who,
                    shape_text(qkv), tensor_shape_text(cu_seqlens));
    }
    int64_t channels = qkv->size[1] / 3;
    if (heads < 1 || heads > INT32_MAX || channels < 1 || channels % heads != 0) {
        return fail("%s: %lld channels cannot be shared by %lld heads", who, (long long)channels,
                    (long long)heads);
    }
    const int32_t *starts = tensor_ints(cu_seqlens);
    int64_t sequences = cu_seqlens->shape[0] - 1;
    if (starts[0] != 0 || starts[sequences] != qkv->size[0]) {
        return fail("%s: cu_seqlens goes from %d to %d, expected 0 to %lld", who, starts[0],
                    starts[sequences], (long long)qkv->size[0]);
    }
    for (int64_t b = 0; b < sequences; b++) {
        if (starts[b + 1] < starts[b]) {
            return fail("%s: cu_seqlens falls from %d to %d at sequence %lld", who, starts[b],
                        starts[b + 1], (long long)b);
        }
    }
    return ICOT_OK;
}

int packed_shape_of(const shape *qkv, const tensor *cu_seqlens, int64_t heads, dropout_draw drawn,
                    packed_shape *out)
{
    index_array starts;
    if (tensor_indices(cu_seqlens, &starts)) return ICOT_FAILED;
    *out = (packed_shape){.sequences = cu_seqlens->shape[0] - 1,
                          .channels = qkv->size[1] / 3,
                          .heads = (int)heads,
                          .cu_seqlens = starts,
                          .drawn = drawn};
    return ICOT_OK;
}

int packed_check_parameters(const node *n)
{
    const char *who = n->op->name;
    if (n->params.n_index < 1) return fail("%s: expected the number of heads", who);
    if (n->params.index[INDEX_FIRST_TOKEN] < 0) {
        return fail("%s: got %lld as the first token, expected 0 or more", who,
                    (long long)n->params.index[INDEX_FIRST_TOKEN]);
    }
    return node_check_dropout(n, NUMBER_DROPPED);
}

int packed_shape_of_node(const node *n, const shape *qkv, int cu_seqlens, packed_shape *out)
{
    const dropout_draw drawn = {.p = n->params.number[NUMBER_DROPPED],
                                .key = n->params.key,
                                .first = n->params.index[INDEX_FIRST_TOKEN]};
    return packed_shape_of(qkv, n->inputs[cu_seqlens], n->params.index[INDEX_HEADS], drawn, out);
}
