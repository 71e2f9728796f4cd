/*
 * Copying tensors in and out, in row-major order whatever their strides are.
 *
 * Most strided tensors are transposes: their elements fill a stretch of memory without gaps, only
 * in another order. Such a stretch crosses the border of the device as a whole, and is put in order
 * on the host, tile by tile, so that neither side of the copy jumps through memory.
 */
#include "base/counting.h"
#include "base/error.h"
#include "base/memory.h"
#include "tensor/engine_parts.h"

#include <string.h>

enum { TILE = 32 }; /* elements per side: two tiles of 4 KB lie in the cache together */

static int find_for_copy(icot_engine *engine, icot_tensor handle, const char *who, int64_t numel,
                         tensor **out)
{
    tensor *t = tensor_find(engine, who, handle);
    if (!t) return ICOT_FAILED;
    if (numel != tensor_numel(t)) {
        return fail("%s: got %lld elements for a tensor of %lld", who, (long long)numel,
                    (long long)tensor_numel(t));
    }
    *out = t;
    return ICOT_OK;
}

/* Elements from the first to the last one, both included. */
static int64_t extent(const tensor *t)
{
    int64_t last = 0;
    for (int d = 0; d < t->ndim; d++) last += (t->shape[d] - 1) * t->strides[d];
    return last + 1;
}

/* ---- Element by element ---------------------------------------------------------------------- */

/* Steps a row-major index; returns the offset of the element there, 0 after the last one. */
static int64_t next_offset(const tensor *t, int64_t index[ICOT_MAX_DIMS], int64_t offset)
{
    for (int d = t->ndim - 1; d >= 0; d--) {
        offset += t->strides[d];
        if (++index[d] < t->shape[d]) return offset;
        offset -= t->strides[d] * t->shape[d];
        index[d] = 0;
    }
    return offset;
}

static int read_elements(const tensor *t, char *out, int64_t numel)
{
    size_t bytes = dtype_bytes(t->dtype);
    int64_t index[ICOT_MAX_DIMS] = {0}, offset = 0;
    for (int64_t i = 0; i < numel; i++, offset = next_offset(t, index, offset)) {
        const char *element = (const char *)tensor_data(t) + offset * (int64_t)bytes;
        if (t->storage->device->copy_out(out + (size_t)i * bytes, element, bytes))
            return ICOT_FAILED;
    }
    return ICOT_OK;
}

static int write_elements(const tensor *t, const char *in, int64_t numel)
{
    size_t bytes = dtype_bytes(t->dtype);
    int64_t index[ICOT_MAX_DIMS] = {0}, offset = 0;
    for (int64_t i = 0; i < numel; i++, offset = next_offset(t, index, offset)) {
        char *element = (char *)tensor_data(t) + offset * (int64_t)bytes;
        if (t->storage->device->copy_in(element, in + (size_t)i * bytes, bytes)) return ICOT_FAILED;
    }
    return ICOT_OK;
}

/* ---- As a whole: matrices without gaps ------------------------------------------------------- */

static bool is_dense_matrix(const tensor *t)
{
    return t->ndim == 2 && t->strides[0] > 0 && t->strides[1] > 0 && extent(t) == tensor_numel(t);
}

enum { ELEMENT_BYTES = 4 }; /* bytes, whatever the dtype */

/*
 * Copies stretch, which has the strides of t, to ordered (rows, columns), row-major (`gather`), or
 * the other way. The latter may lie at any address, such as one in a mapped file.
 */
static void reorder(const tensor *t, bool gather, char *ordered, uint32_t *stretch)
{
    const int64_t rows = t->shape[0], columns = t->shape[1];
    const int64_t down = t->strides[0], across = t->strides[1];
    for (int64_t r0 = 0; r0 < rows; r0 += TILE) {
        const int64_t r1 = smaller(r0 + TILE, rows);
        for (int64_t c0 = 0; c0 < columns; c0 += TILE) {
            const int64_t c1 = smaller(c0 + TILE, columns);
            for (int64_t r = r0; r < r1; r++) {
                char *row = ordered + r * columns * ELEMENT_BYTES;
                uint32_t *line = stretch + r * down;
                if (gather) {
                    for (int64_t c = c0; c < c1; c++) {
                        memcpy(row + c * ELEMENT_BYTES, line + c * across, ELEMENT_BYTES);
                    }
                } else {
                    for (int64_t c = c0; c < c1; c++) {
                        memcpy(line + c * across, row + c * ELEMENT_BYTES, ELEMENT_BYTES);
                    }
                }
            }
        }
    }
}

static int read_matrix(const tensor *t, void *out, size_t bytes)
{
    void *stretch;
    if (memory_alloc(bytes, &stretch)) return ICOT_FAILED;
    int status = t->storage->device->copy_out(stretch, tensor_data(t), bytes);
    if (!status) reorder(t, true, out, stretch);
    memory_free(stretch);
    return status;
}

static int write_matrix(const tensor *t, const void *in, size_t bytes)
{
    void *stretch;
    if (memory_alloc(bytes, &stretch)) return ICOT_FAILED;
    reorder(t, false, (char *)(uintptr_t)in, stretch);
    int status = t->storage->device->copy_in(tensor_data(t), stretch, bytes);
    memory_free(stretch);
    return status;
}

/* ---- Whichever fits -------------------------------------------------------------------------- */

int icot_tensor_read(icot_engine *engine, icot_tensor handle, void *out, int64_t numel)
{
    tensor *t;
    if (find_for_copy(engine, handle, "read", numel, &t)) return ICOT_FAILED;
    size_t bytes = (size_t)numel * dtype_bytes(t->dtype);
    if (tensor_is_contiguous(t)) return t->storage->device->copy_out(out, tensor_data(t), bytes);
    if (is_dense_matrix(t)) return read_matrix(t, out, bytes);
    return read_elements(t, out, numel);
}

int tensor_overwrite(const char *who, tensor *t, const void *in)
{
    if (tensor_check_not_an_input(t)) return fail_within("%s", who);
    tensor_changed(t);
    const int64_t numel = tensor_numel(t);
    const size_t bytes = (size_t)numel * dtype_bytes(t->dtype);
    if (tensor_is_contiguous(t)) return t->storage->device->copy_in(tensor_data(t), in, bytes);
    if (is_dense_matrix(t)) return write_matrix(t, in, bytes);
    return write_elements(t, in, numel);
}

int icot_tensor_write(icot_engine *engine, icot_tensor handle, const void *in, int64_t numel)
{
    tensor *t;
    if (find_for_copy(engine, handle, "write", numel, &t)) return ICOT_FAILED;
    return tensor_overwrite("write", t, in);
}
