#include "base/memory.h"

#include "base/arena.h"
#include "base/counting.h"
#include "base/error.h"
#include "icot.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/*
 * Small blocks come in size classes: four per power of two, from 64 bytes up. Class c holds
 * (4 + c % 4) << (c / 4 + SMALLEST_SHIFT) bytes, rounded up to a multiple of ALIGNMENT. So at most
 * a fifth of a block is unused from 256 bytes on; of a smaller one it may be about half, as of 128
 * bytes for 65. Blocks that are larger than those of the last class are whole pages of the arena.
 */
enum { ALIGNMENT = 64, SMALLEST_SHIFT = 4, CLASS_COUNT = 48, LARGE = CLASS_COUNT };

typedef struct block { /* stands in the ALIGNMENT bytes before what the caller gets */
    size_t capacity;
    int size_class; /* LARGE: none */
    struct block *next_free;
} block;

static struct {
    pthread_mutex_t lock;
    block *free_blocks[CLASS_COUNT];
    icot_memory counters;
    int64_t fail_countdown; /* 0: no failure is planned */
} memory = {.lock = PTHREAD_MUTEX_INITIALIZER};

#if defined(__has_feature) /* clang's way to tell; gcc defines the name */
#if __has_feature(address_sanitizer) && !defined(__SANITIZE_ADDRESS__)
#define __SANITIZE_ADDRESS__
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(ICOT_NO_MEMORY_CACHE)
static const int caching = 0; /* let the sanitizer see every allocation and every free */
#else
static const int caching = 1;
#endif

/* Lets the sanitizer see every access beyond the bytes that were asked for, too. */
static void fence(block *taken, size_t bytes)
{
#ifdef __SANITIZE_ADDRESS__
    char *begin = (char *)taken + ALIGNMENT;
    __asan_unpoison_memory_region(begin, taken->capacity);
    __asan_poison_memory_region(begin + bytes, taken->capacity - bytes);
#else
    (void)taken, (void)bytes;
#endif
}

static size_t class_bytes(int size_class)
{
    return (size_t)(4 + size_class % 4) << (size_class / 4 + SMALLEST_SHIFT);
}

static int class_of(size_t bytes)
{
    int size_class = 0;
    if (bytes > class_bytes(0)) {
        int top = 63 - __builtin_clzll((unsigned long long)(bytes - 1));
        size_class = 4 * (top - 2 - SMALLEST_SHIFT);
        while (class_bytes(size_class) < bytes) size_class++;
    }
    return size_class;
}

static block *header_of(void *pointer)
{
    return (block *)((char *)pointer - ALIGNMENT);
}

static int planned_failure(void)
{
    return memory.fail_countdown > 0 && --memory.fail_countdown == 0;
}

/* Gives all that is kept back to the system. Called with the lock held. */
static void release_kept(void)
{
    for (int c = 0; c < CLASS_COUNT; c++) {
        while (memory.free_blocks[c]) {
            block *released = memory.free_blocks[c];
            memory.free_blocks[c] = released->next_free;
            free(released);
        }
    }
    arena_release();
    memory.counters.cached = 0;
}

/* ---- Small blocks ---------------------------------------------------------------------------- */

static block *take_small(int size_class)
{
    block *kept = memory.free_blocks[size_class];
    if (kept) {
        memory.free_blocks[size_class] = kept->next_free;
        memory.counters.cached -= (int64_t)kept->capacity;
        return kept;
    }
    size_t capacity = bytes_rounded_up(class_bytes(size_class), ALIGNMENT);
    block *made = aligned_alloc(ALIGNMENT, capacity + ALIGNMENT);
    if (made) *made = (block){.capacity = capacity, .size_class = size_class};
    return made;
}

static void keep_small(block *freed)
{
    freed->next_free = memory.free_blocks[freed->size_class];
    memory.free_blocks[freed->size_class] = freed;
    memory.counters.cached += (int64_t)freed->capacity;
}

/* ---- Large blocks ---------------------------------------------------------------------------- */

static block *take_large(size_t bytes)
{
    size_t unit = caching ? ARENA_PAGE : ALIGNMENT;
    size_t all = bytes_rounded_up(bytes + ALIGNMENT, unit);
    block *made = caching ? arena_take(all) : aligned_alloc(ALIGNMENT, all);
    if (made) *made = (block){.capacity = all - ALIGNMENT, .size_class = LARGE};
    return made;
}

/* ---- All blocks ------------------------------------------------------------------------------ */

/* Called with the lock held, as what it calls. */
static block *try_to_take(size_t bytes)
{
    return bytes > class_bytes(CLASS_COUNT - 1) ? take_large(bytes) : take_small(class_of(bytes));
}

/* A block from what is kept, or from the system. */
static block *take_block(size_t bytes)
{
    block *found = try_to_take(bytes);
    if (found) return found;
    release_kept(); /* what is kept of other sizes may be what is missing */
    return try_to_take(bytes);
}

int memory_alloc(size_t bytes, void **out)
{
    if (bytes > ARENA_MOST) {
        return fail_as(ICOT_ERROR_NO_MEMORY,
                       "out of memory: a block of %zu bytes is larger than any memory", bytes);
    }
    pthread_mutex_lock(&memory.lock);
    memory.counters.allocations++;
    block *taken = planned_failure() ? NULL : take_block(bytes);
    if (taken) {
        memory.counters.live += (int64_t)taken->capacity;
        if (memory.counters.live > memory.counters.peak) {
            memory.counters.peak = memory.counters.live;
        }
    }
    int64_t live = memory.counters.live;
    pthread_mutex_unlock(&memory.lock);

    if (!taken) {
        return fail_as(ICOT_ERROR_NO_MEMORY,
                       "out of memory: no block of %zu bytes to be had (%lld bytes are in use)",
                       bytes, (long long)live);
    }
    fence(taken, bytes);
    *out = (char *)taken + ALIGNMENT;
    return ICOT_OK;
}

int memory_alloc_zero(size_t count, size_t size, void **out)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        return fail_as(ICOT_ERROR_NO_MEMORY,
                       "out of memory: %zu x %zu bytes is larger than the address space", count,
                       size);
    }
    if (memory_alloc(bytes, out)) return ICOT_FAILED;
    memset(*out, 0, bytes);
    return ICOT_OK;
}

int memory_resize(void **pointer, size_t bytes)
{
    block *before = *pointer ? header_of(*pointer) : NULL;
    if (before && before->capacity >= bytes) {
        fence(before, bytes);
        return ICOT_OK;
    }

    void *larger;
    if (memory_alloc(bytes, &larger)) return ICOT_FAILED;
    if (before) {
        fence(before, before->capacity);
        memcpy(larger, *pointer, before->capacity);
    }
    memory_free(*pointer);
    *pointer = larger;
    return ICOT_OK;
}

int memory_reserve(void *array, int64_t *capacity, int64_t count, int64_t size)
{
    if (count <= *capacity) return ICOT_OK;
    int64_t bytes;
    void *first;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        return fail_as(ICOT_ERROR_NO_MEMORY,
                       "out of memory: %lld x %lld bytes is larger than the address space",
                       (long long)count, (long long)size);
    }
    memcpy(&first, array, sizeof first); /* a pointer of another type is not read as a void * */
    if (memory_resize(&first, (size_t)bytes)) return ICOT_FAILED;
    memcpy(array, &first, sizeof first);
    *capacity = count;
    return ICOT_OK;
}

int memory_grow(void *array, int64_t *capacity, int64_t count, int64_t size)
{
    if (count <= *capacity) return ICOT_OK;
    const int64_t larger = *capacity + *capacity / 2, least = 256;
    if (count < larger) count = larger;
    return memory_reserve(array, capacity, count < least ? least : count, size);
}

void memory_free(void *pointer)
{
    if (!pointer) return;
    block *freed = header_of(pointer);

    pthread_mutex_lock(&memory.lock);
    memory.counters.live -= (int64_t)freed->capacity;
    if (!caching)
        free(freed);
    else if (freed->size_class == LARGE)
        arena_give(freed, freed->capacity + ALIGNMENT);
    else
        keep_small(freed);
    pthread_mutex_unlock(&memory.lock);
}

int memory_copy_string(const char *text, char **out)
{
    size_t bytes = strlen(text) + 1;
    void *copy;
    if (memory_alloc(bytes, &copy)) return ICOT_FAILED;
    memcpy(copy, text, bytes);
    *out = copy;
    return ICOT_OK;
}

void icot_memory_read(icot_memory *out)
{
    pthread_mutex_lock(&memory.lock);
    *out = memory.counters;
    out->cached += (int64_t)arena_free();
    pthread_mutex_unlock(&memory.lock);
}

void icot_memory_reset_peak(void)
{
    pthread_mutex_lock(&memory.lock);
    memory.counters.peak = memory.counters.live;
    pthread_mutex_unlock(&memory.lock);
}

void icot_memory_release_cache(void)
{
    pthread_mutex_lock(&memory.lock);
    release_kept();
    pthread_mutex_unlock(&memory.lock);
}

void icot_memory_fail_at(int64_t nth)
{
    pthread_mutex_lock(&memory.lock);
    memory.fail_countdown = nth > 0 ? nth : 0;
    pthread_mutex_unlock(&memory.lock);
}
