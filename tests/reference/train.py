"""Training: AdamW with clipping, and the paper's loop of removal and optimizer resets."""

import math
from dataclasses import dataclass, field

import torch

from model import forward
from removal import Removal, make_batch


def adamw(model, lr):
    return torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)


def clip_grad_norm(parameters, largest):
    """torch.nn.utils.clip_grad_norm_ with squares summed in float64: PyTorch's sum, in float32, gives a norm that is off
    by 6e-5 to 2e-4 for GPT-2 Small, where icot's differs by 2e-8, and after 14 updates that shows in the gradients."""
    gradients = [parameter.grad for parameter in parameters]
    norm = math.sqrt(sum(gradient.double().pow(2).sum().item() for gradient in gradients))
    for gradient in gradients:
        gradient.mul_(min(1.0, largest / (norm + 1e-6)))
    return norm


def update(model, optimizer, batch, clip=1.0):
    """One update; gives the loss before it and the norm of the gradient before clipping."""
    loss, _ = forward(model, batch)
    optimizer.zero_grad()
    loss.backward()
    norm = clip_grad_norm(model.parameters(), clip)
    optimizer.step()
    return loss.item(), norm


@dataclass
class Schedule:
    """s(t) = floor(Δ·t/T)."""
    tokens_per_epoch: int  # Δ
    steps_per_epoch: int   # T

    def removed(self, step):
        return self.tokens_per_epoch * step // self.steps_per_epoch


@dataclass
class Course:
    """What a training went through, step by step."""
    losses: list[float] = field(default_factory=list)
    removed: list[int] = field(default_factory=list)
    resets: list[int] = field(default_factory=list)  # steps before which the moments were reset


def train_with_removal(model, examples, draws, schedule, removal: Removal, lr):
    """Trains on the batches of `draws`: for each step the `ids` of its examples and their `offsets`."""
    course, optimizer = Course(), adamw(model, lr)
    before, cot_was_left = 0, True
    for step, (ids, offsets) in enumerate(zip(draws["ids"], draws["offsets"], strict=True)):
        removed = schedule.removed(step)
        if removed > before and cot_was_left:
            optimizer = adamw(model, lr)  # all moments, and the steps they count, start anew
            course.resets.append(step)
        batch = make_batch([examples[i] for i in ids], removal, removed, offsets)
        loss, _ = update(model, optimizer, batch)
        course.losses.append(loss)
        course.removed.append(removed)
        before, cot_was_left = removed, batch.cot_left > 0
    return course
