"""The files by which icot and this side tell each other what they have: NAME.json and NAME.safetensors in a folder."""

import json

from safetensors.torch import load_file, save_file


def read(folder, name):
    return json.loads((folder / f"{name}.json").read_text())


def write(folder, name, value):
    (folder / f"{name}.json").write_text(json.dumps(value) + "\n")


def load(folder, name):
    return load_file(folder / f"{name}.safetensors")


def save(folder, name, tensors):
    save_file(tensors, folder / f"{name}.safetensors")
