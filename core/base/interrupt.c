/* Ctrl-C and SIGTERM: a flag that is looked at between two steps, so that no step is half done. */
#include "base/error.h"
#include "icot.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

/* Signals are a property of the process, so this is one of the few things that are global. */
static volatile sig_atomic_t arrived;

static void note_signal(int signal_number)
{
    arrived = signal_number;
    signal(signal_number, SIG_DFL); /* the second one ends the program at once */
}

int icot_interrupts_catch(void)
{
    const int signals[] = {SIGINT, SIGTERM};
    struct sigaction action = {.sa_handler = note_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        if (sigaction(signals[i], &action, NULL)) {
            return fail("signals: cannot catch signal %d: %s", signals[i], strerror(errno));
        }
    }
    return ICOT_OK;
}

int icot_interrupted(void)
{
    return (int)arrived;
}

void icot_interrupts_clear(void)
{
    arrived = 0;
}
