/* Texts and links in a run log, and what is needed to add anything to one. */
#include "base/error.h"
#include "base/memory.h"
#include "base/utf8.h"
#include "io/runlog.h"

hid_t runlog_text_type(void)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    if (type < 0) return -1;
    if (H5Tset_size(type, H5T_VARIABLE) >= 0 && H5Tset_cset(type, H5T_CSET_UTF8) >= 0) return type;
    H5Tclose(type);
    return -1;
}

int runlog_check_addable(const icot_runlog *log, const char *path)
{
    if (runlog_check(log)) return ICOT_FAILED;
    if (!log->live) return ICOT_OK;
    return fail("run file %s: /%s cannot be added once the file is live", log->output.path, path);
}

hid_t runlog_link_properties(void)
{
    hid_t properties = H5Pcreate(H5P_LINK_CREATE);
    if (properties < 0) return -1;
    if (H5Pset_create_intermediate_group(properties, 1) >= 0 &&
        H5Pset_char_encoding(properties, H5T_CSET_UTF8) >= 0) {
        return properties;
    }
    H5Pclose(properties);
    return -1;
}

int icot_runlog_put_text(icot_runlog *log, const char *path, const char *value)
{
    int status = ICOT_FAILED, is_there;
    char *text;
    if (runlog_check_addable(log, path) || runlog_has(log, path, &is_there) ||
        utf8_duplicate(value, &text)) {
        return ICOT_FAILED;
    }

    hid_t type = runlog_text_type(), space = H5Screate(H5S_SCALAR), link = runlog_link_properties(),
          made = -1;
    if (type < 0 || space < 0 || link < 0) goto done;
    if (is_there && H5Ldelete(log->file, path, H5P_DEFAULT) < 0) goto done;
    if ((made = H5Dcreate2(log->file, path, type, space, link, H5P_DEFAULT, H5P_DEFAULT)) < 0) {
        goto done;
    }
    if (H5Dwrite(made, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, &text) < 0) goto done;
    status = ICOT_OK;

done:
    if (status) runlog_fail(log, "cannot write /%s", path);
    if (made >= 0) H5Dclose(made);
    if (link >= 0) H5Pclose(link);
    if (space >= 0) H5Sclose(space);
    if (type >= 0) H5Tclose(type);
    memory_free(text);
    return status;
}

int icot_runlog_link(icot_runlog *log, const char *path, const char *file, const char *target)
{
    if (runlog_check_addable(log, path)) return ICOT_FAILED;
    hid_t link = runlog_link_properties();
    int made =
        link >= 0 && H5Lcreate_external(file, target, log->file, path, link, H5P_DEFAULT) >= 0;
    if (link >= 0) H5Pclose(link);
    if (made) return ICOT_OK;
    return runlog_fail(log, "cannot make the link /%s", path);
}
