#include "io/hdf5_file.h"

#include "base/error.h"
#include "base/memory.h"
#include "icot.h"

#include <stdio.h>
#if H5_VERSION_GE(1, 13, 0)
#include <H5FDdevelop.h>
#endif

/* ---- The file driver: HDF5's table of functions for I/O -------------------------------------- */

typedef struct driver_file {
    H5FD_t base; /* HDF5's own part, has to come first */
    staged_file *staged;
    haddr_t allocated; /* end of the addresses that HDF5 has given out */
} driver_file;

static H5FD_t *driver_open(const char *name, unsigned flags, hid_t access, haddr_t max_address)
{
    (void)name, (void)flags, (void)max_address;
    staged_file *const *staged = H5Pget_driver_info(access);
    void *block;
    if (!staged || memory_alloc_zero(1, sizeof(driver_file), &block)) return NULL;
    driver_file *file = block;
    file->staged = *staged;
    return &file->base;
}

static herr_t driver_close(H5FD_t *file)
{
    memory_free(file);
    return 0;
}

static herr_t driver_query(const H5FD_t *file, unsigned long *flags)
{
    (void)file;
    *flags = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_AGGREGATE_SMALLDATA |
             H5FD_FEAT_SUPPORTS_SWMR_IO | H5FD_FEAT_DEFAULT_VFD_COMPATIBLE;
    return 0;
}

static haddr_t driver_allocated(const H5FD_t *file, H5FD_mem_t kind)
{
    (void)kind;
    return ((const driver_file *)file)->allocated;
}

static herr_t driver_allocate(H5FD_t *file, H5FD_mem_t kind, haddr_t end)
{
    (void)kind;
    ((driver_file *)file)->allocated = end;
    return 0;
}

static haddr_t driver_end(const H5FD_t *file, H5FD_mem_t kind)
{
    (void)kind;
    return (haddr_t)((const driver_file *)file)->staged->end;
}

static herr_t driver_read(H5FD_t *file, H5FD_mem_t kind, hid_t transfer, haddr_t address,
                          size_t bytes, void *data)
{
    (void)kind, (void)transfer;
    const staged_file *staged = ((driver_file *)file)->staged;
    return staged_get(staged, (int64_t)address, data, (int64_t)bytes) ? -1 : 0;
}

static herr_t driver_write(H5FD_t *file, H5FD_mem_t kind, hid_t transfer, haddr_t address,
                           size_t bytes, const void *data)
{
    (void)kind, (void)transfer;
    staged_put(((driver_file *)file)->staged, (int64_t)address, data, (int64_t)bytes);
    return 0;
}

/* Called by every flush: makes the file as long as what HDF5 has allocated of it. */
static herr_t driver_truncate(H5FD_t *file, hid_t transfer, hbool_t closing)
{
    (void)transfer, (void)closing;
    driver_file *self = (driver_file *)file;
    self->staged->end = (int64_t)self->allocated;
    return 0;
}

/*
 * Locking is left to icot_lock_take. These have to exist all the same: only for a driver that locks
 * does HDF5 mark a file that is being written, and readers ask for that mark.
 */
static herr_t driver_lock(H5FD_t *file, hbool_t writing)
{
    (void)file, (void)writing;
    return 0;
}

static herr_t driver_unlock(H5FD_t *file)
{
    (void)file;
    return 0;
}

static const H5FD_class_t driver_class = {
#if H5_VERSION_GE(1, 13, 0)
    .version = H5FD_CLASS_VERSION,
    .value = H5_VFD_RESERVED + 1, /* any number that is not HDF5's own */
#endif
    .name = "icot",
    .maxaddr = (haddr_t)INT64_MAX,
    .fc_degree = H5F_CLOSE_STRONG,
    .fapl_size = sizeof(staged_file *),
    .open = driver_open,
    .close = driver_close,
    .query = driver_query,
    .get_eoa = driver_allocated,
    .set_eoa = driver_allocate,
    .get_eof = driver_end,
    .read = driver_read,
    .write = driver_write,
    .truncate = driver_truncate,
    .lock = driver_lock,
    .unlock = driver_unlock,
    .fl_map = H5FD_FLMAP_DICHOTOMY,
};

/* ---- Opening --------------------------------------------------------------------------------- */

/*
 * File format of HDF5 1.10: the first with SWMR, and read by everything since. Files that a writer
 * left live are opened by the same two (undocumented) properties that HDF5's tool h5clear uses.
 */
static int set_access(hid_t access, hid_t driver, staged_file *staged, hdf5_opening opening)
{
    hbool_t yes = 1;
    if (H5Pset_driver(access, driver, &staged) < 0) return ICOT_FAILED;
    if (H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110) < 0) return ICOT_FAILED;
    if (H5Pset_fclose_degree(access, H5F_CLOSE_STRONG) < 0) return ICOT_FAILED;
    if (opening != HDF5_LEFT_LIVE) return ICOT_OK;
    if (H5Pset(access, "clear_status_flags", &yes) < 0) return ICOT_FAILED;
    if (H5Pset(access, "skip_eof_check", &yes) < 0) return ICOT_FAILED;
    return ICOT_OK;
}

/* Keeps the attributes of / in its object header: smaller than HDF5's index for many of them. */
static int set_creation(hid_t creation)
{
    return H5Pset_attr_phase_change(creation, 64, 32) < 0 ? ICOT_FAILED : ICOT_OK;
}

static void prepare_library(void)
{
    H5dont_atexit(); /* every file is closed by its owner; nothing is left for HDF5 to do at exit */
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* messages go where ours go, not to stderr */
}

int hdf5_open(staged_file *staged, hdf5_opening opening, hid_t *out)
{
    int status = ICOT_FAILED;
    hid_t driver = -1, access = -1, creation = -1, file = -1;

    prepare_library();
    if ((driver = H5FDregister(&driver_class)) < 0) goto done;
    if ((access = H5Pcreate(H5P_FILE_ACCESS)) < 0) goto done;
    if ((creation = H5Pcreate(H5P_FILE_CREATE)) < 0) goto done;
    if (set_access(access, driver, staged, opening)) goto done;
    if (set_creation(creation)) goto done;

    file = opening == HDF5_NEW ? H5Fcreate("run file", H5F_ACC_TRUNC, creation, access)
                               : H5Fopen("run file", H5F_ACC_RDWR, access);
    if (file < 0) goto done;
    *out = file;
    status = ICOT_OK;

done:
    if (status) hdf5_fail("cannot open it as HDF5");
    if (creation >= 0) H5Pclose(creation);
    if (access >= 0) H5Pclose(access);
    if (driver >= 0) H5FDunregister(driver);
    return status;
}

/* ---- Messages -------------------------------------------------------------------------------- */

enum { REASON_BYTES = 200 };

/* Called from the innermost error outwards; the innermost says what really happened. */
static herr_t note_reason(unsigned depth, const H5E_error2_t *error, void *reason)
{
    if (depth == 0) snprintf(reason, REASON_BYTES, "%s", error->desc);
    return 0;
}

int hdf5_fail(const char *what)
{
    char reason[REASON_BYTES] = "unknown reason";
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, note_reason, reason);
    H5Eclear2(H5E_DEFAULT);
    return fail("%s: %s", what, reason);
}

const char *icot_hdf5_version(void)
{
    static _Thread_local char version[32];
    unsigned major, minor, release;
    prepare_library();
    if (H5get_libversion(&major, &minor, &release) < 0) return "unknown";
    snprintf(version, sizeof version, "%u.%u.%u", major, minor, release);
    return version;
}
