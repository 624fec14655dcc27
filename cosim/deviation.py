"""How far a network of rounded weights is from the model that it was made of: on vectors, beside what is proved.

Nothing here says anything about engines, which equal the golden model or are wrong.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.network import Conv2d, Dense, Network, Threshold
from xnorflow.cosim.engine import Results
from xnorflow.cosim.packed import windows

FloatArray = NDArray[np.float64]


def turned(
    errors: Mapping[str, FloatArray], network: Network, signs: Mapping[str, NDArray[np.int8]]
) -> dict[str, FloatArray]:
    """Return the errors of weights for the canonical form of a network, some of whose operands are negated.

    Parameters
    ----------
    errors : mapping of layer name to float64 array
        Real less rounded weights, as :class:`xnorflow.bnn.frontends.core.fixed.Rounded` has them.
    network : Network
    signs : mapping of layer name to int8 array, shape (channels,)
        As :func:`xnorflow.bnn.canonical.canonicalise_with_signs` gives them.
    """
    return {name: error * signs.get(network[name].inputs[0], 1) for name, error in errors.items()}


def largest(network: Network, errors: Mapping[str, FloatArray], results: Results) -> float:
    """Return by how much the rounding of weights changes a sum at most, on vectors.

    Parameters
    ----------
    network : Network
    errors : mapping of layer name to float64 array
        Of all layers that the sum is made of.
    results : mapping of layer name to integer array
        The golden model's, of these layers' operands.
    """
    total = np.zeros(1)
    for name, error in errors.items():
        operation = network[name]
        assert isinstance(operation, Dense | Conv2d)
        values = results[operation.inputs[0]]
        terms = windows(operation, values) if isinstance(operation, Conv2d) else values
        total = total + terms.astype(np.float64) @ error.reshape(len(error), -1).T
    return float(np.abs(total).max(initial=0))


def signs_that_differ(network: Network, expected: Results, got: Results) -> dict[str, tuple[int, int]]:
    """Count, by threshold that both show, the signs that differ, and all."""
    return {
        name: (int((expected[name] != got[name]).sum()), int(got[name].size))
        for name in got
        if isinstance(network[name], Threshold)
    }
