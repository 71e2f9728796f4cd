/*
 * Memory for large blocks: whole pages, taken from the system once and used again and again.
 *
 * What is given back grows together with what lies free beside it, so that the gradients of a
 * layer find room where its activations were, whatever sizes both have; and later on the sequences
 * that get shorter while CoT is removed. Not for several threads at once: memory.c holds a lock.
 */
#ifndef ICOT_BASE_ARENA_H
#define ICOT_BASE_ARENA_H

#include <stddef.h>

enum { ARENA_PAGE = 4096 };
#define ARENA_MOST ((size_t)1 << 42) /* bytes; no machine has as much memory */

/* So many bytes, whole pages. NULL: the system has no more, and what lies free is too small. */
void *arena_take(size_t bytes);

/* Gives them back, to be used again. */
void arena_give(void *start, size_t bytes);

/* Bytes that lie free, among them such as were never used yet. */
size_t arena_free(void);

/* Gives all that lies free back to the system. */
void arena_release(void);

#endif
