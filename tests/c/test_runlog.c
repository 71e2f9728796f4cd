/* The run file: what is in it, and what is left of it when something goes wrong. */
#include "io/hdf5_file.h"

#include "failing_allocations.h"
#include "files_case.h"
#include "support.h"

#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const icot_column columns[] = {
    {"step", ICOT_COLUMN_INT64, 0},
    {"loss", ICOT_COLUMN_FLOAT64, 0},
    {"split", ICOT_COLUMN_TEXT, 5},
    {"reset", ICOT_COLUMN_BOOL, 0},
};

static int set_up(void **state)
{
    (void)state;
    return make_folder("run.h5");
}

/* Files in the folder. */
static int count_files(void)
{
    int count = 0;
    DIR *opened = opendir(folder);
    for (struct dirent *entry; (entry = readdir(opened));) count += *entry->d_name != '.';
    closedir(opened);
    return count;
}

/* ---- Helpers that write ---------------------------------------------------------------------- */

static int append(icot_runlog *log, int table, int step)
{
    const double numbers[] = {step, 1.0 / (1 + step), 0, step % 2};
    const char *const texts[] = {NULL, NULL, "valid", NULL};
    return icot_runlog_append(log, table, numbers, texts);
}

static icot_runlog *start(int overwrite, int *table)
{
    icot_runlog *log;
    assert_ok(icot_runlog_create(path, overwrite, &log));
    assert_ok(icot_runlog_set_text(log, "recipe", "mult_4x4"));
    assert_ok(icot_runlog_table(log, "train", columns, 4, table));
    return log;
}

static void write_run(int rows)
{
    int table;
    icot_runlog *log = start(1, &table);
    assert_ok(icot_runlog_live(log));
    for (int i = 0; i < rows; i++) assert_ok(append(log, table, i));
    assert_ok(icot_runlog_close(log, "finished"));
}

/* ---- Helpers that read, with HDF5's own I/O -------------------------------------------------- */

static hid_t open_for_reading(unsigned flags)
{
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY | flags, H5P_DEFAULT);
    assert_true(file >= 0);
    return file;
}

static void assert_attribute(hid_t file, const char *name, const char *expected)
{
    char *text = NULL;
    hid_t attribute = H5Aopen(file, name, H5P_DEFAULT), type = H5Aget_type(attribute);
    assert_true(H5Tis_variable_str(type) > 0);
    assert_int_equal(H5Tget_cset(type), H5T_CSET_UTF8);
    assert_true(H5Aread(attribute, type, &text) >= 0);
    assert_string_equal(text ? text : "", expected);
    H5free_memory(text);
    H5Tclose(type);
    H5Aclose(attribute);
}

static int64_t rows_in(hid_t file, const char *name)
{
    hsize_t size[2] = {0};
    hid_t data = H5Dopen2(file, name, H5P_DEFAULT), space = H5Dget_space(data);
    assert_true(H5Sget_simple_extent_dims(space, size, NULL) > 0);
    H5Sclose(space);
    H5Dclose(data);
    return (int64_t)size[0];
}

static void assert_run(unsigned flags, int64_t rows, const char *end_state)
{
    hid_t file = open_for_reading(flags);
    assert_attribute(file, "end_state", end_state);
    assert_attribute(file, "recipe", "mult_4x4");
    assert_int_equal(rows_in(file, "train"), rows);

    struct __attribute__((packed)) row {
        int64_t step;
        double loss;
        char split[5];
        int8_t reset;
    } *read = calloc((size_t)rows + 1, sizeof *read);
    hid_t data = H5Dopen2(file, "train", H5P_DEFAULT), type = H5Dget_type(data);
    assert_int_equal(H5Tget_size(type), sizeof *read);
    assert_true(H5Dread(data, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, read) >= 0);
    for (int i = 0; i < rows; i++) {
        assert_int_equal(read[i].step, i);
        assert_true(read[i].loss == 1.0 / (1 + i));
        assert_memory_equal(read[i].split, "valid", 5);
        assert_int_equal(read[i].reset, i % 2);
    }
    free(read);
    H5Tclose(type);
    H5Dclose(data);
    assert_true(H5Fclose(file) >= 0);
}

/* ---- What is in the file --------------------------------------------------------------------- */

static void test_rows_and_attributes(void **state)
{
    (void)state;
    write_run(1000);
    assert_run(0, 1000, "finished");
    hid_t file = open_for_reading(0);
    int64_t seed;
    assert_int_equal(H5Aexists(file, "seed"), 0);
    assert_true(H5Aexists(file, "end_time") > 0);
    H5Fclose(file);

    int table;
    icot_runlog *log = start(1, &table);
    assert_ok(icot_runlog_set_integer(log, "seed", INT64_C(9007199254740993)));
    assert_ok(icot_runlog_set_number(log, "threads", 2.0));
    assert_ok(icot_runlog_set_text(log, "host", "ÄÖ"));
    assert_ok(icot_runlog_put_text(log, "recipe/source", "return {}\n"));
    assert_ok(icot_runlog_live(log));
    assert_ok(icot_runlog_set_integer(log, "threads", 4)); /* another type than before */
    assert_ok(icot_runlog_set_text(log, "added", "late"));
    assert_ok(icot_runlog_close(log, "interrupted"));

    assert_run(0, 0, "interrupted");
    file = open_for_reading(0);
    hid_t attribute = H5Aopen(file, "seed", H5P_DEFAULT);
    assert_true(H5Aread(attribute, H5T_NATIVE_INT64, &seed) >= 0);
    assert_true(seed == INT64_C(9007199254740993));
    H5Aclose(attribute);
    assert_attribute(file, "host", "ÄÖ");
    assert_attribute(file, "added", "late");
    H5Fclose(file);
}

static void test_text_is_cut_between_characters(void **state)
{
    (void)state;
    const char *given[] = {"ab", "abcde", "abcdef", "abcdé", "ab\xFFz", "\xE2\x82"};
    const char *expected[] = {"ab\0\0\0", "abcde",          "abcde",
                              "abcd\0",   "ab\xEF\xBF\xBD", "\xEF\xBF\xBD\0\0"};
    enum { COUNT = sizeof given / sizeof *given };
    char read[COUNT][5];
    int table;
    icot_runlog *log;
    assert_ok(icot_runlog_create(path, 0, &log));
    assert_ok(icot_runlog_table(log, "texts", &columns[2], 1, &table));
    assert_ok(icot_runlog_live(log));
    for (int i = 0; i < COUNT; i++) {
        const double unused = 0;
        assert_ok(icot_runlog_append(log, table, &unused, &given[i]));
    }
    assert_ok(icot_runlog_close(log, "finished"));

    hid_t file = open_for_reading(0), data = H5Dopen2(file, "texts", H5P_DEFAULT);
    hid_t type = H5Dget_type(data);
    assert_true(H5Dread(data, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, read) >= 0);
    for (int i = 0; i < COUNT; i++) assert_memory_equal(read[i], expected[i], 5);
    H5Tclose(type);
    H5Dclose(data);
    H5Fclose(file);
}

static void test_matrix(void **state)
{
    (void)state;
    int matrix;
    icot_runlog *log;
    double read[2][3];
    assert_ok(icot_runlog_create(path, 0, &log));
    assert_ok(icot_runlog_matrix(log, "eval_positions", 3, &matrix));
    assert_ok(icot_runlog_live(log));
    assert_ok(icot_runlog_append(log, matrix, (double[]){1, 0.5, NAN}, NULL));
    assert_ok(icot_runlog_append(log, matrix, (double[]){0, 0.25, 1}, NULL));
    assert_ok(icot_runlog_close(log, "finished"));

    hid_t file = open_for_reading(0), data = H5Dopen2(file, "eval_positions", H5P_DEFAULT);
    assert_true(H5Dread(data, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, read) >= 0);
    assert_true(read[0][1] == 0.5 && isnan(read[0][2]) && read[1][1] == 0.25 && read[1][2] == 1);
    H5Dclose(data);
    H5Fclose(file);
}

static void test_small_runs_are_small_files(void **state)
{
    (void)state;
    struct stat found;
    write_run(20);
    assert_int_equal(stat(path, &found), 0);
    assert_true(found.st_size < 24 * 1024);
}

static void test_wrong_rows_are_refused(void **state)
{
    (void)state;
    int table;
    icot_runlog *log = start(0, &table);
    assert_ok(icot_runlog_live(log));
    assert_ok(append(log, table, 0));
    const char *const texts[] = {NULL, NULL, "valid", NULL}, *const none[] = {0, 0, 0, 0};
    assert_refused(icot_runlog_append(log, table, (double[]){NAN, 0, 0, 0}, texts), "column step");
    assert_refused(icot_runlog_append(log, table, (double[]){1.5, 0, 0, 0}, texts), "an integer");
    assert_refused(icot_runlog_append(log, table, (double[]){1e19, 0, 0, 0}, texts), "column step");
    assert_refused(icot_runlog_append(log, table, (double[]){1, 0, 0, 0}, none), "column split");
    assert_refused(icot_runlog_append(log, 7, (double[]){1, 0, 0, 0}, texts), "got table 7");
    assert_refused(icot_runlog_table(log, "more", columns, 4, &table), "live");
    assert_refused(icot_runlog_put_text(log, "more", "text"), "live");
    assert_ok(append(log, table, 1));
    assert_ok(icot_runlog_close(log, "finished"));
    assert_run(0, 2, "finished");
}

/* ---- Files that are there already, and places where none can be ------------------------------ */

static void test_existing_file_is_kept(void **state)
{
    (void)state;
    icot_runlog *log;
    int table;
    write_run(3);
    assert_refused(icot_runlog_create(path, 0, &log), "run.h5: already exists");
    assert_int_equal(icot_last_error_kind(), ICOT_ERROR_EXISTS);
    assert_null(strstr(icot_last_error(), "--")); /* the user's words are Lua's */
    assert_run(0, 3, "finished");

    log = start(1, &table); /* given up before it was live */
    assert_ok(icot_runlog_close(log, NULL));
    assert_run(0, 3, "finished");
    assert_int_equal(count_files(), 1);

    write_run(5);
    assert_run(0, 5, "finished");
    assert_int_equal(count_files(), 1);
}

static void test_two_writers(void **state)
{
    (void)state;
    icot_runlog *first, *second;
    int table;
    first = start(0, &table);
    assert_ok(icot_runlog_create(path, 0, &second)); /* neither has its name yet */
    assert_ok(icot_runlog_live(first));
    assert_refused(icot_runlog_live(second), "already exists");
    assert_refused(icot_runlog_close(second, "finished"), "already exists");
    assert_ok(append(first, table, 0));
    assert_ok(icot_runlog_close(first, "finished"));
    assert_run(0, 1, "finished");
    assert_int_equal(count_files(), 1);
}

static void test_places(void **state)
{
    (void)state;
    icot_runlog *log;
    write_run(1);
    const char *inside = in_folder("run.h5/deeper/run.h5");
    assert_refused(icot_runlog_create(inside, 0, &log), "cannot make the folder");
    assert_refused(icot_runlog_create(inside, 0, &log), "Not a directory");
    assert_refused(icot_runlog_create(folder, 1, &log), "this is a folder");
    assert_refused(icot_runlog_create("/dev/full", 1, &log), "this is a device");
    assert_refused(icot_runlog_create("", 1, &log), "the path is empty");
    assert_refused(icot_runlog_create("/proc/run.h5", 1, &log), "/proc/run.h5: cannot create it");

    const char *outer = in_folder("new"), *inner = in_folder("new/er");
    const char *file = in_folder("new/er/run.h5");
    assert_ok(icot_runlog_create(file, 0, &log));
    assert_ok(icot_runlog_close(log, "finished"));
    assert_int_equal(unlink(file) || rmdir(inner) || rmdir(outer), 0);
}

/* ---- Crashes and full disks: in a process of their own --------------------------------------- */

static int begin(icot_runlog **log, int *table)
{
    char source[6000] = "";
    expect(!icot_runlog_create(path, 0, log));
    expect(!icot_runlog_set_text(*log, "recipe", "mult_4x4"));
    memset(source, 'x', sizeof source - 1);
    expect(!icot_runlog_put_text(*log, "recipe/config", "{}"));
    expect(!icot_runlog_put_text(*log, "recipe/source", source));
    expect(!icot_runlog_table(*log, "train", columns, 4, table));
    return 0;
}

static int crash_after_flush(void)
{
    icot_runlog *log;
    int table;
    expect(!begin(&log, &table) && !icot_runlog_live(log));
    for (int i = 0; i < 700; i++) expect(!append(log, table, i));
    expect(!icot_runlog_flush(log));
    for (int i = 700; i < 900; i++) expect(!append(log, table, i));
    _exit(0);
}

static void test_crash_keeps_flushed_rows(void **state)
{
    (void)state;
    assert_int_equal(exit_code_of_child(crash_after_flush, 0), 0);
    assert_run(H5F_ACC_SWMR_READ, 700, "running");
}

enum { ROWS_PER_FLUSH = 50, FULL_AT = 60000 };

/* Appends and flushes until the disk is full; the status says how many flushes went well. */
static int fill_disk(void)
{
    icot_runlog *log;
    int table, flushes = 0;
    expect(!begin(&log, &table) && !icot_runlog_live(log));
    while (flushes < 90) {
        for (int i = 0; i < ROWS_PER_FLUSH; i++) {
            expect(!append(log, table, flushes * ROWS_PER_FLUSH + i));
        }
        if (icot_runlog_flush(log)) break;
        flushes++;
    }
    expect(strstr(icot_last_error(), "run.h5: cannot write: File too large"));
    expect(append(log, table, 0) && strstr(icot_last_error(), "cannot write"));
    expect(icot_runlog_flush(log) && strstr(icot_last_error(), "cannot write"));
    expect(icot_runlog_close(log, "finished") && strstr(icot_last_error(), "cannot write"));
    return flushes + 2;
}

static void test_full_disk_keeps_flushed_rows(void **state)
{
    (void)state;
    for (rlim_t limit = FULL_AT; limit < FULL_AT + 9000; limit += 1111) {
        int flushes = exit_code_of_child(fill_disk, limit) - 2;
        assert_in_range(flushes, 10, 80);
        assert_run(0, flushes * ROWS_PER_FLUSH, "failed");
        assert_int_equal(count_files(), 1);
        unlink(path);
    }
}

static int create_on_full_disk(void)
{
    icot_runlog *log;
    int table;
    expect(!begin(&log, &table));
    expect(icot_runlog_live(log) && strstr(icot_last_error(), "cannot write"));
    expect(icot_runlog_close(log, "failed") && strstr(icot_last_error(), "cannot write"));
    return 0;
}

static void test_full_disk_leaves_nothing_new(void **state)
{
    (void)state;
    for (rlim_t limit = 1; limit < 2000; limit += 333) {
        assert_int_equal(exit_code_of_child(create_on_full_disk, limit), 0);
        assert_int_equal(count_files(), 0);
    }
}

/* ---- Memory ---------------------------------------------------------------------------------- */

/* Writes a whole run, giving up at the first error. */
static int try_run(void)
{
    icot_runlog *log;
    int table, status;
    if (icot_runlog_create(path, 1, &log)) return 1;
    status = icot_runlog_set_text(log, "recipe", "mult_4x4") ||
             icot_runlog_put_text(log, "recipe/source", "return {}") ||
             icot_runlog_table(log, "train", columns, 4, &table) || icot_runlog_live(log) ||
             append(log, table, 0) || icot_runlog_flush(log);
    return icot_runlog_close(log, status ? "failed" : "finished") || status;
}

static void test_no_memory(void **state)
{
    (void)state;
    failing_allocation failing = {.other_errors = true};
    while (next_failing(&failing)) {
        FAILING(&failing, try_run());
        if (access(path, F_OK) == 0) H5Fclose(open_for_reading(0));
    }
    assert_run(0, 1, "finished");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_rows_and_attributes, set_up, remove_folder),
        cmocka_unit_test_setup_teardown(test_text_is_cut_between_characters, set_up, remove_folder),
        cmocka_unit_test_setup_teardown(test_matrix, set_up, remove_folder),
        cmocka_unit_test_setup_teardown(test_small_runs_are_small_files, set_up, remove_folder),
        cmocka_unit_test_setup_teardown(test_wrong_rows_are_refused, set_up, remove_folder),
        cmocka_unit_test_setup_teardown(test_existing_file_is_kept, set_up, remove_folder),
        cmocka_unit_test_setup_teardown(test_two_writers, set_up, remove_folder),
        cmocka_unit_test_setup_teardown(test_places, set_up, remove_folder),
        cmocka_unit_test_setup_teardown(test_crash_keeps_flushed_rows, set_up, remove_folder),
        cmocka_unit_test_setup_teardown(test_full_disk_keeps_flushed_rows, set_up, remove_folder),
        cmocka_unit_test_setup_teardown(test_full_disk_leaves_nothing_new, set_up, remove_folder),
        cmocka_unit_test_setup_teardown(test_no_memory, set_up, remove_folder),
    };
    return cmocka_run_group_tests_name("runlog", tests, NULL, NULL);
}
