/*
 * Pre-tokenization: text is cut into words, and no token reaches across two of them. The pattern is
 * GPT-2's,
 *     's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 * where the first alternative that matches wins. It cuts everything: words lie end to end.
 */
#ifndef ICOT_TEXT_PRETOKENIZE_H
#define ICOT_TEXT_PRETOKENIZE_H

/* End of the word that begins at text; text < end. */
const char *word_end(const char *text, const char *end);

#endif
