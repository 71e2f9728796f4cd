/* HDF5 files that live in a staged_file: HDF5's I/O goes there instead of to the disk. */
#ifndef ICOT_IO_HDF5_FILE_H
#define ICOT_IO_HDF5_FILE_H

#include "io/staged_file.h"

#include <hdf5.h>

/* What an existing file is opened for. */
typedef enum hdf5_opening {
    HDF5_NEW,      /* an empty file: gets the superblock */
    HDF5_CLOSED,   /* one that was closed in good order */
    HDF5_LEFT_LIVE /* one that still says that a SWMR writer is at work */
} hdf5_opening;

/* The staged file has to outlive the HDF5 file. `out` is untouched on failure. */
int hdf5_open(staged_file *staged, hdf5_opening opening, hid_t *out);

/* Like fail(), with the reason that HDF5 gives added: "what: reason". */
int hdf5_fail(const char *what);

#endif
