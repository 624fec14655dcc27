"""Steps ``vectors`` and ``coverage``: what shows most comes first, and each engine's share is of what it compared."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.flows import fakes
from tests.flows.place import Place

from xnorflow.bnn.canonical import canonicalise
from xnorflow.cosim.coverage.measure import measure
from xnorflow.flows.options import Options
from xnorflow.flows.vectors import random_inputs


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def vectors(place: Place) -> Mapping[str, Any]:
    (file,) = (place.folder / "build" / "small" / "vectors").glob("*/vectors.npz")
    return dict(np.load(file))


def test_coverage_is_that_of_the_vectors_as_they_are_run(place: Place) -> None:
    found = place.flow(vectors=60)["coverage"]["found"]
    network, kept = canonicalise(fakes.network()), vectors(place)
    inside = measure(network, kept["inputs"][:8], tuple(network.signals)).coverage()
    expected = (measure(network, kept["inputs"]).coverage() | inside).total
    for engine in found["engines"]:
        assert (engine["shown"], engine["faults"]) == (expected.shown, expected.faults), engine["name"]
    assert found["share"] == expected.share
    loaded = measure(network, random_inputs(network.input, 60)).coverage().total
    assert loaded.share < found["share"]


def test_an_engine_that_is_wrong_proves_nothing(place: Place) -> None:
    report = place.flow(faults={"first": "wrong"})
    assert {engine["name"] for engine in report["coverage"]["found"]["engines"]} == {"plain", "second"}
    report = place.flow(faults=dict.fromkeys(("plain", "first", "second"), "wrong"), force=True)
    assert report["coverage"]["found"] is None and "no engine has passed" in report["coverage"]["refusal"]


def test_the_first_vectors_show_most(place: Place) -> None:
    place.flow(vectors=80)
    network, kept = canonicalise(fakes.network()), vectors(place)["inputs"]
    first, last = (measure(network, part).coverage().total.shown for part in (kept[:10], kept[-10:]))
    assert first > last
    assert (vectors(place)["directed"] >= 0).all() and len(vectors(place)["images"]) == 0


def test_a_coverage_below_the_one_required_fails_the_flow(place: Place) -> None:
    kept = place.flow(options=Options(require={"coverage": 0.5}))
    share = kept["coverage"]["found"]["share"]
    assert kept["verdict"] == "pass" and kept["requirements"][0]["found"] == share
    if share < 1:
        failed = place.flow(options=Options(require={"coverage": 1.0}))
        assert (
            failed["verdict"] == "fail" and "at least 1 of the faults required" in failed["requirements"][0]["reason"]
        )


def test_images_come_first_and_keep_their_labels(place: Place) -> None:
    place.flow(model="digits_bnn", vectors=60)
    (folder,) = (place.folder / "build" / "digits_bnn" / "vectors").glob("*")
    (before,) = (place.folder / "build" / "digits_bnn" / "load").glob("*/vectors.npz")
    kept, loaded = np.load(folder / "vectors.npz"), np.load(before)
    assert set(range(8)) <= set(kept["images"].tolist())
    assert not set(kept["images"].tolist()) & set(kept["directed"].tolist())
    for place_of, label in zip(kept["images"], kept["labels"], strict=True):
        same = (loaded["inputs"] == kept["inputs"][place_of]).all(axis=1)
        assert label in loaded["labels"][np.flatnonzero(same)]
