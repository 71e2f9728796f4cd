/*
 * Word cache: the tokens of words met before, since text repeats its words. Of fixed size: a word
 * has one place, which it takes from the word that was there. Long words are not kept.
 */
#ifndef ICOT_TEXT_WORD_CACHE_H
#define ICOT_TEXT_WORD_CACHE_H

#include <stdint.h>

enum { CACHED_BYTES = 22, CACHED_IDS = 10, CACHE_SLOTS = 1 << 15 };

typedef struct cached_word { /* 64 bytes, a cache line */
    uint8_t bytes;           /* 0: nothing is here */
    uint8_t count;
    char text[CACHED_BYTES];
    int32_t ids[CACHED_IDS];
} cached_word;

int word_cache_make(cached_word **out); /* (CACHE_SLOTS), freed by memory_free */

/* The place of a word that is short enough; *found says whether it is there. NULL: too long. */
cached_word *word_cache_find(cached_word *cache, const char *word, int64_t bytes, int *found);

/* Puts a word into its place, if its tokens are few enough. */
void word_cache_put(cached_word *place, const char *word, int64_t bytes, const int32_t *ids,
                    int64_t count);

#endif
