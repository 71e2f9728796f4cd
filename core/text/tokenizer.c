/*
 * Tokenizer: text to tokens and back, byte-level BPE as GPT-2 has it. Every byte is a token, so any
 * string of bytes can be encoded, and decoding gives exactly it again.
 */
#include "base/error.h"
#include "base/memory.h"
#include "icot.h"
#include "text/bpe.h"
#include "text/merge_table.h"
#include "text/pretokenize.h"
#include "text/word_cache.h"

#include <string.h>

enum { BYTES = 256, NOT_GIVEN = -1 };

typedef struct span {
    const char *text;
    int64_t bytes;
} span;

struct icot_tokenizer {
    int64_t n_tokens;
    char *bytes;     /* of all tokens, end to end */
    int64_t *bounds; /* (n_tokens + 1) token i is bytes[bounds[i]] … bytes[bounds[i + 1] - 1] */
    int32_t byte_ids[BYTES]; /* token of each byte */
    merge_table merges;
    int32_t *special; /* (n_special) longest first */
    int64_t n_special;
    char begins_special[BYTES]; /* whether a special token begins with this byte */

    bpe_scratch scratch;
    cached_word *cache;
    int32_t *ids; /* what was encoded last: (ids_capacity), n_ids in use */
    int64_t n_ids, ids_capacity;
    char *text; /* what was decoded last */
};

static span token_at(const icot_tokenizer *tokenizer, int64_t id)
{
    const int64_t begin = tokenizer->bounds[id];
    return (span){tokenizer->bytes + begin, tokenizer->bounds[id + 1] - begin};
}

static int is_id(const icot_tokenizer *tokenizer, int32_t id)
{
    return id >= 0 && id < tokenizer->n_tokens;
}

/* ---- Making one ------------------------------------------------------------------------------ */

static int check_parts(const icot_tokenizer_parts *parts)
{
    if (parts->n_tokens < BYTES || parts->n_tokens > INT32_MAX) {
        return fail("tokenizer: got %lld tokens, expected %d (one for each byte) to %d",
                    (long long)parts->n_tokens, BYTES, INT32_MAX);
    }
    if (parts->n_special < 0 || parts->n_special > parts->n_tokens) {
        return fail("tokenizer: got %lld special tokens, expected 0 to %lld",
                    (long long)parts->n_special, (long long)parts->n_tokens);
    }
    if (parts->bounds[0] != 0) {
        return fail("tokenizer: the first token begins at byte %lld, expected 0",
                    (long long)parts->bounds[0]);
    }
    for (int64_t i = 0; i < parts->n_tokens; i++) {
        if (parts->bounds[i + 1] <= parts->bounds[i]) {
            return fail("tokenizer: token %lld is empty", (long long)i);
        }
    }
    return ICOT_OK;
}

static int copy_of(const void *source, int64_t count, size_t size, void *out)
{
    void *block;
    if (memory_alloc((size_t)count * size, &block)) return ICOT_FAILED;
    if (count > 0) memcpy(block, source, (size_t)count * size);
    memcpy(out, &block, sizeof block);
    return ICOT_OK;
}

static int copy_tokens(icot_tokenizer *tokenizer, const icot_tokenizer_parts *parts)
{
    tokenizer->n_tokens = parts->n_tokens;
    tokenizer->n_special = parts->n_special;
    return copy_of(parts->bytes, parts->bounds[parts->n_tokens], 1, &tokenizer->bytes) ||
           copy_of(parts->bounds, parts->n_tokens + 1, sizeof(int64_t), &tokenizer->bounds) ||
           copy_of(parts->special, parts->n_special, sizeof(int32_t), &tokenizer->special);
}

static int find_byte_ids(icot_tokenizer *tokenizer)
{
    for (int byte = 0; byte < BYTES; byte++) tokenizer->byte_ids[byte] = NOT_GIVEN;
    for (int64_t id = 0; id < tokenizer->n_tokens; id++) {
        const span token = token_at(tokenizer, id);
        if (token.bytes > 1) continue;
        int32_t *byte_id = &tokenizer->byte_ids[(unsigned char)*token.text];
        if (*byte_id != NOT_GIVEN) {
            return fail("tokenizer: tokens %d and %lld are the same byte", *byte_id, (long long)id);
        }
        *byte_id = (int32_t)id;
    }
    for (int byte = 0; byte < BYTES; byte++) {
        if (tokenizer->byte_ids[byte] == NOT_GIVEN) {
            return fail("tokenizer: there is no token for the byte 0x%02X", (unsigned)byte);
        }
    }
    return ICOT_OK;
}

static int is_joined(span whole, span left, span right)
{
    return whole.bytes == left.bytes + right.bytes &&
           memcmp(whole.text, left.text, (size_t)left.bytes) == 0 &&
           memcmp(whole.text + left.bytes, right.text, (size_t)right.bytes) == 0;
}

static int check_merges(const icot_tokenizer *tokenizer, const icot_tokenizer_parts *parts)
{
    for (int64_t i = 0; i < parts->n_merges; i++) {
        const int32_t *merge = parts->merges + 3 * i;
        for (int part = 0; part < 3; part++) {
            if (!is_id(tokenizer, merge[part])) {
                return fail("tokenizer: merge %lld names token %d, ids are 0 to %lld",
                            (long long)i + 1, merge[part], (long long)tokenizer->n_tokens - 1);
            }
        }
        if (!is_joined(token_at(tokenizer, merge[2]), token_at(tokenizer, merge[0]),
                       token_at(tokenizer, merge[1]))) {
            return fail("tokenizer: merge %lld makes token %d of %d and %d, which is not their "
                        "bytes joined",
                        (long long)i + 1, merge[2], merge[0], merge[1]);
        }
    }
    return ICOT_OK;
}

/* Sorts the special tokens, the longest first, so that the first to match is the one to take. */
static int prepare_special(icot_tokenizer *tokenizer)
{
    int32_t *special = tokenizer->special;
    for (int64_t i = 0; i < tokenizer->n_special; i++) {
        if (!is_id(tokenizer, special[i])) {
            return fail("tokenizer: special token %d, ids are 0 to %lld", special[i],
                        (long long)tokenizer->n_tokens - 1);
        }
        const span token = token_at(tokenizer, special[i]);
        tokenizer->begins_special[(unsigned char)*token.text] = 1;
        int64_t at = i;
        const int32_t id = special[i];
        for (; at > 0 && token_at(tokenizer, special[at - 1]).bytes < token.bytes; at--) {
            special[at] = special[at - 1];
        }
        special[at] = id;
    }
    return ICOT_OK;
}

int icot_tokenizer_create(const icot_tokenizer_parts *parts, icot_tokenizer **out)
{
    void *block;
    if (check_parts(parts)) return ICOT_FAILED;
    if (memory_alloc_zero(1, sizeof(icot_tokenizer), &block)) return ICOT_FAILED;
    icot_tokenizer *tokenizer = block;
    if (copy_tokens(tokenizer, parts)) goto failed;
    if (find_byte_ids(tokenizer)) goto failed;
    if (prepare_special(tokenizer)) goto failed;
    if (check_merges(tokenizer, parts)) goto failed;
    if (merge_table_make(&tokenizer->merges, parts->merges, parts->n_merges)) goto failed;
    if (word_cache_make(&tokenizer->cache)) goto failed;
    *out = tokenizer;
    return ICOT_OK;

failed:
    icot_tokenizer_free(tokenizer);
    return ICOT_FAILED;
}

void icot_tokenizer_free(icot_tokenizer *tokenizer)
{
    if (!tokenizer) return;
    merge_table_free(&tokenizer->merges);
    bpe_scratch_free(&tokenizer->scratch);
    memory_free(tokenizer->bytes);
    memory_free(tokenizer->bounds);
    memory_free(tokenizer->special);
    memory_free(tokenizer->cache);
    memory_free(tokenizer->ids);
    memory_free(tokenizer->text);
    memory_free(tokenizer);
}

/* ---- Encoding -------------------------------------------------------------------------------- */

/* Makes room for that many more ids. */
static int reserve_ids(icot_tokenizer *tokenizer, int64_t more)
{
    return memory_grow(&tokenizer->ids, &tokenizer->ids_capacity, tokenizer->n_ids + more,
                       sizeof *tokenizer->ids);
}

static int append_word(icot_tokenizer *tokenizer, const char *word, int64_t bytes)
{
    if (reserve_ids(tokenizer, bytes < CACHED_IDS ? CACHED_IDS : bytes)) return ICOT_FAILED;
    int32_t *out = tokenizer->ids + tokenizer->n_ids;
    int found;
    cached_word *place = word_cache_find(tokenizer->cache, word, bytes, &found);
    if (found) {
        memcpy(out, place->ids,
               sizeof place->ids); /* all of them: a copy of fixed size is quicker */
        tokenizer->n_ids += place->count;
        return ICOT_OK;
    }
    int64_t count;
    if (bpe_encode(&tokenizer->scratch, &tokenizer->merges, tokenizer->byte_ids, word, bytes, out,
                   &count)) {
        return ICOT_FAILED;
    }
    word_cache_put(place, word, bytes, out, count);
    tokenizer->n_ids += count;
    return ICOT_OK;
}

static int append_text(icot_tokenizer *tokenizer, const char *text, const char *end)
{
    while (text < end) {
        const char *next = word_end(text, end);
        if (append_word(tokenizer, text, next - text)) return ICOT_FAILED;
        text = next;
    }
    return ICOT_OK;
}

/* The special token at text, the longest if there are several; NOT_GIVEN: none. */
static int32_t special_at(const icot_tokenizer *tokenizer, const char *text, const char *end)
{
    if (!tokenizer->begins_special[(unsigned char)*text]) return NOT_GIVEN;
    for (int64_t i = 0; i < tokenizer->n_special; i++) {
        const span token = token_at(tokenizer, tokenizer->special[i]);
        if (token.bytes <= end - text && memcmp(token.text, text, (size_t)token.bytes) == 0) {
            return tokenizer->special[i];
        }
    }
    return NOT_GIVEN;
}

/* Cuts the special tokens out first: words don't reach across them. */
static int append_with_special(icot_tokenizer *tokenizer, const char *text, const char *end)
{
    const char *begin = text; /* of what lies before the next special token */
    while (text < end) {
        const int32_t special = special_at(tokenizer, text, end);
        if (special == NOT_GIVEN) {
            text++;
            continue;
        }
        if (append_text(tokenizer, begin, text) || reserve_ids(tokenizer, 1)) return ICOT_FAILED;
        tokenizer->ids[tokenizer->n_ids++] = special;
        text += token_at(tokenizer, special).bytes;
        begin = text;
    }
    return append_text(tokenizer, begin, end);
}

int icot_tokenizer_encode(icot_tokenizer *tokenizer, const char *text, int64_t length,
                          int with_special, const int32_t **ids, int64_t *count)
{
    if (length < 0 || length > INT32_MAX) {
        return fail("tokenizer: got a text of %lld bytes, expected 0 to %d", (long long)length,
                    INT32_MAX);
    }
    tokenizer->n_ids = 0;
    if (with_special ? append_with_special(tokenizer, text, text + length)
                     : append_text(tokenizer, text, text + length)) {
        return ICOT_FAILED;
    }
    *ids = tokenizer->ids;
    *count = tokenizer->n_ids;
    return ICOT_OK;
}

/* ---- Decoding -------------------------------------------------------------------------------- */

static int decoded_bytes(const icot_tokenizer *tokenizer, const int32_t *ids, int64_t count,
                         int64_t *out)
{
    int64_t bytes = 0;
    for (int64_t i = 0; i < count; i++) {
        if (!is_id(tokenizer, ids[i])) {
            return fail("tokenizer: there is no id %d, its ids are 0 to %lld", ids[i],
                        (long long)tokenizer->n_tokens - 1);
        }
        if (__builtin_add_overflow(bytes, token_at(tokenizer, ids[i]).bytes, &bytes)) {
            return fail_as(
                ICOT_ERROR_NO_MEMORY,
                "out of memory: the text of %lld tokens is larger than the address space",
                (long long)count);
        }
    }
    *out = bytes;
    return ICOT_OK;
}

int icot_tokenizer_decode(icot_tokenizer *tokenizer, const int32_t *ids, int64_t count,
                          const char **text, int64_t *length)
{
    int64_t bytes;
    void *block = tokenizer->text;
    if (decoded_bytes(tokenizer, ids, count, &bytes)) return ICOT_FAILED;
    if (memory_resize(&block, (size_t)bytes)) return ICOT_FAILED;
    tokenizer->text = block;
    char *out = tokenizer->text;
    for (int64_t i = 0; i < count; i++) {
        const span token = token_at(tokenizer, ids[i]);
        memcpy(out, token.text, (size_t)token.bytes);
        out += token.bytes;
    }
    *text = tokenizer->text;
    *length = bytes;
    return ICOT_OK;
}
