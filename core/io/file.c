#include "io/file.h"

#include "base/error.h"
#include "base/memory.h"
#include "icot.h"
#include "io/mapped_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TEMPORARY_TRIES = 100, PIECE_BYTES = 8 << 20 };

int write_fully(int fd, const void *data, size_t bytes, int64_t offset)
{
    const char *next = data;
    while (bytes > 0) {
        ssize_t done = pwrite(fd, next, bytes, offset);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return errno;
        if (done == 0) return ENOSPC;
        next += done;
        offset += done;
        bytes -= (size_t)done;
    }
    return 0;
}

int read_fully(int fd, void *data, size_t bytes, int64_t offset)
{
    char *next = data;
    while (bytes > 0) {
        ssize_t done = pread(fd, next, bytes, offset);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return errno;
        if (done == 0) break;
        next += done;
        offset += done;
        bytes -= (size_t)done;
    }
    memset(next, 0, bytes);
    return 0;
}

/* ---- Folders --------------------------------------------------------------------------------- */

static int is_folder(const char *path)
{
    struct stat found;
    return stat(path, &found) == 0 && S_ISDIR(found.st_mode);
}

/* What is new in a folder is safe against a power cut only once that is on the disk, too. */
static void sync_folder_of(const char *path)
{
    char *folder;
    if (memory_copy_string(path, &folder)) return;
    char *slash = strrchr(folder, '/');
    if (slash) slash[slash == folder] = '\0';
    int fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd); /* some file systems cannot sync a folder; the file itself is safe by then */
        close(fd);
    }
    memory_free(folder);
}

/* Returns 0, or -1 and errno. */
static int make_folder(const char *path)
{
    if (mkdir(path, 0777)) return -1;
    sync_folder_of(path);
    return 0;
}

/* Makes the folders of a path up to its last slash, like `mkdir -p`; changes `path` on the way. */
static int make_folders(const output_file *file, char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        int failed = !is_folder(path) && make_folder(path) && errno != EEXIST;
        int reason = failed ? errno : ENOTDIR;
        if (failed || !is_folder(path)) {
            return fail("%s %s: cannot make the folder %s: %s", file->kind, file->path, path,
                        strerror(reason));
        }
        *slash = '/';
    }
    return ICOT_OK;
}

static int make_folders_of(const output_file *file)
{
    char *path;
    if (memory_copy_string(file->path, &path)) return ICOT_FAILED;
    int status = make_folders(file, path);
    memory_free(path);
    return status;
}

/* ---- Output files ---------------------------------------------------------------------------- */

static int refuse_existing(const output_file *file)
{
    return fail_as(ICOT_ERROR_EXISTS, "%s: already exists", file->path);
}

static int check_place(const output_file *file)
{
    struct stat found;
    if (!*file->path) return fail("%s: the path is empty", file->kind);
    if (lstat(file->path, &found)) return ICOT_OK;
    if (is_folder(file->path)) return fail("%s %s: this is a folder", file->kind, file->path);
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
    if (make_folders_of(file)) goto failed;
    if (open_temporary(file)) goto failed;
    return ICOT_OK;

failed:
    output_close(file);
    return ICOT_FAILED;
}

/* Each piece is sent on to the disk at once, which then works while the next one is put together.
 */
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
    sync_folder_of(file->path);
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

int icot_file_write(const char *path, const char *text, int64_t length)
{
    output_file file;
    if (length < 0) return fail("file %s: got %lld bytes to write", path, (long long)length);
    if (output_open(&file, "file", path, 1)) return ICOT_FAILED;
    int status = output_write(&file, text, (size_t)length);
    if (!status) status = output_publish(&file);
    output_close(&file);
    return status;
}

int icot_file_copy(const char *from, const char *to)
{
    mapped_file source;
    output_file file;
    if (mapped_open(&source, "file", from)) return ICOT_FAILED;
    int status = output_open(&file, "file", to, 0);
    if (!status) {
        status = mapped_check(&source);
        if (!status) status = output_write(&file, source.data, (size_t)source.bytes);
        if (!status) status = output_publish(&file);
        output_close(&file);
    }
    mapped_close(&source);
    return status;
}

static const char ASIDE[] = ".aside"; /* ends its name then */

/* The folder that is there goes aside for a moment. Returns 0, or -1 and errno. */
static int exchange_by_turns(const char *from, const char *to, const char *aside)
{
    if (rename(to, aside)) return -1;
    if (rename(from, to) == 0) return rename(aside, from);
    const int reason = errno;
    rename(aside, to);
    errno = reason;
    return -1;
}

/* The same for a file system that has neither flag of renameat2. */
static int publish_by_turns(const char *from, const char *to, int exchange)
{
    const size_t bytes = strlen(to) + sizeof ASIDE;
    void *aside;
    if (!exchange) return rename(from, to);
    if (memory_alloc(bytes, &aside)) {
        errno = ENOMEM;
        return -1;
    }
    snprintf(aside, bytes, "%s%s", to, ASIDE);
    const int failed = exchange_by_turns(from, to, aside);
    memory_free(aside);
    return failed;
}

int icot_folder_publish(const char *from, const char *to, int exchange)
{
    unsigned flags = exchange ? RENAME_EXCHANGE : RENAME_NOREPLACE;
    int failed = renameat2(AT_FDCWD, from, AT_FDCWD, to, flags);
    if (failed && (errno == EINVAL || errno == ENOSYS)) {
        failed = publish_by_turns(from, to, exchange);
    }
    if (failed) return fail("folder %s: cannot create it: %s", to, strerror(errno));
    sync_folder_of(to);
    return ICOT_OK;
}
