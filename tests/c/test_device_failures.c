/* A device of which some calls fail: what was made before on the way is not lost. */
#include "support.h"

#include "autograd/operators/factor.h"
#include "autograd/operators/picked.h"
#include "base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static int refuse_to_clear(void *block, size_t bytes)
{
    (void)block, (void)bytes;
    error_set("the device clears nothing");
    return ICOT_FAILED;
}

static int refuse_to_copy(void *block, const void *host, size_t bytes)
{
    (void)block, (void)host, (void)bytes;
    error_set("the device takes nothing");
    return ICOT_FAILED;
}

/* The CPU, as if it were a device of its own. */
static device memory;
static backend far_kernels;

static int use_far_kernels(void **state)
{
    (void)state;
    memory = host_memory;
    memory.on_host = false;
    far_kernels = *plain_kernels();
    far_kernels.memory = &memory;
    return 0;
}

static void test_a_factor_that_is_not_cleared(void **state)
{
    (void)state;
    const int64_t before = live_bytes();
    factor f = {0};
    memory.clear = refuse_to_clear;
    assert_refused(factor_new(&far_kernels, 3, 5, &f), "clears nothing");
    assert_null(f.own);
    assert_int_equal(live_bytes(), before);
}

static void test_rows_whose_numbers_do_not_arrive(void **state)
{
    (void)state;
    const float x[4] = {1, 2, 3, 4}, *taken;
    factor from = {.data = (void *)(uintptr_t)x}, picked;
    void *own;
    icot_engine *engine = engine_on(&far_kernels);
    ids_of(engine, 2, (const int32_t[]){1, 3});
    const node n = {.engine = engine, .n_inputs = 1, .inputs = {engine->innermost->first}};
    const picked_rows rows = picked_of(&n, 0, 4);
    const int64_t before = live_bytes();
    memory.copy_in = refuse_to_copy;
    assert_refused(picked_take_floats(&n, rows, 1, x, &taken, &own), "takes nothing");
    assert_null(own);
    assert_int_equal(live_bytes(), before);
    assert_refused(picked_take(&n, rows, 1, &from, &picked), "takes nothing");
    assert_int_equal(live_bytes(), before);
    icot_engine_free(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_a_factor_that_is_not_cleared, use_far_kernels),
        cmocka_unit_test_setup(test_rows_whose_numbers_do_not_arrive, use_far_kernels),
    };
    return cmocka_run_group_tests_name("device_failures", tests, NULL, NULL);
}
