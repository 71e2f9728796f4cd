"""Reads a run file again and again while a training writes it: nothing but whole rows may ever be seen.

    tests/torture/follow.py PROGRAM [SECONDS]

One reader keeps the file open and refreshes its tables, as a notebook does that polls; another opens it anew each time.
Each row is checked when it is first seen, and compared with what the file holds in the end.
"""
import os
import signal
import subprocess
import sys
import tempfile
import time

import h5py
import numpy

HERE = os.path.dirname(os.path.abspath(__file__))
TABLES = ["train", "eval", "eval_positions", "samples"]
SETTINGS = ["train.steps=100000000", "train.log_every=1", "train.evaluate_every=40", "optimizer.decay=constant",
            "checkpoint.every_steps=50"]


def check_rows(name, first, rows):
    """Rows number first, first + 1, … of a table: do they make sense?"""
    if name == "train":
        steps = numpy.arange(first + 1, first + 1 + len(rows))
        assert (rows["step"] == steps).all(), f"/train: steps {rows['step']}, expected {steps}"
        for column in ["loss", "lr", "grad_norm", "tokens", "seconds", "flops"]:
            assert (rows[column] > 0).all() and numpy.isfinite(rows[column]).all(), f"/train: {column}: {rows[column]}"
    elif name == "eval":
        assert numpy.isin(rows["split"], [b"valid", b"test"]).all(), f"/eval: split: {rows['split']}"
        assert (rows["loss"] > 0).all() and (rows["examples_per_second"] > 0).all(), f"/eval: {rows}"
    elif name == "eval_positions":
        assert ((rows >= 0) & (rows <= 1)).all(), f"/eval_positions: {rows}"
    else:
        for column in ["question", "target"]:
            assert all(text.decode("utf-8") for text in rows[column]), f"/samples: {column}: {rows[column]}"


class Reader:
    """What one way of reading has seen so far."""

    def __init__(self):
        self.seen = {name: [] for name in TABLES}
        self.polls = 0

    def take(self, file):
        for name in TABLES:
            table, seen = file[name], self.seen[name]
            table.refresh()
            assert len(table) >= len(seen), f"/{name}: {len(table)} rows, before {len(seen)}"
            rows = table[len(seen):]
            check_rows(name, len(seen), rows)
            seen.extend(row.tobytes() for row in rows)
        self.polls += 1

    def compare(self, path):
        with h5py.File(path, "r") as file:
            for name in TABLES:
                rows = [row.tobytes() for row in file[name][: len(self.seen[name])]]
                assert rows == self.seen[name], f"/{name}: other rows than were seen"


def follow(program, seconds, folder):
    path = os.path.join(folder, "run.h5")
    command = [program, os.path.join(HERE, "recipe.lua"), "--quiet", "--threads", "1", "--out", path]
    for setting in SETTINGS:
        command += ["--set", setting]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while not os.path.exists(path):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    kept, reopened, deadline = Reader(), Reader(), time.monotonic() + seconds
    with h5py.File(path, "r", swmr=True) as file:
        while time.monotonic() < deadline:
            assert process.poll() is None, process.stderr.read()
            kept.take(file)
            with h5py.File(path, "r", swmr=True) as again:
                reopened.take(again)
    process.send_signal(signal.SIGINT)
    errors = process.communicate()[1]
    assert process.returncode == 128 + signal.SIGINT, errors
    for reader in [kept, reopened]:
        reader.compare(path)
    rows = {name: len(kept.seen[name]) for name in TABLES}
    print(f"{kept.polls + reopened.polls} reads in {seconds:g} s, rows seen: {rows}: all whole")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        follow(os.path.abspath(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 300, place)
