"""The first check: one model, its logits, loss, gradients, twenty updates, greedy texts and dropout.

A case is a folder. `prepare` writes what icot starts from: `model/`, a checkpoint as transformers saves it, and
`inputs.json`. The results lie beside them, under the same names whoever has computed them:

    forward.safetensors    logits (T, vocab_size), loss, and gradient.NAME of every parameter
    update_N.safetensors   parameter.NAME after update N
    updates.json           `losses` of the updates, and `norms` of their gradients before clipping
    greedy.json            what is written after each prompt
    masks.safetensors, dropout.safetensors   (icot only) masks of dropout; loss and gradient.NAME with them
"""

import copy
from dataclasses import asdict

import torch
from transformers import GPT2LMHeadModel

import exchange
from data import random_examples, random_prompts
from model import forward, give_masks, gradients, greedy, random_model
from removal import Example, Removal, make_batch
from train import adamw, update

UPDATES, BATCH = 20, 4
SPREAD = {"tiny": 0.3, "small": 0.04}  # of the weights: outputs of order 1, gradients well above the clip
LARGEST = 4096  # elements of a parameter that are compared after each update


def prepare(folder, shape, prompts=200):
    """Writes a case: a random model, random examples and prompts."""
    model = random_model(shape, seed=1, spread=SPREAD[shape])
    vocab_size = model.config.vocab_size
    inputs = {
        "examples": [asdict(each) for each in random_examples(UPDATES * BATCH, vocab_size, seed=2)],
        "batch": BATCH, "updates": UPDATES, "lr": 1e-3 if shape == "tiny" else 5e-5, "clip": 1.0,
        "removed": 2, "removal": {"side": "left", "positions": "kept"},
        "prompts": random_prompts(prompts, vocab_size, seed=3), "max_new_tokens": 12,
        "dropout": 0.1, "largest": LARGEST,
    }
    model.save_pretrained(folder / "model")
    exchange.write(folder, "inputs", inputs)


class Case:
    """A case read back from its folder; the model is transformers' own reading of the checkpoint."""

    def __init__(self, folder):
        self.folder = folder
        self.inputs = exchange.read(folder, "inputs")
        self.model = GPT2LMHeadModel.from_pretrained(folder / "model").eval()
        self.removal = Removal(**self.inputs["removal"])
        self.examples = [Example(**each) for each in self.inputs["examples"]]

    def batch(self, number):
        size = self.inputs["batch"]
        return make_batch(self.examples[number * size:(number + 1) * size], self.removal, self.inputs["removed"])

    def forward(self):
        loss, logits = forward(self.model, self.batch(0))
        found = {"loss": loss.detach().reshape(1), "logits": logits.detach().clone()}
        return found | named("gradient", gradients(self.model, loss))

    def updates(self):
        """Yields loss, norm of the gradient and parameters after each update; the case's model stays as it is."""
        model = copy.deepcopy(self.model)
        optimizer = adamw(model, self.inputs["lr"])
        for number in range(self.inputs["updates"]):
            loss, norm = update(model, optimizer, self.batch(number), self.inputs["clip"])
            yield loss, norm, named("parameter", sampled(model))

    def greedy(self):
        return greedy(self.model, self.inputs["prompts"], self.inputs["max_new_tokens"])

    def dropout(self, masks):
        """Loss and gradients with icot's own masks."""
        model, batch = copy.deepcopy(self.model), self.batch(0)
        give_masks(model, masks, batch)
        loss, _ = forward(model, batch)
        return {"loss": loss.detach().reshape(1)} | named("gradient", gradients(model, loss))


def named(kind, tensors):
    return {f"{kind}.{name}": tensor for name, tensor in tensors.items()}


def sampled(model):
    """Of every parameter each k-th element, k so large that at most LARGEST are taken."""
    with torch.no_grad():
        return {name: parameter.flatten()[::-(-parameter.numel() // LARGEST)].clone()
                for name, parameter in model.named_parameters()}


def save_expected(folder, steps):
    """Computes and writes what icot should find: a fixture. Parameters are written after the updates `steps` only."""
    case, losses, norms = Case(folder), [], []
    exchange.save(folder, "forward", case.forward())
    for number, (loss, norm, parameters) in enumerate(case.updates(), start=1):
        losses.append(loss)
        norms.append(norm)
        if number in steps:
            exchange.save(folder, f"update_{number}", parameters)
    exchange.write(folder, "updates", {"losses": losses, "norms": norms})
    exchange.write(folder, "greedy", case.greedy())
