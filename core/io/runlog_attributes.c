/* The attributes of a run log, all of them on /. */
#include "base/error.h"
#include "base/memory.h"
#include "base/utf8.h"
#include "io/runlog.h"

static hid_t type_of(runlog_kind kind)
{
    if (kind == RUNLOG_TEXT) return runlog_text_type();
    return H5Tcopy(kind == RUNLOG_INTEGER ? H5T_STD_I64LE : H5T_IEEE_F64LE);
}

static const void *value_of(const runlog_attribute *attribute)
{
    if (attribute->kind == RUNLOG_TEXT) return &attribute->text;
    return attribute->kind == RUNLOG_INTEGER ? (const void *)&attribute->integer
                                             : (const void *)&attribute->number;
}

/* Opens the attribute; makes it if there is none of this name, or one of another type. */
static hid_t open_attribute(hid_t file, const char *name, hid_t type)
{
    if (H5Aexists(file, name) > 0) {
        hid_t found = H5Aopen(file, name, H5P_DEFAULT);
        hid_t found_type = found < 0 ? -1 : H5Aget_type(found);
        int same = found_type >= 0 && H5Tequal(found_type, type) > 0;
        if (found_type >= 0) H5Tclose(found_type);
        if (same) return found;
        if (found >= 0) H5Aclose(found);
        if (H5Adelete(file, name) < 0) return -1;
    }
    hid_t space = H5Screate(H5S_SCALAR);
    hid_t made = space < 0 ? -1 : H5Acreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    if (space >= 0) H5Sclose(space);
    return made;
}

/*
 * HDF5 puts a text into a block of the file that has room and that it has read before, else into a
 * new one. Reading the old text makes it use the block that this one is in.
 */
static int read_old_text(hid_t attribute, hid_t type)
{
    char *text = NULL;
    if (H5Aread(attribute, type, &text) < 0) return ICOT_FAILED;
    H5free_memory(text);
    return ICOT_OK;
}

static int write_attribute(icot_runlog *log, const runlog_attribute *attribute)
{
    int status = ICOT_FAILED;
    hid_t type = type_of(attribute->kind), stored = -1;
    if (type < 0) goto done;
    if ((stored = open_attribute(log->file, attribute->name, type)) < 0) goto done;
    if (attribute->kind == RUNLOG_TEXT && read_old_text(stored, type)) goto done;
    if (H5Awrite(stored, type, value_of(attribute)) < 0) goto done;
    status = ICOT_OK;

done:
    if (status) runlog_fail(log, "cannot write the attribute %s", attribute->name);
    if (stored >= 0) H5Aclose(stored);
    if (type >= 0) H5Tclose(type);
    return status;
}

static void free_attribute(runlog_attribute *attribute)
{
    if (!attribute) return;
    memory_free(attribute->name);
    memory_free(attribute->text);
    memory_free(attribute);
}

static int make_attribute(const char *name, runlog_kind kind, const char *text,
                          runlog_attribute **out)
{
    void *block;
    if (memory_alloc_zero(1, sizeof(runlog_attribute), &block)) return ICOT_FAILED;
    runlog_attribute *made = block;
    made->kind = kind;
    if (memory_copy_string(name, &made->name) || utf8_duplicate(text, &made->text)) {
        free_attribute(made);
        return ICOT_FAILED;
    }
    *out = made;
    return ICOT_OK;
}

/* Writes the attribute now or, if the file is live, lets it wait; takes it over either way. */
static int set_attribute(icot_runlog *log, runlog_attribute *attribute)
{
    if (!log->live) {
        int status = write_attribute(log, attribute);
        free_attribute(attribute);
        return status;
    }
    runlog_attribute **end = &log->waiting;
    while (*end) end = &(*end)->next;
    *end = attribute;
    return ICOT_OK;
}

int icot_runlog_set_text(icot_runlog *log, const char *name, const char *value)
{
    runlog_attribute *made;
    if (runlog_check(log) || make_attribute(name, RUNLOG_TEXT, value, &made)) return ICOT_FAILED;
    return set_attribute(log, made);
}

int icot_runlog_set_integer(icot_runlog *log, const char *name, int64_t value)
{
    runlog_attribute *made;
    if (runlog_check(log) || make_attribute(name, RUNLOG_INTEGER, "", &made)) return ICOT_FAILED;
    made->integer = value;
    return set_attribute(log, made);
}

int icot_runlog_set_number(icot_runlog *log, const char *name, double value)
{
    runlog_attribute *made;
    if (runlog_check(log) || make_attribute(name, RUNLOG_NUMBER, "", &made)) return ICOT_FAILED;
    made->number = value;
    return set_attribute(log, made);
}

int runlog_write_waiting(icot_runlog *log)
{
    int status = ICOT_OK;
    for (runlog_attribute *a = log->waiting; a && !status; a = a->next) {
        status = write_attribute(log, a);
    }
    runlog_forget_waiting(log);
    return status;
}

void runlog_forget_waiting(icot_runlog *log)
{
    while (log->waiting) {
        runlog_attribute *next = log->waiting->next;
        free_attribute(log->waiting);
        log->waiting = next;
    }
}
