/* Operations of decoding and evaluation, which need no gradient. */
#include "autograd/attention_inputs.h"
#include "autograd/tape.h"
#include "base/error.h"
#include "base/memory.h"
#include "tensor/engine_parts.h"

/* What attends, and the cache that it attends to. */
typedef struct cached_inputs {
    tensor *qkv, *cu_seqlens, *slots, *lengths, *keys, *values;
} cached_inputs;

enum { CACHED_INPUTS = sizeof(cached_inputs) / sizeof(tensor *) };

/* Finds them, the handles being in the order in which they stand there. */
static int find_inputs(icot_engine *engine, const icot_tensor handles[CACHED_INPUTS],
                       cached_inputs *out)
{
    static const icot_dtype dtypes[CACHED_INPUTS] = {ICOT_FLOAT32, ICOT_INT32,   ICOT_INT32,
                                                     ICOT_INT32,   ICOT_FLOAT32, ICOT_FLOAT32};
    tensor *found[CACHED_INPUTS];
    if (tensor_find_all(engine, "attention_cached", handles, CACHED_INPUTS, found)) {
        return ICOT_FAILED;
    }
    for (int i = 0; i < CACHED_INPUTS; i++) {
        if (!tensor_is_contiguous(found[i])) {
            return fail("attention_cached: tensor %d is not contiguous", i + 1);
        }
        if (found[i]->dtype != dtypes[i]) {
            return fail("attention_cached: tensor %d is %s, expected %s", i + 1,
                        dtype_name(found[i]->dtype), dtype_name(dtypes[i]));
        }
    }
    *out = (cached_inputs){found[0], found[1], found[2], found[3], found[4], found[5]};
    return ICOT_OK;
}

/* Two sequences in one slot would write over each other's keys. The slots are known to exist. */
static int check_slots_differ(const int32_t *slots, int64_t sequences, int64_t n_slots)
{
    void *block;
    if (memory_alloc_zero((size_t)n_slots, 1, &block)) return ICOT_FAILED;
    char *taken = block;
    int status = ICOT_OK;
    for (int64_t b = 0; b < sequences && !status; b++) {
        if (taken[slots[b]]) {
            status = fail("attention_cached: sequence %lld names slot %d, as another one does",
                          (long long)b, slots[b]);
        }
        taken[slots[b]] = 1;
    }
    memory_free(block);
    return status;
}

/* Each sequence needs a slot of its own, with room for its new tokens. */
static int check_cache(const cached_inputs *in)
{
    const tensor *keys = in->keys, *values = in->values;
    shape shape_k = tensor_shape(keys), shape_v = tensor_shape(values);
    int64_t sequences = in->cu_seqlens->shape[0] - 1;
    if (keys->ndim != 3 || keys->shape[2] * 3 != in->qkv->shape[1] ||
        !shape_equal(&shape_k, &shape_v)) {
        return fail("attention_cached: got keys %s and values %s for qkv %s, expected (S,L,C)",
                    shape_text(&shape_k), shape_text(&shape_v), tensor_shape_text(in->qkv));
    }
    if (tensor_numel(in->slots) != sequences || tensor_numel(in->lengths) != sequences) {
        return fail("attention_cached: got %lld slots and %lld lengths for %lld sequences",
                    (long long)tensor_numel(in->slots), (long long)tensor_numel(in->lengths),
                    (long long)sequences);
    }
    const int32_t *starts = tensor_ints(in->cu_seqlens);
    const int32_t *slots = tensor_ints(in->slots);
    const int32_t *lengths = tensor_ints(in->lengths);
    for (int64_t b = 0; b < sequences; b++) {
        if (slots[b] < 0 || slots[b] >= keys->shape[0]) {
            return fail("attention_cached: sequence %lld names slot %d of %lld", (long long)b,
                        slots[b], (long long)keys->shape[0]);
        }
        if (lengths[b] < 0 || (int64_t)lengths[b] + starts[b + 1] - starts[b] > keys->shape[1]) {
            return fail("attention_cached: sequence %lld has %d tokens and gets %d, the cache has "
                        "room for %lld",
                        (long long)b, lengths[b], starts[b + 1] - starts[b],
                        (long long)keys->shape[1]);
        }
    }
    return check_slots_differ(slots, sequences, keys->shape[0]);
}

static int check_inputs(const icot_engine *engine, const cached_inputs *in, int heads)
{
    const shape qkv = tensor_shape(in->qkv);
    if (packed_check("attention_cached", &qkv, in->cu_seqlens, heads)) return ICOT_FAILED;
    if (check_cache(in)) return ICOT_FAILED;
    if (tape_check_backward_is_done(engine->tape, in->keys) ||
        tape_check_backward_is_done(engine->tape, in->values)) {
        return fail_within("attention_cached");
    }
    return ICOT_OK;
}

/* y (T,C); the cache gets the new keys and values. */
static int attend(const icot_engine *engine, const cached_inputs *in, int heads, tensor *y)
{
    const shape qkv = tensor_shape(in->qkv);
    const dropout_draw nothing = {0};
    packed_shape packed;
    kv_cache cache = {.keys = tensor_floats(in->keys),
                      .values = tensor_floats(in->values),
                      .capacity = in->keys->shape[1]};
    if (packed_shape_of(&qkv, in->cu_seqlens, heads, nothing, &packed) ||
        tensor_indices(in->slots, &cache.slots) || tensor_indices(in->lengths, &cache.lengths)) {
        return ICOT_FAILED;
    }
    tensor_changed(in->keys);
    tensor_changed(in->values);
    return engine->backend->attention_cached(&packed, tensor_floats(in->qkv), &cache,
                                             tensor_floats(y));
}

int icot_attention_cached(icot_engine *engine, icot_tensor qkv, icot_tensor cu_seqlens,
                          icot_tensor slots, icot_tensor lengths, icot_tensor keys,
                          icot_tensor values, int heads, icot_tensor *out)
{
    const icot_tensor handles[] = {qkv, cu_seqlens, slots, lengths, keys, values};
    cached_inputs in;
    tensor *y;
    if (find_inputs(engine, handles, &in) || check_inputs(engine, &in, heads)) return ICOT_FAILED;
    const shape size = {.ndim = 2, .size = {in.qkv->shape[0], in.qkv->shape[1] / 3}};
    if (tensor_new(engine, ICOT_FLOAT32, &size, &y)) return ICOT_FAILED;
    if (attend(engine, &in, heads, y)) {
        tensor_destroy(engine, y);
        return ICOT_FAILED;
    }
    *out = y->handle;
    return ICOT_OK;
}

int icot_tensor_argmax(icot_engine *engine, icot_tensor handle, icot_tensor *out)
{
    tensor *x = tensor_find(engine, "argmax", handle);
    if (!x) return ICOT_FAILED;
    if (x->dtype != ICOT_FLOAT32 || x->ndim != 2 || x->shape[1] == 0 || !tensor_is_contiguous(x)) {
        return fail("argmax: got %s %s, expected a contiguous float32 (R,C)", dtype_name(x->dtype),
                    tensor_shape_text(x));
    }
    shape size = {.ndim = 1, .size = {x->shape[0]}};
    tensor *best;
    if (tensor_new(engine, ICOT_INT32, &size, &best)) return ICOT_FAILED;
    if (engine->backend->argmax(x->shape[0], x->shape[1], tensor_floats(x), tensor_ints(best))) {
        tensor_destroy(engine, best);
        return ICOT_FAILED;
    }
    *out = best->handle;
    return ICOT_OK;
}
