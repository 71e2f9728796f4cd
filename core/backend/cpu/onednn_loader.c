#include "backend/cpu/onednn_loader.h"

#include "icot.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

static onednn_matmul_function *matmul;
static char version[40] = "none";
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* Lies beside libicot.so, which names its own folder to the loader of libraries. */
static void load(void)
{
    void *library = dlopen("libicot_onednn.so", RTLD_NOW | RTLD_LOCAL);
    if (!library) return;
    void (*describe)(int *, int *, int *);
    int major, minor, patch;
    *(void **)&matmul = dlsym(library, "onednn_matmul");
    *(void **)&describe = dlsym(library, "onednn_describe");
    if (!matmul || !describe) return;
    describe(&major, &minor, &patch);
    snprintf(version, sizeof version, "%d.%d.%d", major, minor, patch);
}

onednn_matmul_function *onednn_load(void)
{
    pthread_once(&once, load);
    return matmul;
}

const char *icot_onednn_version(void)
{
    pthread_once(&once, load);
    return version;
}
