/* Files that are read through the memory map, without a copy. */
#ifndef ICOT_IO_MAPPED_FILE_H
#define ICOT_IO_MAPPED_FILE_H

#include <stdint.h>

typedef struct mapped_file {
    const char *kind; /* "safetensors file", …: how messages name it */
    char *path;
    int fd; /* stays open, to notice when the file is cut short; -1: none */
    const unsigned char *data;
    int64_t bytes;
} mapped_file;

/* Maps a plain file read-only. After a failure there is nothing to close. */
int mapped_open(mapped_file *file, const char *kind, const char *path);

/*
 * Fails if the file has become shorter since it was opened: bytes of the map that lie beyond its
 * end cannot be read, trying it would end the program.
 */
int mapped_check(const mapped_file *file);

void mapped_close(mapped_file *file);

#endif
