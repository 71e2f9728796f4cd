"""The results as tables: for a terminal, in Markdown, and all of them in JSON."""

import json
import math
import statistics

from measure import best_of

NOISY = 0.05  # share of the cores used by others
STAGES = {"all": "all CoT", "half": "half", "none": "none"}


def geometric_mean(values):
    return math.exp(statistics.fmean(map(math.log, values)))


def of_icot(table, variant):
    """What a table entry -> value has for a precision of icot's; None: it wasn't measured."""
    return next((value for entry, value in table.items() if (entry.peer, entry.variant) == ("icot", variant)), None)


def best(table, peer):
    """The quickest entry of a peer and its value, in a table entry -> seconds; None, None: there is none."""
    entry = best_of(table).get(peer)
    return entry, entry and table[entry]


def limits(results):
    """Highest rate of any matrix product in this run, icot's or PyTorch's, in GFLOP/s, by precision."""
    found = {}
    for shape in results["shapes"]:
        for entry, rates in shape["products"].items():
            found[entry.variant] = max(found.get(entry.variant, 0), rates["square"], rates.get("best", 0))
    return found


# ---- Rows ----------------------------------------------------------------------------------------------------------

# A table: a title, the names of the columns, rows of cells.


def number(value, digits=0):
    return "-" if value is None else f"{value:,.{digits}f}"


def ratio(a, b):
    return a / b if a and b else None


def times_text(value):
    return "-" if value is None else f"{value:.2f}x"


def training_ratios(row):
    """How many times as quick icot's best precision is as each peer's best variant."""
    ours = best(row["seconds"], "icot")[1]
    return {peer: ratio(best(row["seconds"], peer)[1], ours) for peer in ("plain", "trainer")}


def training_cells(shape, row, limit):
    cells, seconds = [shape["shape"], STAGES[row["stage"]], number(row["tokens"])], row["seconds"]
    for precision in ("float32", "bf16"):
        time = of_icot(seconds, precision)
        rate = time and row["flops"] / time / 1e9
        share = f"{100 * rate / limit[precision]:.0f} %" if time else "-"
        cells += [number(time and row["tokens"] / time), number(rate), share]
    for peer in ("plain", "trainer"):
        entry, time = best(seconds, peer)
        cells += [number(time and row["tokens"] / time), entry.variant if entry else "-"]
    return cells + [times_text(value) for value in training_ratios(row).values()]


def training_table(results):
    names = ["model", "CoT", "tokens"]
    for precision in ("float32", "bf16"):
        names += [f"icot {precision}", "GFLOP/s", "of limit"]
    names += ["plain PyTorch", "as", "paper's trainer", "as", "to plain", "to trainer"]
    limit = limits(results)
    rows = [training_cells(shape, row, limit) for shape in results["shapes"] for row in shape["training"]]
    return "Training step, tokens/s (without padding)", names, rows


def training_means(results):
    """Lines with the geometric means over the stages, and over all."""
    lines, every = [], {"plain": [], "trainer": []}
    for shape in results["shapes"]:
        parts = []
        for peer, values in every.items():
            found = [training_ratios(row)[peer] for row in shape["training"]]
            if found and all(found):
                values += found
                parts.append(f"{geometric_mean(found):.2f}x to {peer}")
        if parts:
            lines.append(f"geometric mean over the stages, {shape['shape']}: {', '.join(parts)}")
    if all(every.values()):
        parts = [f"{geometric_mean(values):.2f}x to {peer}" for peer, values in every.items()]
        lines.append(f"geometric mean over all: {', '.join(parts)}")
    return lines


def fastest(rates):
    return max((rate for rate in rates if rate), default=None)


def decoding_table(results):
    rows = []
    for shape in results["shapes"]:
        for row in shape["decoding"]:
            by_name = {(entry.peer, entry.variant): rate for entry, rate in row["rates"].items()}
            cells = [by_name.get((peer, variant)) for peer in ("icot", "trainer") for variant in ("float32", "bf16")]
            same = [f"{row['same'][variant]} of {row['compared']}" if variant in row["same"] else "-"
                    for variant in ("float32", "bf16")]
            ratios = [ratio(cells[0], cells[2]), ratio(fastest(cells[:2]), fastest(cells[2:]))]
            rows.append([shape["shape"], str(row["batch"]), *(number(cell, 1) for cell in cells),
                         *(times_text(each) for each in ratios), *same])
    names = ["model", "batch", "icot float32", "icot bf16", "generate float32", "generate bf16", "ratio in float32",
             "each's best", "same texts", "same in bf16"]
    return "Decoding, examples/s (11 tokens each)", names, rows


def memory_table(results):
    rows = []
    for shape in results["shapes"]:
        for entry, peak in shape.get("memory", {}).items():
            core = number(peak["core"] / 1e6) if "core" in peak else "-"
            rows.append([shape["shape"], entry.peer, entry.variant, number(peak["resident"] / 1e6), core])
    return "Peak memory of a training step with all CoT, MB", ["model", "peer", "as", "resident", "icot's core"], rows


def products_table(results):
    rows = []
    for shape in results["shapes"]:
        for entry, rates in shape["products"].items():
            rows.append([shape["shape"], entry.peer, entry.variant, number(rates["square"]), number(rates.get("best")),
                         number(rates.get("step"))])
    names = ["model", "peer", "as", "large square", "best of a step's", "all of a step's"]
    return "Matrix products, GFLOP/s", names, rows


def without_empty_columns(title, names, rows):
    kept = [i for i in range(len(names)) if any(row[i] != "-" for row in rows)]
    return title, [names[i] for i in kept], [[row[i] for i in kept] for row in rows]


def tables(results):
    every = [training_table(results), decoding_table(results), memory_table(results), products_table(results)]
    return [without_empty_columns(title, names, rows) for title, names, rows in every if rows]


# ---- What stands around them -----------------------------------------------------------------------------------------


def heading(results):
    given = results["versions"]
    named = {"icot": given["icot"], "kernels": given["cpu_kernels"], "OpenBLAS": given["openblas"].split()[1],
             "oneDNN": given["onednn"], "LuaJIT": given["luajit"].split()[-1]}
    named |= {name: given[name] for name in ("PyTorch", "transformers") if name in given}
    versions = ", ".join(f"{name} {value}" for name, value in named.items())
    return [f"icot bench, {results['date']}: {results['cpu']}, {results['threads']} threads, medians of "
            f"{results['rounds']} rounds, {results['minutes']:.0f} minutes", versions]


def notes(results):
    limit = ", ".join(f"{name} {number(value)} GFLOP/s" for name, value in limits(results).items())
    others = f"{100 * results['others']:.1f} % of the cores were used by other programs while something was measured"
    if results["others"] > NOISY:
        others += ": too much, these numbers are not to be trusted"
    lines = [f"limit: the highest rate of a matrix product in this run, a large square one or one of a step's: {limit}",
             others]
    lines += [f"not measured: {name} {variant}: {why}" for (name, variant), why in results["missing"].items()]
    return lines


def with_widths(names, rows):
    """Lines of fixed width: the columns that begin with a digit to the right."""
    widths = [max(map(len, column)) for column in zip(names, *rows)]
    is_number = [rows[0][i][:1].isdigit() or rows[0][i] == "-" for i in range(len(names))]
    return ["  ".join(f"{cell:>{width}}" if right else f"{cell:<{width}}"
                      for cell, width, right in zip(row, widths, is_number)).rstrip() for row in [names, *rows]]


def text(results):
    """For a terminal."""
    parts = ["\n".join(heading(results))]
    for title, names, rows in tables(results):
        parts.append("\n".join([title, *with_widths(names, rows)]))
    return "\n\n".join([*parts, "\n".join(training_means(results) + notes(results))])


def markdown(results):
    """For the README."""
    parts = ["  \n".join(heading(results))]
    for title, names, rows in tables(results):
        lines = [names, ["---"] * len(names), *rows]
        parts.append("\n".join([f"{title}:", "", *("| " + " | ".join(line) + " |" for line in lines)]))
    return "\n\n".join([*parts, "\n".join(f"- {line}" for line in training_means(results) + notes(results))])


def plain_value(value):
    """The same with entries and pairs as names: 'icot float32'."""
    if isinstance(value, dict):
        return {plain_key(key): plain_value(each) for key, each in value.items()}
    return [plain_value(each) for each in value] if isinstance(value, list) else value


def plain_key(key):
    if isinstance(key, str):
        return key
    return " ".join(key) if isinstance(key, tuple) else f"{key.peer} {key.variant}"


def as_json(results):
    return json.dumps(plain_value(results | {"limits": limits(results)}), indent=2)
