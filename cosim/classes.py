"""Which class a vector's results mean, where they mean one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.network import Argmax, Network

IntArray = NDArray[np.integer[Any]]


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
    network: Network, results: Mapping[str, IntArray], labels: NDArray[np.integer[Any]]
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


MOST_POINTS = 256
"""Of a curve; of more scores than these, as many are kept, evenly."""


@dataclass(frozen=True)
class ScoreCurve:
    """What a classifier of two classes would find, and take wrongly for class 1, at each threshold of its score.

    Attributes
    ----------
    positives : int
        Images of class 1.
    threshold : int
        The smallest score that :func:`classes` takes for class 1.
    average_precision : float
        The mean over the images of class 1 of the precision at their own scores.
    points : list of [int, int, int]
        By falling score: a threshold, how many images of class 1 reach it, and how many of class 0.
    """

    positives: int
    threshold: int
    average_precision: float
    points: list[list[int]]


def precision_recall(
    network: Network, results: Mapping[str, IntArray], labels: NDArray[np.integer[Any]]
) -> ScoreCurve | None:
    """Say what a classifier of two classes would find, and take wrongly for class 1, at each threshold of its score.

    The score is the single one, or by how much that of class 1 is above that of class 0. Such thresholds are integers,
    which the hardware can compare with, so every point is a choice that a user has.

    Parameters
    ----------
    network, results, labels
        As :func:`classes` takes them.

    Returns
    -------
    ScoreCurve or None
        None where there are no two classes, or no images of both.
    """
    found, truth = classes(network, results, labels)
    names = [network.output.name, *(network.output.inputs if isinstance(network.output, Argmax) else ())]
    last = results[names[-1]].reshape(len(results[names[-1]]), -1)[: len(labels)].astype(np.int64)
    outputs = 1 if meaning(network) == "score" else 2
    if found is None or last.shape[1] != outputs or not np.array_equal(np.unique(truth), (0, 1)):
        return None
    score, threshold = (last[:, 0], 0) if outputs == 1 else (last[:, 1] - last[:, 0], 1)
    ascending, of_score = np.unique(score, return_inverse=True)
    hits, alarms = (np.bincount(of_score[truth == k], minlength=len(ascending))[::-1].cumsum() for k in (1, 0))
    precision = hits / (hits + alarms)
    kept = np.linspace(0, len(ascending) - 1, min(len(ascending), MOST_POINTS)).round().astype(int)
    average = float((np.diff(hits, prepend=0) * precision).sum() / hits[-1])
    points = np.stack([ascending[::-1], hits, alarms], axis=1)[kept].tolist()
    return ScoreCurve(int(hits[-1]), threshold, average, points)
