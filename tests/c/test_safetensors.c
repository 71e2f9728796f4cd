/* safetensors files, read back byte by byte. */
#include "failing_allocations.h"
#include "files_case.h"
#include "support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static icot_engine *engine;

static int set_up(void **state)
{
    (void)state;
    return make_folder("model.safetensors") || icot_engine_create("cpu", &engine);
}

static int tear_down(void **state)
{
    icot_engine_free(engine);
    return remove_folder(state);
}

static icot_tensor make(icot_dtype dtype, int ndim, const int64_t *shape, const void *values)
{
    icot_tensor tensor;
    icot_tensor_info info;
    assert_ok(icot_tensor_create(engine, dtype, ndim, shape, &tensor));
    assert_ok(icot_tensor_describe(engine, tensor, &info));
    assert_ok(icot_tensor_write(engine, tensor, values, info.numel));
    return tensor;
}

/* The whole file; *header is its JSON, *data what follows. */
static char *read_file(char **header, char **data, size_t *data_bytes)
{
    uint64_t length;
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    size_t bytes = (size_t)ftell(file);
    char *all = calloc(1, bytes + 1);
    rewind(file);
    assert_int_equal(fread(all, 1, bytes, file), bytes);
    fclose(file);

    memcpy(&length, all, sizeof length);
    assert_int_equal(length % 8, 0);
    *header = strndup(all + 8, length);
    *data = all + 8 + length;
    *data_bytes = bytes - 8 - length;
    return all;
}

static void test_save(void **state)
{
    (void)state;
    const float weights[] = {1, 2, 3, 4, 5, 6}, one[] = {-0.5f};
    const int32_t ids[] = {7, -8, 9};
    const icot_named_tensor tensors[] = {
        {"h.0.weight", make(ICOT_FLOAT32, 2, (int64_t[]){2, 3}, weights)},
        {"ids", make(ICOT_INT32, 1, (int64_t[]){3}, ids)},
        {"a \"scalar\"\\\n\xFFé", make(ICOT_FLOAT32, 0, NULL, one)},
        {"empty", make(ICOT_FLOAT32, 2, (int64_t[]){0, 4}, weights)},
    };
    char *header, *data;
    size_t bytes;
    assert_ok(icot_safetensors_save(engine, path, tensors, 1));
    assert_ok(icot_safetensors_save(engine, path, tensors, 4)); /* replaces the first */
    char *all = read_file(&header, &data, &bytes);
    const char *expected =
        "{\"__metadata__\":{\"format\":\"pt\"},"
        "\"h.0.weight\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
        "\"ids\":{\"dtype\":\"I32\",\"shape\":[3],\"data_offsets\":[24,36]},"
        "\"a \\\"scalar\\\"\\\\\\u000a\xEF\xBF\xBDé\":"
        "{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[36,40]},"
        "\"empty\":{\"dtype\":\"F32\",\"shape\":[0,4],\"data_offsets\":[40,40]}}";
    assert_memory_equal(header, expected, strlen(expected));
    assert_int_equal(strspn(header + strlen(expected), " "), strlen(header + strlen(expected)));
    assert_int_equal(bytes, 40);
    assert_memory_equal(data, weights, 24);
    assert_memory_equal(data + 24, ids, 12);
    assert_memory_equal(data + 36, one, 4);
    free(header);
    free(all);
}

static void test_mistakes_leave_the_old_file(void **state)
{
    (void)state;
    const float value = 3;
    icot_tensor scalar = make(ICOT_FLOAT32, 0, NULL, &value);
    const icot_named_tensor good[] = {{"x", scalar}};
    const icot_named_tensor twice[] = {{"x", scalar}, {"x", scalar}};
    const icot_named_tensor reserved[] = {{"__metadata__", scalar}};
    const icot_named_tensor gone[] = {{"x", scalar}, {"y", 12345678901}};
    assert_ok(icot_safetensors_save(engine, path, good, 1));

    assert_refused(icot_safetensors_save(engine, path, twice, 2), "two tensors are named x");
    assert_refused(icot_safetensors_save(engine, path, reserved, 1),
                   "cannot be named __metadata__");
    assert_refused(icot_safetensors_save(engine, path, gone, 2), "model.safetensors: tensor y: ");
    assert_refused(icot_safetensors_save(engine, "/proc/none/x", good, 1),
                   "safetensors file /proc/none/x: cannot make the");

    char *header, *data;
    size_t bytes;
    char *all = read_file(&header, &data, &bytes);
    assert_memory_equal(data, &value, sizeof value);
    free(header);
    free(all);
}

static int save_too_much(void)
{
    icot_tensor large;
    expect(!icot_tensor_create(engine, ICOT_FLOAT32, 1, (int64_t[]){5000}, &large));
    const icot_named_tensor tensors[] = {{"large", large}};
    expect(icot_safetensors_save(engine, path, tensors, 1));
    expect(strstr(icot_last_error(), "cannot write: File too large"));
    expect(access(path, F_OK) != 0);
    return 0;
}

static void test_full_disk_leaves_nothing(void **state)
{
    (void)state;
    assert_int_equal(exit_code_of_child(save_too_much, 3000), 0);
}

static void test_no_memory(void **state)
{
    (void)state;
    const float values[] = {1, 2};
    const icot_named_tensor tensors[] = {{"x", make(ICOT_FLOAT32, 1, (int64_t[]){2}, values)}};
    failing_allocation failing = {0};
    while (next_failing(&failing)) {
        FAILING(&failing, icot_safetensors_save(engine, path, tensors, 1));
    }
    assert_in_range(failing.nth, 5, 199);
    assert_int_equal(access(path, F_OK), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_save, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_mistakes_leave_the_old_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_full_disk_leaves_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_memory, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("safetensors", tests, NULL, NULL);
}
