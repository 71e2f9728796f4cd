#include "text/cut.h"

#include "base/error.h"

/* What goes of an example's CoT: tokens or steps that are to go, and the tokens that these are. */
typedef struct removed_part {
    int64_t wanted, tokens;
} removed_part;

/* What goes of the m CoT tokens of example `id`, the k-th of a batch. */
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
    if (n < 0) return fail("the reasoning steps of example %lld are not marked", (long long)id + 1);
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

int cut_example_of(const icot_corpus *corpus, int64_t id, int64_t k, const icot_removal *removal,
                   int with_draws, cut_example *out)
{
    removed_part gone;
    if (corpus_bounds(corpus, id, &out->at)) return ICOT_FAILED;
    out->question = (int32_t)(out->at.cot - out->at.question);
    out->cot = (int32_t)(out->at.answer - out->at.cot);
    out->answer = (int32_t)(out->at.end - out->at.answer);
    if (removal_check_length(removal, out->cot) ||
        count_removed(corpus, id, k, out->cot, removal, with_draws, &gone)) {
        return ICOT_FAILED;
    }
    out->removed = (int32_t)gone.tokens;
    return add_pauses(removal, gone.wanted, out);
}

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
