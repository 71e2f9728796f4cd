#include "text/removal.h"

#include "base/counting.h"
#include "base/error.h"
#include "base/random.h"

#include <math.h>

/* Which tokens, or steps, go. */
static int check_side_and_unit(const icot_removal *removal)
{
    if (removal->side < ICOT_LEFT || removal->side > ICOT_ORDERED) {
        return fail("removal: got side %d, expected left (%d), right (%d) or ordered (%d)",
                    (int)removal->side, ICOT_LEFT, ICOT_RIGHT, ICOT_ORDERED);
    }
    if (removal->side == ICOT_ORDERED && (!removal->ranks || !removal->rank_starts)) {
        return fail("removal: side is ordered, but ranks or rank_starts is missing");
    }
    if (removal->unit != ICOT_TOKENS && removal->unit != ICOT_STEPS) {
        return fail("removal: got unit %d, expected tokens (%d) or steps (%d)", (int)removal->unit,
                    ICOT_TOKENS, ICOT_STEPS);
    }
    if (removal->unit == ICOT_STEPS && removal->side == ICOT_ORDERED) {
        return fail("removal: steps can only be removed from the left or the right");
    }
    return ICOT_OK;
}

/* What stands around the CoT, and in place of what goes. */
static int check_ids(const icot_removal *removal, int64_t vocab_size)
{
    if (removal->eos < 0 || removal->eos >= vocab_size || removal->separator < 0 ||
        removal->separator >= vocab_size) {
        return fail("removal: <eos> is %d and #### is %d, expected 0 to %lld", removal->eos,
                    removal->separator, (long long)vocab_size - 1);
    }
    if (removal->pause > vocab_size) {
        return fail("removal: <pause> is %d, expected at most %lld, the id after all others",
                    removal->pause, (long long)vocab_size);
    }
    return ICOT_OK;
}

/* Pauses that lead the CoT: where they stand, nothing else may have a place that it keeps. */
static int check_leading_pauses(const icot_removal *removal)
{
    if (removal->pauses_each == 0) return ICOT_OK;
    if (removal->pauses_each < 0 || removal->pause < 0) {
        return fail(
            "removal: got %lld pauses for each token or step, and the id %d for them; expected "
            "0 or more of both",
            (long long)removal->pauses_each, removal->pause);
    }
    if (removal->side != ICOT_LEFT || removal->positions != ICOT_CLOSED_UP) {
        return fail(
            "removal: pauses can only lead a CoT that is removed from the left and closed up");
    }
    return ICOT_OK;
}

int removal_check(const icot_removal *removal, int64_t vocab_size)
{
    if (removal->removed < 0) {
        return fail("removal: got %lld removed tokens, expected 0 or more",
                    (long long)removal->removed);
    }
    if (isnan(removal->smoothing) || removal->smoothing == 0.0) {
        return fail("removal: got a smoothing of %g, expected more than 0, or a negative number "
                    "for none",
                    removal->smoothing);
    }
    if (check_side_and_unit(removal)) return ICOT_FAILED;
    if (!(removal->replay >= 0.0 && removal->replay <= 1.0)) {
        return fail("removal: got a replay of %g, expected 0 to 1", removal->replay);
    }
    if (removal->positions != ICOT_CLOSED_UP && removal->positions != ICOT_KEPT) {
        return fail("removal: got positions %d, expected closed up (%d) or kept (%d)",
                    (int)removal->positions, ICOT_CLOSED_UP, ICOT_KEPT);
    }
    if (check_leading_pauses(removal)) return ICOT_FAILED;
    return check_ids(removal, vocab_size);
}

int removal_check_length(const icot_removal *removal, int64_t m)
{
    if (removal->side != ICOT_ORDERED || m <= removal->longest) return ICOT_OK;
    return fail("removal: got a CoT of %lld tokens, but the order of removal covers at most %lld",
                (long long)m, (long long)removal->longest);
}

int removal_keeps(const icot_removal *removal, int64_t m, int64_t i, int64_t removed)
{
    switch (removal->side) {
    case ICOT_LEFT:
        return i >= removed;
    case ICOT_RIGHT:
        return i < m - removed;
    case ICOT_ORDERED:
        return removal->ranks[removal->rank_starts[m] + i] >= removed;
    }
    return 1;
}

int removal_fills_places(const icot_removal *removal)
{
    return removal->pause >= 0 && removal->pauses_each == 0;
}

int64_t removal_leading_pauses(const icot_removal *removal, int64_t wanted)
{
    const int64_t beyond = removal->remove_all_beyond; /* all is gone there: no more come in */
    int64_t pauses, most = removal->pauses_most >= 0 ? removal->pauses_most : INT64_MAX;
    if (beyond >= 0) wanted = smaller(wanted, beyond);
    if (__builtin_mul_overflow(removal->pauses_each, wanted, &pauses)) pauses = INT64_MAX;
    return smaller(pauses, most);
}

int32_t removal_before_first(const icot_removal *removal, int32_t m, int32_t removed)
{
    int32_t first = 0;
    while (first < m && !removal_keeps(removal, m, first, removed)) first++;
    return first;
}

/*
 * Each example draws up to three numbers; these are added to its own, which is below 2^31, since it
 * has more than one of a batch's at most 2^31 tokens. So all lie apart, and below 2^33 (random.h).
 */
static const uint64_t OFFSET_DRAW = 0, REPLAY_DRAW = UINT64_C(1) << 32,
                      STAGE_DRAW = UINT64_C(3) << 31;

/* The smallest o with P(offset <= o) > u. */
static int64_t find_offset(const icot_removal *removal, double u)
{
    int64_t o = 0;
    while (o < removal->n_offsets - 1 && removal->offsets[o] <= u) o++;
    return o;
}

/*
 * Draws o with P(o) = (1 - exp(-λ)) exp(-λ·o) by inverting its distribution function
 * F(o) = 1 - exp(-λ·(o + 1)): the smallest o with F(o) > u is floor(-log(1 - u) / λ).
 */
static int64_t draw_offset(const icot_removal *removal, int64_t k)
{
    const double most = 0x1p53; /* a tiny λ must not leave the range of int64 */
    double u = random_uniform_at(removal->key, (uint64_t)k + OFFSET_DRAW);
    if (removal->offsets) return find_offset(removal, u);
    if (!(removal->smoothing > 0.0)) return 0;
    double offset = floor(-log1p(-u) / removal->smoothing);
    return (int64_t)(offset < most ? offset : most);
}

/* s, or, of an example that replays, a number drawn from those that leave it more than s does. */
static int64_t draw_stage(const icot_removal *removal, int64_t k, int64_t m)
{
    const int64_t all =
        removal->remove_all_beyond >= 0 ? smaller(removal->remove_all_beyond, m) : m;
    const int64_t now = smaller(removal->removed, all);
    if (now < 1 || !(removal->replay > 0.0)) return removal->removed;
    double chance = random_uniform_at(removal->key, (uint64_t)k + REPLAY_DRAW);
    if (chance >= removal->replay) return removal->removed;
    return (int64_t)(random_uniform_at(removal->key, (uint64_t)k + STAGE_DRAW) * (double)now);
}

int64_t removal_wanted(const icot_removal *removal, int64_t k, int64_t m, int with_draws)
{
    int64_t stage = with_draws ? draw_stage(removal, k, m) : removal->removed;
    int64_t offset = with_draws ? draw_offset(removal, k) : 0, wanted;
    return __builtin_add_overflow(stage, offset, &wanted) ? INT64_MAX : wanted;
}

int64_t removal_count(const icot_removal *removal, int64_t m, int64_t wanted)
{
    int64_t beyond = removal->remove_all_beyond;
    return wanted > m || (beyond >= 0 && wanted >= beyond) ? m : wanted;
}

int64_t removal_tokens_of_steps(const icot_removal *removal, int64_t count, const int32_t *ends,
                                int64_t n)
{
    if (n == 0) return 0;
    if (removal->side == ICOT_LEFT) return count > 0 ? ends[count - 1] : 0;
    return ends[n - 1] - (count < n ? ends[n - 1 - count] : 0);
}

/*
 * Closed up, positions count the tokens that are there. Kept, every token after the cut has the
 * position it had with the full CoT; if a separator stands just before the cut, it moves up to
 * stand right before the first token that is left, so that its position shows how much is gone.
 * That is so for all removal from the left, and from elsewhere once the first token is gone. Where
 * pauses stand in the places of what is removed, nothing is gone.
 */
sequence_positions removal_positions(const icot_removal *removal, int32_t q, int32_t m,
                                     int32_t removed, int32_t leading)
{
    if (removal_fills_places(removal)) removed = leading = 0;
    if (removal->positions == ICOT_CLOSED_UP) {
        const int32_t cot = q + 1 + leading;
        return (sequence_positions){.eos = q, .cot = cot, .rest = cot + m - removed};
    }
    int32_t moved = removal_before_first(removal, m, removed);
    return (sequence_positions){.eos = q + moved, .cot = q + 1 + moved, .rest = q + 1 + m};
}
