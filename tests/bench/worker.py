"""The processes that are measured. Only one of them computes at a time; the others wait for their next order."""

import json
import os
import subprocess
import time

# Threads of OpenMP that have nothing to do look for work for a while before they sleep: those of icot some tens of
# microseconds (lua/launcher.c), those of PyTorch some milliseconds. After this pause none disturbs the next peer, and
# each can have the waiting that suits it best while it works.
PAUSE = 0.1  # seconds

TICKS = os.sysconf("SC_CLK_TCK")


class WorkerFailed(Exception):
    """A worker could not do what it was ordered to."""


class Worker:
    """A process that answers orders: ours.lua and theirs.py say which."""

    def __init__(self, name, command, environment, log):
        """log: path of a file for what it says beside its answers, such as PyTorch's warnings."""
        self.name, self.log = name, log
        with open(log, "w", encoding="utf-8") as file:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file,
                                            text=True, env=os.environ | environment)

    def ask(self, order, **details):
        """Gives the answer. Raises WorkerFailed when it is an error, or none."""
        try:
            self.process.stdin.write(json.dumps({"order": order} | details) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        line = self.process.stdout.readline()
        if not line:
            said = self.log.read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2]
            raise WorkerFailed(f"{self.name}: ended with exit status {self.process.wait()}: {said or 'without a word'}")
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerFailed(f"{self.name}: {order} {' '.join(map(str, details.values()))}: {answer['error']}")
        return answer

    def cpu_seconds(self):
        """Seconds of all cores that it has used so far."""
        with open(f"/proc/{self.process.pid}/stat", encoding="utf-8") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS  # user and system

    def close(self):
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass  # it has ended, with an order in the pipe
        self.process.stdout.close()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def busy_seconds():
    """Seconds of all cores that anybody has used since the machine was started."""
    with open("/proc/stat", encoding="utf-8") as file:
        user, nice, system, _, _, interrupts, soft_interrupts, stolen = map(int, file.readline().split()[1:9])
    return (user + nice + system + interrupts + soft_interrupts + stolen) / TICKS


class Quiet:
    """How much of the cores was used by others than the worker that was measured."""

    def __init__(self, cores):
        self.cores, self.others, self.total = cores, 0.0, 0.0

    def ask(self, worker, order, **details):
        """Asks a worker for a measurement, after a pause."""
        time.sleep(PAUSE)
        began, busy, own = time.monotonic(), busy_seconds(), worker.cpu_seconds()
        answer = worker.ask(order, **details)
        self.others += max(0.0, busy_seconds() - busy - worker.cpu_seconds() + own)
        self.total += self.cores * (time.monotonic() - began)
        return answer

    def share(self):
        return self.others / self.total if self.total else 0.0
