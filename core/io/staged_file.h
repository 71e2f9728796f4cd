/*
 * A file whose changes are collected in memory and reach the disk together.
 *
 * HDF5 changes a file in many small writes, and does not recover from one that fails. So it writes
 * here, where nothing can fail, and staged_commit brings everything to the disk: first what makes
 * the file longer (the only part that needs room, so the only one that a full disk refuses), then
 * what changes bytes that are there, in the order in which it was written. If the first part fails,
 * the file is cut back and holds exactly what the commit before left in it.
 */
#ifndef ICOT_IO_STAGED_FILE_H
#define ICOT_IO_STAGED_FILE_H

#include <stdint.h>

typedef struct staged_write staged_write;

typedef struct staged_file {
    int fd;                     /* belongs to the caller */
    int64_t size;               /* bytes in the file on the disk */
    int64_t end;                /* bytes in it after the next commit */
    int out_of_memory;          /* something is missing, so that the next commit fails */
    staged_write *first, *last; /* in the order in which they were written */
} staged_file;

void staged_put(staged_file *file, int64_t offset, const void *data, int64_t bytes);

/* Reads what is on the disk with what was staged over it; returns ICOT_OK or ICOT_FAILED. */
int staged_get(const staged_file *file, int64_t offset, void *data, int64_t bytes);

/* Brings the file to the disk, except that fsync is left to the caller; returns 0 or an errno. */
int staged_commit(staged_file *file);

/* Forgets what was not committed. */
void staged_discard(staged_file *file);

#endif
