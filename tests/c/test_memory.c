/* The allocator: counters, size classes, reuse, planned failures. */
#include "base/memory.h"
#include "icot.h"
#include "support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#ifdef __SANITIZE_ADDRESS__
enum { CACHING = 0 }; /* freed blocks go back at once, for the sanitizer to see */
#else
enum { CACHING = 1 };
#endif

static icot_memory counters(void)
{
    icot_memory now;
    icot_memory_read(&now);
    return now;
}

static int start_clean(void **state)
{
    (void)state;
    icot_memory_release_cache();
    icot_memory_reset_peak();
    return 0;
}

/* Blocks are aligned, all theirs, and hardly larger than asked for: the small ones by a quarter at
 * most, the large ones by a page. */
static void test_sizes(void **state)
{
    (void)state;
    for (size_t bytes = 0; bytes < 3000000; bytes += bytes < 5000     ? 1
                                                     : bytes < 300000 ? 977
                                                                      : 99991) {
        int64_t before = live_bytes();
        void *block;
        assert_ok(memory_alloc(bytes, &block));
        assert_int_equal((uintptr_t)block % 64, 0);
        memset(block, 0xA5, bytes);
        int64_t taken = live_bytes() - before;
        assert_true(taken >= (int64_t)bytes && taken <= (int64_t)(bytes + bytes / 4 + 64));
        assert_true(bytes < 300000 || taken < (int64_t)bytes + 4096);
        memory_free(block);
        assert_int_equal(live_bytes(), before);
    }
    memory_free(NULL);
}

static void test_counters(void **state)
{
    (void)state;
    enum { LARGE = (1 << 20) - 64, SMALL = 1 << 10 }; /* sizes that leave no gap */
    icot_memory before = counters(), now;
    void *a, *b;
    assert_ok(memory_alloc(LARGE, &a));
    assert_ok(memory_alloc(SMALL, &b));
    now = counters();
    assert_int_equal(now.live, before.live + LARGE + SMALL);
    assert_int_equal(now.peak, now.live);
    assert_int_equal(now.allocations, before.allocations + 2);
    const int64_t mapped = now.cached;

    memory_free(a);
    now = counters();
    assert_int_equal(now.live, before.live + SMALL);
    assert_int_equal(now.peak, before.live + LARGE + SMALL);
    assert_int_equal(now.cached, mapped + CACHING * (LARGE + 64));

    icot_memory_reset_peak();
    assert_int_equal(counters().peak, counters().live);
    memory_free(b);
    icot_memory_release_cache();
    assert_int_equal(counters().cached, 0);
    assert_int_equal(counters().live, before.live);
}

/* What lies free in one piece serves one block of all of it, or several; blocks are whole. */
static void test_large_blocks_grow_together(void **state)
{
    (void)state;
    if (!CACHING) skip();
    enum { COUNT = 6, BYTES = 1 << 20 };
    void *blocks[COUNT], *whole;
    for (int i = 0; i < COUNT; i++) {
        assert_ok(memory_alloc(BYTES, &blocks[i]));
        memset(blocks[i], i, BYTES);
    }
    for (int k = 0; k < COUNT; k++) memory_free(blocks[(k * 5 + 2) % COUNT]); /* 2 1 0 5 4 3 */
    const int64_t mapped = counters().cached;
    assert_ok(memory_alloc(COUNT * BYTES, &whole));
    memset(whole, 1, COUNT * BYTES);
    memory_free(whole);
    assert_int_equal(counters().cached, mapped);
    for (int i = 0; i < COUNT; i++) assert_ok(memory_alloc(BYTES, &blocks[i]));
    for (int i = 0; i < COUNT; i++) memset(blocks[i], i, BYTES);
    for (int i = 0; i < COUNT; i += 2) memory_free(blocks[i]);
    for (int i = 1; i < COUNT; i += 2) {
        for (int k = 0; k < BYTES; k += 1000) assert_int_equal(((char *)blocks[i])[k], i);
        memory_free(blocks[i]);
    }
    assert_int_equal(counters().cached, mapped);
}

static void test_freed_blocks_are_used_again(void **state)
{
    (void)state;
    if (!CACHING) skip();
    void *first, *second, *other;
    assert_ok(memory_alloc(100000, &first));
    memory_free(first);
    assert_ok(memory_alloc(99999, &second)); /* the same class */
    assert_ptr_equal(first, second);
    assert_ok(memory_alloc(99999, &other));
    assert_ptr_not_equal(second, other);
    memory_free(second);
    memory_free(other);
}

static void test_cleared(void **state)
{
    (void)state;
    void *dirty, *clean;
    assert_ok(memory_alloc(4096, &dirty));
    memset(dirty, 0xFF, 4096);
    memory_free(dirty);
    assert_ok(memory_alloc_zero(512, 8, &clean));
    for (int i = 0; i < 4096; i++) assert_int_equal(((char *)clean)[i], 0);
    memory_free(clean);
}

static void test_resize(void **state)
{
    (void)state;
    int64_t before = live_bytes();
    void *block = NULL;
    for (size_t bytes = 1; bytes < 100000; bytes = bytes * 3 + 1) {
        assert_ok(memory_resize(&block, bytes));
        for (size_t i = 0; i < bytes / 3; i++)
            assert_int_equal(((char *)block)[i], (char)(i % 251));
        for (size_t i = 0; i < bytes; i++) ((char *)block)[i] = (char)(i % 251);
    }
    void *kept = block;
    icot_memory_fail_at(1);
    assert_refused(memory_resize(&block, 1 << 20), "out of memory");
    assert_ptr_equal(block, kept);
    assert_int_equal(((char *)block)[1000], (char)(1000 % 251));
    assert_ok(memory_resize(&block, 10)); /* smaller: contents stay */
    assert_int_equal(((char *)block)[9], 9);
    memory_free(block);
    assert_int_equal(live_bytes(), before);
}

static void test_copy_string(void **state)
{
    (void)state;
    char *copy;
    assert_ok(memory_copy_string("größer", &copy));
    assert_string_equal(copy, "größer");
    memory_free(copy);
}

static void test_planned_failures(void **state)
{
    (void)state;
    int64_t before = live_bytes();
    void *block = NULL;
    icot_memory_fail_at(3);
    for (int i = 1; i <= 5; i++) {
        if (i == 3) {
            assert_refused(memory_alloc(10, &block), "out of memory: no block of 10 bytes");
            assert_int_equal(icot_last_error_kind(), ICOT_ERROR_NO_MEMORY);
        } else {
            assert_ok(memory_alloc(10, &block));
            memory_free(block);
        }
    }
    icot_memory_fail_at(1);
    icot_memory_fail_at(0); /* off again */
    assert_ok(memory_alloc(10, &block));
    memory_free(block);
    assert_int_equal(live_bytes(), before);
}

/* More than there can be: refused, whether the product overflows or not; nothing is left behind. */
static void test_too_much(void **state)
{
    (void)state;
    int64_t before = live_bytes();
    void *block = &before;
    for (int bits = 46; bits < 64; bits++) {
        assert_refused(memory_alloc((size_t)1 << bits, &block), "out of memory");
        assert_refused(memory_alloc(((size_t)1 << bits) - 1, &block), "out of memory");
    }
    assert_refused(memory_alloc(SIZE_MAX, &block), "out of memory");
    assert_refused(memory_alloc_zero(SIZE_MAX / 2, 3, &block), "out of memory");
    assert_refused(memory_alloc_zero(SIZE_MAX, SIZE_MAX, &block), "out of memory");
    assert_ptr_equal(block, &before);
    assert_int_equal(live_bytes(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_sizes, start_clean),
        cmocka_unit_test_setup(test_counters, start_clean),
        cmocka_unit_test_setup(test_large_blocks_grow_together, start_clean),
        cmocka_unit_test_setup(test_freed_blocks_are_used_again, start_clean),
        cmocka_unit_test_setup(test_cleared, start_clean),
        cmocka_unit_test_setup(test_resize, start_clean),
        cmocka_unit_test_setup(test_copy_string, start_clean),
        cmocka_unit_test_setup(test_planned_failures, start_clean),
        cmocka_unit_test_setup(test_too_much, start_clean),
    };
    return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
