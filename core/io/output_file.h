/*
 * A file that gets its name only when it is ready: written under a temporary name in the same
 * folder, synced, then renamed. Every file that icot makes begins as one, but for locks. A run file
 * goes on growing after it was published; all others are whole then, or were never there.
 */
#ifndef ICOT_IO_OUTPUT_FILE_H
#define ICOT_IO_OUTPUT_FILE_H

#include <stddef.h>

typedef struct output_file {
    const char *kind; /* "run file", …: how messages name it */
    char *path;       /* the final name */
    char *temporary;  /* the name it has now; NULL once it was published */
    int fd;           /* open for reading and writing; -1: none */
    int overwrite;
} output_file;

/*
 * Opens a new, empty file beside `path`; folders on the way are made. A file that is there already
 * is left as it is until output_publish, and is an error unless overwrite is set. After a failure
 * there is nothing to close.
 */
int output_open(output_file *file, const char *kind, const char *path, int overwrite);

int output_write(output_file *file, const void *data, size_t bytes);

/* Gives the file its final name, after all its bytes reached the disk. It stays open. */
int output_publish(output_file *file);

/* Closes the file and, if it was not published, removes it. */
void output_close(output_file *file);

#endif
