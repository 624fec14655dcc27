"""BNN-PYNQ, FINN's first generation: the folder of weights and thresholds that an accelerator loads becomes a Network.

Each processing element of layer L has two files of 64-bit words, ``L-PE-weights.bin`` and ``L-PE-thres.bin``. Element p
of P computes neurons p, p + P, ...; each word holds the weights of some inputs, the first in the lowest bit, 1 for +1.
A neuron counts the inputs that equal their weights and gives 1 where the count is above its threshold. Inputs are
filled up to whole words by 0, the last layer's neurons to 64. The class is the highest of the last bits that are 1,
else the first; ``classes.txt`` tells how many there are. Only fully connected networks of one bit are taken: files of
others do not tell what they are.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.files import read_bytes
from xnorflow.bnn.network import Argmax, Dense, Flatten, Input, IntArray, Network, Operation, Threshold

_WORD = 64  # bits
_LARGEST = 1 << 26  # bytes of a file
_MOST = 127  # classes: the weight of the last one


@dataclass(frozen=True, eq=False)
class _Layer:
    """Weights -1 and +1, shape (neurons, inputs), and from which sum on a neuron gives +1."""

    weight: NDArray[np.int8]
    threshold: IntArray


def is_folder(path: Path) -> bool:
    """Say whether a path is such a folder."""
    return (path / "0-0-weights.bin").is_file()


def digest(folder: Path) -> str:
    """SHA-256 of all files that are read, by their names."""
    sha = hashlib.sha256()
    for path in sorted([*folder.glob("*-*-weights.bin"), *folder.glob("*-*-thres.bin"), *folder.glob("classes.txt")]):
        sha.update(f"{path.name} {hashlib.sha256(read_bytes(path, _LARGEST)).hexdigest()}\n".encode())
    return sha.hexdigest()


def load(folder: Path, name: str, taken: Input) -> Network:
    """Read a folder.

    Parameters
    ----------
    folder : Path
    name : str
        Of the Network.
    taken : Input
        Bipolar; the files tell the number of inputs to whole words alone.

    Raises
    ------
    UserError
        If files are missing, of a network that is not taken, or of another number of inputs.
    """
    if taken.kind != "bipolar":
        raise UserError(f"{folder}: expected a bipolar input (its accelerator takes one bit), got {taken.kind}")
    inputs = int(np.prod(taken.shape))
    operations: list[Operation] = [taken]
    if len(taken.shape) > 1:
        operations.append(Flatten("flatten", (taken.name,)))
    width = -(-inputs // _WORD) * _WORD
    layers = 0
    while (folder / f"{layers}-0-weights.bin").exists():
        layers += 1
    for number in range(layers):
        layer = _layer(folder, number, inputs, width)
        if number == layers - 1:
            layer = _of_classes(folder, layer)
        dense, sign = f"dense{number + 1}", f"threshold{number + 1}"
        operations.append(Dense(dense, (operations[-1].name,), weight=layer.weight))
        up = np.ones(len(layer.weight), np.int8)
        operations.append(Threshold(sign, (dense,), threshold=layer.threshold, direction=up))
        inputs = width = len(layer.weight)
    # The highest bit that is 1: each outweighs those below it, and the first is the least of all that are 0.
    rank = np.diag(np.arange(1, inputs + 1, dtype=np.int8))
    operations.append(Dense("rank", (operations[-1].name,), weight=rank))
    operations.append(Argmax("argmax", ("rank",)))
    return Network(name, tuple(operations))


def _layer(folder: Path, number: int, inputs: int, width: int) -> _Layer:
    """Read a layer for `inputs` values, which its words fill up to `width`."""
    elements = 0
    while (folder / f"{number}-{elements}-weights.bin").exists():
        elements += 1
    weights = [_words(folder / f"{number}-{element}-weights.bin") for element in range(elements)]
    thresholds = [_words(folder / f"{number}-{element}-thres.bin").view("<i8") for element in range(elements)]
    rows, lines = len(thresholds[0]), len(weights[0])
    where = f"{folder}: layer {number}"
    if any(len(of) != rows for of in thresholds) or any(len(of) != lines for of in weights):
        raise UserError(f"{where}: expected files of one length for all processing elements")
    groups, rest = divmod(lines, rows)
    simd, over = divmod(width, max(groups, 1))
    if rest or over or not 0 < simd <= _WORD or not groups:
        raise UserError(
            f"{where}: expected {rows} thresholds to go with whole words of weights for {width} inputs, got {lines} "
            "words; only fully connected networks of one bit (lfcW1A1) are read"
        )
    words = np.stack(weights, axis=1).reshape(rows, groups, elements).transpose(0, 2, 1).reshape(-1, groups)
    if simd < _WORD and (words >> np.uint64(simd)).any():
        raise UserError(f"{where}: expected weights of {simd} bits a word, got more; only binary weights are read")
    bits = (words[..., None] >> np.arange(simd, dtype=np.uint64)) & np.uint64(1)
    bits = bits.reshape(len(words), width)
    above = np.clip(np.stack(thresholds, axis=1).ravel(), -1, width)
    least = above + 1 - (bits[:, inputs:] == 0).sum(axis=1)  # equal bits among the inputs that it takes
    return _Layer((2 * bits[:, :inputs].astype(np.int8) - 1), np.clip(2 * least - inputs, -inputs, inputs + 1))


def _words(path: Path) -> NDArray[np.uint64]:
    content = read_bytes(path, _LARGEST)
    if not content or len(content) % 8:
        raise UserError(f"{path}: expected words of 64 bits, got {len(content)} bytes")
    return np.frombuffer(content, "<u8")


def _of_classes(folder: Path, layer: _Layer) -> _Layer:
    path = folder / "classes.txt"
    if not path.exists():
        raise UserError(f"{folder}: expected classes.txt, one class a line: the last layer is filled up to 64 neurons")
    count = sum(bool(line.strip()) for line in read_bytes(path, _LARGEST).splitlines())
    if not 2 <= count <= min(_MOST, len(layer.weight)):
        raise UserError(f"{path}: expected 2 to {min(_MOST, len(layer.weight))} classes, one a line, got {count}")
    return _Layer(layer.weight[:count], layer.threshold[:count])
