/* Files that are written in one go: a text from memory, and a copy of another file. */
#include "base/error.h"
#include "icot.h"
#include "io/mapped_file.h"
#include "io/output_file.h"

int icot_file_write(const char *path, const char *text, int64_t length)
{
    output_file file;
    if (length < 0) return fail("file %s: got %lld bytes to write", path, (long long)length);
    if (output_open(&file, "file", path, 1)) return ICOT_FAILED;
    int status = output_write(&file, text, (size_t)length);
    if (!status) status = output_publish(&file);
    output_close(&file);
    return status;
}

int icot_file_copy(const char *from, const char *to)
{
    mapped_file source;
    output_file file;
    if (mapped_open(&source, "file", from)) return ICOT_FAILED;
    int status = output_open(&file, "file", to, 0);
    if (!status) {
        status = mapped_check(&source);
        if (!status) status = output_write(&file, source.data, (size_t)source.bytes);
        if (!status) status = output_publish(&file);
        output_close(&file);
    }
    mapped_close(&source);
    return status;
}
