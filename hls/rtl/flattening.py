"""An image that is only flattened is a flat input: its values need not come pixel by pixel.

Where nothing but thresholds stands between the input and the first layer of a flat vector, the values come in that
vector's order, and a beat may hold as many as the bus is wide. Thresholds that are the same for every pixel are
compared beat by beat, and what they give is flattened; exact.
"""

from collections.abc import Iterator
from dataclasses import replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.names import fresh
from xnorflow.bnn.network import MAX_NAME, Flatten, IntArray, MultiThreshold, Network, Operation, Threshold


def flat_input(network: Network, beat_bits: int | None) -> Network:
    """Return `network` with a flat input, if there is an equal one; else `network` itself.

    The input becomes a vector. Where thresholds stand on its values, and are the same for groups of them, it becomes an
    image with a group, or several, in a pixel.

    Parameters
    ----------
    network : Network
    beat_bits : int or None
        Bits that the input port takes at a time; None: a whole vector.

    Returns
    -------
    Network
        Its layers bear the same names, but for flattens behind which thresholds were: what those gave is not there.
    """
    chain = list(_chain(network))
    size = prod(network.input.shape)
    thresholds = [operation for operation in chain if isinstance(operation, Threshold | MultiThreshold)]
    if not chain or (len(network.input.shape) > 1 and len(thresholds) == len(chain)):
        return network
    group = _group([_bounds(operation, size) for operation in thresholds], size) if thresholds else size
    together = [n for n in range(group, size + 1, group) if size % n == 0]  # values that may share a pixel
    fitting = [n for n in together if beat_bits is None or n * network.input.bits <= beat_bits]
    values = max(fitting, default=group)
    if network.input.shape == (values,):
        return network
    last = chain[-1]
    flatten = (
        last if isinstance(last, Flatten) else Flatten(fresh(f"{last.name[: MAX_NAME - 20]}_flat", network.signals), ())
    )
    shape = (size,) if values == size else (size // values, values)
    moved: list[Operation] = [replace(network.input, shape=shape)]
    for compared in thresholds:
        threshold: IntArray = np.resize(compared.threshold, (values, *compared.threshold.shape[1:]))
        direction: NDArray[np.int8] = np.resize(compared.direction, values)
        moved.append(replace(compared, inputs=(moved[-1].name,), threshold=threshold, direction=direction))
    moved.append(replace(flatten, inputs=(moved[-1].name,)))
    for operation in network.operations[1 + len(chain) :]:
        inputs = tuple(flatten.name if name == last.name else name for name in operation.inputs)
        moved.append(replace(operation, inputs=inputs))
    return Network(network.name, tuple(moved))


def _chain(network: Network) -> Iterator[Operation]:
    """Yield the thresholds and flattens behind the input: each the only reader of the one before, and with readers."""
    operation: Operation = network.input
    while len(readers := network.consumers(operation.name)) == 1:
        (operation,) = readers
        if not isinstance(operation, Threshold | MultiThreshold | Flatten) or operation is network.output:
            return
        yield operation


def _bounds(operation: Threshold | MultiThreshold, size: int) -> IntArray:
    """Return all that is compared with each of `size` values: shape (size, thresholds and direction)."""
    bounds = np.column_stack([operation.threshold, operation.direction.astype(np.int64)])
    return np.resize(bounds, (size, bounds.shape[1]))


def _group(bounds: list[IntArray], size: int) -> int:
    """Return the fewest values, a divisor of `size`, after which the thresholds repeat."""
    columns: NDArray[np.int64] = np.concatenate(bounds, axis=1)
    groups = (n for n in range(1, size) if size % n == 0)
    return next((n for n in groups if (columns[n:] == columns[:-n]).all()), size)
