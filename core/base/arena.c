#include "base/arena.h"

#include <stdbool.h>

#include <sys/mman.h>

enum { HUGE_PAGE = 2 << 20, REGION = 32 * HUGE_PAGE }; /* taken from the system at a time */

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

/* More from the system. Large pages are asked for: rows of a matrix lie far apart, each on another
 * small page. */
static bool grow(size_t bytes)
{
    bytes = bytes <= REGION ? REGION : (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    void *region = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (region == MAP_FAILED) return false;
    madvise(region, bytes, MADV_HUGEPAGE); /* without them it is only slower */
    arena_give(region, bytes);
    return true;
}

void *arena_take(size_t bytes)
{
    range **found = find(bytes);
    if (!found && grow(bytes)) found = find(bytes);
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

void arena_release(void)
{
    free_bytes = 0;
    while (free_ranges) {
        range *released = free_ranges;
        free_ranges = released->next;
        munmap(released, released->bytes);
    }
}
