/* Where a tensor's bytes live. A backend supplies one of these beside its kernels. */
#ifndef ICOT_TENSOR_DEVICE_H
#define ICOT_TENSOR_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct device {
    const char *name;                          /* "cpu" */
    bool on_host;                              /* the host reads and writes its memory directly */
    int (*allocate)(size_t bytes, void **out); /* not cleared; fails with a message */
    void (*release)(void *block);              /* NULL is allowed */
    int (*clear)(void *block, size_t bytes);   /* sets bytes to zero */
    int (*copy_in)(void *block, const void *host, size_t bytes);
    int (*copy_out)(void *host, const void *block, size_t bytes);
} device;

extern const device host_memory; /* the name of its device is "cpu" */

/* Indices, twice: for the host, which checks them and plans with them, and for kernels. Both are
 * the same where the device is the host. */
typedef struct index_array {
    const int32_t *host, *device;
} index_array;

#endif
