/*
 * Batches: chosen examples of a corpus, their CoT cut (cut.c), packed end to end without padding.
 *
 * Two passes over the examples: the first checks everything and counts the tokens, the second
 * writes. So a batch is either built as asked or left as it was, and its arrays, once they are
 * large enough, are used again and again. A batch is some ten thousand tokens, copied in a few
 * microseconds; threads would cost more than they save.
 */
#include "base/error.h"
#include "base/memory.h"
#include "icot.h"
#include "text/corpus.h"
#include "text/cut.h"
#include "text/removal.h"

enum { MARKS = 4 }; /* separators in a sequence: <eos>, <eos>, ####, <eos> */

int icot_batch_create(icot_batch **out)
{
    void *batch;
    if (memory_alloc_zero(1, sizeof(icot_batch), &batch)) return ICOT_FAILED;
    *out = batch;
    return ICOT_OK;
}

void icot_batch_free(icot_batch *batch)
{
    if (!batch) return;
    memory_free(batch->tokens);
    memory_free(batch->positions);
    memory_free(batch->cu_seqlens);
    memory_free(batch->eos_rows);
    memory_free(batch->pauses);
    memory_free(batch->target_rows);
    memory_free(batch->targets);
    memory_free(batch);
}

/* ---- Room ------------------------------------------------------------------------------------ */

static int resize(int32_t **array, int64_t count)
{
    void *block = *array;
    if (memory_resize(&block, (size_t)count * sizeof **array)) return ICOT_FAILED;
    *array = block;
    return ICOT_OK;
}

/* A quarter more than needed: batches that differ by a few tokens fit in the same arrays. */
static int make_room(icot_batch *batch, int64_t examples, int64_t tokens)
{
    if (tokens > batch->token_capacity) {
        int64_t capacity = tokens + tokens / 4;
        if (resize(&batch->tokens, capacity) || resize(&batch->positions, capacity) ||
            resize(&batch->target_rows, capacity) || resize(&batch->targets, capacity)) {
            return ICOT_FAILED;
        }
        batch->token_capacity = capacity;
    }
    if (examples > batch->example_capacity) {
        if (resize(&batch->cu_seqlens, examples + 1) || resize(&batch->eos_rows, examples) ||
            resize(&batch->pauses, examples)) {
            return ICOT_FAILED;
        }
        batch->example_capacity = examples;
    }
    return ICOT_OK;
}

/* ---- First pass: what the batch will hold ---------------------------------------------------- */

typedef enum batch_kind { SEQUENCES, PROMPTS } batch_kind;

/* What is asked for; both passes see the same. */
typedef struct batch_request {
    const icot_corpus *corpus;
    const int64_t *ids; /* (n) examples of the corpus */
    int64_t n;
    const icot_removal *removal;
    batch_kind kind;
} batch_request;

/* The k-th example of the batch, cut. */
static int cut_kth(const batch_request *asked, int64_t k, cut_example *out)
{
    const int with_draws = asked->kind == SEQUENCES ? WITH_DRAWS : WITHOUT_DRAWS;
    if (cut_example_of(asked->corpus, asked->ids[k], k, asked->removal, with_draws, out)) {
        return fail_within("batch: entry %lld", (long long)k + 1);
    }
    return ICOT_OK;
}

/* Rows that it takes. */
static int64_t packed_length(const cut_example *example, batch_kind kind)
{
    if (kind == PROMPTS) return (int64_t)example->question + 1 + example->pauses;
    return (int64_t)example->question + example->written + example->answer + MARKS;
}

/* Checks the request and gives the number of tokens that it will take. */
static int measure(const batch_request *asked, int64_t *n_tokens)
{
    if (asked->n < 1) {
        return fail("batch: got %lld examples, expected at least 1", (long long)asked->n);
    }
    if (removal_check(asked->removal, corpus_vocab_size(asked->corpus))) {
        return fail_within("batch");
    }
    int64_t total = 0;
    for (int64_t k = 0; k < asked->n; k++) {
        cut_example example;
        if (cut_kth(asked, k, &example)) return ICOT_FAILED;
        total += packed_length(&example, asked->kind);
        if (total > INT32_MAX) {
            return fail("batch: %lld examples have more than %d tokens together; take fewer",
                        (long long)asked->n, INT32_MAX);
        }
    }
    *n_tokens = total;
    return ICOT_OK;
}

/* ---- Second pass: writing -------------------------------------------------------------------- */

/* One example on its way into the batch. */
typedef struct sequence {
    icot_batch *batch;
    const icot_corpus *corpus;
    const icot_removal *removal;
    cut_example example;
    sequence_positions positions;
    int64_t eos_row; /* the row of its first <eos>, which the CoT follows */
} sequence;

static void count_up(int32_t *out, int32_t first, int64_t n)
{
    for (int64_t i = 0; i < n; i++) out[i] = first + (int32_t)i;
}

/* question <eos> and the pauses that the CoT begins with. */
static void write_prompt(const sequence *s)
{
    const int32_t q = s->example.question, pauses = s->example.pauses;
    int32_t *tokens = s->batch->tokens + s->eos_row, *positions = s->batch->positions + s->eos_row;

    corpus_copy(s->corpus, s->example.at.question, s->example.at.cot, tokens - q);
    tokens[0] = s->removal->eos;
    for (int32_t i = 1; i <= pauses; i++) tokens[i] = s->removal->pause;
    count_up(positions - q, s->positions.question, q);
    count_up(positions, s->positions.eos, 1 + pauses);
}

/*
 * The CoT tokens that are left, one by one, from row `row` on: what an order of removal leaves has
 * gaps. Kept, each has the position it had.
 */
static void write_cot_with_gaps(const sequence *s, int64_t row)
{
    const cut_example *example = &s->example;
    const int is_kept = s->removal->positions == ICOT_KEPT;
    int32_t count = 0;
    for (int32_t i = 0; i < example->cot; i++) {
        if (!removal_keeps(s->removal, example->cot, i, example->removed)) continue;
        const int64_t from = example->at.cot + i;
        corpus_copy(s->corpus, from, from + 1, s->batch->tokens + row + count);
        s->batch->positions[row + count] =
            is_kept ? example->question + 1 + i : s->positions.cot + count;
        count++;
    }
}

/* The same where they lie side by side. */
static void write_cot_in_one(const sequence *s, int64_t row)
{
    const cut_example *example = &s->example;
    const int64_t skipped = s->removal->side == ICOT_LEFT ? example->removed : 0;
    const int64_t left = example->cot - example->removed;
    const int64_t first = example->at.cot + skipped;
    corpus_copy(s->corpus, first, first + left, s->batch->tokens + row);
    count_up(s->batch->positions + row, s->positions.cot, left);
}

/* The whole CoT, a pause in the place of each token that goes. */
static void write_cot_with_pauses(const sequence *s, int64_t row)
{
    const cut_example *example = &s->example;
    corpus_copy(s->corpus, example->at.cot, example->at.answer, s->batch->tokens + row);
    for (int32_t i = 0; i < example->cot; i++) {
        if (removal_keeps(s->removal, example->cot, i, example->removed)) continue;
        s->batch->tokens[row + i] = s->removal->pause;
    }
    count_up(s->batch->positions + row, s->positions.cot, example->cot);
}

static void write_cot(const sequence *s)
{
    const int64_t row = s->eos_row + 1;
    if (removal_fills_places(s->removal)) {
        write_cot_with_pauses(s, row);
    } else if (s->removal->side == ICOT_ORDERED) {
        write_cot_with_gaps(s, row);
    } else { /* the pauses that lead it are written with the prompt */
        write_cot_in_one(s, row + s->example.pauses);
    }
}

/* cot' <eos> #### answer <eos> */
static void write_solution(const sequence *s)
{
    const cut_example *example = &s->example;
    const int64_t row = s->eos_row + 1 + example->written;
    int32_t *tokens = s->batch->tokens + row;

    write_cot(s);
    tokens[0] = s->removal->eos;
    tokens[1] = s->removal->separator;
    corpus_copy(s->corpus, example->at.answer, example->at.end, tokens + 2);
    tokens[2 + example->answer] = s->removal->eos;
    count_up(s->batch->positions + row, s->positions.rest, example->answer + MARKS - 1);
}

/* Rows first … last-1 predict the token that follows each of them, unless that is a pause. */
static void add_targets(icot_batch *batch, const icot_removal *removal, int64_t first, int64_t last)
{
    for (int64_t row = first; row < last; row++) {
        const int32_t next = batch->tokens[row + 1];
        if (next == removal->pause) continue;
        batch->target_rows[batch->n_targets] = (int32_t)row;
        batch->targets[batch->n_targets++] = next;
    }
}

/* Writes the k-th example behind those that are there. */
static int pack(icot_batch *batch, const batch_request *asked, int64_t k)
{
    sequence s = {.batch = batch, .corpus = asked->corpus, .removal = asked->removal};
    const cut_example *example = &s.example;
    if (cut_kth(asked, k, &s.example)) return ICOT_FAILED;
    s.positions = removal_positions(asked->removal, example->question, example->cot,
                                    example->removed, example->pauses);
    s.eos_row = batch->n_tokens + example->question;
    batch->n_tokens += packed_length(example, asked->kind);

    write_prompt(&s);
    if (asked->kind == SEQUENCES) {
        write_solution(&s);
        add_targets(batch, asked->removal, s.eos_row, batch->n_tokens - 1);
    }
    batch->eos_rows[k] = (int32_t)s.eos_row;
    batch->pauses[k] = example->pauses;
    batch->cot_left += example->cot - example->removed;
    batch->cu_seqlens[k + 1] = (int32_t)batch->n_tokens;
    return ICOT_OK;
}

static int build(icot_batch *batch, const batch_request *asked)
{
    int64_t n_tokens;
    if (measure(asked, &n_tokens) || make_room(batch, asked->n, n_tokens)) return ICOT_FAILED;
    batch->n_examples = asked->n;
    batch->n_tokens = batch->n_targets = batch->cot_left = 0;
    batch->cu_seqlens[0] = 0;
    for (int64_t k = 0; k < asked->n; k++) {
        if (pack(batch, asked, k)) return ICOT_FAILED;
    }
    return ICOT_OK;
}

int icot_batch_pack(icot_batch *batch, const icot_corpus *corpus, const int64_t *ids, int64_t n,
                    const icot_removal *removal)
{
    const batch_request asked = {corpus, ids, n, removal, SEQUENCES};
    return build(batch, &asked);
}

int icot_batch_prompts(icot_batch *batch, const icot_corpus *corpus, const int64_t *ids, int64_t n,
                       const icot_removal *removal)
{
    const batch_request asked = {corpus, ids, n, removal, PROMPTS};
    return build(batch, &asked);
}
