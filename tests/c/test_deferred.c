/* Deferred numbers: asked for now and read later, on the device under test. */
#include "support.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static icot_tensor number(icot_engine *engine, float value)
{
    return tensor_of(engine, 0, NULL, &value);
}

/* The answers come in the order of the questions, and are those of the moment they were asked. */
static void test_answers_come_in_order(void **state)
{
    (void)state;
    const int64_t two = 2;
    double found[4];
    icot_engine *engine = engine_on(tested_backend("float32"));
    icot_tensor x = number(engine, 1.5f), p = tensor_of(engine, 1, &two, (const float[]){3, 4});
    assert_ok(icot_requires_grad(engine, p, 1));
    assert_ok(icot_backward(engine, sum_of_squares(engine, p)));
    assert_ok(icot_ask_item(engine, x));
    assert_ok(icot_ask_grad_norm(engine, &p, 1));
    assert_ok(icot_tensor_fill(engine, x, -7.0));
    assert_ok(icot_ask_item(engine, x));
    assert_ok(icot_tensor_free(engine, x));
    assert_ok(icot_ask_grad_norm(engine, NULL, 0));
    assert_ok(icot_answers(engine, found, 4));
    assert_true(found[0] == 1.5 && found[2] == -7.0 && found[3] == 0.0);
    assert_true(fabs(found[1] - 10.0) < 1e-12);
    assert_ok(icot_answers(engine, found, 0));
    icot_engine_free(engine);
}

/* Of equal logits the first one counts. */
static void test_hits(void **state)
{
    (void)state;
    enum { ROWS = 4, COLUMNS = 3 };
    const float x[] = {1, 5, 5, 0, 0, 0, -3, -2, -1, 9, NAN, 8};
    const int32_t right[] = {1, 0, 2, 0}, wrong[] = {2, 1, 0, 2};
    double found[3];
    icot_engine *engine = engine_on(tested_backend("float32"));
    const icot_tensor logits = tensor_of(engine, 2, (const int64_t[]){ROWS, COLUMNS}, x);
    const icot_tensor none = tensor_of(engine, 2, (const int64_t[]){0, COLUMNS}, NULL);
    assert_ok(icot_ask_hits(engine, logits, ids_of(engine, ROWS, right)));
    assert_ok(icot_ask_hits(engine, logits, ids_of(engine, ROWS, wrong)));
    assert_ok(icot_ask_hits(engine, none, ids_of(engine, 0, NULL)));
    assert_ok(icot_answers(engine, found, 3));
    assert_true(found[0] == ROWS && found[1] == 0.0 && found[2] == 0.0);
    icot_engine_free(engine);
}

/* More than there is room for at first. */
static void test_many_are_asked(void **state)
{
    (void)state;
    enum { MANY = 300 };
    static double found[MANY];
    icot_engine *engine = engine_on(tested_backend("float32"));
    for (int i = 0; i < MANY; i++) assert_ok(icot_ask_item(engine, number(engine, (float)i)));
    assert_ok(icot_answers(engine, found, MANY));
    for (int i = 0; i < MANY; i++) assert_true(found[i] == i);
    icot_engine_free(engine);
}

/* What is refused was not asked. */
static void test_refusals(void **state)
{
    (void)state;
    double found[2] = {-1, -1};
    icot_engine *engine = engine_on(tested_backend("float32"));
    const icot_tensor x = number(engine, 3.0f), gone = number(engine, 0.0f);
    const icot_tensor logits = tensor_of(engine, 2, (const int64_t[]){2, 3}, NULL);
    const icot_tensor ids = ids_of(engine, 3, (const int32_t[3]){0});
    assert_ok(icot_tensor_free(engine, gone));
    assert_refused(icot_ask_item(engine, gone), "item: this tensor is gone");
    assert_refused(icot_ask_item(engine, logits), "expected a single float32 number");
    assert_refused(icot_ask_hits(engine, logits, ids), "targets int32 (3), expected contiguous");
    assert_refused(icot_ask_hits(engine, logits, x), "targets float32 ()");
    assert_refused(icot_ask_grad_norm(engine, &gone, 1), "grad_norm: this tensor is gone");
    assert_ok(icot_ask_item(engine, x));
    assert_refused(icot_answers(engine, found, 2), "answers: got 2 places, expected 1");
    assert_true(found[0] == -1);
    assert_ok(icot_ask_item(engine, x)); /* those that nobody has taken are forgotten */
    icot_forget_asked(engine);
    assert_ok(icot_ask_item(engine, x));
    assert_ok(icot_answers(engine, found, 1));
    assert_true(found[0] == 3.0);
    icot_engine_free(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_come_in_order),
        cmocka_unit_test(test_hits),
        cmocka_unit_test(test_many_are_asked),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests_name("deferred", tests, NULL, NULL);
}
