#include "io/staged_file.h"

#include "base/counting.h"
#include "base/error.h"
#include "base/memory.h"
#include "io/transfer.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

struct staged_write {
    staged_write *next;
    int64_t offset, bytes;
    char data[];
};

void staged_put(staged_file *file, int64_t offset, const void *data, int64_t bytes)
{
    void *block;
    file->end = larger(file->end, offset + bytes);
    if (memory_alloc(sizeof(staged_write) + (size_t)bytes, &block)) {
        file->out_of_memory = 1;
        return;
    }
    staged_write *added = block;
    *added = (staged_write){.offset = offset, .bytes = bytes};
    memcpy(added->data, data, (size_t)bytes);

    if (file->last) {
        file->last->next = added;
    } else {
        file->first = added;
    }
    file->last = added;
}

/* Copies what was staged for [start, start + bytes) over `data`. */
static void overlay(const staged_file *file, int64_t start, char *data, int64_t bytes)
{
    for (const staged_write *w = file->first; w; w = w->next) {
        int64_t from = larger(w->offset, start);
        int64_t to = smaller(w->offset + w->bytes, start + bytes);
        if (from < to) {
            memcpy(data + (from - start), w->data + (from - w->offset), (size_t)(to - from));
        }
    }
}

int staged_get(const staged_file *file, int64_t offset, void *data, int64_t bytes)
{
    int reason = read_fully(file->fd, data, (size_t)bytes, offset);
    if (reason) return fail("cannot read: %s", strerror(reason));
    overlay(file, offset, data, bytes);
    return ICOT_OK;
}

/* Writes [size, end) in one piece and without holes, so that later writes there need no room. */
static int commit_growth(const staged_file *file)
{
    int64_t bytes = file->end - file->size;
    void *image;
    if (bytes <= 0) return 0;
    if (memory_alloc_zero((size_t)bytes, 1, &image)) return ENOMEM;
    overlay(file, file->size, image, bytes);
    int reason = write_fully(file->fd, image, (size_t)bytes, file->size);
    memory_free(image);

    if (reason && ftruncate(file->fd, file->size)) return reason; /* longer than it need be */
    return reason;
}

static int commit_changes(const staged_file *file)
{
    int64_t limit = smaller(file->size, file->end);
    for (const staged_write *w = file->first; w; w = w->next) {
        int64_t bytes = smaller(w->bytes, limit - w->offset);
        if (bytes <= 0) continue;
        int reason = write_fully(file->fd, w->data, (size_t)bytes, w->offset);
        if (reason) return reason;
    }
    return 0;
}

int staged_commit(staged_file *file)
{
    int reason = file->out_of_memory ? ENOMEM : commit_growth(file);
    if (!reason) reason = commit_changes(file);
    if (!reason && file->end < file->size && ftruncate(file->fd, file->end)) reason = errno;
    if (reason) return reason;
    file->size = file->end;
    staged_discard(file);
    return 0;
}

void staged_discard(staged_file *file)
{
    while (file->first) {
        staged_write *next = file->first->next;
        memory_free(file->first);
        file->first = next;
    }
    file->last = NULL;
    file->out_of_memory = 0;
    file->end = file->size;
}
