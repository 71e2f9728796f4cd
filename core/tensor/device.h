/* Where a tensor's bytes live. A backend supplies one of these beside its kernels. */
#ifndef ICOT_TENSOR_DEVICE_H
#define ICOT_TENSOR_DEVICE_H

#include <stddef.h>

typedef struct device {
    const char *name;                          /* "cpu" */
    int (*allocate)(size_t bytes, void **out); /* not cleared; fails with a message */
    void (*release)(void *block);              /* NULL is allowed */
    int (*clear)(void *block, size_t bytes);   /* sets bytes to zero */
    int (*copy_in)(void *block, const void *host, size_t bytes);
    int (*copy_out)(void *host, const void *block, size_t bytes);
} device;

#endif
