/* Files that appear whole or not at all, and files whose changes reach the disk together. */
#include "base/memory.h"
#include "base/utf8.h"
#include "files_case.h"
#include "io/output_file.h"
#include "io/staged_file.h"
#include "io/transfer.h"
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

static int set_up(void **state)
{
    (void)state;
    return make_folder("file");
}

static void assert_contents(const char *expected, size_t bytes)
{
    char read[256] = {0};
    struct stat found;
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0 && fstat(fd, &found) == 0);
    assert_int_equal(found.st_size, bytes);
    assert_int_equal(read_fully(fd, read, bytes, 0), 0);
    assert_memory_equal(read, expected, bytes);
    close(fd);
}

static void test_file_write_replaces_a_file(void **state)
{
    (void)state;
    struct stat found;
    assert_int_equal(icot_file_write(path, "{\"a\": 1}\n", 9), 0);
    assert_contents("{\"a\": 1}\n", 9);
    assert_int_equal(icot_file_write(path, "", 0), 0);
    assert_contents("", 0);
    mode_t mask = umask(0);
    umask(mask);
    assert_int_equal(stat(path, &found), 0);
    assert_int_equal(found.st_mode & 0777, 0666 & ~mask);
}

static int write_too_much(void)
{
    const char text[200] = "";
    expect(icot_file_write(path, text, sizeof text));
    expect(strstr(icot_last_error(), "cannot write: File too large"));
    return 0;
}

static void test_full_disk_leaves_the_old_file(void **state)
{
    (void)state;
    assert_int_equal(icot_file_write(path, "old", 3), 0);
    assert_int_equal(exit_code_of_child(write_too_much, 100), 0);
    assert_contents("old", 3);
}

/* ---- What the system is asked for: the core's calls come here, and go on from here ----------- */

static int lacks_rename_check, lacks_links; /* of the file system */
static ino_t synced[8];                     /* in this order */
static int n_synced;

int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags)
{
    if (lacks_rename_check && flags) {
        errno = EINVAL;
        return -1;
    }
    return (int)syscall(SYS_renameat2, from_folder, from, to_folder, to, flags);
}

int link(const char *from, const char *to)
{
    if (lacks_links) {
        errno = EPERM;
        return -1;
    }
    return linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int fsync(int fd)
{
    struct stat found;
    assert_int_equal(fstat(fd, &found), 0);
    if (n_synced < 8) synced[n_synced++] = found.st_ino;
    return 0;
}

static ino_t inode_of(const char *name)
{
    struct stat found;
    assert_int_equal(stat(name, &found), 0);
    return found.st_ino;
}

static void test_new_folders_reach_the_disk(void **state)
{
    (void)state;
    const char *outer = in_folder("a"), *inner = in_folder("a/b"), *file = in_folder("a/b/c");
    n_synced = 0;
    assert_int_equal(icot_file_write(file, "", 0), 0);
    const ino_t expected[] = {inode_of(folder), inode_of(outer), inode_of(file), inode_of(inner)};
    assert_int_equal(n_synced, 4);
    assert_memory_equal(synced, expected, sizeof expected);
    assert_int_equal(unlink(file) || rmdir(inner) || rmdir(outer), 0);
}

static void test_a_run_file_reaches_the_disk_at_its_end(void **state)
{
    (void)state;
    icot_runlog *log;
    assert_int_equal(icot_runlog_create(path, 0, &log), 0);
    assert_int_equal(icot_runlog_live(log), 0);
    n_synced = 0;
    assert_int_equal(icot_runlog_close(log, "finished"), 0);
    assert_int_equal(n_synced, 1);
    assert_int_equal(synced[0], inode_of(path));
}

static void check_publishing(void)
{
    output_file file;
    assert_int_equal(output_open(&file, "file", path, 0), 0);
    assert_int_equal(icot_file_write(path, "other", 5), 0); /* appears in the meantime */
    assert_refused(output_publish(&file), "already exists");
    assert_contents("other", 5);
    unlink(path);
    assert_int_equal(output_write(&file, "new", 3), 0);
    assert_int_equal(output_publish(&file), 0);
    output_close(&file);
    assert_contents("new", 3);
    unlink(path);
}

/* Whatever the file system has to check by that a name is free. */
static void test_no_file_is_overwritten(void **state)
{
    (void)state;
    for (int lacking = 0; lacking < 3; lacking++) {
        lacks_rename_check = lacking > 0, lacks_links = lacking > 1;
        check_publishing();
    }
    lacks_rename_check = lacks_links = 0;
}

/* ---- Copies and folders ---------------------------------------------------------------------- */

static void test_copy(void **state)
{
    (void)state;
    const char *from = in_folder("from");
    assert_int_equal(icot_file_write(from, "a\0b", 3), 0);
    assert_int_equal(icot_file_copy(from, path), 0);
    assert_contents("a\0b", 3);
    assert_refused(icot_file_copy(from, path), "already exists");
    unlink(path);
    assert_int_equal(icot_file_write(from, "", 0), 0);
    assert_int_equal(icot_file_copy(from, path), 0);
    assert_contents("", 0);
    unlink(from);
    assert_refused(icot_file_copy(from, path), "/from: cannot open it: No such file");
    assert_refused(icot_file_copy(folder, path), "cannot open it: it is a folder");
}

static void check_folders(void)
{
    const char *a = in_folder("a"), *b = in_folder("b");
    assert_int_equal(mkdir(a, 0777), 0);
    assert_refused(icot_folder_publish(a, b, 1), "/b: cannot create it: No such file");
    assert_int_equal(icot_folder_publish(a, b, 0), 0);
    assert_int_equal(access(a, F_OK), -1);

    assert_int_equal(icot_file_write(in_folder("b/old"), "", 0), 0);
    assert_int_equal(mkdir(a, 0777), 0);
    assert_refused(icot_folder_publish(a, b, 0), "/b: cannot create it: ");
    assert_int_equal(access(in_folder("b/old"), F_OK), 0);
    assert_int_equal(icot_folder_publish(a, b, 1), 0);
    assert_int_equal(unlink(in_folder("a/old")), 0);
    assert_int_equal(rmdir(a) || rmdir(b), 0);
}

static void test_folders_get_their_names(void **state)
{
    (void)state;
    check_folders();
    lacks_rename_check = 1;
    check_folders();
    lacks_rename_check = 0;
}

/* Else a power cut takes the new name away, or brings the old contents back. */
static void test_names_of_folders_reach_the_disk(void **state)
{
    (void)state;
    const char *a = in_folder("a"), *b = in_folder("b");
    for (int exchange = 0; exchange < 2; exchange++) {
        assert_int_equal(mkdir(a, 0777), 0);
        n_synced = 0;
        assert_int_equal(icot_folder_publish(a, b, exchange), 0);
        assert_int_equal(n_synced, 1);
        assert_int_equal(synced[0], inode_of(folder));
    }
    assert_int_equal(rmdir(a) || rmdir(b), 0);
}

static void test_a_folder_stays_if_none_takes_its_place(void **state)
{
    (void)state;
    const char *a = in_folder("a"), *b = in_folder("b");
    assert_int_equal(mkdir(b, 0777), 0);
    for (lacks_rename_check = 0; lacks_rename_check < 2; lacks_rename_check++) {
        assert_refused(icot_folder_publish(a, b, 1), "/b: cannot create it: No such file");
        assert_int_equal(access(b, F_OK), 0);
    }
    lacks_rename_check = 0;
    assert_int_equal(rmdir(b), 0);
}

/* ---- Staged files ---------------------------------------------------------------------------- */

static staged_file open_staged(void)
{
    staged_file file = {.fd = open(path, O_RDWR | O_CREAT, 0666)};
    assert_true(file.fd >= 0);
    return file;
}

static void test_staged_changes_wait_for_the_commit(void **state)
{
    (void)state;
    char read[12];
    staged_file file = open_staged();
    staged_put(&file, 4, "efgh", 4);
    staged_put(&file, 0, "abcd", 4);
    staged_put(&file, 3, "DE", 2);
    assert_contents("", 0);
    assert_int_equal(staged_get(&file, 1, read, 8), 0);
    assert_memory_equal(read, "bcDEfgh\0", 8); /* beyond the end is 0 */
    assert_int_equal(staged_commit(&file), 0);
    assert_contents("abcDEfgh", 8);

    staged_put(&file, 6, "GHIJ", 4); /* over the end of what is there */
    staged_put(&file, 0, "A", 1);
    assert_int_equal(staged_get(&file, 0, read, 10), 0);
    assert_memory_equal(read, "AbcDEfGHIJ", 10);
    assert_contents("abcDEfgh", 8);
    assert_int_equal(staged_commit(&file), 0);
    assert_contents("AbcDEfGHIJ", 10);

    staged_put(&file, 0, "x", 1);
    staged_discard(&file);
    assert_int_equal(staged_commit(&file), 0);
    assert_contents("AbcDEfGHIJ", 10);

    staged_put(&file, 12, "M", 1);
    file.end = 14; /* longer than what was written */
    assert_int_equal(staged_commit(&file), 0);
    assert_contents("AbcDEfGHIJ\0\0M\0", 14);
    file.end = 3;
    assert_int_equal(staged_commit(&file), 0);
    assert_contents("Abc", 3);
    close(file.fd);
}

static int commit_too_much(void)
{
    const char zeros[200] = "";
    staged_file file = open_staged();
    file.size = file.end = 3;
    staged_put(&file, 0, "new", 3);
    staged_put(&file, 3, zeros, sizeof zeros);
    expect(staged_commit(&file) == EFBIG);
    staged_discard(&file);
    close(file.fd);
    return 0;
}

static void test_failed_commit_changes_nothing(void **state)
{
    (void)state;
    assert_int_equal(icot_file_write(path, "old", 3), 0);
    assert_int_equal(exit_code_of_child(commit_too_much, 100), 0);
    assert_contents("old", 3);
}

static void test_staged_write_without_memory(void **state)
{
    (void)state;
    staged_file file = open_staged();
    icot_memory_fail_at(1);
    staged_put(&file, 0, "abc", 3);
    staged_put(&file, 3, "def", 3);
    assert_int_equal(staged_commit(&file), ENOMEM);
    assert_contents("", 0);
    staged_discard(&file);
    staged_put(&file, 0, "abc", 3);
    assert_int_equal(staged_commit(&file), 0);
    assert_contents("abc", 3);
    close(file.fd);
}

/* ---- Text ------------------------------------------------------------------------------------ */

static void test_utf8(void **state)
{
    (void)state;
#define BAD "\xEF\xBF\xBD"
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"", ""},
        {"plain", "plain"},
        {"é€😀", "é€😀"},
        {"\xC3", BAD},                         /* ends too early */
        {"\xC3(", BAD "("},                    /* the second byte is none */
        {"\xC0\xAF", BAD BAD},                 /* longer than need be */
        {"\xE0\x80\xAF", BAD BAD BAD},         /* the same with three bytes */
        {"\xED\xA0\x80", BAD BAD BAD},         /* a surrogate */
        {"\xF4\x90\x80\x80", BAD BAD BAD BAD}, /* beyond the last character */
        {"\xFF z", BAD " z"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *copy;
        assert_int_equal(utf8_duplicate(cases[i].text, &copy), 0);
        assert_string_equal(copy, cases[i].expected);
        memory_free(copy);
    }
    char narrow[4];
    assert_int_equal(utf8_copy("aé€", narrow, sizeof narrow), 3);
    assert_memory_equal(narrow, "aé\0", 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_file_write_replaces_a_file, set_up, remove_folder),
        cmocka_unit_test_setup_teardown(test_full_disk_leaves_the_old_file, set_up, remove_folder),
        cmocka_unit_test_setup_teardown(test_new_folders_reach_the_disk, set_up, remove_folder),
        cmocka_unit_test_setup_teardown(test_a_run_file_reaches_the_disk_at_its_end, set_up,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(test_no_file_is_overwritten, set_up, remove_folder),
        cmocka_unit_test_setup_teardown(test_copy, set_up, remove_folder),
        cmocka_unit_test_setup_teardown(test_folders_get_their_names, set_up, remove_folder),
        cmocka_unit_test_setup_teardown(test_names_of_folders_reach_the_disk, set_up,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(test_a_folder_stays_if_none_takes_its_place, set_up,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(test_staged_changes_wait_for_the_commit, set_up,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(test_failed_commit_changes_nothing, set_up, remove_folder),
        cmocka_unit_test_setup_teardown(test_staged_write_without_memory, set_up, remove_folder),
        cmocka_unit_test(test_utf8),
    };
    return cmocka_run_group_tests_name("files", tests, NULL, NULL);
}
