/* The arena where addresses are few, as under `ulimit -v`: memory in pieces, and an end to it. */
#include "base/arena.h"
#include "base/memory.h"
#include "icot.h"
#include "support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

enum { MOST = 64 };
static const size_t BLOCK = (size_t)24 << 20, LEFT = (size_t)640 << 20;

static size_t addresses_in_use(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu", &pages), 1);
    fclose(file);
    return pages * ARENA_PAGE;
}

/* As many blocks as there are to be had, each filled. */
static int take_all(void *blocks[MOST])
{
    int count = 0;
    while (count < MOST && !memory_alloc(BLOCK, &blocks[count])) {
        memset(blocks[count], count + 1, BLOCK);
        count++;
    }
    assert_true(count < MOST);
    assert_refused(memory_alloc(BLOCK, &blocks[count]), "out of memory");
    return count;
}

static void check_and_free(void *blocks[MOST], int count)
{
    for (int i = 0; i < count; i++) {
        const char *bytes = blocks[i];
        assert_true(bytes[0] == i + 1 && bytes[BLOCK / 2] == i + 1 && bytes[BLOCK - 1] == i + 1);
        memory_free(blocks[i]);
    }
}

static void test_few_addresses(void **state)
{
    (void)state;
#ifdef __SANITIZE_ADDRESS__
    skip(); /* it does without an arena, and needs addresses itself */
#endif
    void *blocks[MOST];
    const int64_t before = live_bytes();
    const struct rlimit few = {addresses_in_use() + LEFT, RLIM_INFINITY};
    assert_int_equal(setrlimit(RLIMIT_AS, &few), 0);

    const int count = take_all(blocks);
    assert_true(count >= 16); /* of the 26 that would fit without any gap */
    check_and_free(blocks, count);
    assert_int_equal(take_all(blocks), count); /* what was given back is there */
    check_and_free(blocks, count);

    icot_memory_release_cache(); /* and so are the addresses */
    const int again = take_all(blocks);
    assert_true(again >= count - 1);
    check_and_free(blocks, again);
    assert_int_equal(live_bytes(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_few_addresses)};
    return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}
