"""Measures icot's training and decoding, and beside it PyTorch's: `make bench`.

    bench.py [--python PYTHON | --ours] [--device cpu|cuda] [--shapes 2x128,4x256] [--digits N] [--batch N]
             [--stages all,half,none] [--only train|decode] [--eager] [--rounds N] [--quick] [--json FILE] [--markdown FILE]

The work: GPT-2 models (layers x width) on 4 x 4-digit multiplication, 16 symbols, 32 examples of up to 67 tokens in a
batch, with all CoT, half of it and none; no dropout. Both sides get the same parameters and batches, and must have the
same loss before anything is measured. A training step is forward, backward, clipping and AdamW. In icot it is the
update of a real training, packing included; on the other side stand

    plain     a GPT-2 written for speed in plain PyTorch (plain_gpt2.py); float32 or bfloat16 autocast, each eager or
              compiled
    trainer   the paper's way: GPT2LMHeadModel of transformers, padded, head and loss over all rows; float32 or
              autocast, on a card TF32, as the paper's code has it

Tokens are those without padding, on both sides. Decoding writes 11 tokens to each of 256 ragged prompts, greedily and
with a KV cache, in icot and with `generate` of transformers; the texts in float32 must be the same.

All processes of a model are there at once and take turns of half a second or a step, so that a change of the machine's
speed hits all of them; what is told are medians over the rounds. Variants of PyTorch that are 25 % slower than its best
one at a trial are not measured on.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import platform
import re
import subprocess
import sys
import tempfile
from datetime import datetime, timezone

import report
from measure import QUICK, THOROUGH, Bench, Different, best_of
from worker import Quiet, Worker, WorkerFailed

HERE = pathlib.Path(__file__).parent
STAGES = ["all", "half", "none"]
DECODED_AT_ONCE = [1, 256]
# On a card nobody trains in float32 who need not: there it only says whether both sides compute the same.
VARIANTS = {"cpu": {"icot": ["float32", "bf16"], "plain": ["float32", "bf16", "float32 compiled", "bf16 compiled"],
                    "trainer": ["float32", "bf16"]},
            "cuda": {"icot": ["bf16"], "plain": ["bf16", "bf16 compiled"], "trainer": ["tf32"]}}
DECODING = {"icot": ["float32", "bf16"], "trainer": ["float32", "bf16"]}
PRODUCTS = {"icot": ["float32", "bf16"], "plain": ["float32", "bf16"]}


def parse_shape(text):
    """'12x768' -> its layers, heads and width; heads of 32 in small models, of 64 as in GPT-2 in larger ones."""
    match = re.fullmatch(r"([1-9]\d{0,2})x([1-9]\d{0,4})", text)
    layers, width = map(int, match.groups()) if match else (0, 0)
    size = 32 if width <= 256 else 64
    if not width or width % size:
        raise argparse.ArgumentTypeError(f"got '{text}', expected LAYERSxWIDTH such as 4x256, the width a multiple of "
                                         "32 up to 256, or of 64")
    return layers, width // size, width


def parse_shapes(text):
    return [parse_shape(part) for part in re.split(r"[ ,]+", text.strip())]


def parse_count(text):
    if not re.fullmatch(r"[1-9]\d{0,2}", text):
        raise argparse.ArgumentTypeError(f"got '{text}', expected a number from 1 to 999")
    return int(text)


def parse_stages(text):
    stages = re.split(r"[ ,]+", text.strip())
    unknown = [stage for stage in stages if stage not in STAGES]
    if unknown:
        raise argparse.ArgumentTypeError(f"got '{unknown[0]}', expected some of {', '.join(STAGES)}")
    return stages


def parse_options():
    parser = argparse.ArgumentParser(prog="bench", description="Measures icot beside PyTorch.")
    parser.add_argument("--shapes", type=parse_shapes, default="2x128,4x256,12x768", help="models, as LAYERSxWIDTH")
    parser.add_argument("--rounds", type=parse_count, help="turns that each peer gets; default: 5")
    parser.add_argument("--device", choices=VARIANTS, default="cpu")
    parser.add_argument("--digits", type=parse_count, default=4, help="of each factor; default: 4")
    parser.add_argument("--batch", type=parse_count, default=32, help="examples in a batch; default: 32")
    parser.add_argument("--stages", type=parse_stages, default=STAGES, help="of all (CoT), half and none")
    parser.add_argument("--only", choices=["train", "decode"], help="leaves out the other, and memory")
    parser.add_argument("--eager", action="store_true", help="nothing compiled, which takes a minute per stage")
    parser.add_argument("--threads", type=parse_count, default=len(os.sched_getaffinity(0)), help="default: all cores")
    parser.add_argument("--quick", action="store_true", help="one round, nothing compiled: is everything there?")
    parser.add_argument("--ours", action="store_true", help="icot alone, without PyTorch")
    parser.add_argument("--python", help="a Python that has PyTorch and transformers")
    parser.add_argument("--json", type=pathlib.Path, help="file for all numbers")
    parser.add_argument("--markdown", type=pathlib.Path, help="file for the tables in Markdown")
    options = parser.parse_args()
    if not options.ours and not options.python:
        parser.error("--python is needed to compare, or --ours")
    for path in (options.json, options.markdown):
        if path and not path.parent.is_dir():
            parser.error(f"{path}: there is no folder {path.parent}")
    effort = QUICK if options.quick else THOROUGH
    if options.device == "cuda" and not options.quick:
        effort = dataclasses.replace(effort, square=8192)
    options.effort = dataclasses.replace(effort, rounds=options.rounds or effort.rounds)
    return options


def say(text):
    """What goes on now, for who watches."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


# ---- One model ---------------------------------------------------------------------------------------------------


def start(name, folder, options):
    """The worker of a peer, with the threads of all peers and what lua/launcher.c sets for icot."""
    environment = {"OMP_NUM_THREADS": str(options.threads)}
    if name == "icot":
        command = ["luajit", str(HERE / "ours.lua"), str(folder), options.device]
        environment |= {"OMP_PROC_BIND": "false", "OMP_DYNAMIC": "false"}
        environment |= {} if "OMP_WAIT_POLICY" in os.environ else {"GOMP_SPINCOUNT": "10000"}
    else:
        command = [options.python, str(HERE / "theirs.py"), str(folder), name, str(options.threads),
                   options.device]
    return Worker(name, command, environment, folder / f"{name}.log")


def peers(options):
    return ["icot"] if options.ours else ["icot", "plain", "trainer"]


def trained_variants(options):
    eager = options.eager or options.quick
    return {name: [variant for variant in each if not (eager and "compiled" in variant)]
            for name, each in VARIANTS[options.device].items()}


def measure_model(folder, options, quiet, missing):
    """Everything but memory."""
    workers = {name: start(name, folder, options) for name in peers(options)}
    try:
        bench = Bench(workers, quiet, options.effort, missing, say)
        versions = {}
        for name, worker in workers.items():
            told = worker.ask("versions")
            versions |= told["versions"]
            if told.get("problem"):
                missing |= {(name, variant): told["problem"]
                            for variant in VARIANTS[options.device][name] if variant.startswith("bf16")}
        bench.check_losses(options.stages)
        rows = json.loads((folder / "work.json").read_text())["stages"][0]["batches"][0]["cu_seqlens"][-1]
        products = bench.products(rows, PRODUCTS)
        batches, stages = ([] if options.only == "train" else DECODED_AT_ONCE,
                           [] if options.only == "decode" else options.stages)
        decoding = [bench.decode(batch, DECODING) for batch in batches]
        training = [bench.train(stage, trained_variants(options)) for stage in stages]
        return {"versions": versions, "products": products, "decoding": decoding, "training": training}
    finally:
        for worker in workers.values():
            worker.close()


def measure_memory(folder, options, quiet, missing, training):
    """Peaks of the resident memory, each peer in its own process and in the variant that is the quickest with all CoT,
    icot in all."""
    entries = [entry for entry in training["seconds"] if entry.peer == "icot"]
    entries += [entry for peer, entry in best_of(training["seconds"]).items() if peer != "icot"]
    peaks = {}
    for entry in entries:
        with start(entry.peer, folder, options) as worker:
            bench = Bench({entry.peer: worker}, quiet, options.effort, missing, say)
            peaks[entry] = bench.peak_memory(entry, training["stage"])
    return peaks


def measure_shape(shape, options, quiet, missing):
    layers, heads, width = shape
    name = f"{layers}x{width}"
    with tempfile.TemporaryDirectory(prefix="icot-bench-") as place:
        folder = pathlib.Path(place)
        say(f"{name}: preparing")
        subprocess.run(["luajit", str(HERE / "prepare.lua"), place, *map(str, shape), str(options.digits),
                        str(options.batch)], check=True)
        result = measure_model(folder, options, quiet, missing)
        if shape == options.shapes[-1] and not options.only and options.device == "cpu":
            result["memory"] = measure_memory(folder, options, quiet, missing, result["training"][0])
        return {"shape": name, "heads": heads} | result


# ---- All of it ---------------------------------------------------------------------------------------------------


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def main():
    options = parse_options()
    quiet, missing = Quiet(options.threads), {}
    began = datetime.now(timezone.utc)
    try:
        shapes = [measure_shape(shape, options, quiet, missing) for shape in options.shapes]
    except (Different, WorkerFailed) as problem:
        sys.exit(f"bench: {problem}")
    except subprocess.CalledProcessError:
        sys.exit("bench: the work could not be prepared")
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        say("")
    where = shapes[0]["versions"].get("card") if options.device == "cuda" else processor()
    results = {"date": began.strftime("%Y-%m-%d"), "cpu": where, "threads": options.threads,
               "rounds": options.effort.rounds, "minutes": (datetime.now(timezone.utc) - began).total_seconds() / 60,
               "others": quiet.share(), "missing": missing, "versions": shapes[0]["versions"], "shapes": shapes}
    print(report.text(results))
    if options.json:
        options.json.write_text(report.as_json(results) + "\n", encoding="utf-8")
    if options.markdown:
        options.markdown.write_text(report.markdown(results) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
