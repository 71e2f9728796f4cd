#include "backend/cpu/onednn_loader.h"

#include "icot.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static onednn_library found;
static int is_there, served[2]; /* by onednn_type */
static char version[40] = "none";
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* Beside the library that this function is in; else (C tests) wherever the loader looks. */
static void *open_library(void)
{
    static const char name[] = "libicot_onednn.so";
    char path[4096];
    Dl_info own;
    if (!dladdr((void *)(uintptr_t)onednn_load, &own)) return dlopen(name, RTLD_NOW | RTLD_LOCAL);
    const char *slash = strrchr(own.dli_fname, '/');
    int length = slash ? (int)(slash + 1 - own.dli_fname) : 0;
    if ((size_t)snprintf(path, sizeof path, "%.*s%s", length, own.dli_fname, name) < sizeof path) {
        void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (library) return library;
    }
    return dlopen(name, RTLD_NOW | RTLD_LOCAL);
}

static void load(void)
{
    const char *off = getenv("ICOT_NO_ONEDNN"); /* for comparing, and for tools that it upsets */
    void *library = off && *off ? NULL : open_library();
    if (!library) return;
    void (*describe)(int *, int *, int *);
    int major, minor, patch;
    *(void **)&found.takes_tiles = dlsym(library, "onednn_takes_tiles");
    *(void **)&found.matmul = dlsym(library, "onednn_matmul");
    *(void **)&describe = dlsym(library, "onednn_describe");
    if (!found.takes_tiles || !found.matmul || !describe) return;
    describe(&major, &minor, &patch);
    snprintf(version, sizeof version, "%d.%d.%d", major, minor, patch);
    is_there = 1;
    served[ONEDNN_FLOAT32] = found.takes_tiles(ONEDNN_FLOAT32);
    served[ONEDNN_BFLOAT16] = found.takes_tiles(ONEDNN_BFLOAT16);
}

const onednn_library *onednn_load(void)
{
    pthread_once(&once, load);
    return is_there ? &found : NULL;
}

int onednn_serves(onednn_type type)
{
    pthread_once(&once, load);
    return served[type];
}

const char *icot_onednn_version(void)
{
    pthread_once(&once, load);
    return version;
}
