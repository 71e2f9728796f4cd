/* Tensors: handles, scopes, views, copying in and out, and what is refused. */
#include "support.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static icot_engine *engine;

static int open_engine(void **state)
{
    (void)state;
    engine = engine_on(cpu_backend());
    return 0;
}

static int close_engine(void **state)
{
    (void)state;
    icot_engine_free(engine);
    return 0;
}

static const float counting[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};

static icot_tensor matrix_3_4(void)
{
    return tensor_of(engine, 2, (const int64_t[]){3, 4}, counting);
}

static icot_tensor_info describe(icot_tensor x)
{
    icot_tensor_info info;
    assert_ok(icot_tensor_describe(engine, x, &info));
    return info;
}

/* ---- Making and describing ------------------------------------------------------------------- */

static void test_new_tensors_are_zero(void **state)
{
    (void)state;
    icot_tensor x = tensor_of(engine, 2, (const int64_t[]){3, 4}, NULL);
    icot_tensor_info info = describe(x);
    assert_int_equal(info.dtype, ICOT_FLOAT32);
    assert_int_equal(info.ndim, 2);
    assert_int_equal(info.shape[0], 3);
    assert_int_equal(info.shape[1], 4);
    assert_int_equal(info.strides[0], 4);
    assert_int_equal(info.strides[1], 1);
    assert_int_equal(info.numel, 12);
    assert_true(info.contiguous && !info.requires_grad);
    assert_int_equal((uintptr_t)info.data % 64, 0);
    ASSERT_VALUES(engine, x, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    assert_ok(icot_tensor_fill(engine, x, -1.5));
    ASSERT_VALUES(engine, x, -1.5, -1.5, -1.5, -1.5, -1.5, -1.5, -1.5, -1.5, -1.5, -1.5, -1.5,
                  -1.5);

    icot_tensor scalar = tensor_of(engine, 0, NULL, NULL);
    assert_int_equal(describe(scalar).numel, 1);
    ASSERT_VALUES(engine, scalar, 0);
    icot_tensor empty = tensor_of(engine, 3, (const int64_t[]){3, 0, 4}, NULL);
    assert_int_equal(describe(empty).numel, 0);
    assert_ok(icot_tensor_read(engine, empty, NULL, 0));
    assert_ok(icot_tensor_write(engine, empty, NULL, 0));
    assert_ok(icot_tensor_fill(engine, empty, 1.0));
}

static void test_shapes_that_cannot_be(void **state)
{
    (void)state;
    icot_tensor x = 99;
    const int64_t negative[] = {3, -1}, huge[] = {INT64_MAX},
                  product[] = {1 << 30, 1 << 30, 1 << 30};
    const int64_t large[] = {INT64_C(1) << 44}, empty[] = {0, INT64_MAX, INT64_MAX};
    const int64_t seven[7] = {1, 1, 1, 1, 1, 1, 1};
    int64_t before = live_bytes();
    assert_refused(icot_tensor_create(engine, ICOT_FLOAT32, 2, negative, &x),
                   "dimension 1 has size -1");
    assert_refused(icot_tensor_create(engine, ICOT_FLOAT32, 1, huge, &x), "does not fit in memory");
    assert_refused(icot_tensor_create(engine, ICOT_FLOAT32, 3, product, &x),
                   "(1073741824,1073741824,1073741824) does not fit in memory");
    assert_refused(icot_tensor_create(engine, ICOT_FLOAT32, 3, empty, &x),
                   "does not fit in memory");
    assert_refused(icot_tensor_create(engine, ICOT_FLOAT32, 1, large, &x), "out of memory");
    assert_refused(icot_tensor_create(engine, ICOT_FLOAT32, 7, seven, &x), "got 7 dimensions");
    assert_refused(icot_tensor_create(engine, ICOT_FLOAT32, -1, seven, &x), "got -1 dimensions");
    assert_refused(icot_tensor_create(engine, (icot_dtype)5, 1, seven, &x), "5 is not a dtype");
    assert_int_equal(x, 99);
    assert_int_equal(live_bytes(), before);
    icot_engine *other = NULL;
    assert_refused(icot_engine_create("tpu", &other),
                   "'tpu' is not known, expected 'cpu' or 'cuda'");
    assert_null(other);
}

/* What an operator keeps for backward may be too large where no input, and no output, is. */
static void test_sizes_in_between_that_cannot_be(void **state)
{
    (void)state;
    const int64_t rows = INT64_C(1) << 44, hidden = 1 << 18;
    const int64_t sizes[5][2] = {{rows, 0}, {hidden, 0}, {hidden}, {0, hidden}, {0}};
    const icot_op_params none = {0};
    icot_tensor in[5], out;
    for (int i = 0; i < 5; i++) {
        in[i] = tensor_of(engine, i == 2 || i == 4 ? 1 : 2, sizes[i], NULL);
    }
    assert_refused(icot_apply(engine, icot_operator_find("mlp"), in, 5, &none, &out),
                   "(17592186044416,262144) does not fit in memory");
}

/* ---- Copying in and out ---------------------------------------------------------------------- */

static void test_views_read_and_write_in_row_major_order(void **state)
{
    (void)state;
    icot_tensor x = matrix_3_4();
    icot_tensor turned = VIEW(engine, x, "permute", 1, 0),
                middle = VIEW(engine, x, "slice", 1, 1, 2);
    icot_tensor row = VIEW(engine, x, "slice", 0, 2, 1),
                repeated = VIEW(engine, row, "expand", 2, 2, 4);
    ASSERT_VALUES(engine, turned, 0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11);
    ASSERT_VALUES(engine, middle, 1, 2, 5, 6, 9, 10);
    ASSERT_VALUES(engine, row, 8, 9, 10, 11);
    ASSERT_VALUES(engine, repeated, 8, 9, 10, 11, 8, 9, 10, 11, 8, 9, 10, 11, 8, 9, 10, 11);
    assert_false(describe(turned).contiguous || describe(middle).contiguous);
    assert_true(describe(row).contiguous);
    assert_ptr_equal((float *)describe(middle).data, (float *)describe(x).data + 1);

    const float six[] = {-1, -2, -3, -4, -5, -6};
    assert_ok(icot_tensor_write(engine, middle, six, 6)); /* and so what it is a view of */
    ASSERT_VALUES(engine, x, 0, -1, -2, 3, 4, -3, -4, 7, 8, -5, -6, 11);
    assert_ok(icot_tensor_fill(engine, VIEW(engine, turned, "slice", 0, 0, 1), 5.0));
    ASSERT_VALUES(engine, x, 5, -1, -2, 3, 5, -3, -4, 7, 5, -5, -6, 11);
    assert_refused(icot_tensor_read(engine, middle, NULL, 5), "got 5 elements for a tensor of 6");
    assert_refused(icot_tensor_write(engine, middle, six, 7), "got 7 elements for a tensor of 6");
}

/* As in a mapped file. The sanitizer notices if such an address is taken for that of a number. */
static void test_copies_from_and_to_any_address(void **state)
{
    (void)state;
    icot_tensor x = matrix_3_4(), turned = VIEW(engine, x, "permute", 1, 0);
    icot_tensor views[] = {x, turned, VIEW(engine, x, "slice", 1, 1, 2)};
    for (int i = 0; i < 3; i++) {
        char odd[1 + sizeof counting], back[1 + sizeof counting];
        const int64_t numel = describe(views[i]).numel;
        memcpy(odd + 1, counting, sizeof counting);
        assert_ok(icot_tensor_write(engine, views[i], odd + 1, numel));
        assert_ok(icot_tensor_read(engine, views[i], back + 1, numel));
        assert_memory_equal(back + 1, counting, (size_t)numel * sizeof *counting);
    }
}

static void test_int32(void **state)
{
    (void)state;
    icot_tensor ids = ids_of(engine, 3, (const int32_t[]){4, 5, INT32_MIN});
    int32_t values[3];
    assert_ok(icot_tensor_read(engine, ids, values, 3));
    assert_int_equal(values[2], INT32_MIN);
    assert_ok(icot_tensor_fill(engine, ids, -7.0));
    assert_ok(icot_tensor_read(engine, ids, values, 3));
    assert_int_equal(values[1], -7);
    assert_ok(icot_tensor_fill(engine, ids, INT32_MAX));
    assert_refused(icot_tensor_fill(engine, ids, 2.5),
                   "fill: got 2.5 for an int32 tensor, expected a whole number");
    assert_refused(icot_tensor_fill(engine, ids, -1000000.25),
                   "fill: got -1000000.25 for an int32");
    assert_ok(icot_tensor_read(engine, ids, values, 3));
    assert_int_equal(values[0], INT32_MAX);
    assert_refused(icot_tensor_fill(engine, ids, 3e9), "3e+09 is out of the range of int32");
    assert_refused(icot_tensor_fill(engine, ids, NAN), "nan is out of the range of int32");
    assert_refused(icot_requires_grad(engine, ids, 1), "an int32 tensor has no gradient");
    icot_tensor out;
    const icot_op_params none = {0};
    assert_refused(icot_apply(engine, icot_operator_find("exp"), &ids, 1, &none, &out),
                   "exp: tensor 1 is int32, expected float32");
}

/* ---- Handles and lifetimes ------------------------------------------------------------------- */

static void test_freed_tensors_are_noticed(void **state)
{
    (void)state;
    icot_tensor x = matrix_3_4();
    assert_ok(icot_tensor_free(engine, x));
    assert_gone(engine, x);
    icot_tensor second = matrix_3_4(); /* takes the same slot: the old handle stays stale */
    assert_int_equal(second & UINT32_MAX, x & UINT32_MAX);
    assert_gone(engine, x);
    assert_gone(engine, 0);
    assert_gone(engine, UINT64_MAX);
    assert_int_equal(describe(second).numel, 12);
}

static void test_scopes_free_what_is_made_in_them(void **state)
{
    (void)state;
    icot_tensor outside = matrix_3_4();
    apply_one(engine, "exp", outside); /* the tape grows to what it needs */
    int64_t before = live_bytes();
    assert_int_equal(icot_scope_depth(engine), 0);
    assert_ok(icot_scope_open(engine));
    icot_tensor inside = matrix_3_4();
    assert_ok(icot_scope_open(engine));
    icot_tensor innermost = apply_one(engine, "exp", inside);
    assert_int_equal(icot_scope_depth(engine), 2);
    assert_ok(icot_scope_close(engine));
    assert_gone(engine, innermost);
    assert_int_equal(describe(inside).numel, 12);
    assert_ok(icot_scope_close(engine));
    assert_gone(engine, inside);
    assert_int_equal(describe(outside).numel, 12);
    assert_int_equal(live_bytes(), before);
    assert_refused(icot_scope_close(engine), "scope: none is open");
}

static void test_keep(void **state)
{
    (void)state;
    icot_tensor outside = matrix_3_4();
    assert_refused(icot_tensor_keep(engine, outside), "innermost open scope");
    assert_ok(icot_scope_open(engine));
    assert_ok(icot_scope_open(engine));
    assert_refused(icot_tensor_keep(engine, outside), "innermost open scope");
    icot_tensor base = matrix_3_4(), part = VIEW(engine, base, "slice", 0, 1, 1);
    assert_ok(icot_tensor_keep(engine, part)); /* a view of something that goes */
    assert_ok(icot_scope_close(engine));
    assert_gone(engine, base);
    ASSERT_VALUES(engine, part, 4, 5, 6, 7);
    assert_ok(icot_tensor_keep(engine, part));
    assert_ok(icot_scope_close(engine));
    ASSERT_VALUES(engine, part, 4, 5, 6, 7);
}

static void test_many_tensors(void **state)
{
    (void)state;
    enum { MANY = 5000 };
    static icot_tensor made[MANY];
    const int64_t one = 1;
    assert_ok(icot_scope_open(engine));
    for (int i = 0; i < MANY; i++) {
        made[i] = tensor_of(engine, 1, &one, &(float){(float)i});
    }
    for (int i = 0; i < MANY; i += 3) assert_ok(icot_tensor_free(engine, made[i]));
    for (int i = 0; i < MANY; i++) {
        float value;
        if (i % 3) {
            assert_ok(icot_tensor_read(engine, made[i], &value, 1));
            assert_true(value == (float)i);
        } else {
            assert_refused(icot_tensor_read(engine, made[i], &value, 1), "is gone");
        }
    }
    assert_ok(icot_scope_close(engine));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_engine, close_engine)
    const struct CMUnitTest tests[] = {
        TEST(test_new_tensors_are_zero),
        TEST(test_shapes_that_cannot_be),
        TEST(test_sizes_in_between_that_cannot_be),
        TEST(test_views_read_and_write_in_row_major_order),
        TEST(test_copies_from_and_to_any_address),
        TEST(test_int32),
        TEST(test_freed_tensors_are_noticed),
        TEST(test_scopes_free_what_is_made_in_them),
        TEST(test_keep),
        TEST(test_many_tensors),
    };
    return cmocka_run_group_tests_name("tensor", tests, NULL, NULL);
}
