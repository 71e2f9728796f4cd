#include "tensor/device.h"

#include "base/error.h"
#include "base/memory.h"

#include <string.h>

static int clear(void *block, size_t bytes)
{
    memset(block, 0, bytes);
    return ICOT_OK;
}

static int copy(void *target, const void *source, size_t bytes)
{
    if (bytes) memcpy(target, source, bytes);
    return ICOT_OK;
}

const device host_memory = {
    .name = "cpu",
    .on_host = true,
    .allocate = memory_alloc,
    .release = memory_free,
    .clear = clear,
    .copy_in = copy,
    .copy_out = copy,
};
