/* What several C tests need: checks of return codes, engines on chosen kernels, small tensors. */
#ifndef ICOT_TESTS_SUPPORT_H
#define ICOT_TESTS_SUPPORT_H

#include "backend/backend.h"
#include "backend/cpu/cpu.h"
#include "icot.h"

#include <stdint.h>

/* The device under test: that of ICOT_TEST_DEVICE, or "cpu". */
const char *tested_device(void);
const backend *tested_backend(const char *precision);

/* The sets of kernels that were compiled and that this CPU can run: generic, avx2, avx512; those of
 * another device under test. */
typedef struct kernel_set {
    const char *name;
    backend table;
} kernel_set;

int kernel_sets(const kernel_set **out); /* how many there are */

const backend *plain_kernels(void); /* the CPU's generic ones */

/* An engine whose kernels are those of the table, which must outlive it. */
icot_engine *engine_on(const backend *table);

void assert_ok(int rc);                           /* shows the message of the error */
void assert_refused(int rc, const char *message); /* must be 1: failed, with this in its message */

int64_t live_bytes(void);

double rounded_to_bf16(float value); /* to the nearest, ties to even, from the bits */
double bf16_at(const uint16_t *numbers, int64_t i);
float *random_floats(int64_t n, uint64_t seed); /* in [-2, 2); for free() */

/* A tensor of given numbers; floats are read from `values`, which may be NULL: zeros. */
icot_tensor tensor_of(icot_engine *engine, int ndim, const int64_t *size, const float *values);
icot_tensor ids_of(icot_engine *engine, int64_t n, const int32_t *ids);
/* The same of integers that are listed. */
#define INTS(engine, ...)                                                                          \
    ids_of(engine, sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t),                       \
           (const int32_t[]){__VA_ARGS__})
icot_tensor apply_one(icot_engine *engine, const char *name, icot_tensor x);
icot_tensor apply_two(icot_engine *engine, const char *name, icot_tensor a, icot_tensor b);
icot_tensor apply_with(icot_engine *engine, const char *name, const icot_tensor *inputs,
                       int n_inputs, icot_op_params params);

icot_tensor sum_of_squares(icot_engine *engine, icot_tensor x);

/* The view that an operator of views gives, its indices listed. */
#define VIEW(engine, x, name, ...)                                                                 \
    view_of(engine, x, name, sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t),             \
            (const int64_t[]){__VA_ARGS__})
icot_tensor view_of(icot_engine *engine, icot_tensor x, const char *name, int n_index,
                    const int64_t *index);

/* All elements, in row-major order. */
#define ASSERT_VALUES(engine, x, ...)                                                              \
    assert_values(engine, x, sizeof((const float[]){__VA_ARGS__}) / sizeof(float),                 \
                  (const float[]){__VA_ARGS__})
void assert_values(icot_engine *engine, icot_tensor x, int64_t n, const float *expected);
void assert_gone(icot_engine *engine, icot_tensor x); /* whatever is asked of it is refused */

#endif
