#include "text/word_cache.h"

#include "base/hash.h"
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

cached_word *word_cache_find(cached_word *cache, const char *word, int64_t bytes, int *found)
{
    *found = 0;
    if (bytes > CACHED_BYTES) return NULL;
    const uint64_t hash = hash_folded(hash_of_bytes(word, (size_t)bytes));
    cached_word *place = &cache[hash % CACHE_SLOTS];
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
