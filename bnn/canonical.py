"""The canonical form: every threshold points up (``acc >= threshold``), so that no back end needs the other case.

A channel that points down is turned in one of two ways, both exact:

- Its accumulator comes straight from a dense layer or convolution that nobody else reads: negate that row of weights
  and the threshold, for ``acc <= t`` is ``-acc >= -t``. The result is unchanged.
- Otherwise (pooling in between, say): invert the result, for ``acc <= t`` is ``not acc >= t + 1``, and negate the
  channel's weights in every consumer. Possible where only dense layers and convolutions with zero padding read it,
  directly or flattened.

A channel for which neither is possible keeps its direction.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.network import OPERATIONS, Conv2d, Dense, Flatten, Network, Operation, Threshold, refusal

Signs = NDArray[np.int8]


def canonicalise(network: Network) -> Network:
    """Return the network in canonical form; its outputs are equal for every input."""
    return canonicalise_with_signs(network)[0]


def canonicalise_with_signs(network: Network) -> tuple[Network, Mapping[str, Signs]]:
    """Canonicalise and say what was negated on the way.

    Returns
    -------
    Network
    dict of str to int8 array, shape (channels,)
        For each operation whose result changed, the sign by which its channels were multiplied.
    """
    for operation in network.operations:
        if type(operation) not in OPERATIONS.values():
            raise refusal(operation, "the canonical form")  # whether a sign can pass it, nobody knows
    operations = {operation.name: operation for operation in network.operations}
    signs: dict[str, Signs] = {}
    for threshold in network.operations:
        if not isinstance(threshold, Threshold) or (threshold.direction > 0).all():
            continue
        turn = threshold.direction
        (source,) = threshold.inputs
        producer = operations[source]
        if (
            isinstance(producer, Dense | Conv2d)
            and len(network.consumers(source)) == 1
            and producer is not network.output
        ):
            operations[source] = replace(
                producer, weight=producer.weight * turn.reshape(-1, *[1] * (producer.weight.ndim - 1))
            )
            operations[threshold.name] = replace(
                threshold, threshold=threshold.threshold * turn, direction=np.ones_like(turn)
            )
            signs[source] = turn
        elif (readers := _linear_readers(network, threshold)) is not None:
            operations[threshold.name] = replace(
                threshold, threshold=threshold.threshold + (turn < 0), direction=np.ones_like(turn)
            )
            signs[threshold.name] = turn
            for name, flattened in readers:
                consumer = operations[name]
                assert isinstance(consumer, Dense | Conv2d)
                copies = consumer.weight.shape[-1] // turn.size
                operations[name] = replace(consumer, weight=consumer.weight * np.tile(turn, copies))
                if flattened is not None:
                    signs[flattened] = np.tile(turn, copies)
    return Network(network.name, tuple(operations.values())), signs


def _linear_readers(network: Network, operation: Operation) -> list[tuple[str, str | None]] | None:
    """Name the layers whose weights can absorb a sign of `operation`'s channels, each with the flatten in between.

    None where something else reads it, or nothing does.
    """
    if operation is network.output:
        return None
    readers: list[tuple[str, str | None]] = []
    for consumer in network.consumers(operation.name):
        if isinstance(consumer, Dense) or (
            isinstance(consumer, Conv2d) and not (consumer.pad_value and any(consumer.padding))
        ):
            readers.append((consumer.name, None))
        elif isinstance(consumer, Flatten) and consumer is not network.output:
            behind = _linear_readers(network, consumer)
            if behind is None:
                return None
            readers.extend((name, consumer.name) for name, _ in behind)
        else:
            return None
    return readers
