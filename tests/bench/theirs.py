"""PyTorch at work on what tests/bench/prepare.lua has written: theirs.py FOLDER PEER THREADS DEVICE.

PEER is one of
  plain     plain_gpt2.py; padded batches, head on rows with a target, fused AdamW. Variants: "float32", "bf16"
            (autocast), each also "compiled"
  trainer   the paper's way: GPT2LMHeadModel of transformers, padded batches, head and loss over all rows, fused AdamW.
            Variants: "float32", "tf32" (a card's own), "bf16" (autocast). It also decodes, with `generate`; there
            "bf16" has bfloat16 weights

Orders and answers are those of ours.lua. Batches lie in tensors before the clock starts.
"""

import copy
import json
import os
import pathlib
import statistics
import sys
import time
from dataclasses import dataclass

import torch
import transformers
from torch.nn import functional as F
from transformers import GPT2LMHeadModel

from plain_gpt2 import PlainGPT2

IGNORED = -100  # as a label: no loss here
REPEATS = 3  # of a matrix product, at least


def pad(rows, value):
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=value)


@dataclass
class Batch:
    """A packed batch of icot's as right-padded tensors (B, L)."""
    n_tokens: int            # without padding
    tokens: torch.Tensor     # (B, L)
    positions: torch.Tensor  # (B, L)
    present: torch.Tensor    # (B, L) 1; 0: padding
    rows: torch.Tensor       # (R) of (B·L): those with a target
    targets: torch.Tensor    # (R)
    labels: torch.Tensor     # (B, L) each token where it is a target of the one before it, IGNORED elsewhere

    @staticmethod
    def of(packed, device):
        starts, target_of = packed["cu_seqlens"], dict(zip(packed["target_rows"], packed["targets"], strict=True))
        spans = [range(start, stop) for start, stop in zip(starts, starts[1:])]

        def padded(values, padding):
            return pad([values[span.start:span.stop] for span in spans], padding)

        tokens, length = padded(packed["tokens"], 0), max(map(len, spans))
        rows = [b * length + row - span.start for b, span in enumerate(spans) for row in span if row in target_of]
        labels = [[IGNORED] + [target_of.get(row, IGNORED) for row in span[:-1]] for span in spans]
        parts = (tokens, padded(packed["positions"], 0), padded([1] * starts[-1], 0), torch.tensor(rows),
                 torch.tensor(packed["targets"]), pad(labels, IGNORED))
        return Batch(len(packed["tokens"]), *(part.to(device) for part in parts))


def now(device):
    """Seconds, when all is done that was begun."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def seconds_of_product(a, b, least):
    """The median of as many as it takes to fill `least` seconds."""
    times = []
    while sum(times) < least or len(times) < REPEATS:
        started = now(a.device.type)
        torch.matmul(a, b)
        times.append(now(a.device.type) - started)
    return statistics.median(times)


def bf16_problem(device):
    """Why products of bfloat16 are not worth waiting for; None if they are. Without oneDNN's PyTorch multiplies number
    by number: a square of 1024 takes a second or more, and a training step of GPT-2 Small the better part of an hour."""
    if device == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return "this CPU has no instructions for it that oneDNN takes"
    return None


class Peer:
    """One model with its optimizer, which all variants train on."""

    def __init__(self, folder, device):
        self.device = device
        self.work = json.loads((folder / "work.json").read_text())
        self.batches = {stage["name"]: [Batch.of(packed, device) for packed in stage["batches"]]
                        for stage in self.work["stages"]}
        self.pretrained = GPT2LMHeadModel.from_pretrained(folder / "model").float().to(device)
        self.model = self.make_model().to(device).train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=5e-5, betas=(0.9, 0.999), eps=1e-8,
                                           weight_decay=0.01, fused=True)

    def autocast(self, variant):
        torch.backends.cuda.matmul.allow_tf32 = variant == "tf32"
        return torch.autocast(self.device, dtype=torch.bfloat16, enabled=variant.startswith("bf16"))

    def update(self, batch, variant):
        with self.autocast(variant):
            loss = self.loss_of(batch, variant)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return loss

    def versions(self):
        return {"versions": {"PyTorch": torch.__version__, "transformers": transformers.__version__,
                             "cpu": torch.backends.cpu.get_cpu_capability()}, "problem": bf16_problem(self.device)}

    @torch.no_grad()
    def loss(self, stage, variant):
        with self.autocast(variant):
            return {"loss": self.loss_of(self.batches[stage][0], variant).item()}

    def train(self, stage, variant, steps):
        batches, tokens = self.batches[stage], 0
        started = now(self.device)
        for step in range(steps):
            batch = batches[step % len(batches)]
            self.update(batch, variant)
            tokens += batch.n_tokens
        return {"seconds": now(self.device) - started, "tokens": tokens}

    def products(self, variant, square, least):
        kind = torch.bfloat16 if variant == "bf16" else torch.float32
        torch.backends.cuda.matmul.allow_tf32 = False
        a, b = (torch.randn(square, square).to(self.device, kind) for _ in range(2))
        return {"square": 2 * square**3 / seconds_of_product(a, b, least) / 1e9}

    def reset_peak(self):
        if os.access("/proc/self/clear_refs", os.W_OK):
            pathlib.Path("/proc/self/clear_refs").write_text("5")
        return {}

    def peak(self):
        for line in pathlib.Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return {"resident": 1024 * int(line.split()[1])}


class Plain(Peer):
    def make_model(self):
        model = PlainGPT2(self.pretrained.config)
        model.take_weights(self.pretrained)
        del self.pretrained
        # One graph for each length of a batch; the number of targets, which varies more, stays outside.
        self.compiled = torch.compile(model, dynamic=False)
        return model

    def loss_of(self, batch, variant):
        model = self.compiled if variant.endswith("compiled") else self.model
        hidden = model(batch.tokens, batch.positions).flatten(0, 1)[batch.rows]
        return F.cross_entropy(F.linear(hidden, self.model.wte.weight), batch.targets)


class Trainer(Peer):
    def make_model(self):
        self.rounded = None
        return self.pretrained

    def loss_of(self, batch, _):
        return self.model(input_ids=batch.tokens, attention_mask=batch.present, labels=batch.labels,
                          use_cache=False).loss

    def for_decoding(self, variant):
        if variant == "bf16":
            self.rounded = self.rounded or copy.deepcopy(self.model).bfloat16()
        model = (self.rounded if variant == "bf16" else self.model).eval()
        model.generation_config.eos_token_id = None  # both sides write as many tokens
        return model

    @torch.inference_mode()
    def decode(self, variant, examples, batch, texts=False):
        model, prompts, written = self.for_decoding(variant), self.work["prompts"], []
        prompts = prompts * -(-examples // len(prompts))
        started = now(self.device)
        for first in range(0, examples, batch):
            chunk = prompts[first:min(first + batch, examples)]
            longest = max(map(len, chunk))
            tokens = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in chunk]).to(self.device)
            present = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in chunk])
            present = present.to(self.device)
            out = model.generate(input_ids=tokens, attention_mask=present, do_sample=False, num_beams=1, use_cache=True,
                                 max_new_tokens=self.work["new_tokens"], pad_token_id=0)
            written += out[:, longest:].tolist()
        seconds = now(self.device) - started
        self.model.train()
        return {"seconds": seconds} | ({"texts": written} if texts else {})


PEERS = {"plain": Plain, "trainer": Trainer}


def answer(peer, line):
    order = json.loads(line)
    try:
        return getattr(peer, order.pop("order"))(**order)
    except Exception as problem:  # what a variant cannot do here is told, and the others go on
        text = str(problem).strip() or type(problem).__name__
        return {"error": f"{type(problem).__name__}: {text.splitlines()[0]}"}


def main():
    folder, name, threads, device = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    peer = PEERS[name](folder, device)
    for line in sys.stdin:
        print(json.dumps(answer(peer, line)), flush=True)


if __name__ == "__main__":
    main()
