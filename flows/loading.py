"""Which vectors a flow starts from: images of a data set, or of the user's own data, then random ones."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xnorflow.bnn.errors import UserError
from xnorflow.flows.formats import FORMATS, Subject
from xnorflow.flows.results import IntArray
from xnorflow.flows.vectors import classes, random_inputs

if TYPE_CHECKING:
    from xnorflow.bnn.network import Input, Network
    from xnorflow.models.labelled import Labelled

_MOST_VALUES = 1 << 30  # of all vectors, 4 bytes each


@dataclass(frozen=True, eq=False)
class Loaded:
    """Vectors, and where they are from.

    Attributes
    ----------
    inputs : int32 array, shape (vectors, *input shape)
        Images first.
    labels : int64 array, shape (images,)
    dataset, note : str
        Name of the data set, and what there is to say of it.
    digest : str or None
        SHA-256 of the data set.
    """

    inputs: IntArray
    labels: IntArray
    dataset: str
    note: str
    digest: str | None

    def __str__(self) -> str:
        images, random = len(self.labels), len(self.inputs) - len(self.labels)
        parts = [f"{images:,} test images of {self.dataset}"] if images else []
        parts += [f"{random:,} random vectors"] if random else []
        return " and ".join(parts)


def load(
    subject: Subject, data: "Path | Labelled | None", vectors: int | None, network: "Callable[[], Network]"
) -> Loaded:
    """Choose the vectors of a flow.

    Parameters
    ----------
    subject : Subject
    data : Path, Labelled or None
        The folder of the zoo's data sets, or labelled data of the user's own.
    vectors : int or None
        How many; None for all images.
    network : callable
        Returns what `subject` computes; called only where its input is not known before.

    Raises
    ------
    UserError
        If `data` cannot be used, there are no images of which to take all, or too many values.
    """
    from xnorflow.models import data as datasets
    from xnorflow.models import zoo

    if own := _own_data(subject, data, network):
        taken, images, labels = network().input, own.x, own.y
        name, note, origin = own.name, own.note, own.digest
    elif subject.zoo:
        assert data is None or isinstance(data, Path)
        definition = zoo.get(subject.zoo)
        taken = definition.input
        dataset, name = datasets.evaluation_images(definition, data)
        images, labels = datasets.encode(dataset.test_images[:vectors], definition), dataset.test_labels[:vectors]
        note, origin = dataset.note, dataset.digest
    else:
        kind = FORMATS[subject.kind].title if subject.kind in FORMATS else "a Network file"
        if vectors is None:
            raise UserError(
                f"{subject.origin} is {kind} without test images: give a number of vectors, not 'all', or data of "
                "your own: DATA=my.npz with arrays x and y, or a folder of images by class"
            )
        taken = network().input
        images, labels = np.zeros((0, *taken.shape), np.int64), np.zeros(0, np.int64)
        name, note, origin = "random", f"{kind} brings no data set", None
    count = len(images) if vectors is None else vectors
    _check_memory(count, taken)
    images, labels = images[:count], labels[:count]
    inputs = np.concatenate([images.astype(np.int32), random_inputs(taken, count - len(images))])
    return Loaded(inputs, labels, name, note, origin)


def _check_memory(count: int, taken: "Input") -> None:
    if count * math.prod(taken.shape) > _MOST_VALUES:
        raise UserError(
            f"vectors: {count:,} of shape {taken.shape} are more than {_MOST_VALUES:,} values, which have to fit into "
            "the memory; give a smaller number"
        )


def _own_data(subject: Subject, data: "Path | Labelled | None", network: "Callable[[], Network]") -> "Labelled | None":
    """Return the labelled data that the user has given, where it is no data set of the zoo."""
    from xnorflow.models import labelled, zoo

    if data is None or isinstance(data, labelled.Labelled):
        return data
    if not labelled.is_own(data):
        if not subject.zoo:
            raise UserError(
                f"data: {data} has no labelled data for {subject.origin}: expected an .npz file with arrays "
                f"x and y, or a folder with one sub-folder of images ({', '.join(labelled.IMAGES)}) for each class"
            )
        return None
    threshold = zoo.get(subject.zoo).binarise_at if subject.zoo else None
    return labelled.read(data, network().input, classes(network()), threshold)
