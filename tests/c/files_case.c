#include "files_case.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

char folder[64], path[128];

int make_folder(const char *file_name)
{
    strcpy(folder, "/tmp/icot_test_XXXXXX");
    if (!mkdtemp(folder)) return 1;
    strcpy(path, in_folder(file_name));
    return 0;
}

int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

const char *in_folder(const char *name)
{
    static char paths[8][sizeof path];
    static int next;
    char *made = paths[next++ % 8];
    snprintf(made, sizeof paths[0], "%s/%s", folder, name);
    return made;
}

int exit_code_of_child(int (*body)(void), rlim_t limit)
{
    int status;
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const struct rlimit size = {limit, RLIM_INFINITY};
        signal(SIGXFSZ, SIG_IGN); /* a write beyond the limit fails with EFBIG */
        alarm(20);
        if (limit > 0 && setrlimit(RLIMIT_FSIZE, &size)) exit(100);
        exit(body());
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

int not_so(int line, const char *condition)
{
    const struct rlimit none = {RLIM_INFINITY, RLIM_INFINITY};
    setrlimit(RLIMIT_FSIZE, &none); /* what is written to may be a file as well */
    fprintf(stderr, "line %d: %s: '%s'\n", line, condition, icot_last_error());
    return 1;
}
