/*
 * Merges: which two tokens may become one, and which of several merges comes first. A merge is
 * known by its rank, its number in the list (0 is the best); a hash table finds the rank of a pair.
 */
#ifndef ICOT_TEXT_MERGE_TABLE_H
#define ICOT_TEXT_MERGE_TABLE_H

#include <stdint.h>

enum { NO_MERGE = -1 };

typedef struct merge_table {
    struct merge_slot *slots; /* (mask + 1), a power of two */
    uint32_t mask;
    int32_t *results; /* (count) token that the merge of this rank gives */
    int32_t count;
} merge_table;

/*
 * Makes the table from (count, 3) ids: left, right, result. Fails when a pair stands there twice;
 * the ids are the caller's to check. Freed by merge_table_free, also after a failure.
 */
int merge_table_make(merge_table *table, const int32_t *merges, int64_t count);
void merge_table_free(merge_table *table);

/* Rank of a pair, or NO_MERGE. */
int32_t merge_rank(const merge_table *table, int32_t left, int32_t right);

#endif
