/*
 * The run log from its creation to its end: new → live → closed.
 *
 * New: the file has a temporary name, and gets its attributes, texts and tables. Live: it has its
 * own name, rows are added, and readers may look on (HDF5's single-writer-multiple-readers mode, in
 * which nothing but rows can change). Closed: it is opened once more, without that mode, to write
 * the attributes that say how the run ended. A log that never goes live gets its name when it is
 * closed.
 *
 * When the disk fails or is full, the log is marked as failed and stays as the last flush left it.
 */
#include "io/runlog.h"

#include "base/error.h"
#include "base/memory.h"
#include "io/mapped_file.h"
#include "io/transfer.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { END_BYTES = 240 }; /* end_state and end_time, old and new, with what HDF5 adds to each */

int runlog_check(const icot_runlog *log)
{
    return *log->failure ? fail("%s", log->failure) : ICOT_OK;
}

/* Keeps the message of the last error as the log's own. */
static int keep_failure(icot_runlog *log)
{
    snprintf(log->failure, sizeof log->failure, "%s", icot_last_error());
    return ICOT_FAILED;
}

int runlog_fail(icot_runlog *log, const char *format, ...)
{
    char what[RUNLOG_MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);

    hdf5_fail(what);
    error_prefix("run file %s", log->output.path);
    return keep_failure(log);
}

static int fail_writing(icot_runlog *log, int reason)
{
    error_set("run file %s: cannot write: %s", log->output.path, strerror(reason));
    return keep_failure(log);
}

/* Rows would go on to nowhere. */
static int was_removed(const icot_runlog *log)
{
    struct stat found;
    return fstat(log->output.fd, &found) == 0 && found.st_nlink == 0;
}

static int commit(icot_runlog *log)
{
    if (was_removed(log)) {
        error_set("run file %s: it was removed while the run was going on", log->output.path);
        return keep_failure(log);
    }
    int reason = staged_commit(&log->disk);
    return reason ? fail_writing(log, reason) : ICOT_OK;
}

/* HDF5 wants each group on the way asked for. */
int runlog_has(icot_runlog *log, const char *path, int *out)
{
    htri_t found = 1;
    char *part;
    if (memory_copy_string(path, &part)) return fail_within("run file %s", log->output.path);
    for (char *slash = strchr(part, '/'); slash && found > 0; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        found = H5Lexists(log->file, part, H5P_DEFAULT);
        *slash = '/';
    }
    if (found > 0) found = H5Lexists(log->file, part, H5P_DEFAULT);
    memory_free(part);
    if (found < 0) return runlog_fail(log, "cannot look for /%s", path);
    *out = found > 0;
    return ICOT_OK;
}

/* ---- New ------------------------------------------------------------------------------------- */

static void free_log(icot_runlog *log)
{
    if (!log) return;
    runlog_free_tables(log);
    runlog_forget_waiting(log);
    if (log->file >= 0) H5Fclose(log->file);
    staged_discard(&log->disk);
    output_close(&log->output);
    memory_free(log);
}

/* Takes the room that the texts of set_end will need, so that they fit even if the disk is full. */
static int reserve_end(icot_runlog *log)
{
    char room[END_BYTES + 1];
    memset(room, ' ', END_BYTES);
    room[END_BYTES] = '\0';
    return icot_runlog_set_text(log, "end_state", room);
}

/* What a reader sees for as long as the run goes on, and ever after if it crashes. */
static int set_no_end(icot_runlog *log)
{
    if (icot_runlog_set_text(log, "end_state", "running")) return ICOT_FAILED;
    return icot_runlog_set_text(log, "end_time", "");
}

/* Fills the new, empty file with the contents of another run file. */
static int copy_from(icot_runlog *log, const char *from)
{
    mapped_file source;
    if (mapped_open(&source, "run file", from)) return ICOT_FAILED;
    int status = output_write(&log->output, source.data, (size_t)source.bytes);
    log->disk.size = log->disk.end = source.bytes;
    mapped_close(&source);
    return status;
}

/* `from`: the run file that this one continues; NULL: none. */
static int open_new(icot_runlog *log, const char *path, const char *from, int overwrite)
{
    if (output_open(&log->output, "run file", path, overwrite)) return ICOT_FAILED;
    log->disk.fd = log->output.fd;
    if (from && copy_from(log, from)) return ICOT_FAILED;
    if (hdf5_open(&log->disk, from ? HDF5_LEFT_LIVE : HDF5_NEW, &log->file)) {
        return fail_within("run file %s", from ? from : path);
    }
    return reserve_end(log);
}

static int make_log(const char *path, const char *from, int overwrite, icot_runlog **out)
{
    void *block;
    if (memory_alloc_zero(1, sizeof(icot_runlog), &block)) return ICOT_FAILED;
    icot_runlog *log = block;
    log->file = -1;
    log->output.fd = -1;
    if (open_new(log, path, from, overwrite)) {
        free_log(log);
        return ICOT_FAILED;
    }
    *out = log;
    return ICOT_OK;
}

int icot_runlog_create(const char *path, int overwrite, icot_runlog **out)
{
    return make_log(path, NULL, overwrite, out);
}

int icot_runlog_continue(const char *path, const char *from, icot_runlog **out)
{
    return make_log(path, from, 1, out);
}

/* ---- Live ------------------------------------------------------------------------------------ */

int icot_runlog_live(icot_runlog *log)
{
    if (runlog_check(log)) return ICOT_FAILED;
    if (log->live) return fail("run file %s: it is live already", log->output.path);
    if (set_no_end(log)) return ICOT_FAILED;
    if (H5Fstart_swmr_write(log->file) < 0) return runlog_fail(log, "cannot let readers in");
    if (icot_runlog_flush(log)) return ICOT_FAILED;
    if (output_publish(&log->output)) return keep_failure(log);
    log->live = 1;
    return ICOT_OK;
}

int icot_runlog_flush(icot_runlog *log)
{
    if (runlog_check(log)) return ICOT_FAILED;
    if (H5Fflush(log->file, H5F_SCOPE_LOCAL) < 0) return runlog_fail(log, "cannot flush");
    return commit(log);
}

/* A copy of the rows as they are now, still marked as being written: for icot_runlog_continue. */
static int write_snapshot(const icot_runlog *log, output_file *file)
{
    void *image;
    size_t bytes = (size_t)log->disk.size;
    if (memory_alloc(bytes, &image)) return ICOT_FAILED;
    int reason = read_fully(log->disk.fd, image, bytes, 0);
    int status = reason ? fail("cannot read it: %s", strerror(reason)) : ICOT_OK;
    if (!status) status = output_write(file, image, bytes);
    if (!status) status = output_publish(file);
    memory_free(image);
    return status;
}

int icot_runlog_snapshot(icot_runlog *log, const char *path)
{
    output_file file;
    if (icot_runlog_flush(log)) return ICOT_FAILED;
    if (output_open(&file, "run file", path, 1)) return ICOT_FAILED;
    int status = write_snapshot(log, &file);
    output_close(&file);
    return status ? fail_within("copy of run file %s", log->output.path) : ICOT_OK;
}

/* ---- Closed ---------------------------------------------------------------------------------- */

static int set_end(icot_runlog *log, const char *end_state)
{
    char now[32];
    time_t seconds = time(NULL);
    struct tm utc;
    strftime(now, sizeof now, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&seconds, &utc));
    if (icot_runlog_set_text(log, "end_state", end_state)) return ICOT_FAILED;
    return icot_runlog_set_text(log, "end_time", now);
}

/* Closes the HDF5 file. If the log has failed, nothing more of it gets to the disk. */
static int close_hdf5(icot_runlog *log)
{
    runlog_close_tables(log);
    herr_t closed = log->file >= 0 ? H5Fclose(log->file) : 0;
    log->file = -1;
    if (*log->failure) {
        staged_discard(&log->disk);
        return ICOT_FAILED;
    }
    return closed < 0 ? runlog_fail(log, "cannot close") : commit(log);
}

/* Opens a live file once more, after close_hdf5, for what only now can be written. */
static int write_end(icot_runlog *log, hdf5_opening opening)
{
    if (hdf5_open(&log->disk, opening, &log->file)) {
        error_prefix("run file %s", log->output.path);
        return keep_failure(log);
    }
    int status = runlog_write_waiting(log);
    int closed = close_hdf5(log);
    return status ? status : closed;
}

/*
 * After a failure: the file is as the last flush left it, still marked as being written. Tries to
 * say how it ended. That fails as a whole, and harms nothing, if the disk does not take it.
 */
static void write_end_after_failure(icot_runlog *log)
{
    char failure[RUNLOG_MESSAGE_BYTES];
    memcpy(failure, log->failure, sizeof failure);
    *log->failure = '\0';
    if (!set_end(log, "failed")) write_end(log, HDF5_LEFT_LIVE);
    staged_discard(&log->disk);
    memcpy(log->failure, failure, sizeof failure);
}

static int close_live(icot_runlog *log, const char *end_state)
{
    if (!runlog_check(log) && set_end(log, end_state)) keep_failure(log);
    if (!close_hdf5(log)) write_end(log, HDF5_CLOSED);
    if (*log->failure) write_end_after_failure(log);
    if (fsync(log->output.fd) && !*log->failure) return fail_writing(log, errno);
    return runlog_check(log);
}

static int close_new(icot_runlog *log, const char *end_state)
{
    if (!end_state) return ICOT_OK; /* given up */
    if (runlog_check(log) || set_end(log, end_state) || close_hdf5(log)) return ICOT_FAILED;
    return output_publish(&log->output);
}

int icot_runlog_close(icot_runlog *log, const char *end_state)
{
    if (!log) return ICOT_OK;
    int status =
        log->live ? close_live(log, end_state ? end_state : "failed") : close_new(log, end_state);
    free_log(log);
    return status;
}
