/* Text that goes into a file or comes from one: made valid UTF-8, and checked for being that. */
#ifndef ICOT_BASE_UTF8_H
#define ICOT_BASE_UTF8_H

#include <stddef.h>

/*
 * Copies text into `width` bytes: each byte that is no part of a character becomes U+FFFD, and the
 * end is cut between two characters. Returns the bytes used; the rest is filled with zeros.
 */
size_t utf8_copy(const char *text, char *out, size_t width);

/* A repaired copy of whatever length is needed, ended by a zero; freed by memory_free. */
int utf8_duplicate(const char *text, char **out);

/* How many of the bytes, from the first on, are whole characters; all of them if it is UTF-8. */
size_t utf8_valid_bytes(const char *text, size_t bytes);

#endif
