"""BNN-PYNQ, FINN's first generation: the folder of weights and thresholds that an accelerator loads becomes a Network.

Each processing element of layer L has two files of 64-bit words, ``L-PE-weights.bin`` and ``L-PE-thres.bin``. Element
p of P computes neurons p, p + P, ...; each word holds the weights of some inputs, the first in the lowest bit, 1 for
+1. Where all layers have one threshold for each neuron, a neuron counts the inputs that equal their weights and gives
1 where the count is above its threshold. Where a layer has two, its neurons give -1, 0 or 1, one more for each that
the sum of the values times -1 and +1 is above, and all sums of the network are such. Inputs are filled up to whole
words by 0, the last layer's neurons to 64. The class is the highest of the last bits that are 1, else the first;
``classes.txt`` tells how many there are. Only fully connected networks with weights of one bit are taken: files of
others do not tell what they are.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.files import read_bytes
from xnorflow.bnn.network import Argmax, Dense, Flatten, Input, IntArray, MultiThreshold, Network, Operation, Threshold

_WORD = 64  # bits
_LARGEST = 1 << 26  # bytes of a file
_MOST = 127  # classes: the weight of the last one
_BOUND = 1 << 32  # of thresholds, beyond every sum


@dataclass(frozen=True, eq=False)
class _PynqLayer:
    """Bits of the weights, shape (neurons, inputs filled up to words), and thresholds, shape (neurons, levels)."""

    bits: NDArray[np.uint64]
    above: IntArray

    def weight(self, inputs: int) -> NDArray[np.int8]:
        """Return the weights -1 and +1 of the inputs."""
        return 2 * self.bits[:, :inputs].astype(np.int8) - 1

    def least(self, inputs: int, counts: bool) -> IntArray:
        """Return the least sums of the inputs for which a neuron gives more; what fills them up takes no part."""
        above: IntArray = np.clip(self.above, -_BOUND, _BOUND)
        filled: IntArray = self.bits[:, inputs:].astype(np.int64)
        if counts:
            least: IntArray = 2 * (above + 1 - (filled == 0).sum(axis=1)[:, None]) - inputs
        else:
            least = above + 1 + (2 * filled - 1).sum(axis=1)[:, None]
        return least


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
    signal = taken.infer()
    if len(taken.shape) > 1:
        operations.append(Flatten("flatten", (taken.name,)))
        signal = operations[-1].infer(signal)
    width = -(-inputs // _WORD) * _WORD
    layers = 0
    while (folder / f"{layers}-0-weights.bin").exists():
        layers += 1
    read = []
    for number in range(layers):
        read.append(_layer(folder, number, width))
        width = len(read[-1].bits)
    read[-1] = _of_classes(folder, read[-1])
    counts = all(layer.above.shape[1] == 1 for layer in read)
    for number, layer in enumerate(read, 1):
        operations.append(Dense(f"dense{number}", (operations[-1].name,), weight=layer.weight(inputs)))
        signal = operations[-1].infer(signal)
        least = np.sort(layer.least(inputs, counts), axis=1)
        threshold = np.clip(least, signal.low[:, None], signal.high[:, None] + 1)
        up, name, source = np.ones(len(layer.bits), np.int8), f"threshold{number}", (operations[-1].name,)
        if threshold.shape[1] == 1:
            operations.append(Threshold(name, source, threshold=threshold[:, 0], direction=up))
        else:
            operations.append(MultiThreshold(name, source, threshold=threshold, direction=up, low=-1, step=1))
        signal = operations[-1].infer(signal)
        inputs = len(layer.bits)
    # The highest bit that is 1: each outweighs those below it, and the first is the least of all that are 0.
    rank = np.diag(np.arange(1, inputs + 1, dtype=np.int8))
    operations.append(Dense("rank", (operations[-1].name,), weight=rank))
    operations.append(Argmax("argmax", ("rank",)))
    return Network(name, tuple(operations))


def _layer(folder: Path, number: int, width: int) -> _PynqLayer:
    """Read a layer for `width` values."""
    elements = 0
    while (folder / f"{number}-{elements}-weights.bin").exists():
        elements += 1
    weights = [_words(folder / f"{number}-{element}-weights.bin") for element in range(elements)]
    thresholds = [_words(folder / f"{number}-{element}-thres.bin").view("<i8") for element in range(elements)]
    rows, lines = len(thresholds[0]), len(weights[0])
    where = f"{folder}: layer {number}"
    if any(len(of) != rows for of in thresholds) or any(len(of) != lines for of in weights):
        raise UserError(f"{where}: expected files of one length for all processing elements")
    used = int(max(of.max() for of in weights)).bit_length()
    found = [
        (levels, width * rows // levels // lines)
        for levels in (2, 1)  # files do not tell: words of bits half of which are never used are none of one threshold
        if not rows % levels and not lines % (rows // levels) and not width * rows // levels % lines
    ]
    fits = [(levels, simd) for levels, simd in found if max(used, 1) <= simd <= _WORD]
    if not fits:
        simd = max((simd for _, simd in found if simd <= _WORD), default=0)
        if simd:
            raise UserError(f"{where}: expected weights of {simd} bits a word, got more; only binary weights are read")
        raise UserError(
            f"{where}: expected {rows} thresholds to go with whole words of weights for {width} inputs, got {lines} "
            "words; only fully connected networks with weights of one bit (lfcW1A1, lfcW1A2) are read; of others give "
            "the QONNX file"
        )
    levels, simd = fits[0]
    groups, neurons = width // simd, rows // levels
    words = np.stack(weights, axis=1).reshape(neurons, groups, elements).transpose(0, 2, 1).reshape(-1, groups)
    bits = (words[..., None] >> np.arange(simd, dtype=np.uint64)) & np.uint64(1)
    bits = bits.reshape(len(words), width)
    above = np.stack([of.reshape(neurons, levels) for of in thresholds], axis=1).reshape(-1, levels)
    return _PynqLayer(bits, above)


def _words(path: Path) -> NDArray[np.uint64]:
    content = read_bytes(path, _LARGEST)
    if not content or len(content) % 8:
        raise UserError(f"{path}: expected words of 64 bits, got {len(content)} bytes")
    return np.frombuffer(content, "<u8")


def _of_classes(folder: Path, layer: _PynqLayer) -> _PynqLayer:
    path = folder / "classes.txt"
    if not path.exists():
        raise UserError(f"{folder}: expected classes.txt, one class a line: the last layer is filled up to 64 neurons")
    count = sum(bool(line.strip()) for line in read_bytes(path, _LARGEST).splitlines())
    if not 2 <= count <= min(_MOST, len(layer.bits)):
        raise UserError(f"{path}: expected 2 to {min(_MOST, len(layer.bits))} classes, one a line, got {count}")
    return _PynqLayer(layer.bits[:count], layer.above[:count])
