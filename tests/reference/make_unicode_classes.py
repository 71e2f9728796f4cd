#!/usr/bin/env python3
"""Prints the tables of core/text/unicode_classes.c: letters and numbers as `tokenizers` sees them.

A code point is a letter if the ByteLevel pre-tokenizer doesn't cut between it and two others, and so on;
asking for all of them gives the classes of the Unicode version that its regular expressions know.

    tests/reference/make_unicode_classes.py > tables.txt        (needs: pip install tokenizers)
"""
from tokenizers.pre_tokenizers import ByteLevel

CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]  # surrogates are no characters
pieces_of = ByteLevel(add_prefix_space=False).pre_tokenize_str


def members(neighbour):
    """The code points that stay in one piece with a neighbour on both sides."""
    return [c for c in CODE_POINTS if len(pieces_of(neighbour + chr(c) + neighbour)) == 1]


def ranges(code_points):
    found = []
    for c in code_points:
        if found and found[-1][1] == c - 1:
            found[-1][1] = c
        else:
            found.append([c, c])
    return found


def print_table(name, code_points):
    print(f"static const range {name}[] = {{")
    for first, last in ranges(code_points):
        print(f"    {{0x{first:04X}, 0x{last:04X}}},")
    print("};\n")


letters, numbers, others = members("x"), members("1"), members(".")
print_table("letters", letters)
print_table("numbers", numbers)
spaces = sorted(set(CODE_POINTS) - set(letters) - set(numbers) - set(others))
print_table("spaces", spaces)
