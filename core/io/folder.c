#include "io/folder.h"

#include "base/error.h"
#include "base/memory.h"
#include "icot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool folder_exists(const char *path)
{
    struct stat found;
    return stat(path, &found) == 0 && S_ISDIR(found.st_mode);
}

void folder_sync_around(const char *path)
{
    char *folder;
    if (memory_copy_string(path, &folder)) return;
    char *slash = strrchr(folder, '/');
    if (slash) slash[slash == folder] = '\0'; /* the folder of "/name" is "/" */
    int fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    memory_free(folder);
}

/* ---- Making ---------------------------------------------------------------------------------- */

/* Returns 0, or -1 and errno. */
static int make_folder(const char *path)
{
    if (mkdir(path, 0777)) return -1;
    folder_sync_around(path);
    return 0;
}

/* Makes each folder that ends before a slash of `on_the_way`, which is a copy of `path`. */
static int make_each(const char *kind, const char *path, char *on_the_way)
{
    for (char *slash = strchr(on_the_way + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        int failed = !folder_exists(on_the_way) && make_folder(on_the_way) && errno != EEXIST;
        int reason = failed ? errno : ENOTDIR;
        if (failed || !folder_exists(on_the_way)) {
            return fail("%s %s: cannot make the folder %s: %s", kind, path, on_the_way,
                        strerror(reason));
        }
        *slash = '/';
    }
    return ICOT_OK;
}

int folder_make_around(const char *kind, const char *path)
{
    char *on_the_way;
    if (memory_copy_string(path, &on_the_way)) return ICOT_FAILED;
    int status = make_each(kind, path, on_the_way);
    memory_free(on_the_way);
    return status;
}

/* ---- Giving a folder its final name ---------------------------------------------------------- */

static const char ASIDE[] = ".aside"; /* what a folder's name ends with meanwhile */

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
    folder_sync_around(to);
    return ICOT_OK;
}
