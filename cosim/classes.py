"""Which class a vector's results mean, where they mean one."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.network import Argmax, Network

IntArray = NDArray[np.integer]


def meaning(network: Network) -> Literal["class", "score", "values"]:
    """Say what a network's output is.

    Returns
    -------
    {"class", "score", "values"}
        "class": an :class:`~xnorflow.bnn.network.Argmax`, or a vector of several integers, of which one is the largest.
        "score": one number, of a regressor or of a classifier of two classes, whose sign then tells the class.
        "values": bits, or an image; no class follows from them.
    """
    output, signal = network.output, network.signals[network.output.name]
    if isinstance(output, Argmax):
        return "class"
    if signal.size == 1:
        return "score"
    return "class" if len(signal.shape) == 1 and not signal.bipolar else "values"


def classes(
    network: Network, results: Mapping[str, IntArray], labels: NDArray[np.integer]
) -> tuple[IntArray | None, IntArray]:
    """Return the class of each vector, and the labels in the same terms.

    A single score is a class only where the labels say so, by being 0 and 1 (or -1 and +1) and nothing else: then
    class 1 is a score of 0 or more. Without labels nobody knows whether it is a classifier's.

    Parameters
    ----------
    network : Network
    results : mapping of layer name to integer array, shape (vectors, *shape)
        The output among them.
    labels : integer array, shape (labelled vectors,)
        Of the first vectors.

    Returns
    -------
    integer array, shape (vectors,), or None
        Numbers of classes from 0; None where the output means none, or nobody knows.
    integer array, shape (labelled vectors,)
        -1 and +1 as 0 and 1.
    """
    last = results[network.output.name].reshape(len(results[network.output.name]), -1)
    match meaning(network):
        case "class":
            return (last[:, 0] if isinstance(network.output, Argmax) else last.argmax(axis=1)), labels
        case "score" if len(labels) and np.isin(labels, (0, 1)).all():
            return (last[:, 0] >= 0).astype(np.int64), labels
        case "score" if len(labels) and np.isin(labels, (-1, 1)).all():
            return (last[:, 0] >= 0).astype(np.int64), (labels + 1) // 2
    return None, labels
