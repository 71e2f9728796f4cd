/* What a tokenizer splits a text into before it merges: characters with their classes, and words.
 */
#include "text/pretokenize.h"
#include "text/unicode_classes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void assert_character(const char *text, int bytes, character_class class)
{
    const character found = character_at(text, text + strlen(text));
    assert_int_equal(found.bytes, bytes);
    assert_int_equal(found.class, class);
}

static void test_characters(void **state)
{
    (void)state;
    assert_character("a", 1, CLASS_LETTER);
    assert_character("7", 1, CLASS_NUMBER);
    assert_character("\t", 1, CLASS_SPACE);
    assert_character("[", 1, CLASS_OTHER);
    assert_character("`", 1, CLASS_OTHER);
    assert_character("\x1C", 1, CLASS_OTHER);         /* Python calls it white space, \s does not */
    assert_character("\xC2\x85", 2, CLASS_SPACE);     /* U+0085 */
    assert_character("\xC2\xAA", 2, CLASS_LETTER);    /* ª */
    assert_character("\xC2\xB2", 2, CLASS_NUMBER);    /* ² */
    assert_character("\xCC\x81", 2, CLASS_OTHER);     /* combining acute */
    assert_character("\xE2\x80\x8B", 3, CLASS_OTHER); /* zero width space */
    assert_character("\xE3\x80\x80", 3, CLASS_SPACE); /* U+3000 */
    assert_character("\xF0\x9F\x91\x8D", 4, CLASS_OTHER);
    assert_character("\xF0\xB2\x8E\xAF", 4, CLASS_LETTER); /* U+323AF, last of the table */
    assert_character("\xF0\xB2\x8E\xB0", 4, CLASS_OTHER);
    assert_character("\xF4\x8F\xBF\xBF", 4, CLASS_OTHER); /* U+10FFFF */
}

static void test_bytes_that_are_no_characters(void **state)
{
    (void)state;
    const char *ill_formed[] = {"\x80",
                                "\xBF",
                                "\xC3",
                                "\xC3(",
                                "\xC0\x80",
                                "\xC1\xBF",
                                "\xE0\x80",
                                "\xE0\x80\x80",
                                "\xE0\x9F\xBF",
                                "\xED\xA0\x80",
                                "\xE2\x82",
                                "\xF0\x8F\xBF\xBF",
                                "\xF0\x9F\x91",
                                "\xF4\x90\x80\x80",
                                "\xF5\x80\x80\x80",
                                "\xFF"};
    for (size_t i = 0; i < sizeof ill_formed / sizeof *ill_formed; i++) {
        assert_character(ill_formed[i], 1, CLASS_OTHER);
    }
}

static void assert_words(const char *text, const char *const *words)
{
    const char *end = text + strlen(text);
    for (; *words; words++) {
        assert_true(text < end);
        const char *next = word_end(text, end);
        assert_int_equal(next - text, strlen(*words));
        assert_memory_equal(text, *words, strlen(*words));
        text = next;
    }
    assert_ptr_equal(text, end);
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_words(void **state)
{
    (void)state;
    assert_words("Hello world", WORDS("Hello", " world"));
    assert_words("I'll you'Ve it's", WORDS("I", "'ll", " you", "'", "Ve", " it", "'s"));
    assert_words("'r 's !'s", WORDS("'", "r", " '", "s", " !'", "s"));
    assert_words("a  b   ", WORDS("a", " ", " b", "   "));
    assert_words("a\n\nb \n c", WORDS("a", "\n", "\n", "b", " \n", " c"));
    assert_words(" 12ab.\xFF!", WORDS(" 12", "ab", ".\xFF!"));
    assert_words("\xC2\xA0\xC2\xA0x", WORDS("\xC2\xA0", "\xC2\xA0", "x"));
    assert_words(" ", WORDS(" "));
}

/* What lies behind the end is none of the text's. */
static void test_a_contraction_ends_with_the_text(void **state)
{
    (void)state;
    const char text[] = "'ll";
    assert_ptr_equal(word_end(text, text + 3), text + 3);
    assert_ptr_equal(word_end(text, text + 2), text + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_characters),
        cmocka_unit_test(test_bytes_that_are_no_characters),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_a_contraction_ends_with_the_text),
    };
    return cmocka_run_group_tests_name("pretokenize", tests, NULL, NULL);
}
