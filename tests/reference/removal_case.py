"""The second check: 300 updates in which tokens are removed, by icot's trainer and by train.py.

icot runs first (run_removal.lua). Its folder says what was run (config.json), what each step drew (draws.json: the
shared list of examples and offsets), and holds the trained model (run/). All else is worked out here anew.
"""

import math

from transformers import GPT2LMHeadModel

import exchange
from data import read_examples
from model import add_token, greedy
from removal import EOS, SEPARATOR, Removal, cut, removed_tokens, thoughts_for
from train import Schedule, train_with_removal


class Case:
    """One arm of running_maxima.lua in the folder that icot has written."""

    def __init__(self, folder):
        self.folder = folder
        self.config, self.draws, self.course = (exchange.read(folder, name) for name in ("config", "draws", "course"))
        given = self.config["removal"]
        self.removal = Removal(given["side"], given["positions"], given.get("remove_all_beyond"),
                               given.get("thoughts", 0), given.get("most_thoughts", 0))
        self.examples = read_examples(self.config["dataset"]["train"])
        steps_per_epoch = math.ceil(len(self.examples) / self.config["train"]["batch"])
        self.schedule = Schedule(self.config["schedule"]["tokens_per_epoch"], steps_per_epoch)

    def initial(self):
        model = GPT2LMHeadModel.from_pretrained(self.config["model"]["pretrained"]).eval()
        if self.removal.thoughts:
            add_token(model)
        return model

    def train(self):
        """Trains as icot did; gives the course and the trained model."""
        model = self.initial()
        course = train_with_removal(model, self.examples, self.draws, self.schedule, self.removal,
                                    self.config["optimizer"]["lr"])
        return course, model

    def trained(self):
        """icot's trained model, as transformers reads it."""
        return GPT2LMHeadModel.from_pretrained(self.folder / "run").eval()

    def accuracy(self):
        """Of icot's trained model on the unseen examples, its answers written without a cache."""
        unseen = read_examples(self.config["dataset"]["test"])
        removed = self.schedule.removed(self.config["train"]["steps"] - 1)
        prompts, positions = [], []
        for example in unseen:
            count = removed_tokens(self.removal, removed, 0, len(example.cot))
            thoughts = thoughts_for(self.removal, removed, 0)
            tokens, places = cut(example, self.removal, count, thoughts)
            question = len(example.question) + 1 + thoughts
            prompts.append(tokens[:question])
            positions.append(places[:question])
        written = greedy(self.trained(), prompts, 8, positions, answer_is_complete)
        return sum(answer_in(text) == example.answer for text, example in zip(written, unseen)) / len(unseen)


def answer_is_complete(written):
    return written[-1] == EOS and SEPARATOR in written


def answer_in(written):
    """What stands between the first #### and the <eos> after it."""
    if SEPARATOR not in written:
        return None
    answer = written[written.index(SEPARATOR) + 1:]
    return answer[:answer.index(EOS)] if EOS in answer else answer


def mean_offset(draws):
    """Mean of all offsets, and how many there are."""
    offsets = [offset for step in draws["offsets"] for offset in step]
    return sum(offsets) / len(offsets), len(offsets)
