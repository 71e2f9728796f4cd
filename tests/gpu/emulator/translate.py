"""Makes plain C++ of the CUDA sources of a folder, for the emulator.

    translate.py SOURCES TARGET

Four things are not C++. A launch, kernel<T><<<blocks, threads, bytes, stream>>>(x), becomes a call of
emulator::launch, with what a thread does as a function; its arguments are worked out then, as on a card. Variables in
shared memory become references to what emulator::shared gives, and the array whose size the launch tells what
emulator::dynamic_shared gives. A kernel first calls emulator::begin_kernel, which refuses launches that a card refuses.
All other words of CUDA's are defined in include/. fragments.h and approximate.h are left out: include/ has its own,
without instructions of the card.
"""
import pathlib
import re
import sys

LAUNCH = re.compile(r"(\w+)(<[^<>;]*>)?\s*<<<(.*?)>>>(?=\()", re.S)
KERNEL = re.compile(r"(?:template <([^{};]*?)>\s*)?(?:static )?__global__ void\s+"
                    r"(?:__launch_bounds__\(([^()]*)\))?\s*(?:/\*.*?\*/)?\s*(\w+)(?=\()")
SHARED_ARRAY = re.compile(r"extern __shared__ (\w+) (\w+)\[\];")
SHARED_VARIABLE = re.compile(r"__shared__ ([\w<>]+) (\w+)((?:\[\w+\])*);")

# Blocks of memory that are kept for reuse hide what is read before it is written, and sizes that are rounded up what
# is read behind the end. So memory.cu keeps no blocks here, and rounds no size.
NO_REUSE = {
    "const size_t size = rounded_size(bytes);": "const size_t size = bytes;",
    "kept[size_of[block]].push_back(block);": "cudaFreeAsync(block, cuda_stream);",
}


def end_of_call(text, opening):
    """Where the parenthesis that opens there is closed."""
    depth = 0
    for place in range(opening, len(text)):
        depth += {"(": 1, ")": -1}.get(text[place], 0)
        if depth == 0:
            return place
    sys.exit("translate.py: a parenthesis is not closed")


def name_in_itself(name, parameters):
    """Names a kernel in its own body, where it is the one that runs of all that its template makes."""
    words = [re.sub(r".*?(\.\.\.)? (\w+)$", r"\2\1", each.strip()) for each in parameters.split(",")]
    return f"{name}<{', '.join(words)}>" if parameters else name


def with_beginnings(text):
    done = ""
    while match := KERNEL.search(text):
        parameters, bounds, name = match.groups(default="")
        body = text.index("{", end_of_call(text, match.end())) + 1
        told = [f"(const void *){name_in_itself(name, parameters)}", *filter(None, [bounds])]
        head = text[:body].replace("__global__ ", "").replace(f"__launch_bounds__({bounds})", "")
        done += head + f"emulator::begin_kernel({', '.join(told)});"
        text = text[body:]
    return done + text


def with_launches(text):
    while match := LAUNCH.search(text):
        kernel, types, how = match.groups(default="")
        end = end_of_call(text, match.end())
        given = text[match.end() + 1:end]
        call = f"emulator::with_arguments([=](auto... each) {{ {kernel}{types}(each...); }}, {given})"
        launch = f'emulator::launch("{kernel}", {how}, {call})'
        text = text[:match.start()] + launch + text[end + 1:]
    return text


def translated(name, text):
    for before, after in NO_REUSE.items() if name == "memory.cu" else ():
        if before not in text:
            sys.exit(f"translate.py: memory.cu does not say any more: {before}")
        text = text.replace(before, after)
    text = SHARED_ARRAY.sub(r"\1 *const \2 = (\1 *)emulator::dynamic_shared();", text)
    text = SHARED_VARIABLE.sub(r"auto &\2 = emulator::shared<\1\3>([] {});", text)
    text = with_launches(with_beginnings(text))
    for word in "__global__", "__launch_bounds__", "__shared__", "<<<", "asm":
        if re.search(rf"(?<!\w){word}(?!\w)", text):
            sys.exit(f"translate.py: {name}: no translation of this {word}")
    return text


OF_INCLUDE = {"fragments.h", "approximate.h"}


def translate(sources, target):
    target.mkdir(parents=True, exist_ok=True)
    for source in sorted([*sources.glob("*.cu"), *sources.glob("*.h")]):
        if source.name not in OF_INCLUDE:
            (target / source.name).write_text(translated(source.name, source.read_text()))


if __name__ == "__main__":
    translate(*map(pathlib.Path, sys.argv[1:]))
