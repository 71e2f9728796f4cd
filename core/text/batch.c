/*
 * Batches: chosen examples of a corpus, their CoT cut, packed end to end without padding.
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

/* A quarter more than needed, so that batches that differ by a few tokens fit in the same arrays.
 */
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

/* One example of the batch, cut: where its parts lie in the corpus and how long they are. */
typedef struct cut_example {
    example_bounds at;
    int32_t question, cot, answer; /* lengths in tokens, the CoT before the cut */
    int32_t removed;               /* CoT tokens that go */
    int32_t written;               /* tokens of the CoT as it is packed, pauses included */
    int32_t pauses;                /* that it begins with */
} cut_example;

/* What goes of an example's CoT: tokens or steps that are to go, and how many tokens that makes. */
typedef struct removed_part {
    int64_t wanted, tokens;
} removed_part;

/* The same of the m tokens that example `id`, the k-th of the batch, has. */
static int count_removed(const icot_corpus *corpus, int64_t id, int64_t k, int64_t m,
                         const icot_removal *removal, int with_draws, removed_part *out)
{
    if (removal->unit == ICOT_TOKENS) {
        out->wanted = removal_wanted(removal, k, m, with_draws);
        out->tokens = removal_count(removal, m, out->wanted);
        return ICOT_OK;
    }
    const int32_t *ends;
    int64_t n;
    if (icot_corpus_steps(corpus, id, &ends, &n)) return ICOT_FAILED;
    if (n < 0) return fail("the reasoning steps of example %lld are not marked", (long long)id);
    out->wanted = removal_wanted(removal, k, n, with_draws);
    out->tokens = removal_tokens_of_steps(removal, removal_count(removal, n, out->wanted), ends, n);
    return ICOT_OK;
}

/* How many pauses the CoT begins with, and how long it is with all that it has. */
static int add_pauses(const icot_removal *removal, int64_t wanted, cut_example *out)
{
    if (removal_fills_places(removal)) {
        out->pauses = removal_before_first(removal, out->cot, out->removed);
        out->written = out->cot;
        return ICOT_OK;
    }
    const int64_t pauses = removal_leading_pauses(removal, wanted);
    const int32_t left = out->cot - out->removed;
    if (pauses > INT32_MAX - left) {
        return fail("%lld pauses are more than a sequence can have", (long long)pauses);
    }
    out->pauses = (int32_t)pauses;
    out->written = out->pauses + left;
    return ICOT_OK;
}

static int cut(const icot_corpus *corpus, int64_t id, int64_t k, const icot_removal *removal,
               batch_kind kind, cut_example *out)
{
    if (corpus_bounds(corpus, id, &out->at)) {
        return fail_within("batch: place %lld", (long long)k);
    }
    out->question = (int32_t)(out->at.cot - out->at.question);
    out->cot = (int32_t)(out->at.answer - out->at.cot);
    out->answer = (int32_t)(out->at.end - out->at.answer);
    int with_draws = kind == SEQUENCES ? WITH_DRAWS : WITHOUT_DRAWS;
    removed_part gone;
    if (removal_check_length(removal, out->cot) ||
        count_removed(corpus, id, k, out->cot, removal, with_draws, &gone)) {
        return fail_within("batch: place %lld", (long long)k);
    }
    out->removed = (int32_t)gone.tokens;
    if (add_pauses(removal, gone.wanted, out)) {
        return fail_within("batch: place %lld", (long long)k);
    }
    return ICOT_OK;
}

static int64_t cut_length(const cut_example *example, batch_kind kind)
{
    if (kind == PROMPTS) return (int64_t)example->question + 1 + example->pauses;
    return (int64_t)example->question + example->written + example->answer + MARKS;
}

/* Checks the request and gives the number of tokens that it will take. */
static int measure(const icot_corpus *corpus, const int64_t *ids, int64_t n,
                   const icot_removal *removal, batch_kind kind, int64_t *n_tokens)
{
    if (n < 1) return fail("batch: got %lld examples, expected at least 1", (long long)n);
    if (removal_check(removal, corpus_vocab_size(corpus))) return fail_within("batch");

    int64_t total = 0;
    for (int64_t k = 0; k < n; k++) {
        cut_example example;
        if (cut(corpus, ids[k], k, removal, kind, &example)) return ICOT_FAILED;
        total += cut_length(&example, kind);
        if (total > INT32_MAX) {
            return fail("batch: %lld examples have more than %d tokens together; take fewer",
                        (long long)n, INT32_MAX);
        }
    }
    *n_tokens = total;
    return ICOT_OK;
}

/* ---- Second pass: writing -------------------------------------------------------------------- */

static void count_up(int32_t *out, int32_t first, int64_t n)
{
    for (int64_t i = 0; i < n; i++) out[i] = first + (int32_t)i;
}

/* question <eos> and the pauses that the CoT begins with, from row `row` on. */
static void write_prompt(icot_batch *batch, const icot_corpus *corpus, const icot_removal *removal,
                         const cut_example *example, const sequence_positions *positions,
                         int64_t row)
{
    const int32_t q = example->question;
    corpus_copy(corpus, example->at.question, example->at.cot, batch->tokens + row);
    batch->tokens[row + q] = removal->eos;
    for (int32_t i = 1; i <= example->pauses; i++) batch->tokens[row + q + i] = removal->pause;
    count_up(batch->positions + row, positions->question, q);
    count_up(batch->positions + row + q, positions->eos, 1 + example->pauses);
}

/*
 * The CoT tokens that are left, one by one: what an order of removal leaves has gaps. Kept, each
 * has the position it had.
 */
static void write_cot_with_gaps(icot_batch *batch, const icot_corpus *corpus,
                                const icot_removal *removal, const cut_example *example,
                                const sequence_positions *positions, int64_t row)
{
    int32_t count = 0;
    for (int32_t i = 0; i < example->cot; i++) {
        if (!removal_keeps(removal, example->cot, i, example->removed)) continue;
        const int64_t from = example->at.cot + i;
        corpus_copy(corpus, from, from + 1, batch->tokens + row + count);
        batch->positions[row + count] =
            removal->positions == ICOT_KEPT ? example->question + 1 + i : positions->cot + count;
        count++;
    }
}

/* The same where they lie side by side. */
static void write_cot_in_one(icot_batch *batch, const icot_corpus *corpus,
                             const icot_removal *removal, const cut_example *example,
                             const sequence_positions *positions, int64_t row)
{
    const int64_t skipped = removal->side == ICOT_LEFT ? example->removed : 0;
    const int64_t left = example->cot - example->removed;
    const int64_t first = example->at.cot + skipped;
    corpus_copy(corpus, first, first + left, batch->tokens + row);
    count_up(batch->positions + row, positions->cot, left);
}

/* The whole CoT, a pause in the place of each token that goes. */
static void write_cot_with_pauses(icot_batch *batch, const icot_corpus *corpus,
                                  const icot_removal *removal, const cut_example *example,
                                  const sequence_positions *positions, int64_t row)
{
    corpus_copy(corpus, example->at.cot, example->at.answer, batch->tokens + row);
    for (int32_t i = 0; i < example->cot; i++) {
        if (removal_keeps(removal, example->cot, i, example->removed)) continue;
        batch->tokens[row + i] = removal->pause;
    }
    count_up(batch->positions + row, positions->cot, example->cot);
}

static void write_cot(icot_batch *batch, const icot_corpus *corpus, const icot_removal *removal,
                      const cut_example *example, const sequence_positions *positions, int64_t row)
{
    if (removal_fills_places(removal)) {
        write_cot_with_pauses(batch, corpus, removal, example, positions, row);
    } else if (removal->side == ICOT_ORDERED) {
        write_cot_with_gaps(batch, corpus, removal, example, positions, row);
    } else { /* the pauses that lead it are written with the prompt */
        write_cot_in_one(batch, corpus, removal, example, positions, row + example->pauses);
    }
}

/* cot' <eos> #### answer <eos>, from row `row` on. */
static void write_solution(icot_batch *batch, const icot_corpus *corpus,
                           const icot_removal *removal, const cut_example *example,
                           const sequence_positions *positions, int64_t row)
{
    const int64_t cot = example->written;
    int32_t *tokens = batch->tokens + row;

    write_cot(batch, corpus, removal, example, positions, row);
    tokens[cot] = removal->eos;
    tokens[cot + 1] = removal->separator;
    corpus_copy(corpus, example->at.answer, example->at.end, tokens + cot + 2);
    tokens[cot + 2 + example->answer] = removal->eos;
    count_up(batch->positions + row + cot, positions->rest, example->answer + MARKS - 1);
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

static int build(icot_batch *batch, const icot_corpus *corpus, const int64_t *ids, int64_t n,
                 const icot_removal *removal, batch_kind kind)
{
    int64_t n_tokens;
    if (measure(corpus, ids, n, removal, kind, &n_tokens) || make_room(batch, n, n_tokens)) {
        return ICOT_FAILED;
    }
    batch->n_examples = n;
    batch->n_tokens = batch->n_targets = batch->cot_left = 0;
    batch->cu_seqlens[0] = 0;
    for (int64_t k = 0; k < n; k++) {
        cut_example example;
        if (cut(corpus, ids[k], k, removal, kind, &example)) return ICOT_FAILED;
        sequence_positions positions = removal_positions(removal, example.question, example.cot,
                                                         example.removed, example.pauses);
        const int64_t row = batch->n_tokens, eos_row = row + example.question;

        write_prompt(batch, corpus, removal, &example, &positions, row);
        batch->n_tokens += cut_length(&example, kind);
        if (kind == SEQUENCES) {
            write_solution(batch, corpus, removal, &example, &positions, eos_row + 1);
            add_targets(batch, removal, eos_row, batch->n_tokens - 1);
        }
        batch->eos_rows[k] = (int32_t)eos_row;
        batch->pauses[k] = example.pauses;
        batch->cot_left += example.cot - example.removed;
        batch->cu_seqlens[k + 1] = (int32_t)batch->n_tokens;
    }
    return ICOT_OK;
}

int icot_batch_pack(icot_batch *batch, const icot_corpus *corpus, const int64_t *ids, int64_t n,
                    const icot_removal *removal)
{
    return build(batch, corpus, ids, n, removal, SEQUENCES);
}

int icot_batch_prompts(icot_batch *batch, const icot_corpus *corpus, const int64_t *ids, int64_t n,
                       const icot_removal *removal)
{
    return build(batch, corpus, ids, n, removal, PROMPTS);
}

/* ---- One example ---------------------------------------------------------------------------- */

int icot_removal_kept(const icot_removal *removal, const icot_corpus *corpus, int64_t index,
                      uint8_t *kept)
{
    example_bounds at;
    removed_part gone;
    if (corpus_bounds(corpus, index, &at)) return ICOT_FAILED;
    const int64_t m = at.answer - at.cot;
    if (removal_check_length(removal, m) ||
        count_removed(corpus, index, 0, m, removal, WITHOUT_DRAWS, &gone)) {
        return ICOT_FAILED;
    }
    for (int64_t i = 0; i < m; i++) kept[i] = (uint8_t)removal_keeps(removal, m, i, gone.tokens);
    return ICOT_OK;
}
