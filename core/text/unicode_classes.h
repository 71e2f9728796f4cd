/*
 * Unicode classes: what the pattern of GPT-2's pre-tokenizer asks about a character, \p{L}, \p{N}
 * and \s. Text is UTF-8; a byte that is no part of a character stands for itself, in CLASS_OTHER.
 */
#ifndef ICOT_TEXT_UNICODE_CLASSES_H
#define ICOT_TEXT_UNICODE_CLASSES_H

typedef enum character_class {
    CLASS_OTHER,
    CLASS_LETTER, /* \p{L} */
    CLASS_NUMBER, /* \p{N} */
    CLASS_SPACE   /* \s */
} character_class;

typedef struct character {
    int bytes; /* 1 to 4 */
    character_class class;
} character;

/* The character that begins at text; text < end. */
character character_at(const char *text, const char *end);

#endif
