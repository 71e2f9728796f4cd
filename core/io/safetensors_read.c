/*
 * Reading safetensors files: 8 bytes with the header's length (little-endian), a JSON header that
 * names each tensor's dtype, shape and place, then the tensors' bytes, little-endian, row-major,
 * without gaps.
 */
#include "base/error.h"
#include "base/memory.h"
#include "base/utf8.h"
#include "icot.h"
#include "io/mapped_file.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

/* Of the largest checkpoints known the header has less than 1 MiB. */
enum { LENGTH_BYTES = 8, LONGEST_HEADER = 16 << 20 };

struct icot_safetensors {
    mapped_file file;
    int64_t header_bytes;
};

/* ---- The frame ------------------------------------------------------------------------------- */

static int fail_in(const mapped_file *file, const char *problem)
{
    return fail("%s %s: %s", file->kind, file->path, problem);
}

static int read_header_length(const mapped_file *file, int64_t *out)
{
    uint64_t length = 0;
    if (file->bytes < LENGTH_BYTES) {
        return fail("%s %s: it has %" PRId64 " bytes, too few for a header", file->kind, file->path,
                    file->bytes);
    }
    for (int i = 0; i < LENGTH_BYTES; i++) length |= (uint64_t)file->data[i] << (8 * i);
    if (length > (uint64_t)(file->bytes - LENGTH_BYTES)) {
        return fail("%s %s: the header should have %" PRIu64 " bytes, but %" PRId64
                    " are left in the file; it was cut short, or is no safetensors file",
                    file->kind, file->path, length, file->bytes - LENGTH_BYTES);
    }
    if (length > LONGEST_HEADER) {
        return fail("%s %s: the header has %" PRIu64 " bytes, more than the %d that are read",
                    file->kind, file->path, length, LONGEST_HEADER);
    }
    *out = (int64_t)length;
    return ICOT_OK;
}

static int check_header(const icot_safetensors *file)
{
    const char *header = (const char *)file->file.data + LENGTH_BYTES;
    if (file->header_bytes == 0 || header[0] != '{') {
        return fail_in(&file->file, "the header does not begin with {");
    }
    size_t valid = utf8_valid_bytes(header, (size_t)file->header_bytes);
    if (valid < (size_t)file->header_bytes) {
        return fail("%s %s: byte %zu of the header is not UTF-8", file->file.kind, file->file.path,
                    valid);
    }
    return ICOT_OK;
}

int icot_safetensors_open(const char *path, icot_safetensors **out)
{
    void *block;
    if (memory_alloc_zero(1, sizeof(icot_safetensors), &block)) return ICOT_FAILED;
    icot_safetensors *file = block;
    file->file.fd = -1;
    if (mapped_open(&file->file, "safetensors file", path)) goto failed;
    if (read_header_length(&file->file, &file->header_bytes)) goto failed;
    if (check_header(file)) goto failed;
    *out = file;
    return ICOT_OK;

failed:
    icot_safetensors_close(file);
    return ICOT_FAILED;
}

void icot_safetensors_close(icot_safetensors *file)
{
    if (!file) return;
    mapped_close(&file->file);
    memory_free(file);
}

const char *icot_safetensors_header(const icot_safetensors *file, int64_t *length)
{
    *length = file->header_bytes;
    return (const char *)file->file.data + LENGTH_BYTES;
}

int64_t icot_safetensors_data_bytes(const icot_safetensors *file)
{
    return file->file.bytes - LENGTH_BYTES - file->header_bytes;
}

/* ---- Elements -------------------------------------------------------------------------------- */

/*
 * All NaNs become this one. Others may carry bits that LuaJIT, which keeps its values in the unused
 * patterns of NaN, would take for a pointer.
 */
static const float the_nan = NAN;

static float float_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return isnan(value) ? the_nan : value;
}

static uint32_t load_32(const unsigned char *from)
{
    uint32_t bits;
    memcpy(&bits, from, sizeof bits);
    return bits;
}

static uint16_t load_16(const unsigned char *from)
{
    uint16_t bits;
    memcpy(&bits, from, sizeof bits);
    return bits;
}

/* float16: sign, 5 bits of exponent (bias 15), 10 of fraction; float32: 8 (bias 127) and 23. */
static float widen_half(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    uint32_t exponent = half >> 10 & 31, fraction = half & 1023;
    if (exponent == 0) { /* zero, or subnormal: fraction·2^-24 */
        float magnitude = (float)fraction * 0x1p-24f;
        return sign ? -magnitude : magnitude;
    }
    uint32_t wide = exponent == 31 ? 255 : exponent - 15 + 127; /* 31: infinity and NaN */
    return float_of_bits(sign | wide << 23 | fraction << 13);
}

static int convert_half(const unsigned char *from, int64_t n, void *to)
{
    for (int64_t i = 0; i < n; i++) ((float *)to)[i] = widen_half(load_16(from + 2 * i));
    return ICOT_OK;
}

/* bfloat16 is the upper half of a float32. */
static int convert_brain(const unsigned char *from, int64_t n, void *to)
{
    for (int64_t i = 0; i < n; i++) {
        ((float *)to)[i] = float_of_bits((uint32_t)load_16(from + 2 * i) << 16);
    }
    return ICOT_OK;
}

static int convert_single(const unsigned char *from, int64_t n, void *to)
{
    for (int64_t i = 0; i < n; i++) ((float *)to)[i] = float_of_bits(load_32(from + 4 * i));
    return ICOT_OK;
}

static int narrow_long(const unsigned char *from, int64_t n, void *to)
{
    for (int64_t i = 0; i < n; i++) {
        int64_t value;
        memcpy(&value, from + 8 * i, sizeof value);
        if (value < INT32_MIN || value > INT32_MAX) {
            return fail("element %" PRId64 " is %" PRId64 ", which does not fit in int32", i,
                        value);
        }
        ((int32_t *)to)[i] = (int32_t)value;
    }
    return ICOT_OK;
}

/* How elements of a stored dtype are brought into a tensor. */
typedef struct conversion {
    const char *stored;
    int64_t bytes; /* of a stored element */
    icot_dtype dtype;
    int (*convert)(const unsigned char *from, int64_t n, void *to); /* NULL: nothing to be done */
} conversion;

static const conversion conversions[] = {
    {"F32", 4, ICOT_FLOAT32, convert_single}, {"F16", 2, ICOT_FLOAT32, convert_half},
    {"BF16", 2, ICOT_FLOAT32, convert_brain}, {"I32", 4, ICOT_INT32, NULL},
    {"I64", 8, ICOT_INT32, narrow_long},
};

/* Whether the stored bytes are those of the tensor already, so that they need no buffer. */
static bool is_identical(const conversion *how, const unsigned char *from, int64_t n)
{
    if (how->convert != convert_single) return how->convert == NULL;
    int64_t nans = 0;
    for (int64_t i = 0; i < n; i++) nans += (load_32(from + 4 * i) & 0x7FFFFFFF) > 0x7F800000;
    return nans == 0;
}

static const conversion *find_conversion(const char *stored)
{
    for (size_t i = 0; i < sizeof conversions / sizeof *conversions; i++) {
        if (strcmp(conversions[i].stored, stored) == 0) return &conversions[i];
    }
    error_set("dtype %s cannot be read, only F32, F16, BF16, I32 and I64", stored);
    return NULL;
}

/* ---- Tensors --------------------------------------------------------------------------------- */

static int check_range(const icot_safetensors *file, const icot_stored_tensor *stored,
                       const conversion *how, const icot_tensor_info *info)
{
    int64_t data_bytes = icot_safetensors_data_bytes(file);
    if (info->dtype != how->dtype) {
        return fail("dtype %s cannot be read into a tensor of %s", stored->dtype,
                    info->dtype == ICOT_INT32 ? "int32" : "float32");
    }
    if (stored->begin < 0 || stored->end < stored->begin || stored->end > data_bytes) {
        return fail("bytes %" PRId64 " to %" PRId64 " do not lie in the %" PRId64
                    " bytes of the tensors",
                    stored->begin, stored->end, data_bytes);
    }
    if ((stored->end - stored->begin) % how->bytes != 0 ||
        (stored->end - stored->begin) / how->bytes != info->numel) {
        return fail("it has %" PRId64 " bytes of %s, which are not the %" PRId64
                    " elements of the tensor to be filled",
                    stored->end - stored->begin, stored->dtype, info->numel);
    }
    return ICOT_OK;
}

static int copy_range(icot_engine *engine, const unsigned char *from, const conversion *how,
                      const icot_tensor_info *info, icot_tensor out)
{
    void *converted;
    if (is_identical(how, from, info->numel))
        return icot_tensor_write(engine, out, from, info->numel);
    if (memory_alloc((size_t)info->numel * 4, &converted)) return ICOT_FAILED;
    int status = how->convert(from, info->numel, converted);
    if (!status) status = icot_tensor_write(engine, out, converted, info->numel);
    memory_free(converted);
    return status;
}

int icot_safetensors_read(icot_engine *engine, const icot_safetensors *file,
                          const icot_stored_tensor *stored, icot_tensor out)
{
    icot_tensor_info info;
    const conversion *how = find_conversion(stored->dtype);
    if (!how || icot_tensor_describe(engine, out, &info)) goto failed;
    if (check_range(file, stored, how, &info)) goto failed;
    if (mapped_check(&file->file)) return ICOT_FAILED;
    const unsigned char *data = file->file.data + LENGTH_BYTES + file->header_bytes;
    if (copy_range(engine, data + stored->begin, how, &info, out)) goto failed;
    return ICOT_OK;

failed:
    return fail_within("safetensors file %s: tensor %s", file->file.path, stored->name);
}
