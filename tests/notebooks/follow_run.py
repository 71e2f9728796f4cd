"""Follows a run that is being written: prints "rows last_loss" whenever there are as many rows as asked for.

follow_run.py FILE ROWS...    exits with 1 if the rows do not come within half a minute
"""

import sys
import time

import h5py

with h5py.File(sys.argv[1], "r", swmr=True) as file:
    train = file["train"]
    for wanted in map(int, sys.argv[2:]):
        deadline = time.monotonic() + 30
        while len(train) < wanted:
            if time.monotonic() > deadline:
                sys.exit(1)
            time.sleep(0.01)
            train.refresh()
        print(len(train), train["loss"][-1], file.attrs["end_state"], flush=True)
