#include "io/transfer.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

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
