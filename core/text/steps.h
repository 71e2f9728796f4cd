/*
 * Step marks: where the reasoning steps of each example's CoT end.
 *
 * The examples of a corpus mostly share a few patterns of ends, so each distinct pattern is stored
 * once, found again through a hash table, and an example keeps the number of its pattern: 4 bytes.
 * Nothing is allocated until the first example is marked.
 */
#ifndef ICOT_TEXT_STEPS_H
#define ICOT_TEXT_STEPS_H

#include <stdint.h>

typedef struct step_marks {
    int32_t *pattern_of; /* (n_examples) number of each example's pattern; negative: not marked */
    int64_t *bounds;     /* (n_patterns + 1) pattern p is ends[bounds[p]] … ends[bounds[p+1]-1] */
    int32_t *ends;       /* of all patterns, end to end */
    int32_t *slots;      /* (n_slots) hash table: number of a pattern + 1; 0: free */
    int64_t n_examples, n_patterns, n_slots; /* n_slots is a power of two, or 0 */
    int64_t example_capacity, bounds_capacity, ends_capacity;
} step_marks;

/* Marks example `index`; n ends, which the caller has checked. All zeros is an empty step_marks. */
int step_marks_add(step_marks *marks, int64_t index, const int32_t *ends, int64_t n);

/* The ends of an example; *n is -1 and *ends NULL when it is not marked. */
void step_marks_find(const step_marks *marks, int64_t index, const int32_t **ends, int64_t *n);

int64_t step_marks_bytes(const step_marks *marks); /* that were allocated */
void step_marks_free(step_marks *marks);

#endif
