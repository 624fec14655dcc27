from pathlib import Path
from typing import Any

import pytest
from tests.flows.watched import Watched


@pytest.fixture
def place(tmp_path: Path) -> Any:
    return Watched(tmp_path)


def test_energy_is_estimated_from_a_waveform_of_few_frames(place: Watched) -> None:
    energy = place.flow()["energy"]
    assert (energy["frames"], energy["images"], energy["source"]) == (3, 0, "waveform of first")
    counts = {term["name"]: term["count"] for term in energy["terms"]}
    assert counts["wire_toggles"] == 3 / 3
    assert counts["register_toggles"] == counts["clocked_bits"] == 0
    assert counts["memory_bits"] > 0  # the small network is folded
    assert energy["picojoules"] == pytest.approx(sum(term["picojoules"] for term in energy["terms"]))
    place.flow()
    assert "energy" in place.reused()


def test_a_simulation_that_fails_with_a_waveform_fails_its_engine(place: Watched) -> None:
    report = place.flow({"first": "broken"})
    assert report["verdict"] == "fail"
    assert report["energy"] is None
    assert "left no results" in report["engines"]["first"]["reason"]
