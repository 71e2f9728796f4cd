#include "backend/cpu/onednn_loader.h"

#include "base/library.h"
#include "icot.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static onednn_library found;
static int is_there, served[2]; /* by onednn_type */
static char version[40] = "none";
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void)
{
    const char *off = getenv("ICOT_NO_ONEDNN"); /* for comparing, and for tools that it upsets */
    void *library = off && *off ? NULL : library_open("libicot_onednn.so");
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
