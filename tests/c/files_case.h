/* A folder of its own for each test that writes files, and children whose disk is full. */
#ifndef TESTS_FILES_CASE_H
#define TESTS_FILES_CASE_H

#include "icot.h"

#include <sys/resource.h>

/* The folder, and the path of the file in it that the tests are about. */
extern char folder[64], path[128];

/* Makes the folder; path is that of a file so called, which is not there yet. 0 unless it failed.
 */
int make_folder(const char *file_name);
/* Removes the file and the folder: to be given to cmocka. It fails, and with it the test, if
 * anything else is left. */
int remove_folder(void **state);

/* The path of a file in the folder; it stays until eight others were asked for. */
const char *in_folder(const char *name);

/* Runs the body in a child that cannot make a file longer than `limit` (0: as long as it likes),
 * and gives what the body returns, from 0 to 255. */
int exit_code_of_child(int (*body)(void), rlim_t limit);

/* In the body: makes it return 1, with a line that says what was wrong. */
#define expect(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) return not_so(__LINE__, #condition);                                     \
    } while (0)
int not_so(int line, const char *condition);

#endif
