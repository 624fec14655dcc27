"""What an HLS tool ignores, refuses or chokes on, as rules that a generated project is read for.

Read is what this project writes or has hls4ml write for it: the top function, the headers beside it and our own
kernels. hls4ml's kernels (the rest of ``nnet_utils``) are not; how much they are told to unroll is.
"""

import re
from collections.abc import Iterator
from pathlib import Path

PARTITIONED = 1024  # elements of an array that is partitioned completely
UNROLLED = 4096  # iterations of a loop that is unrolled

_LOOP = re.compile(r"\bfor \(int \w+ = [^;]+; \w+ < (.+); \w+\+\+\) \{\s*#pragma HLS UNROLL")
_ARRAY = re.compile(r"^\s*(?:static const )?[\w:<>, ]+? (\w+)((?:\[[^\]]+\])+)(?: = |[;,)]|$)", re.M)
_PARTITION = re.compile(r"#pragma HLS ARRAY_(?:PARTITION|RESHAPE) variable=(\w+) complete")


def violations(project: Path) -> list[str]:
    """Return what breaks a rule: the file, the line and the rule."""
    firmware = project / "firmware"
    kernels = ("nnet_utils/nnet_packed.h", "nnet_utils/plain_integers.h")
    own = [name for name in kernels if (firmware / name).exists()]
    own += [path.name for pattern in ("*.cpp", "*.h") for path in firmware.glob(pattern)]
    found: list[str] = []
    for name in own:
        found += [f"{name}: {what}" for what in _of_source((firmware / name).read_text())]
    found += [f"parameters.h: {what}" for what in _of_numbers((firmware / "parameters.h").read_text())]
    return found


def _of_source(text: str) -> Iterator[str]:
    # A pragma belongs to the block that is open around it: that of a loop, a function or a structure, never of an if.
    blocks: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        code = line.split("//")[0]
        if "#pragma HLS" in code and blocks and re.search(r"\b(if|else)\b", blocks[-1]):
            yield f"line {number}: pragma inside an if, which tools ignore: {code.strip()}"
        for character in code:
            if character == "{":
                blocks.append(code)
            elif character == "}" and blocks:
                blocks.pop()
    for array in _ARRAY.finditer(text):
        name, initial = array[1], text[array.start() : text.find(";", array.start())]
        partitioned = {match[1] for match in _PARTITION.finditer(text)}
        if name in partitioned and initial.lstrip().startswith("static const") and "{" in initial:
            yield f"array {name}: a constant table partitioned completely, a multiplexer for each look-up"
        sizes = re.findall(r"\[(\d+)\]", array[2])
        count = 1
        for size in sizes:
            count *= int(size)
        if name in partitioned and count > PARTITIONED:
            yield f"array {name}: {count} elements partitioned completely"
    for loop in _LOOP.finditer(text):
        if loop[1].strip().isdigit() and int(loop[1]) > UNROLLED:
            yield f"loop of {loop[1]} iterations unrolled"


def _of_numbers(text: str) -> Iterator[str]:
    """Read the sizes of the kernels' arrays and unrolled loops from the layers' configurations."""
    for name, body in re.findall(r"struct (config\w+) : nnet::dense_config \{(.*?)\n\};", text, re.S):
        numbers = {key: int(value) for key, value in re.findall(r"static const unsigned (\w+) = (\d+);", body)}
        of_all = numbers["n_in"] * numbers["n_out"] - numbers.get("n_zeros", 0)
        if (products := -(-of_all // numbers["reuse_factor"])) > UNROLLED:
            yield f"{name}: {products} multiplications unrolled by default"
    for name, body in re.findall(r"struct (config\d+) \{(.*?)\n\};", text, re.S):
        numbers = {key: int(value) for key, value in re.findall(r"static const int (\w+) = (-?\d+);", body)}
        n = numbers.get
        arrays = {
            "window": n("n_taps", 1) * n("n_elem", 1),
            "results": n("neuron_folds", 1) * (1 if n("thresholds", 0) else n("pe", 1)),
            "parts": n("group", 1) * n("input_folds", 1),
            "constants per cycle": n("pe", 1) * n("n_levels", 1) if "op;" in body else 0,
        }
        for what, count in arrays.items():
            if count > PARTITIONED:
                yield f"{name}: {what} of {count} elements partitioned completely"
        for what, count in {"neurons": n("pe", 1), "parts": n("group", 1), "bits": n("part_bits", 1)}.items():
            if count > UNROLLED:
                yield f"{name}: loop over {count} {what} unrolled"
        if "circuit;" in body and n("n_out", 0) * n("n_taps", 1) * n("n_chan", 1) > UNROLLED:
            yield f"{name}: {n('n_out', 0) * n('n_taps', 1) * n('n_chan', 1)} weights unrolled by default"
