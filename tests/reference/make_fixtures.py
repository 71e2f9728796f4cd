"""Writes tests/fixtures/reference/, which tests/lua/reference_spec.lua reads; called from the repository's root after
`make`. To be run again when the order or the offsets that icot draws change on purpose."""

import pathlib
import subprocess
import tempfile

import torch
import transformers

import exchange
import model_case
import removal_case
from data import running_maxima

FIXTURES = pathlib.Path("tests/fixtures/reference")


def write_data():
    for name, count, seed in (("maxima", 597, 1), ("maxima_unseen", 60, 2)):
        (FIXTURES / f"{name}.txt").write_text("\n".join(running_maxima(count, seed)) + "\n")


def write_model_case():
    folder = FIXTURES / "tiny"
    model_case.prepare(folder, "tiny")
    model_case.save_expected(folder, steps={20})
    (folder / "model" / "generation_config.json").unlink()


def write_removal_case():
    """Losses of every arm, and the list of what each step draws, which is the same for all."""
    losses = {}
    with tempfile.TemporaryDirectory() as out:
        subprocess.run(["luajit", "tests/reference/run_removal.lua", out, "all"], check=True)
        for folder in sorted(pathlib.Path(out).iterdir()):
            case = removal_case.Case(folder)
            course, _ = case.train()
            losses[folder.name] = [round(loss, 7) for loss in course.losses]
            exchange.write(FIXTURES, "draws", case.draws)
    exchange.write(FIXTURES, "losses", losses)


if __name__ == "__main__":
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    write_data()
    write_model_case()
    write_removal_case()
