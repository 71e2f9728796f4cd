/* Reading safetensors files at the boundary of the core: every range that is asked for is checked.
 * What Lua makes of the header, and all dtypes: tests/lua/safetensors_spec.lua. */
#include "base/utf8.h"
#include "failing_allocations.h"
#include "files_case.h"
#include "support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static icot_engine *engine;

static int set_up(void **state)
{
    (void)state;
    return make_folder("read.safetensors") || icot_engine_create("cpu", &engine);
}

static int tear_down(void **state)
{
    icot_engine_free(engine);
    return remove_folder(state);
}

/* A file of this header and the float32 numbers 1 … 6. */
static void write_file(const char *header)
{
    const float numbers[] = {1, 2, 3, 4, 5, 6};
    uint64_t length = strlen(header);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fwrite(&length, sizeof length, 1, file);
    fwrite(header, 1, length, file);
    fwrite(numbers, sizeof numbers, 1, file);
    assert_int_equal(fclose(file), 0);
}

static icot_safetensors *open_file(void)
{
    icot_safetensors *file;
    write_file("{}  ");
    assert_ok(icot_safetensors_open(path, &file));
    return file;
}

static void test_frame(void **state)
{
    (void)state;
    icot_safetensors *file = open_file();
    int64_t length;
    const char *header = icot_safetensors_header(file, &length);
    assert_int_equal(length, 4);
    assert_memory_equal(header, "{}  ", 4);
    assert_int_equal(icot_safetensors_data_bytes(file), 24);
    icot_safetensors_close(file);
    icot_safetensors_close(NULL);

    write_file("[]");
    assert_refused(icot_safetensors_open(path, &file), "the header does not begin with {");
    write_file("{\xC3}");
    assert_refused(icot_safetensors_open(path, &file), "byte 1 of the header is not UTF-8");
}

static void test_ranges(void **state)
{
    (void)state;
    icot_safetensors *file = open_file();
    icot_tensor matrix = tensor_of(engine, 2, (int64_t[]){2, 3}, NULL);
    icot_tensor turned = VIEW(engine, matrix, "permute", 1, 0);
    icot_stored_tensor all = {"all", "F32", 0, 24};
    assert_ok(icot_safetensors_read(engine, file, &all, matrix));
    ASSERT_VALUES(engine, matrix, 1, 2, 3, 4, 5, 6);
    assert_ok(icot_safetensors_read(engine, file, &all, turned));
    ASSERT_VALUES(engine, matrix, 1, 3, 5, 2, 4, 6);

    const icot_stored_tensor wrong[] = {
        {"x", "F32", -4, 20},       {"x", "F32", 4, 28},        {"x", "F32", 24, 0},
        {"x", "F32", INT64_MIN, 8}, {"x", "F32", 0, INT64_MAX}, {"x", "F32", 0, 20},
        {"x", "F32", 0, 23},        {"x", "F16", 0, 24},        {"x", "I32", 0, 24},
        {"x", "F64", 0, 24},        {"x", "", 0, 24},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_refused(icot_safetensors_read(engine, file, &wrong[i], matrix), ": tensor x: ");
    }
    assert_refused(icot_safetensors_read(engine, file, &all, 12345), ": tensor all: ");
    ASSERT_VALUES(engine, matrix, 1, 3, 5, 2, 4, 6);
    icot_safetensors_close(file);
}

static void test_no_memory(void **state)
{
    (void)state;
    icot_tensor into = tensor_of(engine, 1, (int64_t[]){12}, NULL);
    const icot_stored_tensor halves = {"x", "F16", 0, 24};
    write_file("{}");
    failing_allocation failing = {0};
    while (next_failing(&failing)) {
        icot_safetensors *file = NULL;
        FAILING(&failing, icot_safetensors_open(path, &file) ||
                              icot_safetensors_read(engine, file, &halves, into));
        icot_safetensors_close(file);
    }
    assert_int_equal(failing.nth, 4); /* the file, its path, the buffer */
}

static void test_utf8(void **state)
{
    (void)state;
    const char *good = "aé€😀";
    for (size_t bytes = 0; bytes <= strlen(good); bytes++) {
        size_t whole = bytes < 1 ? 0 : bytes < 3 ? 1 : bytes < 6 ? 3 : bytes < 10 ? 6 : 10;
        char *exact = malloc(bytes + 1); /* so that reading beyond its end is noticed */
        memcpy(exact, good, bytes);
        char *shrunk = realloc(exact, bytes ? bytes : 1);
        assert_int_equal(utf8_valid_bytes(shrunk, bytes), whole);
        free(shrunk);
    }
    assert_int_equal(utf8_valid_bytes("a\0b", 3), 3);
    assert_int_equal(utf8_valid_bytes("a\xED\xA0\x80", 4), 1); /* a surrogate */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_frame, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ranges, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_memory, set_up, tear_down),
        cmocka_unit_test(test_utf8),
    };
    return cmocka_run_group_tests_name("safetensors_read", tests, NULL, NULL);
}
