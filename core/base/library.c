#include "base/library.h"

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void *library_open(const char *name)
{
    enum { HOW = RTLD_NOW | RTLD_LOCAL };
    char path[4096];
    Dl_info own;
    if (!dladdr((void *)(uintptr_t)library_open, &own)) return dlopen(name, HOW);
    const char *slash = strrchr(own.dli_fname, '/');
    const int length = slash ? (int)(slash + 1 - own.dli_fname) : 0;
    const int wanted = snprintf(path, sizeof path, "%.*s%s", length, own.dli_fname, name);
    const int is_beside = wanted < (int)sizeof path && access(path, F_OK) == 0;
    return dlopen(is_beside ? path : name, HOW);
}
