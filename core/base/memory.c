#include "base/memory.h"

#include "base/error.h"
#include "icot.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/*
 * Size classes: four per power of two, from 64 bytes up. Class c holds
 * (4 + c % 4) << (c / 4 + SMALLEST_SHIFT) bytes, so at most a fifth of a block is unused.
 */
enum { ALIGNMENT = 64, SMALLEST_SHIFT = 4, CLASS_COUNT = 160 };

typedef struct block { /* stands in the ALIGNMENT bytes before what the caller gets */
    size_t capacity;
    int size_class;
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

/*
 * A kept block of this class, or of one up to twice as large: sequences that get shorter while CoT
 * is removed then use the blocks of the longer ones, rather than adding smaller ones beside them.
 */
static block *take_kept(int size_class)
{
    enum { OCTAVE = 4 };
    for (int c = size_class; c <= size_class + OCTAVE && c < CLASS_COUNT; c++) {
        block *kept = memory.free_blocks[c];
        if (!kept) continue;
        memory.free_blocks[c] = kept->next_free;
        memory.counters.cached -= (int64_t)kept->capacity;
        return kept;
    }
    return NULL;
}

/* Gives all kept blocks back to the system. Called with the lock held. */
static void release_kept(void)
{
    for (int c = 0; c < CLASS_COUNT; c++) {
        while (memory.free_blocks[c]) {
            block *released = memory.free_blocks[c];
            memory.free_blocks[c] = released->next_free;
            memory.counters.cached -= (int64_t)released->capacity;
            free(released);
        }
    }
}

/* Takes a block for the class from the cache, or from the system. Called with the lock held. */
static block *take_block(int size_class)
{
    block *found = take_kept(size_class);
    if (found) return found;
    size_t capacity = (class_bytes(size_class) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    found = aligned_alloc(ALIGNMENT, capacity + ALIGNMENT);
    if (!found) { /* kept blocks of other sizes may be what is missing */
        release_kept();
        found = aligned_alloc(ALIGNMENT, capacity + ALIGNMENT);
    }
    if (found) *found = (block){.capacity = capacity, .size_class = size_class};
    return found;
}

int memory_alloc(size_t bytes, void **out)
{
    if (bytes > class_bytes(CLASS_COUNT - 1)) { /* 56 TiB */
        return fail("out of memory: a block of %zu bytes is larger than any memory", bytes);
    }
    pthread_mutex_lock(&memory.lock);
    memory.counters.allocations++;
    block *taken = planned_failure() ? NULL : take_block(class_of(bytes));
    if (taken) {
        memory.counters.live += (int64_t)taken->capacity;
        if (memory.counters.live > memory.counters.peak) {
            memory.counters.peak = memory.counters.live;
        }
    }
    int64_t live = memory.counters.live;
    pthread_mutex_unlock(&memory.lock);

    if (!taken) {
        return fail("out of memory: no block of %zu bytes to be had (%lld bytes are in use)", bytes,
                    (long long)live);
    }
    fence(taken, bytes);
    *out = (char *)taken + ALIGNMENT;
    return ICOT_OK;
}

int memory_alloc_zero(size_t count, size_t size, void **out)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        return fail("out of memory: %zu x %zu bytes is larger than the address space", count, size);
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

int memory_reserve(void **pointer, int64_t *capacity, int64_t count, int64_t size)
{
    if (count <= *capacity) return ICOT_OK;
    int64_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        return fail("out of memory: %lld x %lld bytes is larger than the address space",
                    (long long)count, (long long)size);
    }
    if (memory_resize(pointer, (size_t)bytes)) return ICOT_FAILED;
    *capacity = count;
    return ICOT_OK;
}

int memory_grow(void **pointer, int64_t *capacity, int64_t count, int64_t size)
{
    if (count <= *capacity) return ICOT_OK;
    const int64_t larger = *capacity + *capacity / 2, least = 256;
    if (count < larger) count = larger;
    return memory_reserve(pointer, capacity, count < least ? least : count, size);
}

void memory_free(void *pointer)
{
    if (!pointer) return;
    block *freed = header_of(pointer);

    pthread_mutex_lock(&memory.lock);
    memory.counters.live -= (int64_t)freed->capacity;
    if (caching) {
        freed->next_free = memory.free_blocks[freed->size_class];
        memory.free_blocks[freed->size_class] = freed;
        memory.counters.cached += (int64_t)freed->capacity;
        freed = NULL;
    }
    pthread_mutex_unlock(&memory.lock);
    free(freed);
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
