#include "base/utf8.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/utf8_decode.h"

#include <stdint.h>
#include <string.h>

static const char replacement[] = "\xEF\xBF\xBD"; /* U+FFFD */

size_t utf8_copy(const char *text, char *out, size_t width)
{
    const char *end = text + strlen(text);
    size_t used = 0;
    uint32_t code_point;
    while (text < end) {
        const int bytes = utf8_decode(text, end, &code_point);
        const char *source = bytes ? text : replacement;
        size_t length = bytes ? (size_t)bytes : sizeof replacement - 1;
        if (used + length > width) break;
        memcpy(out + used, source, length);
        used += length;
        text += bytes ? bytes : 1;
    }
    memset(out + used, 0, width - used);
    return used;
}

int utf8_duplicate(const char *text, char **out)
{
    size_t width = strlen(text) * (sizeof replacement - 1);
    void *copy;
    if (memory_alloc(width + 1, &copy)) return ICOT_FAILED;
    size_t used = utf8_copy(text, copy, width);
    ((char *)copy)[used] = '\0';
    *out = copy;
    return ICOT_OK;
}

size_t utf8_valid_bytes(const char *text, size_t bytes)
{
    const char *valid = text, *end = text + bytes;
    uint32_t code_point;
    int length = 1;
    while (valid < end && length > 0) {
        length = utf8_decode(valid, end, &code_point);
        valid += length;
    }
    return (size_t)(valid - text);
}
