#include "gradient_case.h"

#include "autograd/operator.h"

#include <string.h>

/*
 * Sizes: a few elements; sizes that are no multiple of the 16 lanes of the kernels; dimensions of
 * size 1 and 0; and more than 16384 elements, where work is shared among threads.
 */
/* clang-format off (it takes braces in macros for blocks) */
#define COUNT(...) (sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t))
#define SHAPE(...) .ndim = COUNT(__VA_ARGS__), .size = {__VA_ARGS__}
#define X(...)                                                                                     \
    {                                                                                              \
        .values = NORMAL, SHAPE(__VA_ARGS__)                                                       \
    }
#define SCALAR                                                                                     \
    {                                                                                              \
        .values = NORMAL                                                                           \
    }
#define AS(kind, ...)                                                                              \
    {                                                                                              \
        .values = kind, SHAPE(__VA_ARGS__)                                                         \
    }
#define LAID(how, ...)                                                                             \
    {                                                                                              \
        .values = NORMAL, .layout = how, SHAPE(__VA_ARGS__)                                        \
    }
#define IDS_BELOW(top, ...)                                                                        \
    {                                                                                              \
        .values = IDS, .limit = top, SHAPE(__VA_ARGS__)                                            \
    }
#define LENGTHS(...)                                                                               \
    {                                                                                              \
        .values = STARTS, .ndim = 1, .size = {1 + COUNT(__VA_ARGS__)},                             \
        .lengths = (const int64_t[])                                                               \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define INPUTS(...)  .inputs = {__VA_ARGS__}
#define INDICES(...) .params.n_index = COUNT(__VA_ARGS__), .params.index = {__VA_ARGS__}
#define NUMBERS(...) .params.number = {__VA_ARGS__}
#define DROPPED(p)   .params.number = {p}, .params.key = {.seed = 5, .stream = 70, .step = 9}

/* What every operator on one input of any shape goes through. */
#define ELEMENTWISE(name, kind, ...)                                                               \
    {name, INPUTS(AS(kind, 7)), __VA_ARGS__}, {name, INPUTS(AS(kind, 3, 5, 11)), __VA_ARGS__},     \
        {name, INPUTS({.values = kind}), __VA_ARGS__},                                             \
        {name, INPUTS(AS(kind, 1, 1)), __VA_ARGS__}, {name, INPUTS(AS(kind, 0, 4)), __VA_ARGS__},  \
        {name, INPUTS({.values = kind, .layout = REVERSED, SHAPE(6, 19)}), __VA_ARGS__},           \
        {name, INPUTS({.values = kind, .layout = PART, SHAPE(5, 17)}), __VA_ARGS__},               \
        {name, INPUTS({.values = kind, .layout = REPEATED, SHAPE(4, 9)}), __VA_ARGS__},            \
    {                                                                                              \
        name, INPUTS(AS(kind, 37, 557)), __VA_ARGS__                                               \
    }

/* Broadcasting; the second input may be a denominator. */
#define BINARY(name, kind)                                                                         \
    {name, INPUTS(X(7), AS(kind, 7))}, {name, INPUTS(X(3, 5, 11), AS(kind, 3, 5, 11))},            \
        {name, INPUTS(X(6, 13), AS(kind, 13))}, {name, INPUTS(X(13), AS(kind, 6, 13))},            \
        {name, INPUTS(X(6, 1), AS(kind, 1, 13))}, {name, INPUTS(X(4, 1, 5), AS(kind, 3, 1))},      \
        {name, INPUTS(X(6, 13), {.values = kind})}, {name, INPUTS(SCALAR, AS(kind, 6, 13))},       \
        {name, INPUTS(SCALAR, {.values = kind})}, {name, INPUTS(X(1, 1), AS(kind, 1, 1))},         \
        {name, INPUTS(X(0, 5), AS(kind, 5))}, {name, INPUTS(X(1, 5), AS(kind, 0, 1))},             \
        {name, INPUTS(LAID(REVERSED, 6, 19), AS(kind, 6, 19))},                                    \
        {name, INPUTS(X(6, 19), {.values = kind, .layout = PART, SHAPE(6, 19)})},                  \
        {name, INPUTS(LAID(REPEATED, 6, 19), {.values = kind, .layout = REVERSED, SHAPE(6, 1)})},  \
        {name, .same_input = true, INPUTS(AS(kind, 5, 7))},                                        \
        {name, INPUTS(X(37, 557), AS(kind, 37, 557))},                                             \
        {name, INPUTS(X(8, 4096), AS(kind, 8, 4096))}, {name, INPUTS(X(37, 557), AS(kind, 557))},  \
    {                                                                                              \
        name, INPUTS(X(37, 557), AS(kind, 37, 1))                                                  \
    }

/* A dimension of three, or all of them. */
#define REDUCTION(name)                                                                            \
    {name, INPUTS(X(7))}, {name, INPUTS(SCALAR)}, {name, INPUTS(X(4, 5, 6))},                      \
        {name, INPUTS(X(4, 5, 6)), INDICES(0, 0)}, {name, INPUTS(X(4, 5, 6)), INDICES(1, 1)},      \
        {name, INPUTS(X(4, 5, 6)), INDICES(-1, 0)}, {name, INPUTS(X(5, 1)), INDICES(1, 0)},        \
        {name, INPUTS(X(0, 3)), INDICES(1, 0)},                                                    \
        {name, INPUTS(LAID(REVERSED, 5, 7)), INDICES(0, 1)},                                       \
        {name, INPUTS(LAID(REPEATED, 5, 7)), INDICES(1, 0)}, {name, INPUTS(X(37, 557))},           \
        {name, INPUTS(X(37, 557)), INDICES(0, 0)},                                                 \
    {                                                                                              \
        name, INPUTS(X(37, 557)), INDICES(1, 0)                                                    \
    }

#define SOFTMAX(name)                                                                              \
    {name, INPUTS(X(7))}, {name, INPUTS(X(3, 5, 11))}, {name, INPUTS(X(5, 1))},                    \
        {name, INPUTS(X(0, 5))}, {name, INPUTS(AS(SHARP, 6, 19))},                                 \
        {name, INPUTS(LAID(REVERSED, 6, 19))}, {name, INPUTS(LAID(PART, 5, 17))},                  \
        {name, INPUTS(LAID(REPEATED, 5, 7))}, {name, INPUTS(X(37, 557))},                          \
    {                                                                                              \
        name, INPUTS(X(3, 6001))                                                                   \
    }
/* clang-format on */

static const gradient_case cases[] = {
    BINARY("add", NORMAL),
    BINARY("sub", NORMAL),
    BINARY("mul", NORMAL),
    BINARY("div", NONZERO),

    ELEMENTWISE("neg", NORMAL),
    ELEMENTWISE("exp", NORMAL),
    ELEMENTWISE("log", POSITIVE),
    ELEMENTWISE("sqrt", POSITIVE),
    ELEMENTWISE("tanh", NORMAL),
    {"tanh", INPUTS(AS(SHARP, 3, 50))},
    ELEMENTWISE("sigmoid", NORMAL),
    {"sigmoid", INPUTS(AS(SHARP, 3, 50))},
    ELEMENTWISE("relu", NONZERO),
    ELEMENTWISE("gelu", NORMAL),
    {"gelu", INPUTS(AS(SHARP, 3, 50))},
    ELEMENTWISE("affine", NORMAL, NUMBERS(-1.75, 0.5)),
    ELEMENTWISE("pow", POSITIVE, NUMBERS(2.5)),
    {"pow", INPUTS(X(40)), NUMBERS(2)},
    {"pow", INPUTS(X(40)), NUMBERS(3)},
    {"pow", INPUTS(X(40)), NUMBERS(1)},
    {"pow", INPUTS(X(40)), NUMBERS(0)},
    {"pow", INPUTS(AS(NONZERO, 40)), NUMBERS(-1)},
    ELEMENTWISE("dropout", NORMAL, DROPPED(0.3)),
    {"dropout", INPUTS(X(40)), DROPPED(0)},
    {"dropout", INPUTS(X(40)), DROPPED(0.95)},
    {"dropout", INPUTS(X(7, 40), X(7, 40)), DROPPED(0.3)},

    {"reshape", INPUTS(X(4, 6)), INDICES(3, 8)},
    {"reshape", INPUTS(X(4, 6)), INDICES(2, -1, 3)},
    {"reshape", INPUTS(X(1, 1)), .params.n_index = 0},
    {"reshape", INPUTS(SCALAR), INDICES(1, 1, 1)},
    {"reshape", INPUTS(X(0, 6)), INDICES(3, 0)},
    {"reshape", INPUTS(LAID(REVERSED, 4, 6)), INDICES(24)},
    {"reshape", INPUTS(LAID(REPEATED, 4, 6)), INDICES(-1)},
    {"reshape", INPUTS(X(37, 557)), INDICES(557, 37)},

    {"permute", INPUTS(X(4, 6)), INDICES(1, 0)},
    {"permute", INPUTS(X(2, 3, 4, 5)), INDICES(2, 0, 3, 1)},
    {"permute", INPUTS(X(2, 3, 4)), INDICES(-1, 0, -2)},
    {"permute", INPUTS(X(2, 0, 4)), INDICES(1, 2, 0)},
    {"permute", INPUTS(LAID(REVERSED, 3, 4, 5)), INDICES(1, 2, 0)},
    {"permute", INPUTS(LAID(PART, 3, 7)), INDICES(1, 0)},
    {"permute", INPUTS(X(37, 557)), INDICES(1, 0)},

    {"slice", INPUTS(X(9)), INDICES(0, 2, 5)},
    {"slice", INPUTS(X(4, 5, 6)), INDICES(1, 1, 3)},
    {"slice", INPUTS(X(4, 5, 6)), INDICES(-1, 5, 1)},
    {"slice", INPUTS(X(4, 5)), INDICES(0, 4, 0)},
    {"slice", INPUTS(X(4, 5)), INDICES(0, 0, 4)},
    {"slice", INPUTS(LAID(REVERSED, 7, 5)), INDICES(0, 3, 2)},
    {"slice", INPUTS(X(41, 557)), INDICES(0, 3, 37)},

    {"expand", INPUTS(X(1, 5)), INDICES(4, 5)},
    {"expand", INPUTS(X(5)), INDICES(3, 2, 5)},
    {"expand", INPUTS(X(3, 1)), INDICES(2, 3, 6)},
    {"expand", INPUTS(SCALAR), INDICES(4, 3)},
    {"expand", INPUTS(X(3, 5)), INDICES(3, 5)},
    {"expand", INPUTS(X(1, 5)), INDICES(0, 5)},
    {"expand", INPUTS(LAID(REVERSED, 3, 1, 5)), INDICES(3, 4, 5)},
    {"expand", INPUTS(X(1, 557)), INDICES(37, 557)},
    {"expand", INPUTS(X(37, 1)), INDICES(37, 557)},

    ELEMENTWISE("contiguous", NORMAL),
    {"contiguous", INPUTS(LAID(REVERSED, 3, 4, 5, 6))},
    {"contiguous", INPUTS(LAID(REVERSED, 37, 557))},

    {"concat", INPUTS(X(4), X(3)), INDICES(0)},
    {"concat", INPUTS(X(4, 5)), INDICES(1)},
    {"concat", INPUTS(X(4, 5), X(4, 1), X(4, 3)), INDICES(-1)},
    {"concat", INPUTS(X(2, 3, 4), X(2, 2, 4)), INDICES(1)},
    {"concat", INPUTS(X(2, 3), X(0, 3), X(1, 3)), INDICES(0)},
    {"concat", INPUTS(X(1), X(2), X(3), X(1), X(2), X(3), X(1), X(2)), INDICES(0)},
    {"concat", INPUTS(LAID(REVERSED, 4, 5), LAID(PART, 4, 3), LAID(REPEATED, 4, 2)), INDICES(1)},
    {"concat", .same_input = true, INPUTS(X(3, 4)), INDICES(0)},
    {"concat", INPUTS(X(37, 300), X(37, 257)), INDICES(1)},

    REDUCTION("sum"),
    {"sum", INPUTS(X(3, 0)), INDICES(1, 0)},
    {"sum", INPUTS(X(0))},
    REDUCTION("mean"),
    SOFTMAX("softmax"),
    SOFTMAX("log_softmax"),

    {"matmul", INPUTS(X(3, 4), X(4, 5))},
    {"matmul", INPUTS(X(1, 7), X(7, 1))},
    {"matmul", INPUTS(X(17, 33), X(33, 19))},
    {"matmul", INPUTS(X(2, 3, 5, 7), X(2, 3, 7, 4))},
    {"matmul", INPUTS(X(2, 3, 5, 7), X(7, 4))},
    {"matmul", INPUTS(X(3, 0), X(0, 4))},
    {"matmul", INPUTS(X(0, 3), X(3, 4))},
    {"matmul", INPUTS(X(0, 2, 3), X(0, 3, 4))},
    {"matmul", INPUTS(LAID(REVERSED, 5, 7), LAID(REVERSED, 7, 3))},
    {"matmul", INPUTS(LAID(PART, 5, 7), LAID(REPEATED, 7, 3))},
    {"matmul", .same_input = true, INPUTS(X(9, 9))},
    {"matmul", INPUTS(X(131, 137), X(137, 149))},

    {"linear", INPUTS(X(5, 7), X(3, 7), X(3))},
    {"linear", INPUTS(X(5, 7), X(3, 7))},
    {"linear", INPUTS(X(7), X(3, 7), X(3))},
    {"linear", INPUTS(X(2, 3, 7), X(1, 7), X(1))},
    {"linear", INPUTS(X(5, 1), X(3, 1), X(3))},
    {"linear", INPUTS(X(0, 7), X(3, 7), X(3))},
    {"linear", INPUTS(X(17, 33), X(19, 33), X(19))},
    {"linear", INPUTS(LAID(REVERSED, 5, 7), LAID(REVERSED, 3, 7), LAID(PART, 3))},
    {"linear", INPUTS(X(131, 137), X(149, 137), X(149))},
    {"linear", INPUTS(X(5, 7), X(3, 7), X(3), X(5, 3))},
    {"linear", INPUTS(X(2, 3, 7), X(4, 7), X(4), X(2, 3, 4))},
    {"linear", INPUTS(X(5, 7), X(3, 7), X(3), LAID(REVERSED, 5, 3))},
    {"linear", INPUTS(X(131, 67), X(149, 67), X(149), X(131, 149))},

    {"mlp", INPUTS(X(5, 7), X(11, 7), X(11), X(7, 11), X(7))},
    {"mlp", INPUTS(X(5, 7), X(11, 7), X(11), X(7, 11), X(7), X(5, 7))},
    {"mlp", INPUTS(X(7), X(3, 7), X(3), X(7, 3), X(7))},
    {"mlp", INPUTS(X(2, 3, 4), X(16, 4), X(16), X(4, 16), X(4), X(2, 3, 4))},
    {"mlp", INPUTS(X(0, 7), X(3, 7), X(3), X(7, 3), X(7))},
    {"mlp", INPUTS(X(1, 1), X(1, 1), X(1), X(1, 1), X(1), X(1, 1))},
    {"mlp", INPUTS(LAID(REVERSED, 5, 7), LAID(REVERSED, 3, 7), X(3), LAID(PART, 7, 3), X(7))},
    {"mlp", INPUTS(X(300, 17), X(68, 17), X(68), X(17, 68), X(17), X(300, 17))},

    {"embedding", INPUTS(X(7, 5), IDS_BELOW(7, 12))},
    {"embedding", INPUTS(X(7, 5), IDS_BELOW(7, 3, 4))},
    {"embedding", INPUTS(X(7, 5), {.values = IDS, .limit = 7})},
    {"embedding", INPUTS(X(1, 1), IDS_BELOW(1, 9))},
    {"embedding", INPUTS(X(7, 5), IDS_BELOW(7, 0))},
    {"embedding", INPUTS(LAID(REVERSED, 7, 5), IDS_BELOW(7, 12))},
    {"embedding", INPUTS(X(23, 131), IDS_BELOW(23, 151))},

    {"token_position_embedding", INPUTS(X(7, 5), X(9, 5), IDS_BELOW(7, 12), IDS_BELOW(9, 12))},
    {"token_position_embedding", INPUTS(X(1, 1), X(1, 1), IDS_BELOW(1, 2), IDS_BELOW(1, 2))},
    {"token_position_embedding", INPUTS(X(7, 5), X(9, 5), IDS_BELOW(7, 0), IDS_BELOW(9, 0))},
    {"token_position_embedding", .same_input = true,
     INPUTS(X(7, 5), {NO_INPUT}, IDS_BELOW(7, 12), IDS_BELOW(7, 12))},
    {"token_position_embedding",
     INPUTS(X(23, 131), LAID(PART, 29, 131), IDS_BELOW(23, 151), IDS_BELOW(29, 151))},

    {"layer_norm", INPUTS(X(5, 7), X(7), X(7)), NUMBERS(1e-5)},
    {"layer_norm", INPUTS(X(7), X(7), X(7)), NUMBERS(1e-5)},
    {"layer_norm", INPUTS(X(2, 3, 33), X(33), X(33)), NUMBERS(1e-5)},
    {"layer_norm", INPUTS(X(4, 2), X(2), X(2)), NUMBERS(0.1)},
    {"layer_norm", INPUTS(X(4, 1), X(1), X(1)), NUMBERS(0.5)},
    {"layer_norm", INPUTS(X(0, 7), X(7), X(7)), NUMBERS(1e-5)},
    {"layer_norm", INPUTS(LAID(REVERSED, 5, 19), LAID(PART, 19), X(19)), NUMBERS(1e-5)},
    {"layer_norm", INPUTS(X(151, 131), X(131), X(131)), NUMBERS(1e-5)},

    {"attention", INPUTS(X(6, 12), LENGTHS(6)), INDICES(2)},
    {"attention", INPUTS(X(11, 9), LENGTHS(1, 5, 0, 2, 3, 0)), INDICES(1)},
    {"attention", INPUTS(X(4, 6), LENGTHS(1, 1, 1, 1)), INDICES(2)},
    {"attention", INPUTS(X(0, 6), LENGTHS(0, 0)), INDICES(2)},
    {"attention", INPUTS(X(37, 3 * 34), LENGTHS(17, 1, 16, 3)), INDICES(2)},
    {"attention", INPUTS(AS(SHARP, 24, 3 * 16), LENGTHS(24)), INDICES(1)},
    {"attention", INPUTS(LAID(REVERSED, 11, 12), LENGTHS(4, 7)), INDICES(4)},
    {"attention", INPUTS(X(21, 3 * 20), LENGTHS(3, 18)), INDICES(5), DROPPED(0.25)},
    {"attention", INPUTS(X(190, 3 * 66), LENGTHS(70, 33, 0, 1, 86)), INDICES(3)},
    {"attention", INPUTS(X(60, 3 * 32), LENGTHS(40, 20)), INDICES(2), DROPPED(0.5)},

    /* new rows, past, how many of each sequence are new, where it begins, how many are there */
    {"attention_past",
     INPUTS(X(4, 12), X(15, 12), LENGTHS(1, 3), LENGTHS(7) /* 0, 7 */, IDS_BELOW(4, 2)),
     INDICES(2)},
    {"attention_past",
     INPUTS(X(3, 3 * 34), X(120, 3 * 34), LENGTHS(1, 1, 1), LENGTHS(40, 40), IDS_BELOW(40, 3)),
     INDICES(2)},
    {"attention_past",
     INPUTS(X(40, 3 * 34), X(150, 3 * 34), LENGTHS(17, 0, 1, 22), LENGTHS(50, 20, 20),
            IDS_BELOW(20, 4)),
     INDICES(1)},
    {"attention_past",
     INPUTS(AS(SHARP, 24, 3 * 16), X(48, 3 * 16), LENGTHS(24, 0), LENGTHS(48), IDS_BELOW(1, 2)),
     INDICES(1)},
    {"attention_past",
     INPUTS(X(60, 3 * 66), X(190, 3 * 66), LENGTHS(50, 10), LENGTHS(100), IDS_BELOW(50, 2)),
     INDICES(3)},

    {"self_attention",
     INPUTS(X(11, 8), AS(SLIGHT, 24, 8), X(24), X(8, 8), X(8), LENGTHS(1, 5, 0, 2, 3, 0)),
     INDICES(2)},
    {"self_attention",
     INPUTS(X(11, 6), AS(SLIGHT, 18, 6), X(18), X(6, 6), X(6), LENGTHS(4, 7), X(11, 6)),
     INDICES(3)},
    {"self_attention",
     INPUTS(X(0, 4), AS(SLIGHT, 12, 4), X(12), X(4, 4), X(4), LENGTHS(0, 0), X(0, 4)), INDICES(2)},
    {"self_attention",
     INPUTS(LAID(REVERSED, 6, 6), AS(SLIGHT, 18, 6), LAID(PART, 18), X(6, 6), X(6), LENGTHS(6)),
     INDICES(1, 9)},
    {"self_attention",
     INPUTS(X(90, 33), AS(SLIGHT, 99, 33), X(99), X(33, 33), X(33), LENGTHS(71, 1, 18), X(90, 33)),
     INDICES(3)},

    {"self_attention",
     INPUTS(X(11, 6), AS(SLIGHT, 18, 6), X(18), X(6, 6), X(6), LENGTHS(4, 7), X(4, 6),
            LENGTHS(1, 2, 7) /* rows 0, 1, 3, 10 */),
     INDICES(3)},

    {"block",
     INPUTS(X(11, 8), X(8), X(8), AS(SLIGHT, 24, 8), X(24), X(8, 8), X(8), X(8), X(8), X(11, 8),
            X(11), X(8, 11), X(8), LENGTHS(1, 5, 0, 2, 3, 0)),
     INDICES(2, 0, 0, 0, 0, 0), NUMBERS(1e-5, 0.1)},
    {"block",
     INPUTS(X(0, 7), X(7), X(7), X(21, 7), X(21), X(7, 7), X(7), X(7), X(7), X(3, 7), X(3), X(7, 3),
            X(7), LENGTHS(0, 0)),
     INDICES(1, 0, 0, 0, 0, 0), NUMBERS(1e-5, 1e-5)},
    {"block",
     INPUTS(LAID(REVERSED, 6, 6), X(6), X(6), AS(SLIGHT, 18, 6), X(18), X(6, 6), X(6), X(6), X(6),
            LAID(PART, 5, 6), X(5), X(6, 5), X(6), LENGTHS(6)),
     INDICES(1, 9, 4, 0, 0, 0), NUMBERS(0.1, 0.2)},
    {"block",
     INPUTS(X(90, 33), X(33), X(33), AS(SLIGHT, 99, 33), X(99), AS(SLIGHT, 33, 33), X(33), X(33),
            X(33), AS(SLIGHT, 68, 33), X(68), AS(SLIGHT, 33, 68), X(33), LENGTHS(71, 1, 18)),
     INDICES(3, 0, 0, 0, 0, 0), NUMBERS(1e-5, 1e-5)},
    {"block",
     INPUTS(X(11, 6), X(6), X(6), AS(SLIGHT, 18, 6), X(18), X(6, 6), X(6), X(6), X(6), X(9, 6),
            X(9), X(6, 9), X(6), LENGTHS(4, 7), LENGTHS(1, 2, 7) /* rows 0, 1, 3, 10 */),
     INDICES(3, 0, 0, 0, 0, 0), NUMBERS(1e-5, 1e-5)},

    {"cross_entropy", INPUTS(X(5, 7), IDS_BELOW(7, 5))},
    {"cross_entropy", INPUTS(X(1, 1), IDS_BELOW(1, 1))},
    {"cross_entropy", INPUTS(X(1, 33), IDS_BELOW(33, 1))},
    {"cross_entropy", INPUTS(AS(SHARP, 9, 19), IDS_BELOW(19, 9))},
    {"cross_entropy", INPUTS(LAID(REVERSED, 5, 7), IDS_BELOW(7, 5))},
    {"cross_entropy", INPUTS(X(151, 131), IDS_BELOW(131, 151))},
};

const gradient_case *gradient_cases(int *count)
{
    *count = (int)(sizeof cases / sizeof *cases);
    return cases;
}

const char *operator_without_case(const gradient_case *list, int count)
{
    for (int i = 0; i < icot_operator_count(); i++) {
        int found = 0;
        for (int k = 0; k < count; k++) {
            found += strcmp(list[k].operator_name, operator_at(i)->name) == 0;
        }
        if (!found) return operator_at(i)->name;
    }
    return NULL;
}
