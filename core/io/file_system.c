/* Which file systems cannot be trusted with files that one process writes while others read. */
#include "base/error.h"
#include "icot.h"

#include <errno.h>
#include <string.h>
#include <sys/vfs.h>

/* The f_type of statfs(2), from linux/magic.h and the sources of those file systems. */
static const struct {
    unsigned type;
    const char *name;
} remote[] = {
    {0x6969, "NFS"},        {0xFF534D42, "CIFS"},   {0xFE534D42, "SMB"},   {0x517B, "SMB"},
    {0x5346414F, "AFS"},    {0x01021997, "9P"},     {0x65735546, "FUSE"},  {0x00C36400, "Ceph"},
    {0x0BD00BD0, "Lustre"}, {0x19830326, "BeeGFS"}, {0x7461636F, "OCFS2"}, {0x73757245, "Coda"},
};

int icot_remote_file_system(const char *path, const char **name)
{
    struct statfs found;
    if (statfs(path, &found)) return fail("%s: %s", path, strerror(errno));
    *name = NULL;
    for (size_t i = 0; i < sizeof remote / sizeof *remote; i++) {
        if (remote[i].type == (unsigned)found.f_type) *name = remote[i].name;
    }
    return ICOT_OK;
}
