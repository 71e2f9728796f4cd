/*
 * icot_text.h - the part of icot.h that is about text: corpora, what removal cuts from them,
 * batches, and the tokenizer. icot.h includes it, and has the conventions; nobody else should.
 */
#ifndef ICOT_TEXT_H
#define ICOT_TEXT_H

#ifndef ICOT_H
#error "include icot.h"
#endif

/* ---- Text: corpus, removal, batches ---------------------------------------------------------- */

typedef struct icot_corpus icot_corpus; /* examples: question, cot, answer as token ids */

typedef struct icot_example {
    int64_t question, cot, answer; /* lengths in tokens, without separators */
} icot_example;

/* Ids are stored in 1, 2 or 4 bytes each, whichever holds 0 … vocab_size-1. */
ICOT_API int icot_corpus_create(int64_t vocab_size, icot_corpus **out);
ICOT_API void icot_corpus_free(icot_corpus *corpus);
/* Makes room for so many examples and tokens (of all parts) in all, so that appending up to there
 * moves nothing and cannot run out of memory. */
ICOT_API int icot_corpus_reserve(icot_corpus *corpus, int64_t examples, int64_t tokens);
/* Copies the ids of one more example: 0 … vocab_size-1, at least one of question and of answer.
 * After a failure the corpus is as it was. */
ICOT_API int icot_corpus_append(icot_corpus *corpus, const int32_t *question, int64_t n_question,
                                const int32_t *cot, int64_t n_cot, const int32_t *answer,
                                int64_t n_answer);
/*
 * Says where the reasoning steps of the example appended last end: ends (n) are CoT tokens counted
 * from its start, ascending, the last equal to the CoT's length (n = 0: the CoT is empty). Once per
 * example; examples need not be marked.
 */
ICOT_API int icot_corpus_mark_steps(icot_corpus *corpus, const int32_t *ends, int64_t n);
ICOT_API int64_t icot_corpus_size(const icot_corpus *corpus);  /* examples */
ICOT_API int64_t icot_corpus_bytes(const icot_corpus *corpus); /* of memory, room included */
/*
 * A number that tells corpora apart: equal for equal examples, another for nearly all others. Marks
 * of steps do not count: they follow from the examples and from how these were made.
 */
ICOT_API uint64_t icot_corpus_digest(const icot_corpus *corpus);
ICOT_API int icot_corpus_lengths(const icot_corpus *corpus, int64_t index, icot_example *out);
/* Copies question, cot and answer of one example, end to end, into tokens (their total length). */
ICOT_API int icot_corpus_read(const icot_corpus *corpus, int64_t index, int32_t *tokens,
                              int64_t capacity);
/*
 * Where an example's steps end. *n is -1 and *ends NULL if they were never marked; 0 only if its
 * CoT is empty. The array belongs to the corpus and is good until the next marks are set.
 */
ICOT_API int icot_corpus_steps(const icot_corpus *corpus, int64_t index, const int32_t **ends,
                               int64_t *n);

/* ICOT_ORDERED: in an order of the caller's, see icot_removal.ranks */
typedef enum icot_side { ICOT_LEFT = 0, ICOT_RIGHT = 1, ICOT_ORDERED = 2 } icot_side;
/* What s and offsets count: CoT tokens, or the reasoning steps that the corpus has marked. */
typedef enum icot_unit { ICOT_TOKENS = 0, ICOT_STEPS = 1 } icot_unit;
typedef enum icot_positions { ICOT_CLOSED_UP = 0, ICOT_KEPT = 1 } icot_positions;

/* How the CoT is cut when a batch is packed. */
typedef struct icot_removal {
    int64_t removed;  /* s: CoT tokens, or steps, to remove from every example */
    double smoothing; /* λ of the extra offset P(o) ∝ exp(-λ·o); negative: no such offsets */
    const double
        *offsets; /* (n_offsets) instead of λ: P(extra offset <= i), rising to 1; or NULL */
    int64_t n_offsets;
    double replay; /* share of the examples that get fewer than s removed, any number alike */
    int64_t remove_all_beyond; /* s + o at or above this removes all the CoT; negative: never */
    icot_unit unit;
    icot_side side; /* of steps left or right */
    icot_positions positions;
    /*
     * Of ICOT_ORDERED: token i of a CoT of m tokens is the ranks[rank_starts[m] + i]-th that goes,
     * counted from 0. Lengths up to longest; the arrays stay the caller's.
     */
    const int32_t *ranks;
    const int64_t *rank_starts; /* (longest + 1) */
    int64_t longest;
    int32_t eos, separator; /* ids of <eos> and #### */
    int32_t pause; /* id, of no example, that stands in for what goes; negative: nothing does */
    /*
     * 0: a pause in the place of each token that goes. Else the CoT begins with so many for each
     * token, or step, that is to be removed, whether an example has it or not, at most pauses_most
     * (negative: any number); only from the left and closed up.
     */
    int64_t pauses_each, pauses_most;
    icot_random_key key; /* of what is drawn: example k draws numbers k, k + 2^32, k + 3·2^31 */
} icot_removal;

/*
 * Sequences packed end to end: question <eos> cot <eos> #### answer <eos>, the CoT cut. Row r holds
 * tokens[r]; rows that predict a target (everything after the first <eos> but pauses) are listed in
 * target_rows, what they should predict in targets. The arrays belong to the batch.
 */
typedef struct icot_batch {
    int64_t n_examples, n_tokens, n_targets;
    int64_t cot_left;                         /* CoT tokens left in all sequences together */
    int32_t *tokens;                          /* (n_tokens) */
    int32_t *positions;                       /* (n_tokens) */
    int32_t *cu_seqlens;                      /* (n_examples + 1) */
    int32_t *eos_rows;                        /* (n_examples) the row of each first <eos> */
    int32_t *pauses;                          /* (n_examples) that follow it */
    int32_t *target_rows;                     /* (n_targets) */
    int32_t *targets;                         /* (n_targets) */
    int64_t token_capacity, example_capacity; /* room in the arrays, kept for reuse */
} icot_batch;

ICOT_API int icot_batch_create(icot_batch **out);
ICOT_API void icot_batch_free(icot_batch *batch);
/* Packs the examples `ids` of the corpus for training or teacher-forced evaluation. */
ICOT_API int icot_batch_pack(icot_batch *batch, const icot_corpus *corpus, const int64_t *ids,
                             int64_t n, const icot_removal *removal);
/*
 * Packs only `question <eos>` and the pauses that the CoT begins with, positioned so that decoding
 * can go on with the CoT that is left.
 */
ICOT_API int icot_batch_prompts(icot_batch *batch, const icot_corpus *corpus, const int64_t *ids,
                                int64_t n, const icot_removal *removal);
/* Which tokens of an example's CoT (m) are left when nothing is drawn: kept (m), 1 or 0. */
ICOT_API int icot_removal_kept(const icot_removal *removal, const icot_corpus *corpus,
                               int64_t index, uint8_t *kept);

/* ---- Text: tokenizer ------------------------------------------------------------------------- */

typedef struct icot_tokenizer icot_tokenizer; /* byte-level BPE, as GPT-2 has it */

/* What a tokenizer is made of. Every byte must be a token; no token is empty. */
typedef struct icot_tokenizer_parts {
    int64_t n_tokens, n_merges, n_special;
    const char *bytes;     /* of all tokens, end to end */
    const int64_t *bounds; /* (n_tokens + 1) token i is bytes[bounds[i]] … bytes[bounds[i+1]-1] */
    const int32_t *merges; /* (n_merges, 3) left, right and resulting token, the best merge first */
    const int32_t *special; /* (n_special) tokens that are taken whole wherever their bytes stand */
} icot_tokenizer_parts;

/* Copies the parts. */
ICOT_API int icot_tokenizer_create(const icot_tokenizer_parts *parts, icot_tokenizer **out);
ICOT_API void icot_tokenizer_free(icot_tokenizer *tokenizer);
/*
 * The ids of `length` bytes, UTF-8 or not: at most one per byte. Unless with_special is set,
 * special tokens are text like any other. The array belongs to the tokenizer; the next call
 * overwrites it.
 */
ICOT_API int icot_tokenizer_encode(icot_tokenizer *tokenizer, const char *text, int64_t length,
                                   int with_special, const int32_t **ids, int64_t *count);
/* The bytes of ids, in memory that belongs to the tokenizer; the next call overwrites it. */
ICOT_API int icot_tokenizer_decode(icot_tokenizer *tokenizer, const int32_t *ids, int64_t count,
                                   const char **text, int64_t *length);

#endif
