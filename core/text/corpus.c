#include "text/corpus.h"

#include "base/error.h"
#include "base/hash.h"
#include "base/memory.h"
#include "text/steps.h"

#include <string.h>

/* Example i lies between bounds[3i] and bounds[3i+3]: question, CoT and answer in turn. */
enum { PARTS = 3 };

struct icot_corpus {
    int64_t vocab_size;
    int token_bytes; /* 1, 2 or 4 */
    void *tokens;    /* (token_capacity) ids, the first bounds[3 * n_examples] in use */
    int64_t *bounds; /* (bounds_capacity), the first 3 * n_examples + 1 in use */
    int64_t n_examples;
    int64_t token_capacity, bounds_capacity;
    step_marks marks;
};

static int token_bytes_for(int64_t vocab_size)
{
    if (vocab_size <= INT64_C(1) << 8) return 1;
    if (vocab_size <= INT64_C(1) << 16) return 2;
    return 4;
}

int icot_corpus_create(int64_t vocab_size, icot_corpus **out)
{
    if (vocab_size < 1 || vocab_size > INT32_MAX) {
        return fail("corpus: got a vocabulary of %lld tokens, expected 1 to %d",
                    (long long)vocab_size, INT32_MAX);
    }
    void *block;
    if (memory_alloc_zero(1, sizeof(icot_corpus), &block)) return ICOT_FAILED;
    icot_corpus *corpus = block;
    corpus->vocab_size = vocab_size;
    corpus->token_bytes = token_bytes_for(vocab_size);
    if (icot_corpus_reserve(corpus, 0, 0)) { /* room for bounds[0] */
        memory_free(corpus);
        return ICOT_FAILED;
    }
    corpus->bounds[0] = 0;
    *out = corpus;
    return ICOT_OK;
}

void icot_corpus_free(icot_corpus *corpus)
{
    if (!corpus) return;
    memory_free(corpus->tokens);
    memory_free(corpus->bounds);
    step_marks_free(&corpus->marks);
    memory_free(corpus);
}

/* ---- Growth ---------------------------------------------------------------------------------- */

int icot_corpus_reserve(icot_corpus *corpus, int64_t examples, int64_t tokens)
{
    if (examples < 0 || tokens < 0 || examples > INT64_MAX / (PARTS + 1)) {
        return fail("corpus: cannot reserve room for %lld examples of %lld tokens in all",
                    (long long)examples, (long long)tokens);
    }
    if (memory_reserve(&corpus->bounds, &corpus->bounds_capacity, PARTS * examples + 1,
                       sizeof *corpus->bounds) ||
        memory_reserve(&corpus->tokens, &corpus->token_capacity, tokens, corpus->token_bytes)) {
        return ICOT_FAILED;
    }
    return ICOT_OK;
}

static int make_room(icot_corpus *corpus, int64_t tokens)
{
    const int64_t tokens_needed = corpus->bounds[PARTS * corpus->n_examples] + tokens;
    return memory_grow(&corpus->bounds, &corpus->bounds_capacity,
                       PARTS * (corpus->n_examples + 1) + 1, sizeof *corpus->bounds) ||
           memory_grow(&corpus->tokens, &corpus->token_capacity, tokens_needed,
                       corpus->token_bytes);
}

/* ---- Writing --------------------------------------------------------------------------------- */

static int check_ids(const icot_corpus *corpus, const char *part, const int32_t *ids, int64_t n)
{
    const uint32_t vocab_size = (uint32_t)corpus->vocab_size; /* at most INT32_MAX */
    uint32_t bad = 0;
    for (int64_t i = 0; i < n; i++) bad |= (uint32_t)ids[i] >= vocab_size; /* also if negative */
    if (!bad) return ICOT_OK;

    int64_t first = 0;
    while ((uint32_t)ids[first] < vocab_size) first++;
    return fail("corpus: token %lld of the %s of example %lld is %d, expected 0 to %lld",
                (long long)first + 1, part, (long long)corpus->n_examples + 1, ids[first],
                (long long)corpus->vocab_size - 1);
}

static int check_lengths(const icot_corpus *corpus, int64_t n_question, int64_t n_cot,
                         int64_t n_answer)
{
    const int64_t most = INT32_MAX / 4; /* positions and rows of a batch are int32 */
    if (n_question < 1 || n_cot < 0 || n_answer < 1 || n_question > most || n_cot > most ||
        n_answer > most) {
        return fail("corpus: example %lld has %lld question, %lld CoT and %lld answer tokens; "
                    "expected at least one question and one answer token, and at most %lld of each",
                    (long long)corpus->n_examples + 1, (long long)n_question, (long long)n_cot,
                    (long long)n_answer, (long long)most);
    }
    return ICOT_OK;
}

/* Writes n checked ids from token `begin` on, in the width of the corpus. */
static void store(icot_corpus *corpus, int64_t begin, const int32_t *ids, int64_t n)
{
    if (corpus->token_bytes == 1) {
        uint8_t *out = (uint8_t *)corpus->tokens + begin;
        for (int64_t i = 0; i < n; i++) out[i] = (uint8_t)ids[i];
    } else if (corpus->token_bytes == 2) {
        uint16_t *out = (uint16_t *)corpus->tokens + begin;
        for (int64_t i = 0; i < n; i++) out[i] = (uint16_t)ids[i];
    } else if (n > 0) {
        memcpy((int32_t *)corpus->tokens + begin, ids, (size_t)n * sizeof *ids);
    }
}

int icot_corpus_append(icot_corpus *corpus, const int32_t *question, int64_t n_question,
                       const int32_t *cot, int64_t n_cot, const int32_t *answer, int64_t n_answer)
{
    if (check_lengths(corpus, n_question, n_cot, n_answer) ||
        check_ids(corpus, "question", question, n_question) ||
        check_ids(corpus, "CoT", cot, n_cot) || check_ids(corpus, "answer", answer, n_answer) ||
        make_room(corpus, n_question + n_cot + n_answer)) {
        return ICOT_FAILED;
    }
    int64_t *bounds = corpus->bounds + PARTS * corpus->n_examples;
    bounds[1] = bounds[0] + n_question;
    bounds[2] = bounds[1] + n_cot;
    bounds[3] = bounds[2] + n_answer;
    store(corpus, bounds[0], question, n_question);
    store(corpus, bounds[1], cot, n_cot);
    store(corpus, bounds[2], answer, n_answer);
    corpus->n_examples++;
    return ICOT_OK;
}

static int check_ends(const icot_corpus *corpus, const int32_t *ends, int64_t n)
{
    const long long number = (long long)corpus->n_examples; /* of the last, counted from 1 */
    const int64_t *bounds = corpus->bounds + PARTS * (number - 1);
    const int64_t n_cot = bounds[2] - bounds[1];
    int64_t before = 0;
    for (int64_t k = 0; k < n; k++) {
        if (ends[k] <= before || ends[k] > n_cot) {
            return fail("corpus: step %lld of example %lld ends at %d, expected %lld to %lld",
                        (long long)k + 1, number, ends[k], (long long)before + 1, (long long)n_cot);
        }
        before = ends[k];
    }
    if (n < 0 || before != n_cot) {
        return fail("corpus: the steps of example %lld end at %lld, but its CoT has %lld tokens",
                    number, (long long)before, (long long)n_cot);
    }
    return ICOT_OK;
}

int icot_corpus_mark_steps(icot_corpus *corpus, const int32_t *ends, int64_t n)
{
    if (corpus->n_examples == 0) return fail("corpus: there is no example yet to mark steps in");
    if (check_ends(corpus, ends, n)) return ICOT_FAILED;
    return step_marks_add(&corpus->marks, corpus->n_examples - 1, ends, n);
}

/* ---- Reading --------------------------------------------------------------------------------- */

int64_t icot_corpus_size(const icot_corpus *corpus)
{
    return corpus->n_examples;
}

int64_t icot_corpus_bytes(const icot_corpus *corpus)
{
    return (int64_t)sizeof *corpus + corpus->token_capacity * corpus->token_bytes +
           corpus->bounds_capacity * (int64_t)sizeof *corpus->bounds +
           step_marks_bytes(&corpus->marks);
}

/* Takes in some bytes, eight at a time. */
static uint64_t digest_bytes(uint64_t digest, const void *data, int64_t bytes)
{
    for (int64_t i = 0; i < bytes; i += 8) {
        uint64_t word = 0;
        memcpy(&word, (const char *)data + i, bytes - i < 8 ? (size_t)(bytes - i) : 8);
        digest = (digest ^ word) * GOLDEN_MULTIPLIER;
        digest ^= digest >> 29;
    }
    return digest;
}

uint64_t icot_corpus_digest(const icot_corpus *corpus)
{
    int64_t n_bounds = PARTS * corpus->n_examples + 1, n_tokens = corpus->bounds[n_bounds - 1];
    uint64_t digest = digest_bytes(1, &corpus->vocab_size, sizeof corpus->vocab_size);
    digest = digest_bytes(digest, corpus->bounds, n_bounds * (int64_t)sizeof *corpus->bounds);
    return digest_bytes(digest, corpus->tokens, n_tokens * corpus->token_bytes);
}

int64_t corpus_vocab_size(const icot_corpus *corpus)
{
    return corpus->vocab_size;
}

int corpus_bounds(const icot_corpus *corpus, int64_t index, example_bounds *out)
{
    if (index < 0 || index >= corpus->n_examples) {
        return fail("corpus: index %lld is none of its %lld examples (the first has index 0)",
                    (long long)index, (long long)corpus->n_examples);
    }
    const int64_t *bounds = corpus->bounds + PARTS * index;
    *out = (example_bounds){bounds[0], bounds[1], bounds[2], bounds[3]};
    return ICOT_OK;
}

void corpus_copy(const icot_corpus *corpus, int64_t begin, int64_t end, int32_t *out)
{
    const int64_t n = end - begin;
    if (corpus->token_bytes == 1) {
        const uint8_t *in = (const uint8_t *)corpus->tokens + begin;
        for (int64_t i = 0; i < n; i++) out[i] = in[i];
    } else if (corpus->token_bytes == 2) {
        const uint16_t *in = (const uint16_t *)corpus->tokens + begin;
        for (int64_t i = 0; i < n; i++) out[i] = in[i];
    } else if (n > 0) {
        memcpy(out, (const int32_t *)corpus->tokens + begin, (size_t)n * sizeof *out);
    }
}

int icot_corpus_lengths(const icot_corpus *corpus, int64_t index, icot_example *out)
{
    example_bounds at;
    if (corpus_bounds(corpus, index, &at)) return ICOT_FAILED;
    *out = (icot_example){
        .question = at.cot - at.question, .cot = at.answer - at.cot, .answer = at.end - at.answer};
    return ICOT_OK;
}

int icot_corpus_read(const icot_corpus *corpus, int64_t index, int32_t *tokens, int64_t capacity)
{
    example_bounds at;
    if (corpus_bounds(corpus, index, &at)) return ICOT_FAILED;
    if (capacity < at.end - at.question) {
        return fail("corpus: example %lld has %lld tokens, but there is room for %lld",
                    (long long)index + 1, (long long)(at.end - at.question), (long long)capacity);
    }
    corpus_copy(corpus, at.question, at.end, tokens);
    return ICOT_OK;
}

int icot_corpus_steps(const icot_corpus *corpus, int64_t index, const int32_t **ends, int64_t *n)
{
    example_bounds at;
    if (corpus_bounds(corpus, index, &at)) return ICOT_FAILED;
    step_marks_find(&corpus->marks, index, ends, n);
    return ICOT_OK;
}
