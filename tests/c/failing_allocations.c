#include "failing_allocations.h"

#include "support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

bool next_failing(failing_allocation *f)
{
    const int64_t live = live_bytes();
    if (f->nth > 0 && live != f->live) {
        fail_msg("allocation %d: it left %d bytes", (int)f->nth, (int)(live - f->live));
    }
    if (f->nth > 0 && !f->failed) return false;
    assert_true(f->nth < 5000); /* else it fails for another reason */
    f->nth++;
    f->live = live;
    return true;
}

int failing_ended(failing_allocation *f, int rc)
{
    icot_memory_fail_at(0);
    f->failed = rc != 0;
    if (rc && !f->other_errors && !strstr(icot_last_error(), "out of memory")) {
        fail_msg("allocation %d: the error is '%s'", (int)f->nth, icot_last_error());
    }
    return rc;
}
