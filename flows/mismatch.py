"""Where an engine first goes wrong, and what is needed to see it again."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.network import (
    Add,
    Affine,
    Argmax,
    Conv2d,
    Dense,
    DepthToSpace,
    Flatten,
    MaxPool2d,
    MultiThreshold,
    Network,
    Recurrent,
    Signal,
    SumPool2d,
    Threshold,
    refusal,
)
from xnorflow.cosim.compare import Comparison, compare
from xnorflow.cosim.engine import EngineError
from xnorflow.flows.graph import View
from xnorflow.flows.kind import EngineKind
from xnorflow.flows.results import inputs as vectors
from xnorflow.flows.results import network as network_of
from xnorflow.reports.arrays import pack

if TYPE_CHECKING:
    from xnorflow.reports.records import AccumulatorWindow, FirstMismatch, TermRow

_REPLAYED = 64  # at most so many mismatching vectors are run again, layer by layer, and kept


def locate(view: View, kind: EngineKind, comparison: Comparison, replay: Path) -> "tuple[FirstMismatch, str]":
    """Run the mismatching vectors again, layer by layer, and keep what shows the difference.

    Parameters
    ----------
    comparison : Comparison
        Of the outputs, with at least one mismatch.
    replay : Path
        Written: the vectors' numbers and inputs, and every layer's expected and got results, as an ``.npz`` file.

    Returns
    -------
    FirstMismatch
        The first difference.
    str
        The same in a line.
    """
    from xnorflow.cosim.golden import Golden

    assert comparison.first is not None
    wrong = np.array(comparison.wrong[:_REPLAYED])
    network, inputs = network_of(view), vectors(view)[wrong]
    golden = Golden()
    golden.prepare(network, replay.parent)
    expected = golden.run(inputs, every_layer=True)
    try:
        engine = kind.engine(view)
        engine.leaves = replay.parent
        got = engine.run(inputs, every_layer=True)
        found = compare(network, expected, got).first
    except EngineError:
        got, found = {}, None
    if found:
        first, how = replace(found, vector=int(wrong[found.vector])), "every layer compared"
    else:
        first, how = comparison.first, "only the outputs compared: the engine shows no difference when it is run again"
    row = int(np.flatnonzero(wrong == first.vector)[0])
    arrays = {f"expected.{name}": expected[name] for name in got} | {f"got.{name}": got[name] for name in got}
    np.savez_compressed(replay, vectors=wrong, inputs=inputs, **arrays)
    shown: FirstMismatch = {
        "vector": first.vector,
        "layer": first.layer,
        "channel": first.channel,
        "index": list(first.index),
        "expected": first.expected,
        "got": first.got,
        "how": how,
        "replay": replay.name,
        "window": window(
            network,
            {name: values[row] for name, values in expected.items()},
            {name: values[row] for name, values in got.items()},
            first.layer,
            first.index,
        ),
    }
    return shown, str(first)


def window(
    network: Network,
    expected: Mapping[str, NDArray[Any]],
    got: Mapping[str, NDArray[Any]],
    layer: str,
    index: tuple[int, ...],
) -> "AccumulatorWindow | None":
    """Show how the golden model comes to one integer, from the inputs, weights and popcounts of its accumulator on.

    Parameters
    ----------
    expected, got : mapping of layer name to integer array
        One vector's results, without an axis for vectors; `got` as far as the engine shows them.
    layer, index
        Where the integer is.

    Returns
    -------
    AccumulatorWindow or None
        ``layer`` and ``index`` of the accumulator; ``inputs``, padded, and ``weights`` (packed); ``terms``, each of
        which adds ``factor * (plus - minus)``: for bipolar inputs one, plus the number of equal and minus that of
        unequal signs, else one for each bit of the inputs, counted where the weight is +1 and where it is -1; of
        integer weights as many for each bit of their magnitudes;
        ``accumulator``; ``got``, the engine's accumulator, or None; ``then``: what becomes of it, in words. Of the
        terms of a sum it is the first in which the engine differs, or else the first. None where the integer comes from
        the input, without an accumulator.
    """
    then: list[str] = []
    while True:
        operation = network[layer]
        if isinstance(operation, Dense | Conv2d):
            break
        if not operation.inputs:
            return None
        source = operation.inputs[0]
        if isinstance(operation, Add):
            source, _ = _suspect([(name, index) for name in operation.inputs], expected, got)
        operand = expected[source]
        if isinstance(operation, Argmax):
            index = (*index[:-1], int(expected[layer][index]))
            then.append(f"{layer}: class {index[-1]} has the largest score, {operand[index]:,}")
        elif isinstance(operation, Flatten):
            index = tuple(int(i) for i in np.unravel_index(index[0], operand.shape))
        elif isinstance(operation, DepthToSpace):
            (row, column, channel), (height, width) = index, operation.block
            inner = (channel * height + row % height) * width + column % width
            index = (row // height, column // width, inner)
        elif isinstance(operation, MaxPool2d):
            index = _largest(operation, operand, index)
            then.append(f"{layer}: the largest is {operand[index]:,}, at {index[:-1]}")
        elif isinstance(operation, SumPool2d):
            total = expected[layer][index]
            _, index = _suspect([(source, place) for place in _places(operation, index)], expected, got)
            then.append(f"{layer}: {total:,} in all, {operand[index]:,} of it from {index[:-1]}")
        elif isinstance(operation, Add):
            terms = " + ".join(
                f"{expected[name][index]:,}" + (f" x {1 << shift:,}" if shift else "")
                for name, shift in zip(operation.inputs, operation.shifts, strict=True)
            )
            then.append(f"{layer}: {terms} = {expected[layer][index]:,}")
        elif isinstance(operation, Threshold):
            value, limit = operand[index], operation.threshold[index[-1]]
            relation = ">=" if operation.direction[index[-1]] > 0 else "<="
            result = expected[layer][index]
            holds = "holds" if result > 0 else "does not hold"
            then.append(f"{layer}: {value:,} {relation} {limit:,} {holds}, which makes {result:+d}")
        elif isinstance(operation, Recurrent):
            index, shown = _step(operation, operand, expected[layer], index)
            then.append(f"{layer}: {shown}")
        elif isinstance(operation, Affine):
            scale, offset = operation.scale[index[-1]], operation.offset[index[-1]]
            then.append(f"{layer}: {scale:,} x {operand[index]:,} + {offset:,} = {expected[layer][index]:,}")
        elif isinstance(operation, MultiThreshold):
            then.append(f"{layer}: {operand[index]:,} becomes {expected[layer][index]:,}")
        else:
            raise refusal(operation, "the search for the first mismatch")
        layer = source
    inputs, weights = _operands(operation, expected[operation.inputs[0]], index)
    return {
        "layer": layer,
        "index": list(index),
        "inputs": pack(inputs),
        "weights": pack(weights),
        "terms": _terms(inputs, weights, network.signals[operation.inputs[0]]),
        "accumulator": int(expected[layer][index]),
        "got": int(got[layer][index]) if layer in got else None,
        "then": then[::-1],
    }


def _suspect(
    terms: list[tuple[str, tuple[int, ...]]], expected: Mapping[str, NDArray[Any]], got: Mapping[str, NDArray[Any]]
) -> tuple[str, tuple[int, ...]]:
    """Return the first of the integers, each in a layer at an index, in which the engine differs, or the first."""
    wrong = ((name, at) for name, at in terms if name in got and got[name][at] != expected[name][at])
    return next(wrong, terms[0])


def _step(
    operation: Recurrent, operand: NDArray[Any], states: NDArray[Any], index: tuple[int, ...]
) -> tuple[tuple[int, ...], str]:
    """Return where the operand of a step is, and the step in words."""
    channel, (height, width, _) = index[-1], operand.shape
    at = (height - 1, width - 1, channel) if operation.last else index
    step, value, up = at[0] * width + at[1], operand[at], operation.direction[channel] > 0
    limit = (operation.threshold if step else operation.first)[channel]
    terms = f"{value:,}"
    if step:
        terms += " + its state's part" if operation.last else (
            f" + {int(operation.weight[channel].astype(np.int64) @ states.reshape(-1, states.shape[-1])[step - 1]):,}"
        )  # fmt: skip
        terms += f" x {1 << operation.shift:,}" if operation.shift else ""
    return at, f"step {step}: {terms} {'>=' if up else '<='} {limit:,} makes {states[index]:+d}"


def _places(pool: SumPool2d, index: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return where the terms of a pool's result are."""
    y, x = index[0] * pool.stride[0], index[1] * pool.stride[1]
    return [(y + dy, x + dx, index[2]) for dy in range(pool.size[0]) for dx in range(pool.size[1])]


def _largest(pool: MaxPool2d, operand: NDArray[Any], index: tuple[int, ...]) -> tuple[int, ...]:
    """Return where in its window a max-pool finds its result."""
    top, _, left, _ = pool.padding
    y, x = index[0] * pool.stride[0] - top, index[1] * pool.stride[1] - left
    end_y, end_x, y, x = y + pool.size[0], x + pool.size[1], max(y, 0), max(x, 0)
    values = operand[y:end_y, x:end_x, index[2]]
    dy, dx = np.unravel_index(int(values.argmax()), values.shape)
    return y + int(dy), x + int(dx), index[2]


def _operands(
    operation: Dense | Conv2d, operand: NDArray[Any], index: tuple[int, ...]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return what is multiplied, position by position; both of the weights' shape."""
    weights = operation.weight[index[-1]].astype(np.int64)
    if isinstance(operation, Dense):
        return operand, weights
    top, bottom, left, right = operation.padding
    padded = np.pad(operand, ((top, bottom), (left, right), (0, 0)), constant_values=operation.pad_value)
    y, x = index[0] * operation.stride[0], index[1] * operation.stride[1]
    return padded[y : y + weights.shape[0], x : x + weights.shape[1]], weights


def _terms(inputs: NDArray[Any], weights: NDArray[Any], signal: Signal) -> "list[TermRow]":
    """Return the terms of a sum by the bits of its inputs and those of its weights' magnitudes."""
    values = [(1, inputs)]
    if not signal.bipolar:
        bits = signal.bits
        signs = [-1 if signal.signed and k == bits - 1 else 1 for k in range(bits)]
        values = [(sign << k, inputs >> k & 1) for k, sign in enumerate(signs)]
    magnitude, sign = np.abs(weights), np.sign(weights)
    places = range(max(1, int(magnitude.max(initial=0)).bit_length()))
    terms: list[TermRow] = []
    for factor, value in values:
        for place in places:
            products = value * sign * (magnitude >> place & 1)
            plus, minus = (int((products > 0).sum()), int((products < 0).sum()))
            terms.append({"factor": factor << place, "plus": plus, "minus": minus})
    return terms
