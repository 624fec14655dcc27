"""Step ``load``: the vectors that a flow starts from."""

from typing import Any

import numpy as np

from xnorflow.flows.cache import Entry
from xnorflow.flows.facts import LOAD, LoadFacts
from xnorflow.flows.formats import READ, converted
from xnorflow.flows.graph import Advance, Step, View
from xnorflow.flows.loading import load
from xnorflow.flows.results import VECTORS_FILE


def step() -> Step[LoadFacts]:
    """Return the step."""
    return Step(
        LOAD,
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


def _load(view: View, entry: Entry[LoadFacts], advance: Advance) -> None:
    options = view.options
    made = load(options.subject, options.data, options.vectors, lambda: converted(view).network)
    np.savez_compressed(entry.folder / VECTORS_FILE, inputs=made.inputs, labels=made.labels)
    entry.facts = {
        "dataset": made.dataset,
        "note": made.note,
        "dataset_digest": made.digest,
        "all": options.vectors is None,
    }
    entry.summary = str(made)
