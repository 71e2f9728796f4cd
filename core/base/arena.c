#include "base/arena.h"

#include "base/counting.h"

#include <stdbool.h>
#include <stdint.h>

#include <sys/mman.h>

static const size_t STEP = (size_t)16 << 20; /* bytes, taken from the system at a time */
static const size_t LARGE_PAGE = (size_t)2 << 20;

/*
 * Addresses that are set aside, without memory behind them: from `grown` on still without. Memory
 * that comes bit by bit is one piece so. Where there are no addresses left it comes in pieces.
 */
static char *grown, *reserved_end;

typedef struct range { /* stands at the beginning of what lies free */
    size_t bytes;
    struct range *next;
} range;

static range *free_ranges; /* by address; none touches the next */
static size_t free_bytes;  /* of all of them */

static bool touches(const range *lower, const void *upper)
{
    return (const char *)lower + lower->bytes == upper;
}

/* The smallest range that is large enough, the first of those; NULL: none is. */
static range **find(size_t bytes)
{
    range **best = NULL;
    for (range **at = &free_ranges; *at; at = &(*at)->next) {
        if ((*at)->bytes >= bytes && (!best || (*at)->bytes < (*best)->bytes)) best = at;
    }
    return best;
}

/*
 * Addresses that get memory are wished for in large pages: of small ones a matrix product of a real
 * model reads more at a time than the processor keeps track of.
 */
static void wish_for_large_pages(void *start, size_t bytes)
{
#ifdef MADV_HUGEPAGE
    madvise(start, bytes, MADV_HUGEPAGE); /* where there are none, small ones do */
#else
    (void)start, (void)bytes;
#endif
}

/* As many addresses as there are to be had, from where a large page begins. Not with MAP_NORESERVE:
 * then the kernel would promise any amount of memory, and end the program when it is used. */
static void reserve(void)
{
    static bool tried;
    if (tried) return;
    tried = true;
    for (size_t bytes = ARENA_MOST; bytes >= STEP; bytes /= 2) {
        char *start = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (start == MAP_FAILED) continue;
        grown = start + (LARGE_PAGE - (uintptr_t)start % LARGE_PAGE) % LARGE_PAGE;
        reserved_end = start + bytes;
        return;
    }
}

/* The free range in front of `grown`; NULL: none touches it. */
static range *last_range(void)
{
    range *last = free_ranges;
    while (last && !touches(last, grown)) last = last->next;
    return last;
}

/* Memory for the next addresses, as much as makes a range of so many bytes. */
static bool grow_in_place(size_t bytes)
{
    reserve();
    const range *last = last_range();
    const size_t more = bytes_rounded_up(bytes - (last ? last->bytes : 0), STEP);
    if (!grown || more > (size_t)(reserved_end - grown)) return false;
    if (mprotect(grown, more, PROT_READ | PROT_WRITE)) return false;
    wish_for_large_pages(grown, more);
    grown += more;
    arena_give(grown - more, more);
    return true;
}

static bool grow_elsewhere(size_t bytes)
{
    bytes = bytes_rounded_up(bytes, STEP);
    void *piece = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (piece == MAP_FAILED) return false;
    wish_for_large_pages(piece, bytes);
    arena_give(piece, bytes);
    return true;
}

void *arena_take(size_t bytes)
{
    range **found = find(bytes);
    if (!found && (grow_in_place(bytes) || grow_elsewhere(bytes))) found = find(bytes);
    if (!found) return NULL;
    range *taken = *found;
    free_bytes -= bytes;
    if (taken->bytes == bytes) {
        *found = taken->next;
    } else {
        range *rest = (range *)((char *)taken + bytes);
        *rest = (range){.bytes = taken->bytes - bytes, .next = taken->next};
        *found = rest;
    }
    return taken;
}

void arena_give(void *start, size_t bytes)
{
    range *given = start, *before = NULL, *after = free_ranges;
    while (after && after < given) before = after, after = after->next;
    *given = (range){.bytes = bytes, .next = after};
    free_bytes += bytes;
    if (after && touches(given, after)) {
        given->bytes += after->bytes;
        given->next = after->next;
    }
    if (!before) {
        free_ranges = given;
    } else if (touches(before, given)) {
        before->bytes += given->bytes;
        before->next = given->next;
    } else {
        before->next = given;
    }
}

size_t arena_free(void)
{
    return free_bytes;
}

/* The addresses at the end are set aside again, those between blocks are not used any more. */
static void release(char *start, size_t bytes)
{
    if (start + bytes != grown) {
        munmap(start, bytes);
        return;
    }
    madvise(start, bytes, MADV_DONTNEED);
    mprotect(start, bytes, PROT_NONE);
    grown = start;
}

void arena_release(void)
{
    free_bytes = 0;
    while (free_ranges) {
        range *released = free_ranges;
        free_ranges = released->next;
        release((char *)released, released->bytes);
    }
}
