"""What check.sh reads in run files.

    runs.py apart A B       largest relative difference of their losses, step by step
    runs.py same A B        whether all that was logged of the training is the same, to the bit (but for the time)
    runs.py speed RUN       tokens per second and TFLOP/s: medians of the intervals, without the first third
    runs.py decoded RUN     examples per second of the last evaluation
    runs.py stages RUN      tokens per second of a run that removes its CoT quickly, with none, half and all of it
                            removed; and what recipes/mult_9x9.lua takes until all of it is, in hours
    runs.py internalized RUN COT   accuracy on test examples at its end, where all COT tokens must be removed
    runs.py product         TFLOP/s of a large bfloat16 matrix product, by PyTorch
"""
import sys

import numpy


def rows(path, table="train"):
    import h5py

    with h5py.File(path, "r") as file:
        return file[table][:]


def apart(a, b):
    a, b = rows(a)["loss"], rows(b)["loss"]
    if len(a) != len(b):
        sys.exit(f"{len(a)} and {len(b)} rows")
    return f"{numpy.max(numpy.abs(a - b) / numpy.abs(a)):.2g}"


def same(a, b):
    a, b = rows(a), rows(b)
    if len(a) != len(b):
        sys.exit(f"{len(a)} and {len(b)} rows")
    for name in a.dtype.names:
        if name != "seconds" and a[name].tobytes() != b[name].tobytes():
            first = numpy.flatnonzero(a[name] != b[name])[:1]
            sys.exit(f"{name} differs from row {first} on")
    return f"{len(a)} rows"


def speed(path):
    log = rows(path)
    log = log[len(log) // 3:]
    seconds = numpy.diff(log["seconds"])
    tokens, flops = numpy.diff(log["tokens"]) / seconds, numpy.diff(log["flops"]) / seconds
    return f"{numpy.median(tokens):.0f} {numpy.median(flops) / 1e12:.1f}"


def stages(path):
    """The recipe removes PER_EPOCH tokens more in each epoch of UPDATES updates."""
    per_epoch, updates = 8, 808000 // 32
    log = rows(path)
    seconds, tokens = numpy.diff(log["seconds"]), numpy.diff(log["tokens"])
    steps, stage = numpy.diff(log["step"]), log["removed"][1:] // per_epoch
    of_stage = {s: stage == s for s in numpy.unique(stage)}
    last = max(of_stage)
    if len(of_stage) != last + 1:
        sys.exit(f"{len(of_stage)} of {last + 1} stages were measured")
    rates = [numpy.median((tokens / seconds)[of_stage[s]]) for s in (0, last // 2, last)]
    hours = sum(numpy.median((seconds / steps)[of_stage[s]]) for s in of_stage) * updates / 3600
    return f"{rates[0]:.0f} {rates[1]:.0f} {rates[2]:.0f} tokens/s, {last + 1} epochs in {hours:.1f} hours"


def decoded(path):
    return f"{rows(path, 'eval')['examples_per_second'][-1]:.0f}"


def internalized(path, cot):
    log = rows(path, "eval")
    test = log[log["split"] == b"test"]
    if len(test) == 0 or test["removed"][-1] < int(cot):
        sys.exit("it did not come to its end, without CoT")
    return f"{test['accuracy'][-1]:.3f}"


def product():
    import torch

    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    times = []
    for _ in range(13):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        a @ b
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end) / 1e3)
    return f"{2 * 8192**3 / numpy.median(times[3:]) / 1e12:.0f}"


if __name__ == "__main__":
    commands = {f.__name__: f for f in (apart, same, speed, stages, decoded, internalized, product)}
    command, *arguments = sys.argv[1:]
    print(commands[command](*arguments))
