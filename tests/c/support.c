#include "support.h"

#include "backend/cpu/kernel_sets.h"
#include "tensor/engine_parts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- Kernels and engines --------------------------------------------------------------------- */

static void add_set(kernel_set *set, const char *name, void (*fill)(backend *))
{
    set->name = name;
    set->table = *cpu_backend();
    fill(&set->table);
}

const char *tested_device(void)
{
    const char *name = getenv("ICOT_TEST_DEVICE");
    return name && *name ? name : "cpu";
}

const backend *tested_backend(const char *precision)
{
    const backend *found;
    assert_ok(backend_find(tested_device(), precision, &found));
    return found;
}

const backend *plain_kernels(void)
{
    static kernel_set plain;
    add_set(&plain, "generic", cpu_table_generic);
    return &plain.table;
}

int kernel_sets(const kernel_set **out)
{
    static kernel_set sets[MOST_INSTRUCTION_SETS];
    int count = 0;
    *out = sets;
    if (strcmp(tested_device(), "cpu") != 0) {
        sets[0] = (kernel_set){.name = tested_device(), .table = *tested_backend("float32")};
        return 1;
    }
    for (const instruction_set *each = instruction_sets; each->name; each++) {
        if (each->is_here()) add_set(&sets[count++], each->name, each->fill);
    }
    return count;
}

icot_engine *engine_on(const backend *table)
{
    icot_engine *engine;
    assert_ok(icot_engine_create(table->memory->name, &engine));
    engine->backend = table;
    engine->device = table->memory;
    return engine;
}

/* ---- Checks ---------------------------------------------------------------------------------- */

void assert_ok(int rc)
{
    if (rc) fail_msg("failed: %s", icot_last_error());
}

void assert_refused(int rc, const char *message)
{
    if (rc != 1) fail_msg("status %d, expected 1 and an error with '%s'", rc, message);
    if (!strstr(icot_last_error(), message)) {
        fail_msg("got the error '%s', expected one with '%s'", icot_last_error(), message);
    }
}

int64_t live_bytes(void)
{
    icot_memory counters;
    icot_memory_read(&counters);
    return counters.live;
}

double rounded_to_bf16(float value)
{
    uint32_t bits;
    float result;
    memcpy(&bits, &value, sizeof bits);
    bits = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000;
    memcpy(&result, &bits, sizeof result);
    return (double)result;
}

double bf16_at(const uint16_t *numbers, int64_t i)
{
    const uint32_t bits = (uint32_t)numbers[i] << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return (double)value;
}

float *random_floats(int64_t n, uint64_t seed)
{
    double *u = calloc((size_t)n + 1, sizeof *u);
    float *x = calloc((size_t)n + 1, sizeof *x);
    assert_true(u && x);
    icot_random_uniform((icot_random_key){.seed = seed}, n, u);
    for (int64_t i = 0; i < n; i++) x[i] = (float)(4.0 * u[i] - 2.0);
    free(u);
    return x;
}

/* ---- Tensors --------------------------------------------------------------------------------- */

icot_tensor tensor_of(icot_engine *engine, int ndim, const int64_t *size, const float *values)
{
    icot_tensor made;
    int64_t numel = 1;
    for (int d = 0; d < ndim; d++) numel *= size[d];
    assert_ok(icot_tensor_create(engine, ICOT_FLOAT32, ndim, size, &made));
    if (values) assert_ok(icot_tensor_write(engine, made, values, numel));
    return made;
}

icot_tensor ids_of(icot_engine *engine, int64_t n, const int32_t *ids)
{
    icot_tensor made;
    assert_ok(icot_tensor_create(engine, ICOT_INT32, 1, &n, &made));
    assert_ok(icot_tensor_write(engine, made, ids, n));
    return made;
}

icot_tensor apply_with(icot_engine *engine, const char *name, const icot_tensor *inputs,
                       int n_inputs, icot_op_params params)
{
    icot_tensor out;
    assert_ok(icot_apply(engine, icot_operator_find(name), inputs, n_inputs, &params, &out));
    return out;
}

icot_tensor apply_one(icot_engine *engine, const char *name, icot_tensor x)
{
    return apply_with(engine, name, &x, 1, (icot_op_params){0});
}

icot_tensor apply_two(icot_engine *engine, const char *name, icot_tensor a, icot_tensor b)
{
    return apply_with(engine, name, (const icot_tensor[]){a, b}, 2, (icot_op_params){0});
}

icot_tensor sum_of_squares(icot_engine *engine, icot_tensor x)
{
    return apply_one(engine, "sum", apply_two(engine, "mul", x, x));
}

icot_tensor view_of(icot_engine *engine, icot_tensor x, const char *name, int n_index,
                    const int64_t *index)
{
    icot_op_params params = {.n_index = n_index};
    memcpy(params.index, index, (size_t)n_index * sizeof *index);
    return apply_with(engine, name, &x, 1, params);
}

void assert_values(icot_engine *engine, icot_tensor x, int64_t n, const float *expected)
{
    float values[64];
    assert_true(n <= 64);
    assert_ok(icot_tensor_read(engine, x, values, n));
    for (int64_t i = 0; i < n; i++) {
        if (values[i] != expected[i]) {
            fail_msg("element %d is %g, expected %g", (int)i, (double)values[i],
                     (double)expected[i]);
        }
    }
}

void assert_gone(icot_engine *engine, icot_tensor x)
{
    icot_tensor_info info;
    float value;
    icot_tensor out;
    const icot_random_key key = {0};
    const icot_op_params none = {0};
    assert_refused(
        icot_tensor_describe(engine, x, &info),
        "describe: this tensor is gone: its scope was closed, or it was freed or released");
    assert_refused(icot_tensor_read(engine, x, &value, 1), "read: this tensor is gone");
    assert_refused(icot_tensor_write(engine, x, &value, 1), "write: this tensor is gone");
    assert_refused(icot_tensor_fill(engine, x, 1.0), "fill: this tensor is gone");
    assert_refused(icot_tensor_normal(engine, x, 0.0, 1.0, key), "normal: this tensor is gone");
    assert_refused(icot_tensor_uniform(engine, x, 0.0, 1.0, key), "uniform: this tensor is gone");
    assert_refused(icot_tensor_free(engine, x), "free: this tensor is gone");
    assert_refused(icot_tensor_keep(engine, x), "keep: this tensor is gone");
    assert_refused(icot_tensor_detach(engine, x, &out), "detach: this tensor is gone");
    assert_refused(icot_requires_grad(engine, x, 1), "requires_grad: this tensor is gone");
    assert_refused(icot_grad(engine, x, &out), "grad: this tensor is gone");
    assert_refused(icot_backward(engine, x), "backward: this tensor is gone");
    assert_refused(icot_zero_grad(engine, &x, 1), "zero_grad: this tensor is gone");
    assert_refused(icot_tensor_argmax(engine, x, &out), "argmax: this tensor is gone");
    assert_refused(icot_apply(engine, icot_operator_find("exp"), &x, 1, &none, &out),
                   "exp, tensor 1: this tensor is gone");
}
