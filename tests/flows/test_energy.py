from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.flows import fakes
from tests.flows.test_flow import Place

from xnorflow.cosim.engine import EngineError

VCD = """$timescale 1ns $end
$scope module small_ $end
$var wire 1 c aclk $end
$var wire 4 d data [3:0] $end
$upscope $end
$enddefinitions $end
#0
0c
b0000 d
#5
1c
#10
0c
b1011 d
#15
1c
"""


class Waves(fakes.FakeBuilder):
    """Leaves a waveform of two cycles and three toggles wherever every layer is asked for."""

    max_vectors = 3

    def run(self, inputs: Any, every_layer: bool = False) -> Any:
        if every_layer:
            if self.fault == "broken":
                raise EngineError("the simulator left no results")
            assert len(inputs) == 3
            self.waveform = self.leaves / "simulation.fst"
            self.waveform.write_text(VCD)
        return super().run(inputs, every_layer)


class Watched(Place):
    """Runs flows whose first engine leaves a waveform of every layer."""

    def flow(self, faults: Any = None, **options: Any) -> Any:  # type: ignore[override]
        def make(view: Any, folder: Path) -> Any:
            return Waves("first", (faults or {}).get("first"), self.folder / "built.log")

        plain, first, second = fakes.kinds(faults, self.folder / "built.log")
        return super().flow(faults, engines=(plain, replace(first, keeps_waveform=True, make=make), second), **options)


@pytest.fixture
def place(tmp_path: Path) -> Any:
    return Watched(tmp_path)


def test_energy_is_estimated_from_a_waveform_of_few_frames(place: Watched) -> None:
    energy = place.flow()["energy"]
    assert (energy["frames"], energy["images"], energy["source"]) == (3, 0, "waveform of first")
    counts = {part["name"]: part["count"] for part in energy["parts"]}
    assert counts["wire_toggles"] == 3 / 3
    assert counts["register_toggles"] == counts["clocked_bits"] == 0
    assert counts["memory_bits"] > 0  # the small network is folded
    assert energy["picojoules"] == pytest.approx(sum(part["picojoules"] for part in energy["parts"]))
    place.flow()
    assert "energy" in place.reused()


def test_a_simulation_that_fails_with_a_waveform_fails_its_engine(place: Watched) -> None:
    report = place.flow({"first": "broken"})
    assert report["verdict"] == "fail"
    assert report["energy"] is None
    assert "left no results" in report["engines"]["first"]["reason"]
