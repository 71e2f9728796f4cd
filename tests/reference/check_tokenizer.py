#!/usr/bin/env python3
"""Compares icot's tokenizer with Hugging Face's: the same ids for random strings and for real text.

    tests/reference/check_tokenizer.py FOLDER [TEXT_FILE ...] [--strings 100000] [--seed 1]

FOLDER holds vocab.json and merges.txt, or tokenizer.json. Of the text files every line is compared, and each file as
a whole. Needs `pip install transformers`, and icot built (ICOT_LIBRARY and ICOT_HEADER, or build/).
"""
import argparse
import os
import random
import struct
import subprocess
import sys
import tempfile
import unicodedata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


# ---- Random strings ----------------------------------------------------------------------------

COMBINING = [chr(c) for c in range(0x110000) if unicodedata.combining(chr(c))]
CONTROLS = [chr(c) for c in (*range(0x20), *range(0x7F, 0xA0), *range(0x200B, 0x2010), 0xFEFF, 0xFFFE, 0xFFFF)]
SPACES = list(" \t\n\r\v\f\x85\xa0\u1680\u2000\u2003\u200a\u2028\u2029\u202f\u205f\u3000")
PIECES = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "''", "don't", " 's", "####", " ####", "<|endoftext|>",
          "<|endof", "<<", ">>", "||", "1234567890", "٣٤", "½", "Ⅷ", "👩‍👩‍👧", "🇩🇪", "é", "ﬁ", "漢字", "한국어"]
SCRIPTS = [(0x41, 0x7B), (0xC0, 0x250), (0x370, 0x530), (0x590, 0x700), (0x900, 0xE00), (0x3040, 0x3100),
           (0x4E00, 0x9FFF), (0xAC00, 0xD7A4), (0x1F300, 0x1FAFF), (0x2000, 0x2C00)]


def any_code_point(rng):
    """One of all planes; the first, where most characters are, half of the time."""
    while True:
        c = rng.randrange(0x10000) if rng.random() < 0.5 else rng.randrange(0x110000)
        if not 0xD800 <= c < 0xE000:
            return chr(c)


def ascii_character(rng):
    return chr(rng.randrange(128))


def combined(rng):
    return any_code_point(rng) + "".join(rng.choices(COMBINING, k=rng.randrange(4)))


def space_run(rng):
    return rng.choice(SPACES) * rng.randrange(1, 4) + rng.choice(SPACES)


def one_script(rng):
    first, last = rng.choice(SCRIPTS)
    return "".join(chr(rng.randrange(first, last)) for _ in range(rng.randrange(1, 12)))


def words(rng):
    letters = "etaoinshrdlu"
    return " ".join("".join(rng.choices(letters, k=rng.randrange(1, 10))) for _ in range(rng.randrange(1, 6)))


PARTS = [any_code_point, ascii_character, combined, space_run, one_script, words,
         lambda rng: rng.choice(CONTROLS), lambda rng: rng.choice(PIECES), lambda rng: " "]


def very_long_word(rng):
    alphabet = rng.choice(["a", "ab", "abcdefghijklmnopqrstuvwxyz", "0123456789", "é漢", " ", "!?.", "\u0301x"])
    return "".join(rng.choices(alphabet, k=rng.randrange(200, 5000)))


def random_string(rng):
    if rng.random() < 0.005:
        return very_long_word(rng)
    kind = rng.randrange(len(PARTS) + 3)  # a third of them mix everything
    parts = [PARTS[kind]] if kind < len(PARTS) and rng.random() < 0.8 else rng.choices(PARTS, k=4)
    return "".join(rng.choice(parts)(rng) for _ in range(rng.randrange(0, 24)))


# ---- The two tokenizers ------------------------------------------------------------------------

def icot_ids(folder, texts):
    """For each byte string: whether decoding gives it again, and its ids."""
    environment = {"ICOT_LIBRARY": str(ROOT / "build/lib/icot/libicot.so"),
                   "ICOT_HEADER": str(ROOT / "build/share/icot/icot.ffi.h"), **os.environ,
                   "LUA_PATH": f"{ROOT}/lua/?.lua;{ROOT}/lua/?/init.lua;;"}
    with tempfile.TemporaryFile() as strings:
        for text in texts:
            strings.write(struct.pack("<I", len(text)) + text)
        strings.seek(0)
        written = subprocess.run(["luajit", str(ROOT / "tests/reference/encode.lua"), folder], stdin=strings,
                                 stdout=subprocess.PIPE, env=environment, check=True).stdout
    at = 0
    for _ in texts:
        same, count = struct.unpack_from("<II", written, at)
        yield bool(same), list(struct.unpack_from(f"<{count}i", written, at + 8))
        at += 8 + 4 * count


def hugging_face_ids(folder, texts):
    from transformers import GPT2TokenizerFast
    tokenizer = GPT2TokenizerFast.from_pretrained(folder).backend_tokenizer
    for start in range(0, len(texts), 1000):
        for encoding in tokenizer.encode_batch(texts[start:start + 1000], add_special_tokens=False):
            yield encoding.ids


def compare(what, folder, texts):
    differing, lost, tokens = [], [], 0
    pairs = zip(texts, icot_ids(folder, [text.encode() for text in texts]), hugging_face_ids(folder, texts))
    for text, (same, ours), theirs in pairs:
        tokens += len(ours)
        if ours != theirs:
            differing.append((text, ours, theirs))
        if not same:
            lost.append(text)
    print(f"{what}: {len(texts)} strings, {tokens} tokens, {len(differing)} with other ids, "
          f"{len(lost)} not the same after decoding")
    for text, ours, theirs in differing[:3]:
        print(f"  {text[:80]!r}\n    icot         {ours[:20]}\n    Hugging Face {theirs[:20]}")
    return not differing and not lost


def check_bytes(folder, rng, count):
    """Strings that are no UTF-8: Hugging Face has no ids for them, but they must come back."""
    texts = [rng.randbytes(rng.randrange(60)) for _ in range(count)]
    lost = sum(not same for same, _ in icot_ids(folder, texts))
    print(f"random bytes: {count} strings, {lost} not the same after decoding")
    return lost == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("files", nargs="*")
    parser.add_argument("--strings", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    rng = random.Random(options.seed)
    every_code_point = [f"a{chr(c)} {chr(c)}{chr(c)}1" for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    good = compare("all code points", options.folder, every_code_point)
    good &= compare("random strings", options.folder, [random_string(rng) for _ in range(options.strings)])
    good &= check_bytes(options.folder, rng, options.strings // 10)
    for path in options.files:
        with open(path, encoding="utf-8", newline="") as file:
            text = file.read()
        good &= compare(path, options.folder, text.split("\n") + [text])
    sys.exit(not good)


if __name__ == "__main__":
    main()
