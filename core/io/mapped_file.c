#include "io/mapped_file.h"

#include "base/error.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int fail_to_open(const mapped_file *file, const char *reason)
{
    return fail("%s %s: cannot open it: %s", file->kind, file->path, reason);
}

/* O_NONBLOCK, because opening a pipe would wait for its writer. */
static int open_plain_file(mapped_file *file)
{
    struct stat found;
    file->fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file->fd < 0 || fstat(file->fd, &found)) return fail_to_open(file, strerror(errno));
    if (S_ISDIR(found.st_mode)) return fail_to_open(file, "it is a folder");
    if (!S_ISREG(found.st_mode)) return fail_to_open(file, "it is not a plain file");
    file->bytes = found.st_size;
    return ICOT_OK;
}

static int map(mapped_file *file)
{
    if (file->bytes == 0) return ICOT_OK; /* there is no map of nothing */
    void *data = mmap(NULL, (size_t)file->bytes, PROT_READ, MAP_PRIVATE, file->fd, 0);
    if (data == MAP_FAILED) return fail_to_open(file, strerror(errno));
    file->data = data;
    return ICOT_OK;
}

int mapped_open(mapped_file *file, const char *kind, const char *path)
{
    *file = (mapped_file){.kind = kind, .fd = -1};
    if (memory_copy_string(path, &file->path)) return ICOT_FAILED;
    if (open_plain_file(file) || map(file)) {
        mapped_close(file);
        return ICOT_FAILED;
    }
    return ICOT_OK;
}

int mapped_check(const mapped_file *file)
{
    struct stat found;
    if (fstat(file->fd, &found) == 0 && found.st_size >= file->bytes) return ICOT_OK;
    return fail("%s %s: it was cut short while it was being read", file->kind, file->path);
}

void mapped_close(mapped_file *file)
{
    if (file->data) munmap((void *)file->data, (size_t)file->bytes);
    if (file->fd >= 0) close(file->fd);
    memory_free(file->path);
    *file = (mapped_file){.fd = -1};
}
