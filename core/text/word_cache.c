#include "text/word_cache.h"

#include "base/memory.h"

#include <stddef.h>
#include <string.h>

int word_cache_make(cached_word **out)
{
    void *slots;
    int failed = memory_alloc_zero(CACHE_SLOTS, sizeof(cached_word), &slots);
    if (!failed) *out = slots;
    return failed;
}

/* FNV-1a, its upper bits folded in. */
static uint32_t hash(const char *word, int64_t bytes)
{
    uint64_t h = UINT64_C(0xCBF29CE484222325);
    for (int64_t i = 0; i < bytes; i++) {
        h = (h ^ (unsigned char)word[i]) * UINT64_C(0x100000001B3);
    }
    return (uint32_t)(h ^ h >> 32);
}

cached_word *word_cache_find(cached_word *cache, const char *word, int64_t bytes, int *found)
{
    *found = 0;
    if (bytes > CACHED_BYTES) return NULL;
    cached_word *place = &cache[hash(word, bytes) % CACHE_SLOTS];
    *found = place->bytes == bytes && memcmp(place->text, word, (size_t)bytes) == 0;
    return place;
}

void word_cache_put(cached_word *place, const char *word, int64_t bytes, const int32_t *ids,
                    int64_t count)
{
    if (!place || count > CACHED_IDS) return;
    place->bytes = (uint8_t)bytes;
    place->count = (uint8_t)count;
    memcpy(place->text, word, (size_t)bytes);
    memcpy(place->ids, ids, (size_t)count * sizeof *ids);
}
