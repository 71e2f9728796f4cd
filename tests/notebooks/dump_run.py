"""Prints a run file or the index of a study as JSON, read as a notebook would read it."""

import json
import sys

import h5py
import pandas


def table(dataset):
    frame = pandas.DataFrame(dataset[:])
    for name in frame.columns[frame.dtypes == object]:
        frame[name] = frame[name].str.decode("utf-8")
    return {
        "columns": list(frame.columns),
        "dtypes": [str(dtype) for dtype in frame.dtypes],
        "rows": json.loads(frame.to_json(orient="values", double_precision=15)),
    }


def group(file):
    dump = {"attributes": {}, "tables": {}, "texts": {}, "runs": {}}
    for name, value in file.attrs.items():
        dump["attributes"][name] = value if isinstance(value, str) else value.item()
    for name, item in file.items():
        if name == "runs":
            for run in item:
                link = item.get(run, getlink=True)
                found = group(item[run]) if item.get(run) is not None else None
                dump["runs"][run] = {"file": link.filename, "run": found}
        elif name == "recipe":
            for text in item:
                dump["texts"][text] = item[text].asstr()[()]
        elif item.dtype.names:
            dump["tables"][name] = table(item)
        else:
            frame = pandas.DataFrame(item[:])
            dump["tables"][name] = {
                "rows": json.loads(frame.to_json(orient="values", double_precision=15))
            }
    return dump


with h5py.File(sys.argv[1], "r", swmr="--swmr" in sys.argv) as file:
    json.dump(group(file), sys.stdout)
