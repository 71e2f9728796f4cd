#include "io/utf8.h"

#include "base/error.h"
#include "base/memory.h"

#include <stdint.h>
#include <string.h>

static const char replacement[] = "\xEF\xBF\xBD"; /* U+FFFD */

static int is_continuation(unsigned char byte)
{
    return (byte & 0xC0) == 0x80;
}

/* Bytes of the character at `text`; 0 if there is none. Table 3-7 of the Unicode standard. */
static size_t character_bytes(const unsigned char *text)
{
    unsigned char lead = text[0], low = 0x80, high = 0xBF; /* bounds of the second byte */
    size_t bytes = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if (bytes == 1) return 1;
    if (lead < 0xC2 || lead > 0xF4) return 0;
    if (lead == 0xE0) low = 0xA0;  /* longer than need be */
    if (lead == 0xED) high = 0x9F; /* surrogates */
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F; /* beyond U+10FFFF */
    if (text[1] < low || text[1] > high) return 0;
    for (size_t i = 2; i < bytes; i++) {
        if (!is_continuation(text[i])) return 0;
    }
    return bytes;
}

size_t utf8_copy(const char *text, char *out, size_t width)
{
    size_t used = 0;
    while (*text) {
        size_t bytes = character_bytes((const unsigned char *)text);
        const char *source = bytes ? text : replacement;
        size_t length = bytes ? bytes : sizeof replacement - 1;
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
    size_t valid = 0;
    while (valid < bytes) {
        unsigned char last[5] = {0}; /* the text need not end in a zero */
        size_t left = bytes - valid;
        memcpy(last, text + valid, left < 4 ? left : 4);
        size_t length = character_bytes(last);
        if (length == 0 || length > left) break;
        valid += length;
    }
    return valid;
}
