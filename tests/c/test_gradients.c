/*
 * Every operator against the oracle: its output and its gradients, with every set of kernels.
 *
 * The table of operators is walked, so that one without a case fails; at the end the harness itself
 * is tested on operators that are wrong.
 */
#include "gradient_check.h"
#include "support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { MOST_OPERATORS = 64 };

/* All cases of one operator; *state is its index in the core's table. */
static void test_operator(void **state)
{
    const operator_entry *op = operator_at(*(const int *)*state);
    const kernel_set *sets;
    int n_sets = kernel_sets(&sets), n_cases, checked = 0;
    const gradient_case *cases = gradient_cases(&n_cases);
    for (int k = 0; k < n_cases; k++) {
        if (strcmp(cases[k].operator_name, op->name) != 0) continue;
        reference *r = reference_new(&cases[k]);
        if (!r) fail_msg("%s has no oracle", op->name);
        for (int s = 0; s < n_sets; s++) {
            char message[MESSAGE_BYTES];
            if (!gradient_check(&sets[s].table, op, &cases[k], r, message)) {
                fail_msg("%s, case %d, %s kernels: %s", op->name, checked + 1, sets[s].name,
                         message);
            }
        }
        reference_free(r);
        checked++;
    }
    assert_true(checked > 0);
}

static void test_every_operator_has_a_case(void **state)
{
    (void)state;
    int n_cases;
    const gradient_case *cases = gradient_cases(&n_cases);
    const char *missing = operator_without_case(cases, n_cases);
    if (missing) fail_msg("the operator '%s' has no case in tests/c/gradient_cases.c", missing);
}

/* ---- The harness itself ---------------------------------------------------------------------- */

static void test_a_missing_case_is_noticed(void **state)
{
    (void)state;
    int n_cases, first_of_last = 0;
    const gradient_case *cases = gradient_cases(&n_cases);
    const char *last = cases[n_cases - 1].operator_name;
    while (strcmp(cases[first_of_last].operator_name, last) != 0) first_of_last++;
    assert_string_equal(operator_without_case(cases, first_of_last), last);
    assert_null(oracle_find("no such operator"));
}

static const operator_entry *right_entry; /* what the wrong ones below are made from */

/* Right, but for the gradient of one element, which is too large by a thousandth. */
static int slightly_wrong(node *n, tensor *grad)
{
    if (right_entry->backward(n, grad)) return 1;
    tensor_floats(n->inputs[0]->grad)[3] *= 1.001f;
    return 0;
}

static int wrong_sign(node *n, tensor *grad)
{
    grad_target dx;
    if (grad_of_input(n, 0, &dx)) return 1;
    kernels(n)->affine(tensor_numel(grad), -1.0, 0.0, tensor_floats(grad), dx.accumulate, dx.data);
    return 0;
}

/* Forgets what was there: right only as long as nothing has to be added. */
static int overwrites(node *n, tensor *grad)
{
    n->inputs[0]->grad_is_set = false;
    return right_entry->backward(n, grad);
}

/* Adds to what its memory was used for before. */
static int always_adds(node *n, tensor *grad)
{
    grad_target target;
    if (grad_of_input_cleared(n, 0, &target)) return 1;
    if (target.data) target.data[0] += 1.0f;
    return right_entry->backward(n, grad);
}

static int does_nothing(node *n, tensor *grad)
{
    (void)n, (void)grad;
    return 0;
}

/* Gives a gradient to everything, whether it was asked for or not. */
static int not_asked_for(node *n, tensor *grad)
{
    for (int i = 0; i < n->n_inputs; i++) n->inputs[i]->requires_grad = true;
    return right_entry->backward(n, grad);
}

static int fails(node *n, tensor *grad)
{
    (void)n, (void)grad;
    return 1;
}

static int slightly_wrong_forward(node *n)
{
    if (right_entry->forward(n)) return 1;
    tensor_floats(n->output)[3] *= 1.001f;
    return 0;
}

static int wrong_shape(node *n)
{
    return node_output(n, &(shape){.ndim = 1, .size = {15}});
}

static void assert_noticed(const gradient_case *c, const operator_entry *entry,
                           const char *expected)
{
    char message[MESSAGE_BYTES] = "";
    reference *r = reference_new(c);
    assert_true(gradient_check(cpu_backend(), right_entry, c, r, message));
    assert_false(gradient_check(cpu_backend(), entry, c, r, message));
    if (!strstr(message, expected)) fail_msg("got '%s', expected '%s'", message, expected);
    reference_free(r);
}

static void test_wrong_operators_are_noticed(void **state)
{
    (void)state;
    const gradient_case c = {"tanh", .inputs = {{.values = NORMAL, .ndim = 2, .size = {3, 5}}}};
    right_entry = operator_at(icot_operator_find("tanh"));
    const struct {
        int (*backward)(node *n, tensor *grad);
        const char *message;
    } wrong[] = {
        {slightly_wrong, "once: gradient of input 1: element 3"},
        {wrong_sign, "once: gradient of input 1"},
        {overwrites, "again: gradient of input 1"},
        {always_adds, "once: gradient of input 1"},
        {does_nothing, "once: input 1 has no gradient"},
        {fails, "backward failed"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        operator_entry entry = *right_entry;
        entry.backward = wrong[i].backward;
        assert_noticed(&c, &entry, wrong[i].message);
    }
    operator_entry entry = *right_entry;
    entry.forward = slightly_wrong_forward;
    assert_noticed(&c, &entry, "forward: element 3");
    entry.prepare = wrong_shape;
    assert_noticed(&c, &entry, "another shape");
}

static void test_gradients_nobody_asked_for_are_noticed(void **state)
{
    (void)state;
    const input_spec x = {.values = NORMAL, .ndim = 2, .size = {3, 5}};
    const gradient_case c = {"mul", .inputs = {x, x}};
    right_entry = operator_at(icot_operator_find("mul"));
    operator_entry entry = *right_entry;
    entry.backward = not_asked_for;
    assert_noticed(&c, &entry, "alone: input 2 has a gradient");
}

/* Leaves one element out. */
static int one_forgotten(node *n, tensor *grad)
{
    if (right_entry->backward(n, grad)) return 1;
    tensor_floats(n->inputs[0]->grad)[3] = 0.0f;
    return 0;
}

/* Of 20000 elements few are compared one by one, but a single wrong one still shows. */
static void test_one_wrong_element_of_many_is_noticed(void **state)
{
    (void)state;
    const gradient_case c = {"tanh", .inputs = {{.values = NORMAL, .ndim = 1, .size = {20000}}}};
    right_entry = operator_at(icot_operator_find("tanh"));
    operator_entry entry = *right_entry;
    entry.backward = one_forgotten;
    assert_noticed(&c, &entry, "along a direction");
}

/* More than one, so that what large arrays take is the parallel way, also on a single core. */
static int use_three_threads(void **state)
{
    (void)state;
    return icot_set_threads(3);
}

int main(void)
{
    static struct CMUnitTest tests[MOST_OPERATORS + 8];
    static int indices[MOST_OPERATORS];
    int count = 0;
    for (int i = 0; i < icot_operator_count() && i < MOST_OPERATORS; i++) {
        indices[i] = i;
        tests[count++] = (struct CMUnitTest){
            .name = operator_at(i)->name, .test_func = test_operator, .initial_state = &indices[i]};
    }
    const struct CMUnitTest others[] = {
        cmocka_unit_test(test_every_operator_has_a_case),
        cmocka_unit_test(test_a_missing_case_is_noticed),
        cmocka_unit_test(test_wrong_operators_are_noticed),
        cmocka_unit_test(test_gradients_nobody_asked_for_are_noticed),
        cmocka_unit_test(test_one_wrong_element_of_many_is_noticed),
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) tests[count++] = others[i];
    return _cmocka_run_group_tests("gradients", tests, (size_t)count, use_three_threads, NULL);
}
