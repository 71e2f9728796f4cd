"""What is measured, and in which order: peers in turn, round after round."""

import math
import statistics
from dataclasses import dataclass

from worker import WorkerFailed

NEAR = 1.25  # variants that take this much longer than their peer's best one at the trial are not measured on
LARGEST_LOSS_DIFFERENCE = 1e-4  # relative, in float32
LARGEST_SHARE_OF_OTHER_TEXTS = 0.02  # where two tokens are nearly equally likely, rounding decides
FEWEST_COMPARED = 16  # texts, where one is decoded at a time


@dataclass(frozen=True)
class Effort:
    """How thoroughly it is measured."""
    rounds: int     # turns that each peer gets
    turn: float     # seconds of one turn, as near as whole steps allow
    product: float  # seconds for each matrix product, at least
    square: int     # rows of the large square one


THOROUGH = Effort(rounds=5, turn=0.5, product=0.3, square=4096)
QUICK = Effort(rounds=1, turn=0.02, product=0.005, square=512)


class Different(Exception):
    """The two sides do not compute the same."""


@dataclass(frozen=True)
class Entry:
    """One peer in one variant."""
    peer: str     # "icot", "plain" or "trainer"
    variant: str  # "float32", "bf16", "float32 compiled", …


def best_of(seconds):
    """entry -> seconds: of each peer the entry that is the quickest, by name."""
    best = {}
    for entry in seconds:
        if entry.peer not in best or seconds[entry] < seconds[best[entry.peer]]:
            best[entry.peer] = entry
    return best


def without_slow_ones(trial):
    """Of icot all variants, of the others those near the peer's best one. trial: entry -> seconds."""
    best = best_of(trial)
    return [entry for entry, seconds in trial.items()
            if entry.peer == "icot" or seconds <= NEAR * trial[best[entry.peer]]]


class Bench:
    """The workers of one model, and what is measured with them."""

    def __init__(self, workers, quiet, effort, missing, say):
        """missing: (peer, variant) -> why it cannot be measured; what turns out to be so is added."""
        self.workers, self.quiet, self.effort, self.missing, self.say = workers, quiet, effort, missing, say

    def alternate(self, entries, take_turn, choose=list):
        """Seconds per unit of each entry: medians over the rounds. take_turn(entry, units) -> seconds.

        choose: which of the entries go on after the trial, given entry -> seconds per unit."""
        trial = {}
        for entry in entries:
            try:
                take_turn(entry, 1)  # warms up; what is compiled is compiled here
                trial[entry] = take_turn(entry, 1)
            except WorkerFailed as problem:
                if entry.variant == "float32":
                    raise
                self.missing[entry.peer, entry.variant] = str(problem)
        kept = choose(trial)
        times = {entry: [] for entry in kept}
        for _ in range(self.effort.rounds):
            for entry in kept:
                units = max(1, math.ceil(self.effort.turn / trial[entry]))
                times[entry].append(take_turn(entry, units) / units)
        return {entry: statistics.median(seconds) for entry, seconds in times.items()}

    def entries(self, variants):
        """variants: peer -> its variants. Those that are known to be missing are left out."""
        return [Entry(peer, variant) for peer, of_peer in variants.items() if peer in self.workers
                for variant in of_peer if (peer, variant) not in self.missing]

    # ---- The same on both sides ---------------------------------------------------------------------------------

    def check_losses(self, stages):
        """All peers must have the same loss before the first update."""
        for stage in stages:
            losses = {name: worker.ask("loss", stage=stage, variant="float32")["loss"]
                      for name, worker in self.workers.items()}
            ours = losses["icot"]
            for name, loss in losses.items():
                if not abs(loss - ours) <= LARGEST_LOSS_DIFFERENCE * ours:
                    raise Different(f"stage {stage}: the loss is {ours:.6f} in icot and {loss:.6f} in {name}; "
                                    "what is measured would not be the same work")

    def check_texts(self, examples, batch, variants):
        """How many of icot's texts, by variant, are token by token those of `generate` in float32; for bf16 that is
        but told: rounded logits may have another one on top."""
        def texts(peer, variant):
            return self.workers[peer].ask("decode", variant=variant, examples=examples, batch=batch,
                                          texts=True)["texts"]

        expected = texts("trainer", "float32")
        same = {variant: sum(a == b for a, b in zip(texts("icot", variant), expected, strict=True))
                for variant in ("float32", *(entry.variant for entry in self.entries(variants)
                                             if entry.peer == "icot" and entry.variant != "float32"))}
        if same["float32"] < (1 - LARGEST_SHARE_OF_OTHER_TEXTS) * examples:
            raise Different(f"only {same['float32']} of {examples} decoded texts are the same in icot and transformers")
        return same

    # ---- Training, decoding, products ---------------------------------------------------------------------------

    def train(self, stage, variants):
        """What a training step takes in a stage; its tokens and FLOPs, as icot counts them."""
        self.say(f"training, {stage}")
        per_step = {}

        def take_turn(entry, steps):
            answer = self.quiet.ask(self.workers[entry.peer], "train", stage=stage, variant=entry.variant, steps=steps)
            if entry.peer == "icot":  # which comes first
                per_step.update(tokens=answer["tokens"] / steps, flops=answer["flops"] / steps)
            return answer["seconds"] * per_step["tokens"] * steps / answer["tokens"]  # batches differ by some tokens

        seconds = self.alternate(self.entries(variants), take_turn, without_slow_ones)
        return {"stage": stage, **per_step, "seconds": seconds}

    def decode(self, batch, variants):
        """Examples per second of each entry."""
        self.say(f"decoding, batch {batch}")
        compared = max(batch, FEWEST_COMPARED)
        same = self.check_texts(compared, batch, variants) if "trainer" in self.workers else {}

        def take_turn(entry, units):  # a unit: a batch
            return self.quiet.ask(self.workers[entry.peer], "decode", variant=entry.variant, examples=units * batch,
                                  batch=batch)["seconds"]

        seconds = self.alternate(self.entries(variants), take_turn)
        return {"batch": batch, "same": same, "compared": compared,
                "rates": {entry: batch / each for entry, each in seconds.items()}}

    def products(self, rows, variants):
        """GFLOP/s of matrix products; PyTorch's are there to show what other libraries reach."""
        self.say("matrix products")
        rates = {}
        for entry in self.entries(variants):
            details = {"rows": rows} if entry.peer == "icot" else {}
            try:
                rates[entry] = self.quiet.ask(self.workers[entry.peer], "products", variant=entry.variant,
                                              square=self.effort.square, least=self.effort.product, **details)
            except WorkerFailed as problem:
                self.missing[entry.peer, entry.variant] = str(problem)
        return rates

    def peak_memory(self, entry, stage):
        """Bytes at the peak of two steps, after one that warms up."""
        self.say(f"memory, {entry.peer} {entry.variant}")
        worker = self.workers[entry.peer]
        worker.ask("train", stage=stage, variant=entry.variant, steps=1)
        worker.ask("reset_peak")
        worker.ask("train", stage=stage, variant=entry.variant, steps=2)
        return worker.ask("peak")
