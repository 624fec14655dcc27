"""Search backwards: which inputs to flip so that a sum behind several layers comes into a range.

Through layers of binary weights and thresholds, as if each threshold let a little of a change through where its sum is
near: what that says of every input, and chance, decide which are flipped, the fewer the nearer the sum is. What takes
it farther away is taken back.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.network import Dense, Flatten, IntArray, Network, Threshold

_STEPS = 100


@dataclass(frozen=True, eq=False)
class Stage:
    """A dense layer, and the threshold behind it, which the last stage has not.

    Attributes
    ----------
    weight : float32 array, shape (neurons, inputs)
    threshold, direction : float32 array, shape (neurons,)
    """

    weight: NDArray[np.float32]
    threshold: NDArray[np.float32]
    direction: NDArray[np.float32]


def stages(network: Network, name: str) -> list[Stage] | None:
    """Return the layers from a network's bipolar input to a dense layer's sums; None where there are others, too."""
    found: list[Stage] = []
    operation, sign = network[name], None
    while isinstance(operation, Dense):
        neurons = len(operation.weight)
        limit, direction = (sign.threshold, sign.direction) if sign else (np.zeros(neurons), np.ones(neurons))
        weight = operation.weight.astype(np.float32)
        found.insert(0, Stage(weight, limit.astype(np.float32), direction.astype(np.float32)))
        before = network[operation.inputs[0]]
        while isinstance(before, Flatten):
            before = network[before.inputs[0]]
        if before is network.input:
            return found if network.input.kind == "bipolar" else None
        if not isinstance(before, Threshold):
            return None
        sign, operation = before, network[before.inputs[0]]
    return None


def products(path: list[Stage]) -> int:
    """Return the multiplications of a search for one vector, about."""
    return 2 * _STEPS * sum(stage.weight.size for stage in path)


def drive(
    path: list[Stage], channel: IntArray, low: IntArray, high: IntArray, x: NDArray[Any], random: np.random.Generator
) -> NDArray[np.int8]:
    """Change inputs until a channel of the last stage's sums is in its range, or as near as it comes.

    Parameters
    ----------
    path : list of Stage
    channel, low, high : int64 array, shape (rows,)
    x : array of -1 and +1, shape (rows, inputs)
        Where to start.
    random : Generator

    Returns
    -------
    int8 array, shape (rows, inputs)
    """
    row, inputs = np.arange(len(x)), x.shape[1]
    best = x.astype(np.float32)
    sums = _sums(path, best)
    far = _distance(sums[-1][row, channel], low, high)
    for _ in range(_STEPS):
        if not far.any():
            break
        gain = -best * _slope(path, sums, channel, np.sign(far))
        gain += gain.std(axis=1, keepdims=True) * random.standard_normal(gain.shape, np.float32)
        most = np.log2(np.clip(np.abs(far), 2, inputs))
        flips = np.exp2(random.uniform(0, most)).astype(np.int64)
        rank = np.argsort(np.argsort(-gain, axis=1), axis=1)
        tried = np.where((rank < flips[:, None]) & (gain > 0), -best, best)
        new = _sums(path, tried)
        now = _distance(new[-1][row, channel], low, high)
        better = np.abs(now) <= np.abs(far)
        best[better], far[better] = tried[better], now[better]
        for old, other in zip(sums, new, strict=True):
            old[better] = other[better]
    return best.astype(np.int8)


def _sums(path: list[Stage], x: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Return every stage's sums, exact: whole numbers that float32 holds."""
    found: list[NDArray[np.float32]] = []
    for stage in path:
        if found:
            before = path[len(found) - 1]
            passed = before.direction * found[-1] >= before.direction * before.threshold
            x = np.where(passed, np.float32(1), np.float32(-1))
        found.append(x @ stage.weight.T)
    return found


def _distance(value: NDArray[np.float32], low: IntArray, high: IntArray) -> NDArray[np.float32]:
    """Return by how much values have to rise (above 0) or fall to be in their ranges."""
    distance: NDArray[np.float32] = (np.maximum(low - value, 0) - np.maximum(value - high, 0)).astype(np.float32)
    return distance


def _slope(
    path: list[Stage], sums: list[NDArray[np.float32]], channel: IntArray, way: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return how much each input, if it rises, helps the channel's sum on its way, shape (rows, inputs)."""
    slope: NDArray[np.float32] = way[:, None] * path[-1].weight[channel]
    for stage, of in zip(path[-2::-1], sums[-2::-1], strict=True):
        beyond = (of - stage.threshold) / np.sqrt(np.float32(stage.weight.shape[1]))
        slope = (slope * stage.direction / (1 + 16 * beyond * beyond)) @ stage.weight
    return slope
