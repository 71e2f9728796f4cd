"""What is trained and decoded on: running maxima of digits, and random tokens."""

import random

from removal import EOS, SEPARATOR, Example


def running_maxima(count, seed):
    """Lines such as `3 1 5||3 3 5 #### 5 3`: digits, the largest so far, and the last two of those from the end. The
    CoT has 2 to 8 tokens, so that batches are ragged and a removal stops at different lengths."""
    draw, lines = random.Random(seed), []
    for _ in range(count):
        digits = [draw.randrange(10) for _ in range(draw.randint(2, 8))]
        maxima = [max(digits[:i + 1]) for i in range(len(digits))]
        question, cot, answer = (" ".join(map(str, part)) for part in (digits, maxima, maxima[:-3:-1]))
        lines.append(f"{question}||{cot} #### {answer}")
    return lines


def read_examples(path):
    """Examples of a text file as ids: <eos>, ####, then the words of the file sorted, as icot's task `text` has them."""
    parts = []
    for line in open(path, encoding="utf-8"):
        question, rest = line.rstrip("\n").split("||")
        cot, answer = rest.split(" #### ")
        parts.append([part.split() for part in (question, cot, answer)])
    words = sorted({word for example in parts for part in example for word in part})
    ids = {word: SEPARATOR + 1 + i for i, word in enumerate(words)}
    return [Example(*([ids[word] for word in part] for part in example)) for example in parts]


def random_tokens(draw, vocab_size, shortest, longest):
    return [draw.randrange(SEPARATOR + 1, vocab_size) for _ in range(draw.randint(shortest, longest))]


def random_examples(count, vocab_size, seed):
    """Examples of random tokens, as many as a model with this vocabulary knows; some have no CoT."""
    draw = random.Random(seed)
    return [Example(random_tokens(draw, vocab_size, 1, 7), random_tokens(draw, vocab_size, 0, 9),
                    random_tokens(draw, vocab_size, 1, 4)) for _ in range(count)]


def random_prompts(count, vocab_size, seed):
    draw = random.Random(seed)
    return [random_tokens(draw, vocab_size, 1, 8) + [EOS] for _ in range(count)]
