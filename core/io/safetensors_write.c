/* Writing safetensors files; safetensors_read.c says what lies in one. */
#include "base/error.h"
#include "base/memory.h"
#include "base/utf8.h"
#include "icot.h"
#include "io/output_file.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { ELEMENT_BYTES = 4, HEADER_ALIGNMENT = 8 }; /* both dtypes take 4 bytes */

/* ---- The header ------------------------------------------------------------------------------ */

typedef struct text_buffer {
    char *data;
    int64_t used, capacity;
} text_buffer;

/* Adds at most 127 characters. */
__attribute__((format(printf, 2, 3))) static int add(text_buffer *buffer, const char *format, ...)
{
    enum { ROOM = 128 };
    if (memory_grow(&buffer->data, &buffer->capacity, buffer->used + ROOM, 1)) return ICOT_FAILED;
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(buffer->data + buffer->used, ROOM, format, arguments);
    va_end(arguments);
    buffer->used += length;
    return ICOT_OK;
}

/* Adds a JSON string, quotes included. */
static int add_string(text_buffer *buffer, const char *text)
{
    char *valid;
    if (utf8_duplicate(text, &valid)) return ICOT_FAILED;
    int status = add(buffer, "\"");
    for (const unsigned char *c = (const unsigned char *)valid; *c && !status; c++) {
        if (*c < 0x20) {
            status = add(buffer, "\\u%04x", *c);
        } else {
            status = add(buffer, *c == '"' || *c == '\\' ? "\\%c" : "%c", *c);
        }
    }
    if (!status) status = add(buffer, "\"");
    memory_free(valid);
    return status;
}

/* Adds the entry of a tensor whose bytes start at *place, and moves *place to where they end. */
static int add_tensor(text_buffer *header, const char *name, const icot_tensor_info *info,
                      int64_t *place)
{
    int64_t end = *place + info->numel * ELEMENT_BYTES;
    const char *dtype = info->dtype == ICOT_FLOAT32 ? "F32" : "I32";
    if (add(header, ",") || add_string(header, name)) return ICOT_FAILED;
    if (add(header, ":{\"dtype\":\"%s\",\"shape\":[", dtype)) return ICOT_FAILED;
    for (int i = 0; i < info->ndim; i++) {
        if (add(header, "%s%" PRId64, i ? "," : "", info->shape[i])) return ICOT_FAILED;
    }
    if (add(header, "],\"data_offsets\":[%" PRId64 ",%" PRId64 "]}", *place, end)) {
        return ICOT_FAILED;
    }
    *place = end;
    return ICOT_OK;
}

static int check_name(const char *path, const icot_named_tensor *tensors, int64_t index)
{
    const char *name = tensors[index].name;
    if (strcmp(name, "__metadata__") == 0) {
        return fail("safetensors file %s: a tensor cannot be named %s", path, name);
    }
    for (int64_t i = 0; i < index; i++) {
        if (strcmp(tensors[i].name, name) == 0) {
            return fail("safetensors file %s: two tensors are named %s", path, name);
        }
    }
    return ICOT_OK;
}

/* The header with its length before it, padded so that the tensors' bytes are aligned. */
static int build_header(icot_engine *engine, const char *path, const icot_named_tensor *tensors,
                        int64_t count, text_buffer *header)
{
    int64_t place = 0;
    const uint64_t no_length = 0;
    if (memory_grow(&header->data, &header->capacity, sizeof no_length, 1)) return ICOT_FAILED;
    header->used = sizeof no_length;
    /* Hugging Face's loader asks for the format the tensors' layout follows: "pt" is PyTorch. */
    if (add(header, "{\"__metadata__\":{\"format\":\"pt\"}")) return ICOT_FAILED;
    for (int64_t i = 0; i < count; i++) {
        icot_tensor_info info;
        if (check_name(path, tensors, i)) return ICOT_FAILED;
        if (icot_tensor_describe(engine, tensors[i].tensor, &info) ||
            add_tensor(header, tensors[i].name, &info, &place)) {
            return fail_within("safetensors file %s: tensor %s", path, tensors[i].name);
        }
    }
    if (add(header, "}")) return ICOT_FAILED;
    while (header->used % HEADER_ALIGNMENT) {
        if (add(header, " ")) return ICOT_FAILED;
    }
    uint64_t length = (uint64_t)header->used - sizeof length;
    for (size_t i = 0; i < sizeof length; i++) header->data[i] = (char)(length >> (8 * i));
    return ICOT_OK;
}

/* ---- The tensors ----------------------------------------------------------------------------- */

/* Whether the tensor's bytes lie in the memory of this program, and in order. */
static int can_be_written_as_it_lies(const icot_tensor_info *info)
{
    return info->contiguous && info->data;
}

/* Writes one tensor's bytes, if need be by way of `buffer`, which is kept for the next one. */
static int write_tensor(icot_engine *engine, output_file *file, const icot_named_tensor *tensor,
                        void **buffer)
{
    icot_tensor_info info;
    if (icot_tensor_describe(engine, tensor->tensor, &info)) return ICOT_FAILED;
    size_t bytes = (size_t)info.numel * ELEMENT_BYTES;
    if (can_be_written_as_it_lies(&info)) return output_write(file, info.data, bytes);
    if (memory_resize(buffer, bytes)) return ICOT_FAILED;
    if (icot_tensor_read(engine, tensor->tensor, *buffer, info.numel)) return ICOT_FAILED;
    return output_write(file, *buffer, bytes);
}

int icot_safetensors_save(icot_engine *engine, const char *path, const icot_named_tensor *tensors,
                          int64_t count)
{
    int status = ICOT_FAILED;
    text_buffer header = {0};
    void *buffer = NULL;
    output_file file = {.fd = -1};

    if (build_header(engine, path, tensors, count, &header)) goto done;
    if (output_open(&file, "safetensors file", path, 1)) goto done;
    if (output_write(&file, header.data, (size_t)header.used)) goto done;
    for (int64_t i = 0; i < count; i++) {
        if (write_tensor(engine, &file, &tensors[i], &buffer)) goto done;
    }
    status = output_publish(&file);

done:
    output_close(&file);
    memory_free(buffer);
    memory_free(header.data);
    return status;
}
