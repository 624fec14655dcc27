"""Networks that the golden model is measured on, next to torch and onnxruntime computing the same."""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from xnorflow.bnn.network import Conv2d, Dense, Input, Network, Operation, Threshold
from xnorflow.bnn.packing import words


@dataclass(frozen=True)
class Case:
    """A network, the torch module that computes the same, and how many vectors they get."""

    label: str
    network: Network
    module: torch.nn.Module
    vectors: int

    @property
    def word_operations(self) -> int:
        """XNOR-mask-popcount-add operations on uint64 words per vector."""
        total = 0
        for operation in self.network.operations:
            if isinstance(operation, Dense | Conv2d):
                inputs = operation.weight[0].size
                total += self.network.signals[operation.name].size * words(inputs)
        return total


def dense(label: str, sizes: list[int], vectors: int, last_sign: bool) -> Case:
    """Dense layers with thresholds between them, and after the last one if `last_sign`."""
    rng = np.random.default_rng(0)
    operations: list[Operation] = [Input("x", (), shape=(sizes[0],))]
    modules: list[torch.nn.Module] = []
    for i, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        weight = rng.choice(np.array([-1, 1], np.int8), (outputs, inputs))
        operations.append(Dense(f"dense_{i}", (operations[-1].name,), weight=weight))
        linear = torch.nn.Linear(inputs, outputs)
        modules.append(linear)
        sign = last_sign or i < len(sizes) - 2
        if sign:
            modules.append(ElementwiseSign())
        _threshold(rng, operations, linear, weight, sign)
    return Case(label, Network("dense", tuple(operations)), torch.nn.Sequential(*modules), vectors)


def convolution(label: str, vectors: int) -> Case:
    """A 3x3 convolution of 32 to 64 channels on 14x14 with zero padding and thresholds."""
    rng = np.random.default_rng(0)
    weight = rng.choice(np.array([-1, 1], np.int8), (64, 3, 3, 32))
    operations: list[Operation] = [
        Input("x", (), shape=(14, 14, 32)),
        Conv2d("conv", ("x",), weight=weight, padding=(1, 1, 1, 1)),
    ]
    conv = torch.nn.Conv2d(32, 64, 3, padding=1)
    _threshold(rng, operations, conv, weight.transpose(0, 3, 1, 2), sign=True)
    module = torch.nn.Sequential(conv.to(memory_format=torch.channels_last), ElementwiseSign())  # type: ignore[call-overload]
    return Case(label, Network("convolution", tuple(operations)), module, vectors)


class ElementwiseSign(torch.nn.Module):
    """Elementwise sign."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sign(x)


def _threshold(
    rng: np.random.Generator,
    operations: list[Operation],
    layer: torch.nn.Linear | torch.nn.Conv2d,
    weight: NDArray[Any],
    sign: bool,
) -> None:
    """Give torch the weights, and both sides the same thresholds (half an integer for torch: no ties)."""
    thresholds = rng.integers(-9, 9, len(weight)) if sign else np.zeros(len(weight), np.int64)
    if sign:
        up = np.ones(len(weight), np.int8)
        operations.append(Threshold(f"sign_{len(operations)}", (operations[-1].name,), thresholds, up))
    assert layer.bias is not None
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.ascontiguousarray(weight)).float())
        layer.bias.copy_(torch.from_numpy((0.5 - thresholds) * sign).float())
