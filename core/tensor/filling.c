/* Filling tensors with one number or with random ones, by way of a buffer on the host. */
#include "base/error.h"
#include "base/memory.h"
#include "base/random.h"
#include "tensor/engine_parts.h"

#include <math.h>

/* Fills through a buffer on the host, whatever device the tensor lies on. */
static int fill_from(const char *who, tensor *t,
                     void (*make)(int64_t n, void *buffer, const void *how), const void *how)
{
    int64_t numel = tensor_numel(t);
    void *buffer;
    if (memory_alloc((size_t)numel * dtype_bytes(t->dtype), &buffer)) return ICOT_FAILED;
    make(numel, buffer, how);
    int status = tensor_overwrite(who, t, buffer);
    memory_free(buffer);
    return status;
}

typedef struct constant {
    icot_dtype dtype;
    double value;
} constant;

static void make_constant(int64_t n, void *buffer, const void *how)
{
    const constant *c = how;
    for (int64_t i = 0; i < n; i++) {
        if (c->dtype == ICOT_INT32)
            ((int32_t *)buffer)[i] = (int32_t)c->value;
        else
            ((float *)buffer)[i] = (float)c->value;
    }
}

/* Fails unless an int32 can hold exactly that number. */
static int check_int32(double value)
{
    if (!(value >= INT32_MIN && value <= INT32_MAX)) {
        return fail("fill: %g is out of the range of int32", value);
    }
    if (value != trunc(value)) {
        return fail("fill: got %.15g for an int32 tensor, expected a whole number", value);
    }
    return ICOT_OK;
}

int icot_tensor_fill(icot_engine *engine, icot_tensor handle, double value)
{
    tensor *t = tensor_find(engine, "fill", handle);
    if (!t) return ICOT_FAILED;
    if (t->dtype == ICOT_INT32 && check_int32(value)) return ICOT_FAILED;
    constant how = {.dtype = t->dtype, .value = value};
    return fill_from("fill", t, make_constant, &how);
}

typedef struct distribution {
    icot_random_key key;
    double a, b; /* mean and standard deviation, or low and high */
} distribution;

static void make_normal(int64_t n, void *buffer, const void *how)
{
    const distribution *d = how;
    random_normal(d->key, n, (float)d->a, (float)d->b, buffer);
}

/* In [low, high): rounding to float32 must not reach high. */
static void make_uniform(int64_t n, void *buffer, const void *how)
{
    const distribution *d = how;
    float low = (float)d->a, high = (float)d->b;
    for (int64_t i = 0; i < n; i++) {
        float u = (float)(d->a + (d->b - d->a) * random_uniform_at(d->key, (uint64_t)i));
        ((float *)buffer)[i] = u >= high && low < high ? nextafterf(high, low) : u;
    }
}

static int find_float(icot_engine *engine, icot_tensor handle, const char *who, tensor **out)
{
    tensor *t = tensor_find(engine, who, handle);
    if (!t) return ICOT_FAILED;
    if (t->dtype != ICOT_FLOAT32) return fail("%s: got int32, expected float32", who);
    *out = t;
    return ICOT_OK;
}

int icot_tensor_normal(icot_engine *engine, icot_tensor handle, double mean, double std,
                       icot_random_key key)
{
    tensor *t;
    if (find_float(engine, handle, "normal", &t)) return ICOT_FAILED;
    distribution how = {.key = key, .a = mean, .b = std};
    return fill_from("normal", t, make_normal, &how);
}

int icot_tensor_uniform(icot_engine *engine, icot_tensor handle, double low, double high,
                        icot_random_key key)
{
    tensor *t;
    if (find_float(engine, handle, "uniform", &t)) return ICOT_FAILED;
    distribution how = {.key = key, .a = low, .b = high};
    return fill_from("uniform", t, make_uniform, &how);
}
