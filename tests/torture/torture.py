"""Kills a training again and again, resumes it each time, and compares it with one that was left alone.

    tests/torture/torture.py PROGRAM [KILLS] [SEED]

After each `kill -9` the run file must open, hold nothing but rows of the undisturbed run, and all of them up to its
last one; each checkpoint must be readable. A run that gets to its end must have the same parameters, rows and model
files, bit for bit. Only what a clock has measured may differ.
"""
import filecmp
import json
import os
import random
import subprocess
import sys
import tempfile
import time

import h5py

HERE = os.path.dirname(os.path.abspath(__file__))
MEASURED = {"seconds", "examples_per_second"}
TABLES = ["train", "eval", "eval_positions", "eval_groups", "samples"]


def rows_of(table):
    """The rows as bytes, without the columns that a clock has measured."""
    if table.dtype.names is None:
        return [row.tobytes() for row in table[:]]
    names = [name for name in table.dtype.names if name not in MEASURED]
    return [b"|".join(row[name].tobytes() for name in names) for row in table[:]]


def read_run(path):
    with h5py.File(path, "r", swmr=True) as run:
        return {name: rows_of(run[name]) for name in TABLES if name in run}


class Torture:
    def __init__(self, program, folder, seed):
        self.program, self.folder = program, folder
        self.random = random.Random(seed)
        self.kills = self.finished = self.resumed = 0

    def start(self, output, *more):
        command = [self.program, os.path.join(HERE, "recipe.lua"), "--quiet", "--threads", "1", "--out", output, *more]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def undisturbed(self):
        """Trains once without a kill; later runs are compared with this one."""
        self.output = os.path.join(self.folder, "undisturbed.h5")
        began = time.monotonic()
        process = self.start(self.output)
        errors = process.communicate()[1]
        self.seconds = time.monotonic() - began
        if process.returncode != 0:
            sys.exit(f"torture: the undisturbed run failed: {errors}")
        self.expected = read_run(self.output)

    def check_rows(self, output, whole):
        found = read_run(output)
        for name in TABLES:
            rows, expected = found.get(name, []), self.expected[name]
            if rows != expected[: len(rows)] or whole and len(rows) != len(expected):
                sys.exit(f"torture: {output}: /{name} has other rows than the undisturbed run (kill {self.kills})")

    def check_checkpoints(self, output):
        folder = os.path.join(output[:-3], "checkpoints")
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
            if not name.startswith("step-") or name.endswith(".partial"):
                continue
            path = os.path.join(folder, name)
            with open(os.path.join(path, "checkpoint.json"), encoding="utf-8") as file:
                step = json.load(file)["state"]["step"]
            if step != int(name[5:]) or step > 0 and not os.path.exists(os.path.join(path, "model.safetensors")):
                sys.exit(f"torture: {path} is not whole (kill {self.kills})")
            if step > 0:
                read_run(os.path.join(path, "run.h5"))

    def check_end(self, output):
        self.check_rows(output, whole=True)
        for name in ["model.safetensors", "config.json", "vocabulary.json"]:
            ours, theirs = os.path.join(output[:-3], name), os.path.join(self.output[:-3], name)
            if not filecmp.cmp(ours, theirs, shallow=False):
                sys.exit(f"torture: {ours} differs from the undisturbed run's")
        self.finished += 1

    def kill_once(self, process):
        """Kills it at a random moment; False: it had ended by then."""
        try:
            process.wait(self.random.uniform(0, 0.7 * self.seconds))
            return False
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            self.kills += 1
            return True

    def run_to_its_end(self, output, kills):
        """Kills and resumes one run until it gets through, or is let through because there were enough kills."""
        while True:
            process = self.start(output, "--resume")
            if self.kills < kills and self.kill_once(process):
                if os.path.exists(output):
                    self.check_rows(output, whole=False)
                self.check_checkpoints(output)
                continue
            errors = process.communicate()[1]
            if process.returncode != 0:
                sys.exit(f"torture: after kill {self.kills} the run cannot go on: {errors}")
            with h5py.File(output, "r") as run:
                self.resumed += len(run["segments"]) - 1
            return self.check_end(output)


def main():
    program, kills = os.path.abspath(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 200
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else random.SystemRandom().randrange(2**32)
    with tempfile.TemporaryDirectory() as folder:
        torture = Torture(program, folder, seed)
        torture.undisturbed()
        while torture.kills < kills or torture.finished == 0:
            torture.run_to_its_end(os.path.join(folder, f"run-{torture.finished}.h5"), kills)
        print(f"{torture.kills} kills (seed {seed}), {torture.finished} runs got to their end, resumed "
              f"{torture.resumed} times: all rows and parameters equal the undisturbed run's")


if __name__ == "__main__":
    main()
