/* Inside of the run log; the functions for everybody else stand in icot.h. */
#ifndef ICOT_IO_RUNLOG_H
#define ICOT_IO_RUNLOG_H

#include "icot.h"
#include "io/hdf5_file.h"
#include "io/output_file.h"

enum { RUNLOG_MESSAGE_BYTES = 300 };

/* A compound table or a matrix: a dataset that grows by rows. */
typedef struct runlog_table {
    char *path;
    icot_column *columns; /* (n_columns), names owned; NULL for a matrix */
    int n_columns;        /* width of a matrix */
    size_t row_bytes;
    char *row; /* (row_bytes) the row that is being put together */
    hid_t dataset, row_type, row_space;
    hsize_t n_rows;
} runlog_table;

typedef enum runlog_kind { RUNLOG_TEXT, RUNLOG_INTEGER, RUNLOG_NUMBER } runlog_kind;

/* An attribute of /. Those set while the file is live are written when it is closed. */
typedef struct runlog_attribute {
    struct runlog_attribute *next;
    char *name;
    runlog_kind kind;
    char *text;
    int64_t integer;
    double number;
} runlog_attribute;

struct icot_runlog {
    output_file output;
    staged_file disk;
    hid_t file; /* -1: closed */
    int live;
    char failure[RUNLOG_MESSAGE_BYTES]; /* what went wrong; empty: nothing so far */
    runlog_table *tables;               /* (n_tables) */
    int n_tables;
    runlog_attribute *waiting; /* in the order in which they were set */
};

/* Every public function starts with this: a log that has failed once refuses everything. */
int runlog_check(const icot_runlog *log);

/* The same for functions that add something at `path`, which a live file no longer takes. */
int runlog_check_addable(const icot_runlog *log, const char *path);

/* Notes that an HDF5 call failed: "run file PATH: what: HDF5's reason". Returns ICOT_FAILED. */
__attribute__((format(printf, 2, 3))) int runlog_fail(icot_runlog *log, const char *format, ...);

/* *out: whether the file has something of this path already, as one that is continued may. */
int runlog_has(icot_runlog *log, const char *path, int *out);

/*
 * For H5Pclose and H5Tclose; negative: there is none. The properties of links that are made: their
 * names are UTF-8, and the groups on the way are made too. And the type of a text of any length in
 * UTF-8, which h5py reads as `str`.
 */
hid_t runlog_link_properties(void);
hid_t runlog_text_type(void);

/* Writes the attributes that wait, and forgets them. */
int runlog_write_waiting(icot_runlog *log);
void runlog_forget_waiting(icot_runlog *log);

/* Closes the tables' HDF5 objects; the second function frees the tables too. */
void runlog_close_tables(icot_runlog *log);
void runlog_free_tables(icot_runlog *log);

#endif
