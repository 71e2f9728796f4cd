#include "text/steps.h"

#include "base/error.h"
#include "base/hash.h"
#include "base/memory.h"

#include <string.h>

enum { FIRST_SLOTS = 64, NOT_MARKED = -1 };

void step_marks_free(step_marks *marks)
{
    memory_free(marks->pattern_of);
    memory_free(marks->bounds);
    memory_free(marks->ends);
    memory_free(marks->slots);
    *marks = (step_marks){0};
}

int64_t step_marks_bytes(const step_marks *marks)
{
    return marks->example_capacity * (int64_t)sizeof *marks->pattern_of +
           marks->bounds_capacity * (int64_t)sizeof *marks->bounds +
           marks->ends_capacity * (int64_t)sizeof *marks->ends +
           marks->n_slots * (int64_t)sizeof *marks->slots;
}

/* ---- Finding a pattern again ----------------------------------------------------------------- */

static uint64_t hash_of_ends(const int32_t *ends, int64_t n)
{
    uint64_t hash = HASH_BASIS;
    for (int64_t k = 0; k < n; k++) hash = hash_with(hash, (uint32_t)ends[k]);
    return hash_folded(hash);
}

/* The slot of a pattern: where it is, or the free one where it would go. */
static int64_t slot_of(const step_marks *marks, const int32_t *ends, int64_t n)
{
    const int64_t mask = marks->n_slots - 1;
    int64_t slot = (int64_t)(hash_of_ends(ends, n) & (uint64_t)mask);
    while (marks->slots[slot]) {
        const int64_t *at = marks->bounds + marks->slots[slot] - 1;
        const size_t bytes = (size_t)n * sizeof *ends;
        if (at[1] - at[0] == n && (n == 0 || !memcmp(marks->ends + at[0], ends, bytes))) break;
        slot = (slot + 1) & mask;
    }
    return slot;
}

/* Twice as many slots, so that never more than half of them are taken. */
static int grow_slots(step_marks *marks)
{
    if (2 * (marks->n_patterns + 1) <= marks->n_slots) return ICOT_OK;
    const int64_t count = marks->n_slots ? 2 * marks->n_slots : FIRST_SLOTS;
    void *block;
    if (memory_alloc_zero((size_t)count, sizeof *marks->slots, &block)) return ICOT_FAILED;
    memory_free(marks->slots);
    marks->slots = block;
    marks->n_slots = count;
    for (int32_t p = 0; p < (int32_t)marks->n_patterns; p++) {
        const int64_t *at = marks->bounds + p;
        marks->slots[slot_of(marks, marks->ends + at[0], at[1] - at[0])] = p + 1;
    }
    return ICOT_OK;
}

/* ---- Marking --------------------------------------------------------------------------------- */

/* The number of a pattern, which is added if it is a new one. */
static int intern(step_marks *marks, const int32_t *ends, int64_t n, int32_t *number)
{
    if (marks->n_patterns == INT32_MAX - 1) return fail("corpus: too many patterns of steps");
    if (memory_grow(&marks->bounds, &marks->bounds_capacity, marks->n_patterns + 2,
                    sizeof *marks->bounds)) {
        return ICOT_FAILED;
    }
    if (marks->n_patterns == 0) marks->bounds[0] = 0;
    if (grow_slots(marks)) return ICOT_FAILED;

    int32_t *slot = marks->slots + slot_of(marks, ends, n);
    if (!*slot) {
        int64_t *at = marks->bounds + marks->n_patterns;
        if (memory_grow(&marks->ends, &marks->ends_capacity, at[0] + n, sizeof *ends)) {
            return ICOT_FAILED;
        }
        if (n > 0) memcpy(marks->ends + at[0], ends, (size_t)n * sizeof *ends);
        at[1] = at[0] + n;
        *slot = (int32_t)++marks->n_patterns;
    }
    *number = *slot - 1;
    return ICOT_OK;
}

static int is_marked(const step_marks *marks, int64_t index)
{
    return index < marks->n_examples && marks->pattern_of[index] != NOT_MARKED;
}

int step_marks_add(step_marks *marks, int64_t index, const int32_t *ends, int64_t n)
{
    if (is_marked(marks, index)) {
        return fail("corpus: the steps of example %lld are already marked", (long long)index + 1);
    }
    int32_t number;
    if (memory_grow(&marks->pattern_of, &marks->example_capacity, index + 1,
                    sizeof *marks->pattern_of) ||
        intern(marks, ends, n, &number)) {
        return ICOT_FAILED;
    }
    while (marks->n_examples <= index) marks->pattern_of[marks->n_examples++] = NOT_MARKED;
    marks->pattern_of[index] = number;
    return ICOT_OK;
}

void step_marks_find(const step_marks *marks, int64_t index, const int32_t **ends, int64_t *n)
{
    *ends = NULL;
    *n = NOT_MARKED;
    if (!is_marked(marks, index)) return;
    static const int32_t no_ends[1] = {0}; /* so that a marked empty CoT has no NULL either */
    const int64_t *at = marks->bounds + marks->pattern_of[index];
    *n = at[1] - at[0];
    *ends = *n > 0 ? marks->ends + at[0] : no_ends;
}
