/* What a run needs to go on after a stop: a run file that continues another, a lock, a digest. */
#include "failing_allocations.h"
#include "files_case.h"
#include "support.h"

#include <fcntl.h>
#include <hdf5.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

static char copy[128], lock_path[128]; /* beside the run file */

static const icot_column columns[] = {{"step", ICOT_COLUMN_INT64, 0},
                                      {"loss", ICOT_COLUMN_FLOAT64, 0}};

static int set_up(void **state)
{
    (void)state;
    if (make_folder("run.h5")) return 1;
    strcpy(copy, in_folder("copy.h5"));
    strcpy(lock_path, in_folder("run.h5.lock"));
    return 0;
}

static int tear_down(void **state)
{
    unlink(copy), unlink(lock_path);
    return remove_folder(state);
}

/* ---- Run files ------------------------------------------------------------------------------- */

static int append(icot_runlog *log, int table, int from, int to)
{
    int status = 0;
    for (int i = from; i < to && !status; i++) {
        const double numbers[] = {i, 0.5 * i};
        status = icot_runlog_append(log, table, numbers, NULL);
    }
    return status;
}

/* Begins a run file, or goes on with the rows of another. */
static int begin(const char *from, icot_runlog **log, int *table)
{
    if (from ? icot_runlog_continue(path, from, log) : icot_runlog_create(path, 1, log)) return 1;
    if (icot_runlog_table(*log, "group/train", columns, 2, table) ||
        icot_runlog_put_text(*log, "recipe/source", from ? "second" : "first") ||
        icot_runlog_live(*log)) {
        icot_runlog_close(*log, NULL);
        return 1;
    }
    return 0;
}

/* Rows 0 … n-1, as the file has them, and the text. */
static void assert_rows(const char *name, unsigned flags, int n, const char *text)
{
    int64_t *steps = calloc((size_t)n + 1, sizeof *steps);
    char *found = NULL;
    hsize_t size = 0;
    hid_t file = H5Fopen(name, H5F_ACC_RDONLY | flags, H5P_DEFAULT);
    assert_true(file >= 0);
    hid_t data = H5Dopen2(file, "group/train", H5P_DEFAULT), space = H5Dget_space(data);
    H5Sget_simple_extent_dims(space, &size, NULL);
    assert_int_equal(size, n);
    hid_t step = H5Tcreate(H5T_COMPOUND, sizeof *steps);
    H5Tinsert(step, "step", 0, H5T_NATIVE_INT64);
    assert_true(H5Dread(data, step, H5S_ALL, H5S_ALL, H5P_DEFAULT, steps) >= 0);
    for (int i = 0; i < n; i++) assert_int_equal(steps[i], i);
    hid_t source = H5Dopen2(file, "recipe/source", H5P_DEFAULT), type = H5Dget_type(source);
    assert_true(H5Dread(source, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, &found) >= 0);
    assert_string_equal(found, text);
    H5free_memory(found);
    H5Tclose(type), H5Dclose(source), H5Tclose(step), H5Sclose(space), H5Dclose(data);
    H5Fclose(file);
    free(steps);
}

static void test_rows_after_a_snapshot_are_cut(void **state)
{
    (void)state;
    icot_runlog *log;
    int table;
    assert_int_equal(begin(NULL, &log, &table), 0);
    assert_ok(append(log, table, 0, 700));
    assert_ok(icot_runlog_snapshot(log, copy));
    assert_rows(copy, H5F_ACC_SWMR_READ, 700, "first");
    assert_ok(append(log, table, 700, 900));
    assert_ok(icot_runlog_close(log, "interrupted"));
    assert_rows(path, 0, 900, "first");

    assert_int_equal(begin(copy, &log, &table), 0);
    assert_rows(path, H5F_ACC_SWMR_READ, 700, "second");
    assert_ok(append(log, table, 700, 1500));
    assert_ok(icot_runlog_close(log, "finished"));
    assert_rows(path, 0, 1500, "second");
    assert_rows(copy, H5F_ACC_SWMR_READ, 700, "first");

    /* One that was closed, and is replaced by itself. */
    assert_int_equal(begin(path, &log, &table), 0);
    assert_ok(icot_runlog_close(log, "finished"));
    assert_rows(path, 0, 1500, "second");
}

static void test_other_columns_are_refused(void **state)
{
    (void)state;
    static const icot_column others[] = {{"step", ICOT_COLUMN_INT64, 0},
                                         {"lr", ICOT_COLUMN_FLOAT64, 0}};
    icot_runlog *log;
    int table;
    assert_int_equal(begin(NULL, &log, &table), 0);
    assert_ok(icot_runlog_snapshot(log, copy));
    assert_ok(icot_runlog_close(log, "finished"));

    assert_ok(icot_runlog_continue(path, copy, &log));
    assert_refused(icot_runlog_table(log, "group/train", others, 2, &table),
                   "/group/train cannot be continued: it has other columns");
    assert_null(strstr(icot_last_error(), "reason"));
    assert_ok(icot_runlog_close(log, NULL));
    assert_ok(icot_runlog_continue(path, copy, &log));
    assert_refused(icot_runlog_matrix(log, "group/train", 2, &table), "cannot be continued");
    assert_ok(icot_runlog_close(log, NULL));
    assert_ok(icot_runlog_continue(path, copy, &log));
    assert_refused(icot_runlog_table(log, "group", columns, 2, &table),
                   "/group cannot be continued: not a dataset");
    assert_ok(icot_runlog_close(log, NULL));
    assert_rows(path, 0, 0, "first");
}

/* As an older version has left it: rows go on without the column that has come since. */
static void test_last_columns_may_be_missing(void **state)
{
    (void)state;
    const icot_column more[] = {columns[0], columns[1], {"note", ICOT_COLUMN_TEXT, 8}};
    const double numbers[] = {0.0, 0.0, 0.0};
    const char *const texts[] = {NULL, NULL, "new"};
    icot_runlog *log;
    int table;
    assert_int_equal(begin(NULL, &log, &table), 0);
    assert_ok(icot_runlog_snapshot(log, copy));
    assert_ok(icot_runlog_close(log, "finished"));

    assert_ok(icot_runlog_continue(path, copy, &log));
    assert_ok(icot_runlog_table(log, "group/train", more, 3, &table));
    assert_ok(icot_runlog_live(log));
    assert_ok(icot_runlog_append(log, table, numbers, texts));
    assert_ok(icot_runlog_close(log, "finished"));
    assert_rows(path, 0, 1, "first");
}

/* Without memory it is not known whether a table is there: nothing is made in its place. */
static void test_failures_to_find_what_is_there(void **state)
{
    (void)state;
    icot_runlog *log;
    int table;
    assert_int_equal(begin(NULL, &log, &table), 0);
    assert_ok(icot_runlog_snapshot(log, copy));
    assert_ok(icot_runlog_close(log, "finished"));
    failing_allocation failing = {0};
    while (next_failing(&failing)) {
        assert_ok(icot_runlog_continue(path, copy, &log));
        FAILING(&failing, icot_runlog_table(log, "group/train", columns, 2, &table) ||
                              icot_runlog_put_text(log, "recipe/source", "second"));
        assert_ok(icot_runlog_close(log, NULL));
    }
    assert_true(failing.nth > 5);
}

static void test_damaged_files_are_refused(void **state)
{
    (void)state;
    icot_runlog *log;
    FILE *file = fopen(copy, "w");
    fputs("no HDF5", file);
    fclose(file);
    assert_refused(icot_runlog_continue(path, copy, &log), "cannot open it as HDF5");
    assert_refused(icot_runlog_continue(path, "/nowhere/run.h5", &log), "cannot open it");
    assert_int_equal(access(path, F_OK), -1);
}

static void test_a_removed_file_is_noticed(void **state)
{
    (void)state;
    icot_runlog *log;
    int table;
    assert_int_equal(begin(NULL, &log, &table), 0);
    assert_ok(append(log, table, 0, 10));
    unlink(path);
    assert_refused(icot_runlog_flush(log), "it was removed");
    assert_refused(icot_runlog_snapshot(log, copy), "it was removed");
    assert_refused(icot_runlog_close(log, "finished"), "it was removed");
}

/* Ten rows, a snapshot, and from there ten more. */
static int try_to_continue(void)
{
    icot_runlog *log;
    int table, status;
    if (begin(NULL, &log, &table)) return 1;
    status = append(log, table, 0, 10) || icot_runlog_snapshot(log, copy);
    if (icot_runlog_close(log, "interrupted") || status) return 1;
    if (begin(copy, &log, &table)) return 1;
    status = append(log, table, 10, 20);
    return icot_runlog_close(log, "finished") || status;
}

static void test_no_memory(void **state)
{
    (void)state;
    failing_allocation failing = {.other_errors = true};
    while (next_failing(&failing)) {
        unlink(copy);
        FAILING(&failing, try_to_continue());
    }
    assert_rows(path, 0, 20, "second");
}

/* ---- Locks ----------------------------------------------------------------------------------- */

/* In a child, which keeps the lock until it dies. */
static int take_it(void)
{
    icot_lock *lock;
    int held;
    _exit(icot_lock_take(lock_path, &lock, &held) == 0 && held ? 0 : 1);
}

static int another_can_take_it(void)
{
    return exit_code_of_child(take_it, 0) == 0;
}

static void test_a_lock_keeps_others_off(void **state)
{
    (void)state;
    icot_lock *lock, *second;
    int held = 0;
    assert_true(another_can_take_it());
    assert_int_equal(access(lock_path, F_OK), 0); /* its owner died; only the file is left */
    assert_ok(icot_lock_take(lock_path, &lock, &held));
    assert_true(held);
    assert_false(another_can_take_it());
    assert_refused(icot_lock_take(lock_path, &second, &held), ": is held by process ");
    icot_lock_release(lock);
    assert_int_equal(access(lock_path, F_OK), -1);
    assert_true(another_can_take_it());
    assert_refused(icot_lock_take("/nowhere/lock", &lock, &held), "cannot create it");
}

static int replaced_by =
    -1; /* what another process makes and locks before our lock is there; -1: nothing */
static int is_to_be_replaced;

/* The core's call comes here. */
int flock(int fd, int operation)
{
    if (is_to_be_replaced) { /* the owner lets go, and the next one comes, after we opened the file
                              */
        is_to_be_replaced = 0;
        unlink(lock_path);
        replaced_by = open(lock_path, O_RDWR | O_CREAT, 0666);
        assert_int_equal(syscall(SYS_flock, replaced_by, LOCK_EX | LOCK_NB), 0);
    }
    return (int)syscall(SYS_flock, fd, operation);
}

/* What we opened then is a file without a name, which locks nobody out. */
static void test_a_lock_that_was_removed_holds_nothing(void **state)
{
    (void)state;
    icot_lock *lock;
    int held;
    is_to_be_replaced = 1;
    assert_refused(icot_lock_take(lock_path, &lock, &held), ": is held by ");
    close(replaced_by);
    assert_ok(icot_lock_take(lock_path, &lock, &held));
    icot_lock_release(lock);
}

static void test_file_systems(void **state)
{
    (void)state;
    const char *name = "not asked";
    assert_ok(icot_remote_file_system("/proc", &name));
    assert_null(name);
    assert_refused(icot_remote_file_system("/nowhere", &name), "/nowhere");
}

/* ---- Digests --------------------------------------------------------------------------------- */

static uint64_t digest_of(int64_t vocab_size, const int32_t *ids, int n_question, int n_cot)
{
    icot_corpus *corpus;
    assert_ok(icot_corpus_create(vocab_size, &corpus));
    for (int i = 0; i < 3; i++) {
        assert_ok(icot_corpus_append(corpus, ids, n_question, ids + n_question, n_cot,
                                     ids + n_question + n_cot, 9 - n_question - n_cot));
    }
    uint64_t digest = icot_corpus_digest(corpus);
    icot_corpus_free(corpus);
    return digest;
}

static void test_digests_tell_corpora_apart(void **state)
{
    (void)state;
    const int32_t ids[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9}, others[9] = {1, 2, 3, 4, 5, 6, 7, 8, 0};
    const int64_t sizes[] = {16, 1000, 100000};
    for (int i = 0; i < 3; i++) {
        uint64_t digest = digest_of(sizes[i], ids, 3, 4);
        assert_int_equal(digest, digest_of(sizes[i], ids, 3, 4));
        assert_int_not_equal(digest, digest_of(sizes[i], others, 3, 4));
        assert_int_not_equal(digest, digest_of(sizes[i], ids, 4, 3));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_rows_after_a_snapshot_are_cut, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_other_columns_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_last_columns_may_be_missing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_failures_to_find_what_is_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_damaged_files_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_removed_file_is_noticed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_memory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_lock_keeps_others_off, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_lock_that_was_removed_holds_nothing, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_file_systems, set_up, tear_down),
        cmocka_unit_test(test_digests_tell_corpora_apart),
    };
    return cmocka_run_group_tests_name("resume", tests, NULL, NULL);
}
