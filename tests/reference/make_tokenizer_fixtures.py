#!/usr/bin/env python3
"""Makes tests/fixtures/tokenizer: a small vocabulary, and strings with the ids that `tokenizers` gives them.

    tests/reference/make_tokenizer_fixtures.py        (needs: pip install tokenizers)

    pair/vocab.json, pair/merges.txt   trained on made-up text; <|endoftext|> is the special token
    single/tokenizer.json              the same with more added tokens, some the beginnings of others
    strings.json                       [{text, pair: ids, single: ids}, …]
"""
import json
import random
from pathlib import Path

from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

FOLDER = Path(__file__).resolve().parents[1] / "fixtures" / "tokenizer"
EOS = "<|endoftext|>"
ADDED = ["<|pad", "<|pad|>", "<|pad|>s", "日本", "a b"]

NAMES = ["Anna", "Ben", "Chloé", "Dmitri", "Eun-ji", "Fatima"]
THINGS = ["apples", "marbles", "stamps", "coins", "pencils", "shells"]
REST = ["She's", "He'll", "They've", "didn't", "I'm", "we'd", "you're", "straße", "naïve", "日本語", "число", "👍", "½",
        "...", "??", "--", "(so)", "\n", "\n\n", "\t", "  ", "1234", "99", "2025"]


def training_text(rng):
    lines = []
    for _ in range(400):
        a, b = rng.randrange(2, 60), rng.randrange(2, 60)
        lines.append(f"{rng.choice(NAMES)} has {a} {rng.choice(THINGS)} and buys {b} more. How many are there now?"
                     f"||<<{a}+{b}={a + b}>> #### {a + b}")
        lines.append(f"####\n{a + b}")  # so that it is a token without a space before it too
        lines.append(" ".join(rng.choices(REST + THINGS, k=8)))
    return lines


def train():
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    trainer = BpeTrainer(vocab_size=600, initial_alphabet=ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(training_text(random.Random(1)), trainer)
    tokenizer.add_special_tokens([AddedToken(EOS, normalized=False)])
    return tokenizer


def write_pair(tokenizer):
    (FOLDER / "pair").mkdir(parents=True, exist_ok=True)
    tokenizer.model.save(str(FOLDER / "pair"))
    vocabulary = sorted(tokenizer.get_vocab(with_added_tokens=True).items(), key=lambda item: item[1])
    (FOLDER / "pair" / "vocab.json").write_text(json.dumps(dict(vocabulary), indent=0) + "\n")


def with_added_tokens(tokenizer):
    larger = Tokenizer.from_str(tokenizer.to_str())
    larger.add_special_tokens([AddedToken(text, normalized=False) for text in ADDED])
    (FOLDER / "single").mkdir(exist_ok=True)
    larger.save(str(FOLDER / "single" / "tokenizer.json"), pretty=True)
    return larger


# ---- The strings -------------------------------------------------------------------------------

HARD = [
    "", " ", "  ", "   ", "a", " a", "a ", " a ", "  a  ", "a  b", "a   b", "\n", "\n\n", " \n", "\n ", "a\nb", "a\n\nb",
    "a \n b", "a\t\tb", "\t a", "a\r\nb", "\r\n\r\n", "\v\f", "a\x85b", "\x85", "a\xa0b", "a\xa0\xa0b", " \xa0a", "\xa0 a",
    "a\u2028b", "\u2029\u2029a", "\u1680", "\u2003\u2003a", "\u200b", "a\u200bb", "\u202f1", "\u3000漢", "\ufeffa",
    "it's", "IT'S", "it'S", "'s", "''s", "'''s", " 's", "  's", "'sx", "x's's", "'t're've'm'll'd", "'r", "'v", "'l",
    "'re", "'rE", "l'l", "don't", "we'd've", "'", "''", " '", "' s", "’s", "'\u017f", "!'s", "1's", "\n's",
    "1", "12", "123456789", "1a2b", "a1", " 1", "  1", "1.5", "1,000", "-1", "½", "1½", "Ⅷ", "٣٤٥", "१२३", "²", "①", "𝟙𝟚",
    "e\u0301", "\u0301", " \u0301", "a\u0301\u0302\u0303b", "1\u0301", "\u0e01\u0e33", "नमस्ते", "각", "\u1112\u1161\u11ab",
    "👍", " 👍", "👍👍", "👩‍👩‍👧‍👦", "🇩🇪🇫🇷", "☺️", "👍🏽a", "日本語", "日本語です", "漢字 かな", "한국어 말", "straße", "ÑANDÚ", "Привет, мир!",
    "שלום", "مرحبا", "ﬁ", "ǅ", "ª", "ʰ", "𐐀", "𝒜", "\U00020000", "\U000e0001", "\U0010ffff", "\ufffe", "\uffff", "\ue000",
    "\x00", "a\x00b", "\x00\x00", "\x01\x02", "\x1b[0m", "\x7f", "\x80", "\x9f", "\xad", "###", "####", " ####", "#### 18",
    "x #### 18", "########", "#", "##", "<<1+2=3>>", "||", "a||b", "!?", " !?", "?! a", "...", "()[]{}", "_", "a_b", "$5",
    EOS, EOS + EOS, "a" + EOS + "b", "a " + EOS + " b", "  " + EOS + "  x", EOS + "'s", "<|endoftext|", "<|endoftext|>>",
    "<<|endoftext|>", "<|ENDOFTEXT|>", "<|pad", "<|pad|", "<|pad|>", "<|pad|>s", "<|pad|>'s", "<|pad<|pad|>", "x日本語x", "日 本",
    "a b", "aa bb", " a b c", "a  b", "a" * 300, "ab" * 200, "apples" * 60, " " * 100, "x" + " " * 50 + "y", "\n" * 60,
    "0" * 200, "é" * 150, "漢" * 120, "!" * 120, "\u0301" * 80,
]


def random_strings(rng, count):
    characters = list("abcdeghilnorst'#<>|0123456789 .,!?\n\t") + ["é", "ß", "漢", "日", "👍", "½", "\xa0", "\u0301", "\x00"]
    pieces = characters * 2 + NAMES + THINGS + REST + [EOS] + ADDED
    return ["".join(rng.choices(pieces, k=rng.randrange(1, 20))) for _ in range(count)]


def main():
    tokenizer = train()
    write_pair(tokenizer)
    larger = with_added_tokens(tokenizer)
    texts = HARD + random_strings(random.Random(2), 120)
    lines = [json.dumps({"text": text, "pair": tokenizer.encode(text).ids, "single": larger.encode(text).ids})
             for text in texts]
    (FOLDER / "strings.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")
    print(f"{len(texts)} strings, {tokenizer.get_vocab_size()} and {larger.get_vocab_size()} tokens")


if __name__ == "__main__":
    main()
