"""Step ``load``: the vectors that every engine runs."""

import hashlib
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from xnorflow.bnn.errors import UserError
from xnorflow.flows.cache import Entry
from xnorflow.flows.formats import FORMATS, READ, converted
from xnorflow.flows.graph import Advance, Step, View
from xnorflow.flows.results import VECTORS, IntArray
from xnorflow.flows.vectors import classes, random_inputs

if TYPE_CHECKING:
    from xnorflow.models.labelled import Labelled

_MOST_VALUES = 1 << 30  # of all vectors, 4 bytes each


def step() -> Step:
    """Return the step."""
    return Step(
        "load",
        "load",
        _load,
        options=(*READ, "vectors", "data"),
        packages=("numpy", "scikit-learn", "scipy"),
        outside=_data_state,
    )


def _data_state(view: View) -> list[Any] | None:
    """Return what tells one state of the data set's files from another without reading them; None without any."""
    from xnorflow.models import data, labelled, zoo

    given, subject = view.options.data, view.options.subject
    if isinstance(given, labelled.Labelled):
        return [given.digest]
    if given is not None and labelled.is_own(given):
        return [str(given), *labelled.state(given)]
    if given is not None:  # wrong, even where the model needs no data
        data.check_folder(given, "data")
    if not subject.zoo:
        return None
    files = data.evaluation_files(zoo.get(subject.zoo), given)
    return [str(given), *([str(path), (state := path.stat()).st_size, state.st_mtime_ns] for path in files)]


def _load(view: View, entry: Entry, advance: Advance) -> None:
    from xnorflow.models import data, zoo

    subject, vectors = view.options.subject, view.options.vectors
    own = _own_data(view)
    if own:
        taken, images, labels = converted(view).network.input, own.x, own.y
        name, note, origin = own.name, own.note, own.digest
    elif subject.zoo:
        definition = zoo.get(subject.zoo)
        taken = definition.input
        dataset, name = data.evaluation_images(definition, view.options.data)
        images, labels = data.encode(dataset.test_images, definition), dataset.test_labels
        note, origin = dataset.note, dataset.digest
    else:
        kind = FORMATS[subject.kind].title if subject.kind in FORMATS else "a Network file"
        if vectors is None:
            raise UserError(
                f"{subject.origin} is {kind} without test images: give a number of vectors, not 'all', or data of "
                "your own: DATA=my.npz with arrays x and y, or a folder of images by class"
            )
        taken = converted(view).network.input
        images, labels = np.zeros((0, *taken.shape), np.int64), np.zeros(0, np.int64)
        name, note, origin = "random", f"{kind} brings no data set", None
    count = len(images) if vectors is None else vectors
    if count * math.prod(taken.shape) > _MOST_VALUES:
        raise UserError(
            f"vectors: {count:,} of shape {taken.shape} are more than {_MOST_VALUES:,} values, which have to fit into "
            "the memory; give a smaller number"
        )
    images, labels = images[:count], labels[:count]
    inputs = np.concatenate([images.astype(np.int32), random_inputs(taken, count - len(images))])
    np.savez_compressed(entry.folder / VECTORS, inputs=inputs, labels=labels)
    entry.facts = {
        "dataset": name,
        "note": note,
        "dataset_digest": origin,
        "count": count,
        "images": len(images),
        "random": count - len(images),
        "digest": _array_digest(inputs),
    }
    parts = [f"{len(images):,} test images of {name}"] if len(images) else []
    parts += [f"{count - len(images):,} random vectors"] if count > len(images) else []
    entry.summary = " and ".join(parts)


def _own_data(view: View) -> "Labelled | None":
    """Return the labelled data that the user has given, where it is no data set of the zoo."""
    from xnorflow.models import labelled, zoo

    given, subject = view.options.data, view.options.subject
    if given is None or isinstance(given, labelled.Labelled):
        return given
    if not labelled.is_own(given):
        if not subject.zoo:
            raise UserError(
                f"data: {given} has no labelled data for {subject.origin}: expected an .npz file with arrays "
                f"x and y, or a folder with one sub-folder of images ({', '.join(labelled.IMAGES)}) for each class"
            )
        return None
    network, definition = converted(view).network, subject.zoo and zoo.get(subject.zoo)
    return labelled.read(given, network.input, classes(network), definition.binarise_at if definition else None)


def _array_digest(array: IntArray) -> str:
    sha = hashlib.sha256()
    sha.update(f"{array.shape}".encode())
    sha.update(np.ascontiguousarray(array, "<i8").data)
    return sha.hexdigest()
