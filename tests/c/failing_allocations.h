/*
 * Something is tried again and again: first its first allocation fails, then its second, and so on,
 * until it meets none that does.
 *
 *     failing_allocation failing = {0};
 *     while (next_failing(&failing)) {
 *         if (FAILING(&failing, icot_thing_create(&thing))) continue;
 *         icot_thing_free(thing);
 *     }
 *     assert_true(failing.nth > 3);
 *
 * Each failure must be reported as one of memory, and no try may leave any behind.
 */
#ifndef TESTS_FAILING_ALLOCATIONS_H
#define TESTS_FAILING_ALLOCATIONS_H

#include "icot.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct failing_allocation {
    int64_t nth;       /* which one fails; after the last try, one more than there are */
    int64_t live;      /* bytes before this try */
    bool failed;       /* what became of it */
    bool other_errors; /* set it where HDF5 tells something else than that memory is out */
} failing_allocation;

/* Looks at what the try before has left. Whether there is another one. */
bool next_failing(failing_allocation *f);

/* The value of the call, in which the allocation fails: 0 unless it failed. Once in each try. */
#define FAILING(f, call) (icot_memory_fail_at((f)->nth), failing_ended(f, call))
int failing_ended(failing_allocation *f, int rc);

#endif
