/* A lock that one process at a time can hold; the kernel lets go of it when that process ends. */
#include "base/error.h"
#include "base/memory.h"
#include "icot.h"
#include "io/transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_TRIES = 100, OWNER_BYTES = 160 };

struct icot_lock {
    char *path;
    int fd, held; /* held is 0 where the file system has no locks */
};

/* Whether the file system has no such locks, as some that lie on another machine. */
static int is_unsupported(int reason)
{
    return reason == ENOLCK || reason == ENOSYS || reason == EOPNOTSUPP || reason == EINVAL;
}

/* The owner's line, "process 123 on HOST", as far as it can be read. */
static void read_owner(int fd, char owner[OWNER_BYTES])
{
    ssize_t length = pread(fd, owner, OWNER_BYTES - 1, 0);
    owner[length > 0 ? length : 0] = '\0';
    owner[strcspn(owner, "\n")] = '\0';
    if (!*owner) strcpy(owner, "another process");
}

static void write_owner(int fd)
{
    char host[64] = "", owner[OWNER_BYTES];
    gethostname(host, sizeof host - 1);
    int length = snprintf(owner, sizeof owner, "process %ld on %s\n", (long)getpid(), host);
    if (ftruncate(fd, 0) || write_fully(fd, owner, (size_t)length, 0)) {
        /* it is for messages only */
    }
}

/* Whoever held the lock before may have removed the file between our opening and our locking it. */
static int is_still_there(int fd, const char *path)
{
    struct stat ours, found;
    return fstat(fd, &ours) == 0 && stat(path, &found) == 0 && ours.st_ino == found.st_ino &&
           ours.st_dev == found.st_dev;
}

static int open_locked(icot_lock *lock)
{
    for (int tries = 0; tries < MOST_TRIES; tries++) {
        lock->fd = open(lock->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (lock->fd < 0) return fail("%s: cannot create it: %s", lock->path, strerror(errno));
        lock->held = flock(lock->fd, LOCK_EX | LOCK_NB) == 0;
        if (!lock->held && is_unsupported(errno)) return ICOT_OK;
        if (!lock->held) {
            char owner[OWNER_BYTES];
            read_owner(lock->fd, owner);
            return fail_as(ICOT_ERROR_LOCKED, "%s: is held by %s", lock->path, owner);
        }
        if (is_still_there(lock->fd, lock->path)) return ICOT_OK;
        close(lock->fd);
        lock->fd = -1;
    }
    return fail("%s: cannot be locked", lock->path);
}

int icot_lock_take(const char *path, icot_lock **out, int *held)
{
    void *block;
    if (memory_alloc_zero(1, sizeof(icot_lock), &block)) return ICOT_FAILED;
    icot_lock *lock = block;
    lock->fd = -1;
    if (memory_copy_string(path, &lock->path) || open_locked(lock)) {
        if (lock->fd >= 0) close(lock->fd);
        memory_free(lock->path);
        memory_free(lock);
        return ICOT_FAILED;
    }
    if (lock->held) write_owner(lock->fd);
    *out = lock;
    *held = lock->held;
    return ICOT_OK;
}

void icot_lock_release(icot_lock *lock)
{
    if (!lock) return;
    if (lock->held) unlink(lock->path); /* while nobody else can hold it */
    close(lock->fd);
    memory_free(lock->path);
    memory_free(lock);
}
