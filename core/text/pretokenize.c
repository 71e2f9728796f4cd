#include "text/pretokenize.h"

#include "text/unicode_classes.h"

#include <stddef.h>

/* Bytes of the contraction ('s, 'll, …) at text; 0: there is none. */
static ptrdiff_t contraction_bytes(const char *text, const char *end)
{
    if (*text != '\'' || end - text < 2) return 0;
    const char first = text[1], second = end - text < 3 ? '\0' : text[2];
    if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
    if ((first == 'r' || first == 'v') && second == 'e') return 3;
    return first == 'l' && second == 'l' ? 3 : 0;
}

static const char *run_end(const char *text, const char *end, character_class class)
{
    while (text < end) {
        const character next = character_at(text, end);
        if (next.class != class) break;
        text += next.bytes;
    }
    return text;
}

/*
 * End of a word of white space: \s+(?!\S) leaves the last one of several to what follows, for a
 * space goes with a word; a single one is a word by itself.
 */
static const char *space_end(const char *text, const char *end)
{
    const char *last = text, *next = text; /* of the run: its last character, and what follows it */
    while (next < end) {
        const character c = character_at(next, end);
        if (c.class != CLASS_SPACE) break;
        last = next;
        next += c.bytes;
    }
    return next == end || last == text ? next : last;
}

const char *word_end(const char *text, const char *end)
{
    const ptrdiff_t contraction = contraction_bytes(text, end);
    if (contraction > 0) return text + contraction;

    const char *begin = *text == ' ' && end - text > 1 ? text + 1 : text;
    const character_class class = character_at(begin, end).class;
    return class == CLASS_SPACE ? space_end(text, end) : run_end(begin, end, class);
}
