/* Signals that end a program: a flag, looked at between two steps, so that no step is half done. */
#include "base/error.h"
#include "icot.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

enum { LONGEST_NOTICE = 128 };

/* Signals are a property of the process, so these are among the few things that are global. */
static volatile sig_atomic_t arrived;
static char notice[LONGEST_NOTICE];

/* Calls nothing but what may be called in a signal handler (signal-safety(7)). */
static void note_signal(int signal_number)
{
    const int error_before = errno;
    if (!arrived) {
        arrived = signal_number;
        /* The second one ends the program at once, but for SIGHUP: a closing terminal sends two. */
        signal(SIGINT, SIG_DFL);
        signal(SIGTERM, SIG_DFL);
        if (write(STDERR_FILENO, notice, strlen(notice)) < 0) { /* nobody is there to read it */
        }
    }
    errno = error_before;
}

static int handle(int signal_number, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    if (sigaction(signal_number, &action, NULL)) {
        return fail("signals: cannot catch signal %d: %s", signal_number, strerror(errno));
    }
    return ICOT_OK;
}

/* nohup starts a program with SIGHUP ignored. */
static int hangup_is_ignored(void)
{
    struct sigaction before;
    return sigaction(SIGHUP, NULL, &before) == 0 && before.sa_handler == SIG_IGN;
}

int icot_interrupts_catch(void)
{
    if (handle(SIGPIPE, SIG_IGN) || handle(SIGXFSZ, SIG_IGN)) return ICOT_FAILED;
    if (!hangup_is_ignored() && handle(SIGHUP, note_signal)) return ICOT_FAILED;
    return handle(SIGINT, note_signal) || handle(SIGTERM, note_signal);
}

void icot_interrupts_notice(const char *line)
{
    memset(notice, 0, sizeof notice);
    if (line) strncpy(notice, line, sizeof notice - 1);
}

int icot_interrupted(void)
{
    return (int)arrived;
}

void icot_interrupts_clear(void)
{
    arrived = 0;
}
