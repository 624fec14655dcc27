"""What the Network alone tells: operations, bits and memory. JSON-ready."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.network import (
    OPERATIONS,
    Affine,
    Conv2d,
    Dense,
    MultiThreshold,
    Network,
    Recurrent,
    Threshold,
    Weights,
    refusal,
    weight_bits,
)

if TYPE_CHECKING:
    from xnorflow.reports.records import LayerRow, Memory, NetworkInput

BASELINES = Path(__file__).resolve().parent / "baselines"
"""What each model of the zoo computed when its baseline was last written."""

OWN_BASELINES = Path("reports") / "baselines"
"""The same of the user's models, in the working directory; in a checkout, both are one folder."""


def baseline(name: str) -> Path:
    """Return the file with a model's baseline, which need not exist: the user's own, or else the one committed."""
    own = OWN_BASELINES / f"{name}.json"
    return own if own.is_file() else BASELINES / f"{name}.json"


def taken(network: Network) -> "NetworkInput":
    """Describe the input; ``bits`` per value."""
    given = network.input
    return {
        "name": given.name,
        "shape": list(given.shape),
        "kind": given.kind,
        "bits": network.signals[given.name].bits,
    }


def layers(network: Network) -> "list[LayerRow]":
    """Describe every operation.

    Returns
    -------
    list of LayerRow
        ``operands`` are the names of the layers (or of the input) whose results it takes. ``inputs``, those of the
        first, and ``outputs`` are shapes, channels last. ``weight_bits``: one bit per weight, and a mask bit for
        each where any is zero; of integer weights, as many as the largest needs for each. ``xnor_ops``: one-bit
        products per vector; an input of b bits counts as b bit planes, integer weights as one for each bit of their
        magnitude.
        ``accumulator_bits``: of a sum, in two's complement; None where nothing is summed.
    """
    described: list[LayerRow] = []
    for operation in network.operations[1:]:
        if type(operation) not in OPERATIONS.values():
            raise refusal(operation, "the report")
        inputs, output = network.signals[operation.inputs[0]], network.signals[operation.name]
        weights = operation.weight if isinstance(operation, Dense | Conv2d | Recurrent) else None
        bits, uses, sums = inputs.bits, _positions(output.shape), output
        if isinstance(operation, Recurrent):  # whose weights meet its own state, in every step but the first
            bits, uses, sums = 1, _positions(inputs.shape) - 1, operation.sums(inputs)
        described.append(
            {
                "name": operation.name,
                "kind": type(operation).__name__,
                "operands": list(operation.inputs),
                "inputs": list(inputs.shape),
                "outputs": list(output.shape),
                "weight_bits": 0 if weights is None else _weight_bits(weights),
                "xnor_ops": 0 if weights is None else uses * _products(weights) * bits,
                "accumulator_bits": None if weights is None else sums.bits,
            }
        )
    return described


def _weight_bits(weights: Weights) -> int:
    return int(weights.size) * weight_bits(weights)


def _products(weights: Weights) -> int:
    return int(weights.size) * max(1, weight_bits(weights) - 1)


def _positions(shape: tuple[int, ...]) -> int:
    """Return how often a layer's weights are used per vector: once, or once per pixel."""
    return int(np.prod(shape[:-1]))


def shapes(layers: "list[LayerRow]") -> dict[str, str]:
    """Return the kind and the shapes of layers, as :func:`layers` describes them, by name: what baselines hold."""
    return {layer["name"]: f"{layer['kind']} {layer['inputs']} -> {layer['outputs']}" for layer in layers}


def memory(network: Network) -> "Memory":
    """Compare the parameters' memory with that of the same network in 32-bit floating point.

    Returns
    -------
    Memory
        ``binary_bits``: weights, integer thresholds and the output's fixed-point factors, at the width that each needs.
        ``float32_bits``: 32 for every weight, and for each channel's scale and offset (a folded batch norm).
    """
    binary = floats = 0
    for operation in network.operations[1:]:
        if isinstance(operation, Dense | Conv2d):
            binary += _weight_bits(operation.weight)
            floats += 32 * operation.weight.size
        elif isinstance(operation, Threshold | MultiThreshold):
            operand = network.signals[operation.inputs[0]]
            directions = operation.direction.size if (operation.direction < 0).any() else 0
            binary += operation.threshold.size * operand.bits + directions
            floats += 2 * 32 * operation.direction.size
        elif isinstance(operation, Recurrent):
            operand = network.signals[operation.inputs[0]]
            directions = operation.direction.size if (operation.direction < 0).any() else 0
            thresholds = operation.threshold.size * (operation.sums(operand).bits + operand.bits)
            binary += _weight_bits(operation.weight) + thresholds + directions
            floats += 32 * operation.weight.size + 2 * 32 * operation.direction.size
        elif type(operation) not in OPERATIONS.values():
            raise refusal(operation, "the report")
        elif isinstance(operation, Affine):
            binary += operation.scale.size * (_width(operation.scale) + _width(operation.offset))
            floats += 2 * 32 * operation.scale.size
    return {
        "binary_bits": int(binary),
        "float32_bits": int(floats),
        "ratio": floats / binary if binary else 1.0,
        "formula": "binary: weight bits (and masks), thresholds and output factors at the width that each needs; "
        "float32: 32 bits per weight, and per channel's scale and offset",
    }


def _width(values: NDArray[Any]) -> int:
    """Return the two's complement bits that hold all values."""
    low, high = int(values.min()), int(values.max())
    return max(high.bit_length(), (-low - 1).bit_length() if low < 0 else 0) + (low < 0)


def ambiguous(network: Network) -> int | None:
    """Count the cases in which the fixed-point scores could decide otherwise than the framework; None without any."""
    found = [operation.ambiguous for operation in network.operations if isinstance(operation, Affine)]
    return sum(found) if found else None
