#include "text/removal.h"

#include "base/error.h"
#include "base/random.h"

#include <math.h>

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
    if (removal->side != ICOT_LEFT && removal->side != ICOT_RIGHT) {
        return fail("removal: got side %d, expected left (%d) or right (%d)", (int)removal->side,
                    ICOT_LEFT, ICOT_RIGHT);
    }
    if (removal->positions != ICOT_CLOSED_UP && removal->positions != ICOT_KEPT) {
        return fail("removal: got positions %d, expected closed up (%d) or kept (%d)",
                    (int)removal->positions, ICOT_CLOSED_UP, ICOT_KEPT);
    }
    if (removal->eos < 0 || removal->eos >= vocab_size || removal->separator < 0 ||
        removal->separator >= vocab_size) {
        return fail("removal: <eos> is %d and #### is %d, expected 0 to %lld", removal->eos,
                    removal->separator, (long long)vocab_size - 1);
    }
    return ICOT_OK;
}

/*
 * Draws o with P(o) = (1 - exp(-λ)) exp(-λ·o) by inverting its distribution function
 * F(o) = 1 - exp(-λ·(o + 1)): the smallest o with F(o) > u is floor(-log(1 - u) / λ).
 */
static int64_t draw_offset(const icot_removal *removal, int64_t k)
{
    const double most = 0x1p53; /* a tiny λ must not leave the range of int64 */
    double u = random_uniform_at(removal->key, (uint64_t)k);
    double offset = floor(-log1p(-u) / removal->smoothing);
    return (int64_t)(offset < most ? offset : most);
}

int64_t removal_count(const icot_removal *removal, int64_t k, int64_t m, int with_offsets)
{
    int smoothed = with_offsets && removal->smoothing > 0.0;
    int64_t offset = smoothed ? draw_offset(removal, k) : 0, count;
    if (__builtin_add_overflow(removal->removed, offset, &count)) count = INT64_MAX;

    int64_t beyond = removal->remove_all_beyond;
    if (count > m || (beyond >= 0 && count >= beyond)) return m;
    return count;
}

/*
 * Closed up, positions count the tokens that are there. Kept, every token after the cut has the
 * position it had with the full CoT; if a separator stands just before the cut, it moves up to
 * stand right before the first token that is left, so that its position shows how much is gone.
 * That is so for all removal from the left, and from the right once the whole CoT is gone.
 */
sequence_positions removal_positions(const icot_removal *removal, int32_t q, int32_t m,
                                     int32_t removed)
{
    if (removal->positions == ICOT_CLOSED_UP) {
        return (sequence_positions){.eos = q, .cot = q + 1, .rest = q + 1 + m - removed};
    }
    int cut_follows_eos = removal->side == ICOT_LEFT || removed == m;
    int32_t moved = cut_follows_eos ? removed : 0;
    return (sequence_positions){.eos = q + moved, .cot = q + 1 + moved, .rest = q + 1 + m};
}
