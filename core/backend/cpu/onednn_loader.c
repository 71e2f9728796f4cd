#include "backend/cpu/onednn_loader.h"

#include "base/library.h"
#include "icot.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#ifdef __x86_64__
#include <cpuid.h>
#endif

static onednn_library found;
static bool is_there;
static char version[40] = "none";
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* AMX-BF16: cpuid, leaf 7, bit 22 of EDX. */
static bool has_amx(void)
{
#ifdef __x86_64__
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && d >> 22 & 1;
#else
    return false;
#endif
}

static bool is_wanted(void)
{
    const char *asked = getenv("ICOT_ONEDNN");
    return asked && *asked ? *asked != '0' : has_amx();
}

static void load(void)
{
    void *library = is_wanted() ? library_open("libicot_onednn.so") : NULL;
    if (!library) return;
    void (*describe)(int *, int *, int *);
    int major, minor, patch;
    int (*takes_tiles)(void);
    *(void **)&takes_tiles = dlsym(library, "onednn_takes_tiles");
    *(void **)&found.matmul = dlsym(library, "onednn_matmul");
    *(void **)&describe = dlsym(library, "onednn_describe");
    if (!takes_tiles || !found.matmul || !describe || !takes_tiles()) return;
    describe(&major, &minor, &patch);
    snprintf(version, sizeof version, "%d.%d.%d", major, minor, patch);
    is_there = true;
}

const onednn_library *onednn_load(void)
{
    pthread_once(&once, load);
    return is_there ? &found : NULL;
}

const char *icot_onednn_version(void)
{
    pthread_once(&once, load);
    return version;
}
