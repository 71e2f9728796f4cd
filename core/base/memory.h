/*
 * Memory: the one place where the core allocates. Exceptions, and why:
 *   arena.c       is where this takes its large blocks: whole pages, from the system
 *   onednn.c      is a library of its own, which knows nothing of the core
 *   cuda/         has the memory of the card (memory.cu), and C++'s containers on the host
 *   mapped_file.c maps files, which are read where they lie
 *
 * Blocks are 64-byte aligned; small ones are rounded up to a few size classes, large ones to whole
 * pages. What is freed is kept for the next request, since a training step asks for the same sizes
 * again and again. The cache and its counters belong to the process and may be used from any
 * thread.
 */
#ifndef ICOT_BASE_MEMORY_H
#define ICOT_BASE_MEMORY_H

#include <stddef.h>
#include <stdint.h>

/* Gives `bytes` bytes (0 is allowed), not cleared; fails with a message when there are none. */
int memory_alloc(size_t bytes, void **out);

/* The same, cleared, for count elements of the given size; an overflow of the product fails. */
int memory_alloc_zero(size_t count, size_t size, void **out);

/* Makes a block hold at least `bytes` bytes, keeping its contents; it never gets smaller, and
 * *block may be NULL. On failure it is as before. */
int memory_resize(void **block, size_t bytes);

/*
 * Makes an array hold at least `count` elements of `size` bytes; *capacity counts elements and
 * follows on success only. `array` is the address of the pointer to its first element, whatever the
 * type of that; the pointer may be NULL. memory_grow takes half as much again when it has to take
 * more, so that an array may grow one by one.
 */
int memory_reserve(void *array, int64_t *capacity, int64_t count, int64_t size);
int memory_grow(void *array, int64_t *capacity, int64_t count, int64_t size);

void memory_free(void *block); /* NULL is allowed */

/* A copy of a C string, freed by memory_free. */
int memory_copy_string(const char *text, char **out);

#endif
