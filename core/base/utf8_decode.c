#include "base/utf8_decode.h"

/* Bytes that a character with this first byte has; 0: none begins so. */
static int bytes_announced(unsigned char first)
{
    if (first < 0x80) return 1;
    if (first < 0xC2 || first > 0xF4) return 0; /* C0 and C1 are longer than need be */
    return first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
}

/* Longer than need be, a surrogate, or beyond the last code point. */
static int is_ill_formed(uint32_t code_point, int bytes)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    return code_point < least[bytes] || code_point > 0x10FFFF ||
           (code_point >= 0xD800 && code_point <= 0xDFFF);
}

int utf8_decode(const char *text, const char *end, uint32_t *code_point)
{
    const unsigned char *in = (const unsigned char *)text;
    const int bytes = bytes_announced(in[0]);
    if (bytes == 0 || end - text < bytes) return 0;
    uint32_t c = bytes == 1 ? in[0] : in[0] & (0xFFu >> (bytes + 1));
    for (int i = 1; i < bytes; i++) {
        if ((in[i] & 0xC0) != 0x80) return 0;
        c = c << 6 | (in[i] & 0x3F);
    }
    if (is_ill_formed(c, bytes)) return 0;
    *code_point = c;
    return bytes;
}
