#include "text/merge_table.h"

#include "base/error.h"
#include "base/hash.h"
#include "base/memory.h"

#include <stddef.h>

typedef struct merge_slot {
    int32_t left, right;
    int32_t rank; /* NO_MERGE: the slot is empty */
} merge_slot;

/* The slot of a pair, or the empty one where it belongs; at least half are empty, so it ends. */
static merge_slot *find_slot(const merge_table *table, int32_t left, int32_t right)
{
    const uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    uint32_t at = (uint32_t)(pair * GOLDEN_MULTIPLIER >> 32) & table->mask;
    for (;; at = (at + 1) & table->mask) {
        merge_slot *slot = &table->slots[at];
        if (slot->rank == NO_MERGE || (slot->left == left && slot->right == right)) return slot;
    }
}

int32_t merge_rank(const merge_table *table, int32_t left, int32_t right)
{
    return find_slot(table, left, right)->rank;
}

static int allocate(merge_table *table, int64_t count)
{
    uint32_t size = 16;
    while (size < 2 * count) size *= 2;
    void *slots, *results;
    if (memory_alloc((size_t)size * sizeof *table->slots, &slots)) return ICOT_FAILED;
    table->slots = slots;
    table->mask = size - 1;
    for (uint32_t i = 0; i < size; i++) table->slots[i].rank = NO_MERGE;
    if (memory_alloc((size_t)count * sizeof *table->results, &results)) return ICOT_FAILED;
    table->results = results;
    return ICOT_OK;
}

int merge_table_make(merge_table *table, const int32_t *merges, int64_t count)
{
    *table = (merge_table){0};
    if (count < 0 || count > INT32_MAX / 4) {
        return fail("tokenizer: got %lld merges, expected 0 to %d", (long long)count,
                    INT32_MAX / 4);
    }
    if (allocate(table, count)) return ICOT_FAILED;
    for (; table->count < count; table->count++) {
        const int32_t *merge = merges + 3 * (ptrdiff_t)table->count;
        merge_slot *slot = find_slot(table, merge[0], merge[1]);
        if (slot->rank != NO_MERGE) {
            return fail("tokenizer: merge %d is of the same two tokens as merge %d",
                        table->count + 1, slot->rank + 1);
        }
        *slot = (merge_slot){.left = merge[0], .right = merge[1], .rank = table->count};
        table->results[table->count] = merge[2];
    }
    return ICOT_OK;
}

void merge_table_free(merge_table *table)
{
    memory_free(table->slots);
    memory_free(table->results);
    *table = (merge_table){0};
}
