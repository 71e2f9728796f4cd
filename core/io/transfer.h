/* Reads and writes at a place of a file that do not stop halfway. */
#ifndef ICOT_IO_TRANSFER_H
#define ICOT_IO_TRANSFER_H

#include <stddef.h>
#include <stdint.h>

/* pwrite and pread of all the bytes; return 0 or an errno. Bytes past the end are read as 0. */
int write_fully(int fd, const void *data, size_t bytes, int64_t offset);
int read_fully(int fd, void *data, size_t bytes, int64_t offset);

#endif
