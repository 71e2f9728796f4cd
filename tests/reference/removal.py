"""The method of Deng, Choi and Shieber (2024) on one example: which CoT tokens go, and where the others stand.

A sequence is `question <eos> cot <eos> #### answer <eos>`; the loss is on everything after the first <eos>. With
continuous thoughts (Hao et al. 2024) these stand after the first <eos>, and nothing predicts them.
"""

from dataclasses import dataclass

import torch

EOS, SEPARATOR = 0, 1  # ids of <eos> and ####, as in icot.text.vocabulary
THOUGHT = -1           # where a thought is read, and no token
IGNORED = -100         # label of a token that nobody has to predict, as in transformers


@dataclass
class Example:
    question: list[int]
    cot: list[int]
    answer: list[int]


@dataclass
class Removal:
    side: str = "left"            # or "right"
    positions: str = "closed_up"  # or "kept"
    remove_all_beyond: int | None = None
    thoughts: int = 0  # for each token that is to go
    most_thoughts: int = 0


def removed_tokens(removal, scheduled, offset, cot_length):
    """How many CoT tokens go when the schedule removes `scheduled` and smoothing `offset` more."""
    wanted = scheduled + offset
    if removal.remove_all_beyond is not None and wanted >= removal.remove_all_beyond:
        return cot_length
    return min(wanted, cot_length)


def thoughts_for(removal, scheduled, offset):
    """How many thoughts come in: their number follows what is to go, not what an example has."""
    return min(removal.thoughts * (scheduled + offset), removal.most_thoughts)


def cut(example, removal, count, thoughts=0):
    """Tokens and position ids of an example without `count` tokens of its CoT."""
    question, cot = len(example.question), len(example.cot)
    if thoughts:
        left = example.question + [EOS] + [THOUGHT] * thoughts + example.cot[count:] + [EOS, SEPARATOR]
        left += example.answer + [EOS]
        return left, list(range(len(left)))
    tokens = example.question + [EOS] + example.cot + [EOS, SEPARATOR] + example.answer + [EOS]
    first = question + 1 + (cot - count if removal.side == "right" else 0)
    left = tokens[:first] + tokens[first + count:]
    if removal.positions == "closed_up":
        return left, list(range(len(left)))
    places = list(range(len(tokens)))
    places = places[:first] + places[first + count:]
    if first == question + 1:  # an <eos> stands just before the cut: it moves up to the first token that is left
        places[question] = places[question + 1] - 1
    return left, places


@dataclass
class Batch:
    """Padded on the right; everything (B, L)."""
    tokens: torch.Tensor
    positions: torch.Tensor
    labels: torch.Tensor  # the tokens themselves, IGNORED up to the first <eos>, for thoughts and in the padding
    present: torch.Tensor  # 1 for a token, 0 for padding
    cot_left: int          # CoT tokens left in all examples together


def pad(rows, filler):
    longest = max(len(row) for row in rows)
    return torch.tensor([row + [filler] * (longest - len(row)) for row in rows])


def make_batch(examples, removal, scheduled, offsets=None):
    """A padded batch, example k with `offsets[k]` tokens removed on top of what is scheduled."""
    offsets = offsets or [0] * len(examples)
    tokens, positions, labels, cot_left = [], [], [], 0
    for example, offset in zip(examples, offsets, strict=True):
        count = removed_tokens(removal, scheduled, offset, len(example.cot))
        thoughts = thoughts_for(removal, scheduled, offset)
        left, places = cut(example, removal, count, thoughts)
        seen = len(example.question) + 1 + thoughts
        tokens.append(left)
        positions.append(places)
        labels.append([IGNORED] * seen + left[seen:])
        cot_left += len(example.cot) - count
    present = [[1] * len(row) for row in tokens]
    return Batch(pad(tokens, EOS), pad(positions, 0), pad(labels, IGNORED), pad(present, 0), cot_left)
