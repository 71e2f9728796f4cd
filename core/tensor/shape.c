#include "base/error.h"
#include "tensor/tensor.h"

#include <stdio.h>
#include <string.h>

size_t dtype_bytes(icot_dtype dtype)
{
    return dtype == ICOT_INT32 ? sizeof(int32_t) : sizeof(float);
}

const char *dtype_name(icot_dtype dtype)
{
    return dtype == ICOT_INT32 ? "int32" : "float32";
}

int64_t shape_numel(const shape *size)
{
    int64_t numel = 1;
    for (int d = 0; d < size->ndim; d++) numel *= size->size[d];
    return numel;
}

/*
 * Also for views, which need no memory of their own, and for shapes without elements: products and
 * sums of sizes must never overflow.
 */
int shape_check(const shape *size)
{
    const int64_t most = INT64_C(1) << 44; /* 64 TiB of float32 */
    int64_t numel = 1;
    for (int d = 0; d < size->ndim; d++) {
        if (__builtin_mul_overflow(numel, size->size[d] ? size->size[d] : 1, &numel) ||
            numel > most) {
            return fail("tensor: a shape of %s does not fit in memory", shape_text(size));
        }
    }
    return ICOT_OK;
}

bool shape_equal(const shape *a, const shape *b)
{
    if (a->ndim != b->ndim) return false;
    for (int d = 0; d < a->ndim; d++) {
        if (a->size[d] != b->size[d]) return false;
    }
    return true;
}

void shape_contiguous_strides(const shape *size, int64_t strides[ICOT_MAX_DIMS])
{
    int64_t stride = 1;
    for (int d = size->ndim - 1; d >= 0; d--) {
        strides[d] = stride;
        stride *= size->size[d];
    }
}

shape tensor_shape(const tensor *t)
{
    shape size = {.ndim = t->ndim};
    memcpy(size.size, t->shape, sizeof size.size);
    return size;
}

int64_t tensor_numel(const tensor *t)
{
    shape size = tensor_shape(t);
    return shape_numel(&size);
}

bool tensor_is_contiguous(const tensor *t)
{
    int64_t expected = 1;
    for (int d = t->ndim - 1; d >= 0; d--) {
        if (t->shape[d] == 1) continue; /* its stride is never used */
        if (t->strides[d] != expected) return false;
        expected *= t->shape[d];
    }
    return true;
}

const char *shape_text(const shape *size)
{
    enum { TEXTS = 4, TEXT_BYTES = 24 * ICOT_MAX_DIMS };
    static _Thread_local char texts[TEXTS][TEXT_BYTES];
    static _Thread_local int next;

    char *text = texts[next];
    next = (next + 1) % TEXTS;
    size_t used = 0;
    text[used++] = '(';
    for (int d = 0; d < size->ndim; d++) {
        used += (size_t)snprintf(text + used, TEXT_BYTES - used, d ? ",%lld" : "%lld",
                                 (long long)size->size[d]);
    }
    text[used++] = ')';
    text[used] = '\0';
    return text;
}

const char *tensor_shape_text(const tensor *t)
{
    shape size = tensor_shape(t);
    return shape_text(&size);
}

int dimension_index(const char *who, int64_t given, int ndim, int *out)
{
    if (given < -ndim || given >= ndim) {
        return fail("%s: got dimension %lld of a tensor with %d", who, (long long)given, ndim);
    }
    *out = (int)(given < 0 ? given + ndim : given);
    return ICOT_OK;
}
