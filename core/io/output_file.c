#include "io/output_file.h"

#include "base/error.h"
#include "base/memory.h"
#include "icot.h"
#include "io/folder.h"
#include "io/transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Tries for a free temporary name; a piece is large enough to be written at full speed. */
enum { TEMPORARY_TRIES = 100, PIECE_BYTES = 8 << 20 };

static int refuse_existing(const output_file *file)
{
    return fail_as(ICOT_ERROR_EXISTS, "%s: already exists", file->path);
}

static int check_place(const output_file *file)
{
    struct stat found;
    if (!*file->path) return fail("%s: the path is empty", file->kind);
    if (lstat(file->path, &found)) return ICOT_OK;
    if (folder_exists(file->path)) return fail("%s %s: this is a folder", file->kind, file->path);
    if (!S_ISREG(found.st_mode) && !S_ISLNK(found.st_mode)) {
        return fail("%s %s: this is a device, not a file", file->kind, file->path);
    }
    return file->overwrite ? ICOT_OK : refuse_existing(file);
}

/* Opens PATH.partial-PID-N, N the first number that no file has. */
static int open_temporary(output_file *file)
{
    size_t bytes = strlen(file->path) + 48;
    void *name;
    if (memory_alloc(bytes, &name)) return ICOT_FAILED;
    for (int n = 0; n < TEMPORARY_TRIES && file->fd < 0; n++) {
        snprintf(name, bytes, "%s.partial-%ld-%d", file->path, (long)getpid(), n);
        file->fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (file->fd < 0 && errno != EEXIST) break;
    }
    if (file->fd < 0) {
        int reason = errno;
        memory_free(name);
        return fail("%s %s: cannot create it: %s", file->kind, file->path, strerror(reason));
    }
    file->temporary = name;
    return ICOT_OK;
}

int output_open(output_file *file, const char *kind, const char *path, int overwrite)
{
    *file = (output_file){.kind = kind, .fd = -1, .overwrite = overwrite};
    if (memory_copy_string(path, &file->path)) return ICOT_FAILED;
    if (check_place(file)) goto failed;
    if (folder_make_around(file->kind, file->path)) goto failed;
    if (open_temporary(file)) goto failed;
    return ICOT_OK;

failed:
    output_close(file);
    return ICOT_FAILED;
}

/* Each piece is sent to the disk at once, which then works while the next one is made. */
int output_write(output_file *file, const void *data, size_t bytes)
{
    int64_t end = lseek(file->fd, 0, SEEK_END);
    int reason = end < 0 ? errno : 0;
    for (size_t done = 0; done < bytes && !reason; done += PIECE_BYTES) {
        size_t piece = bytes - done < PIECE_BYTES ? bytes - done : PIECE_BYTES;
        int64_t place = end + (int64_t)done;
        reason = write_fully(file->fd, (const char *)data + done, piece, place);
        sync_file_range(file->fd, place, (off64_t)piece, SYNC_FILE_RANGE_WRITE); /* only a hint */
    }
    if (!reason) return ICOT_OK;
    return fail("%s %s: cannot write: %s", file->kind, file->path, strerror(reason));
}

/*
 * Renames, unless there is a file of that name: one may have appeared since output_open, so the
 * kernel has to do the check. Where the file system has none with a rename, it has one with a link;
 * and where there are no links either, what appears at this very moment is overwritten. Returns 0,
 * or -1 and errno.
 */
static int rename_to_free(const char *from, const char *to)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) return 0;
    if (errno != EINVAL && errno != ENOSYS) return -1;
    if (link(from, to) == 0) {
        unlink(from); /* if that fails, there are two names for it, the right one among them */
        return 0;
    }
    if (errno != EPERM && errno != EOPNOTSUPP && errno != ENOSYS) return -1;
    if (access(to, F_OK)) return rename(from, to);
    errno = EEXIST;
    return -1;
}

int output_publish(output_file *file)
{
    if (fsync(file->fd)) {
        return fail("%s %s: cannot write: %s", file->kind, file->path, strerror(errno));
    }
    const int failed = file->overwrite ? rename(file->temporary, file->path)
                                       : rename_to_free(file->temporary, file->path);
    if (failed && errno == EEXIST && !file->overwrite) return refuse_existing(file);
    if (failed) {
        return fail("%s %s: cannot create it: %s", file->kind, file->path, strerror(errno));
    }
    memory_free(file->temporary);
    file->temporary = NULL;
    folder_sync_around(file->path);
    return ICOT_OK;
}

void output_close(output_file *file)
{
    if (file->temporary) unlink(file->temporary);
    if (file->fd >= 0) close(file->fd);
    memory_free(file->temporary);
    memory_free(file->path);
    *file = (output_file){.fd = -1};
}
