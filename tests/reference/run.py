"""Compares icot with PyTorch and transformers, live: `make test-reference`.

Everything is float32 on the CPU. "tiny" has 2 layers, 3 heads and a width of 24; "small" is GPT-2 Small. Weights and
examples are random; sequences are padded here and packed in icot.

    what                             measured as                                              tolerance
    logits                           ‖icot - PyTorch‖ / ‖PyTorch‖, over all tokens            1e-4
    loss                             relative                                                 1e-5
    gradient of every parameter      the same as for logits, each                             1e-3
    20 AdamW updates, clipped        loss, and norm of the gradient, relative, at each        1e-5
      every parameter after each     ‖icot - PyTorch‖ / ‖PyTorch - start‖, each               1e-3; small 5e-3
    greedy, 200 prompts              all tokens equal; KV cache in icot, none here
    icot, transformers, icot         every tensor the same to the last bit
    dropout with icot's masks        loss and gradients as above; keep rate in each place     5 deviations
    removal, 300 updates             |difference| of the losses at each; five arms of tiny    1e-3
      list of offsets                mean, against that of P(o) ∝ exp(-λ·o)                   5 deviations
      every parameter at the end     as after the 20 updates                                  1e-2
      accuracy at the end            icot's model, read and decoded by transformers, equal

Why parameters are measured against how far they have moved: the steps are small, so that against the parameters
themselves even a wrong step would look good. Why the tolerance is not that of the gradients: AdamW divides each
gradient by its own size, so an element whose gradient is near the rounding error makes a step of full length in a
direction that rounding decides, above all in the first update. It is tight all the same: after 20 updates of tiny
the two differ by 5e-5; a weight decay of 0 for 0.01 makes that 3e-2, a β₂ of 0.998 for 0.999 makes it 6e-4. The bias
of the keys is left out: it adds the same to all scores of a query, so its gradient is zero, and what AdamW makes of
it is nothing but rounding. It changes no output.

The losses of the training with removal leave the tolerance at step 27 or 28 without optimizer resets, at step 152 if
the moments are reset when no CoT was left in the batch before, and between steps 71 and 95 without weight decay.
"""

import argparse
import math
import pathlib
import shutil
import subprocess
import sys

import torch
import transformers

import exchange
import model_case
import removal_case
from compare import Table, relative
from model import SHAPES, random_model


def icot(script, *arguments):
    subprocess.run(["luajit", f"tests/reference/{script}.lua", *map(str, arguments)], check=True)


def fresh(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def without_key_bias(name, tensor):
    if not name.endswith("attn.c_attn.bias"):
        return tensor
    query, _, value = tensor.chunk(3)
    return torch.cat([query, value])


def moved_apart(found, expected, start):
    """Of each parameter: the difference as a part of how far it has moved."""
    differences = {}
    for name in expected:
        a, b, c = (without_key_bias(name, each[name]) for each in (found, expected, start))
        differences[name] = relative(a, b, unit=b.double() - c.double())
    return differences


# ---- One model ---------------------------------------------------------------------------------------------------


def compare_gradients(table, what, found, expected):
    table.line(f"{what}: loss", {"": relative(found["loss"], expected["loss"])}, 1e-5)
    names = [name for name in expected if name.startswith("gradient.")]
    assert {name for name in found if name.startswith("gradient.")} == set(names)
    table.line(f"{what}: gradients", {name: relative(found[name], expected[name]) for name in names}, 1e-3)


def compare_updates(table, shape, case, out):
    course, losses, norms, parameters = exchange.read(out, "updates"), {}, {}, {}
    start = model_case.named("parameter", model_case.sampled(case.model))
    for number, (loss, norm, expected) in enumerate(case.updates(), start=1):
        losses[f"update {number}"] = abs(course["losses"][number - 1] / loss - 1)
        norms[f"update {number}"] = abs(course["norms"][number - 1] / norm - 1)
        found = exchange.load(out, f"update_{number}")
        apart = moved_apart(found, expected, start)
        worst = max(apart, key=apart.get)
        parameters[f"update {number}, {worst}"] = apart[worst]
    table.line(f"{shape}: losses of 20 updates", losses, 1e-5)
    table.line(f"{shape}: norms of their gradients", norms, 1e-5)
    table.line(f"{shape}: parameters after each", parameters, 1e-3 if shape == "tiny" else 5e-3)


def compare_dropout(table, shape, case, out):
    masks = exchange.load(out, "masks")
    compare_gradients(table, f"{shape}, dropout", exchange.load(out, "dropout"), case.dropout(masks))
    p, deviations = case.inputs["dropout"], {}
    for name, mask in masks.items():
        lengths = case.batch(0).present.sum(1).tolist()
        if name.endswith("attention"):  # what is above the diagonal decides about nothing
            below = torch.cat([torch.ones(n, mask.shape[-1]).tril() for n in lengths]).bool()
            mask = mask[:, below]
        kept = (mask > 0).double()
        assert torch.allclose(mask, (kept / (1 - p)).float(), rtol=1e-5), name
        deviations[name] = abs(kept.mean().item() - (1 - p)) / math.sqrt(p * (1 - p) / kept.numel())
    table.line(f"{shape}, dropout: keep rates (deviations)", deviations, 5)


def check_model(table, work, shape):
    folder = fresh(work / shape)
    model_case.prepare(folder, shape)
    out = fresh(folder / "icot")
    icot("run_model_case", folder, out)
    case = model_case.Case(folder)
    found, expected = exchange.load(out, "forward"), case.forward()
    table.line(f"{shape}: logits", {"": relative(found["logits"], expected["logits"])}, 1e-4)
    compare_gradients(table, shape, found, expected)
    compare_dropout(table, shape, case, out)
    compare_updates(table, shape, case, out)
    table.equal(f"{shape}: greedy texts", exchange.read(out, "greedy"), case.greedy())


# ---- Trainings with removal ----------------------------------------------------------------------------------------


def check_offsets(table, shape, case):
    mean, count = removal_case.mean_offset(case.draws)
    stays = math.exp(-case.config["removal"]["smoothing"])  # P(o > n) / P(o > n - 1)
    deviation = math.sqrt(stays) / (1 - stays) / math.sqrt(count)
    table.line(f"{shape}: offsets (deviations)", {f"mean {mean:.3f}": abs(mean - stays / (1 - stays)) / deviation}, 5)


def check_training(table, name, case):
    course, trained = case.train()
    losses = {f"step {step}": abs(a - b)
              for step, (a, b) in enumerate(zip(case.course["losses"], course.losses, strict=True), start=1)}
    table.line(f"{name}: losses, {len(course.resets)} resets", losses, 1e-3)
    found, expected, start = (dict(model.named_parameters()) for model in (case.trained(), trained, case.initial()))
    table.line(f"{name}: parameters at the end", moved_apart(found, expected, start), 1e-2)
    accuracy = case.accuracy()
    table.equal(f"{name}: accuracy {accuracy:.3f}", [case.course["accuracy"]], [accuracy])


def check_removal(table, work, shape, arms="all", settings=()):
    folder = fresh(work / f"{shape}_removal")
    icot("run_removal", folder, arms, *settings)
    cases = [removal_case.Case(path) for path in sorted(folder.iterdir())]
    check_offsets(table, shape, cases[0])  # the seed is the same, and so are the draws
    for case in cases:
        check_training(table, f"{shape}, {case.folder.name}", case)


def check_removal_of_small(table, work):
    """In batches of 4, with which a token more goes every 25 updates, as before. The learning rate is so small that
    rounding stays small: with 5e-5 the losses differ by 1e-7 until the first resets, by 4e-6 after 68 updates, and ten
    times more every 40 updates from there."""
    model = fresh(work / "small_maxima")
    random_model("small", seed=1, spread=0.02, vocab_size=SHAPES["tiny"]["vocab_size"]).save_pretrained(model)
    settings = (f"model.pretrained={model}", "optimizer.lr=1e-5", "train.batch=4", "schedule.tokens_per_epoch=6")
    check_removal(table, work, "small", "left_closed_up", settings)


# ---- There and back ------------------------------------------------------------------------------------------------


def same_bits(a, b):
    return a.shape == b.shape and a.dtype == b.dtype and torch.equal(a.view(torch.int32), b.view(torch.int32))


def check_round_trip(table, work, shape):
    """icot -> transformers -> icot: the same tensors to the last bit, in files of either."""
    folder = fresh(work / f"{shape}_round_trip")
    random_model(shape, seed=2, spread=0.02).save_pretrained(folder / "start")
    icot("run_round_trip", folder / "start", folder / "ours")
    transformers.GPT2LMHeadModel.from_pretrained(folder / "ours").save_pretrained(folder / "theirs")
    icot("run_round_trip", folder / "theirs", folder / "back")
    ours = exchange.load(folder / "ours", "model")
    for other in ("start", "theirs", "back"):
        found = exchange.load(folder / other, "model")
        names = [name if same_bits(found[name], ours[name]) else None for name in ours if name in found]
        table.equal(f"{shape}: tensors, icot's and those of '{other}'", names, list(ours))


# ---- All of it -----------------------------------------------------------------------------------------------------


def main():
    parser = argparse.ArgumentParser(description="Compares icot with PyTorch.")
    parser.add_argument("work", type=pathlib.Path, help="folder for what is exchanged")
    parser.add_argument("--tiny", action="store_true", help="leave out GPT-2 Small, which takes most of the time")
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    print(f"PyTorch {torch.__version__}, transformers {transformers.__version__}")

    table, threads = Table(), torch.get_num_threads()
    torch.set_num_threads(1)  # more are slower for what is tiny
    check_model(table, options.work, "tiny")
    check_round_trip(table, options.work, "tiny")
    check_removal(table, options.work, "tiny")
    if not options.tiny:
        torch.set_num_threads(threads)
        check_model(table, options.work, "small")
        check_round_trip(table, options.work, "small")
        check_removal_of_small(table, options.work)
    return table.failed


if __name__ == "__main__":
    sys.exit(main())
