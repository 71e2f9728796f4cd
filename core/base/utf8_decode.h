/* The one place of the core that knows which bytes are a character. */
#ifndef ICOT_BASE_UTF8_DECODE_H
#define ICOT_BASE_UTF8_DECODE_H

#include <stdint.h>

/* Bytes, 1 to 4, of the character that begins at text, where text < end, and its code point; 0:
 * none does, and the code point is left as it was. */
int utf8_decode(const char *text, const char *end, uint32_t *code_point);

#endif
