"""Folders of BNN-PYNQ."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass
class Layer:
    """Weights 0 and 1 of whole words, and one or two thresholds a neuron, as the accelerator's memories hold them."""

    weight: NDArray[Any]
    threshold: NDArray[Any]
    elements: int
    simd: int


def write(folder: Path, classes: Any, layers: Any) -> None:
    for number, layer in enumerate(layers):
        for element in range(layer.elements):
            words, limits = [], []
            for row in range(element, len(layer.weight), layer.elements):
                limits.extend(np.atleast_1d(layer.threshold[row]))
                for start in range(0, layer.weight.shape[1], layer.simd):
                    word = layer.weight[row, start : start + layer.simd]
                    words.append(sum(int(bit) << place for place, bit in enumerate(word)))
            np.array(words, "<u8").tofile(folder / f"{number}-{element}-weights.bin")
            np.array(limits, "<i8").tofile(folder / f"{number}-{element}-thres.bin")
    (folder / "classes.txt").write_text("\r\n".join(f"class {n}" for n in range(classes)))
