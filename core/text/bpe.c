#include "text/bpe.h"

#include "base/error.h"
#include "base/memory.h"

enum { NONE = -1 };

/* A token of the word while it is merged; the list skips those that were merged into another. */
typedef struct bpe_symbol {
    int32_t id;
    int32_t previous, next; /* neighbours, NONE at the ends */
    int32_t rank;           /* of the merge with the next one, or NO_MERGE */
} bpe_symbol;

/* ---- The heap -------------------------------------------------------------------------------- */

static void push(bpe_heap *heap, uint64_t item)
{
    int64_t at = heap->count++;
    while (at > 0 && heap->items[(at - 1) / 2] > item) {
        heap->items[at] = heap->items[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap->items[at] = item;
}

static uint64_t pop(bpe_heap *heap)
{
    const uint64_t top = heap->items[0], moved = heap->items[--heap->count];
    int64_t at = 0, child;
    while ((child = 2 * at + 1) < heap->count) {
        if (child + 1 < heap->count && heap->items[child + 1] < heap->items[child]) child++;
        if (heap->items[child] >= moved) break;
        heap->items[at] = heap->items[child];
        at = child;
    }
    heap->items[at] = moved;
    return top;
}

/* ---- Scratch memory -------------------------------------------------------------------------- */

void bpe_scratch_free(bpe_scratch *scratch)
{
    memory_free(scratch->symbols);
    memory_free(scratch->candidates.items);
    *scratch = (bpe_scratch){0};
}

/*
 * n bytes have n - 1 pairs, and each of at most n - 1 merges takes a candidate and adds up to two:
 * there are never more than 2n.
 */
static int reserve(bpe_scratch *scratch, int64_t bytes)
{
    bpe_heap *heap = &scratch->candidates;
    return memory_grow(&scratch->symbols, &scratch->capacity, bytes, sizeof *scratch->symbols) ||
           memory_grow(&heap->items, &heap->capacity, 2 * bytes, sizeof *heap->items);
}

/* ---- Merging --------------------------------------------------------------------------------- */

/* Looks up the merge of the token at `at` with the next one, and notes it as a candidate. */
static void consider(bpe_scratch *scratch, const merge_table *merges, int32_t at)
{
    bpe_symbol *left = &scratch->symbols[at];
    if (left->next == NONE) {
        left->rank = NO_MERGE;
        return;
    }
    left->rank = merge_rank(merges, left->id, scratch->symbols[left->next].id);
    if (left->rank == NO_MERGE) return;
    push(&scratch->candidates, (uint64_t)left->rank << 32 | (uint32_t)at);
}

static void start(bpe_scratch *scratch, const int32_t *byte_ids, const char *word, int32_t bytes)
{
    for (int32_t i = 0; i < bytes; i++) {
        scratch->symbols[i] = (bpe_symbol){.id = byte_ids[(unsigned char)word[i]],
                                           .previous = i - 1,
                                           .next = i + 1 < bytes ? i + 1 : NONE};
    }
}

/* Merges the token at `at` with the next one. */
static void merge(bpe_scratch *scratch, const merge_table *merges, int32_t at)
{
    bpe_symbol *left = &scratch->symbols[at], *right = &scratch->symbols[left->next];
    left->id = merges->results[left->rank];
    left->next = right->next;
    right->rank = NO_MERGE; /* it is no more: its candidates are void */
    if (left->next != NONE) scratch->symbols[left->next].previous = at;

    consider(scratch, merges, at);
    if (left->previous != NONE) consider(scratch, merges, left->previous);
}

int bpe_encode(bpe_scratch *scratch, const merge_table *merges, const int32_t *byte_ids,
               const char *word, int64_t bytes, int32_t *out, int64_t *count)
{
    if (reserve(scratch, bytes)) return ICOT_FAILED;
    bpe_heap *heap = &scratch->candidates;
    heap->count = 0;
    start(scratch, byte_ids, word, (int32_t)bytes);
    for (int32_t i = 0; i < bytes; i++) consider(scratch, merges, i);

    while (heap->count > 0) {
        const uint64_t best = pop(heap);
        const int32_t at = (int32_t)(best & UINT32_MAX), rank = (int32_t)(best >> 32);
        if (scratch->symbols[at].rank == rank) merge(scratch, merges, at);
    }
    *count = 0;
    for (int32_t at = 0; at != NONE; at = scratch->symbols[at].next) {
        out[(*count)++] = scratch->symbols[at].id;
    }
    return ICOT_OK;
}
