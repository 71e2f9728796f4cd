#include "backend/cuda_loader.h"

#include "backend/cuda/plugin.h"
#include "base/error.h"
#include "base/library.h"

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

#define LIBRARY "libicot_cuda.so"

static cuda_open_function *open_card; /* NULL: the library was not opened yet */
static cuda_tables opened;            /* all zeros: the card was not */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Without the library icot is whole; one that lacks a library of its own has a word for it. */
static int explain_missing(const char *reason)
{
    if (strncmp(reason, LIBRARY ": cannot open", sizeof LIBRARY ": cannot open" - 1) == 0) {
        return fail("device: 'cuda' needs " LIBRARY ", which was not built; install CUDA 12 or "
                    "newer (nvcc) and make icot again");
    }
    return fail("device: " LIBRARY " cannot be loaded: %s", reason);
}

static int open_cuda_library(void)
{
    void *library = library_open(LIBRARY);
    if (!library) return explain_missing(dlerror());
    *(void **)&open_card = dlsym(library, "icot_cuda_open");
    if (!open_card) return fail("device: " LIBRARY " is not icot's: it has no icot_cuda_open");
    return ICOT_OK;
}

static int open_tables(void)
{
    static const cuda_core core = {.error = error_set_as};
    cuda_tables tables = {0};
    if (!open_card && open_cuda_library()) return ICOT_FAILED;
    int status = open_card(&core, &tables);
    if (tables.abi != CUDA_PLUGIN_ABI || tables.table_bytes != sizeof(backend)) {
        return fail("device: " LIBRARY " belongs to another version of icot; make icot again");
    }
    if (!status) opened = tables;
    return status;
}

int cuda_backend(product_precision wanted, const backend **out)
{
    pthread_mutex_lock(&lock);
    int status = opened.in[IN_FLOAT32] ? ICOT_OK : open_tables();
    pthread_mutex_unlock(&lock);
    if (!status) *out = opened.in[wanted];
    return status;
}
