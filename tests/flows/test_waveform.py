"""The waveform of vectors that go wrong lies beside the report and is named; that of a good run only if asked for."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.flows import fakes
from tests.flows.place import Place
from tests.flows.watched import VCD
from tests.narrowed import there

from xnorflow.cosim.engine import EngineError
from xnorflow.flows.options import Options

NAME = "waveform_first.fst"
EVERY_LAYER, ALL_VECTORS = (f"$comment {what} $end\n{VCD}" for what in ("every layer", "all vectors"))


class Waves(fakes.FakeBuilder):
    """Leaves a waveform as :class:`xnorflow.cosim.rtl_icarus.RtlIcarus` does; it says which run it is of."""

    waves, detail = False, "back to back alone"

    def run(self, inputs: Any, every_layer: bool = False) -> Any:
        broken = self.fault == "stuck"
        self.waveform = there(self.leaves) / "simulation.fst" if every_layer or self.waves or broken else None
        if self.waveform:
            self.waveform.write_text(EVERY_LAYER if every_layer else ALL_VECTORS)
        if broken and not every_layer:
            raise EngineError(f"no result (waveform: {self.waveform})")
        return super().run(inputs, every_layer)


class Watched(Place):
    """Runs flows whose first engine leaves waveforms."""

    def flow(self, faults: Any = None, **options: Any) -> Any:  # type: ignore[override]
        def make(view: Any, folder: Path) -> Any:
            engine = Waves("first", (faults or {}).get("first"), self.folder / "built.log")
            engine.waves = view.options.waves
            return engine

        plain, first, second = fakes.kinds(faults, self.folder / "built.log")
        first = replace(first, keeps_waveform=True, make=make, options=("waves",))
        return super().flow(faults, engines=(plain, first, second), **options)


@pytest.fixture
def place(tmp_path: Path) -> Any:
    return Watched(tmp_path)


def test_a_good_run_has_one_if_asked_for(place: Watched) -> None:
    assert place.flow()["engines"]["first"]["waveform"] is None
    assert place.flow(options=Options(waves=True))["engines"]["first"]["waveform"] == NAME
    folder = place.outcome.report
    assert (folder / NAME).read_text() == ALL_VECTORS
    assert place.report()["engines"]["first"]["reason"] == "back to back alone"
    assert all(NAME in (folder / page).read_text() for page in ("report.html", "report.md"))
    assert place.flow()["engines"]["first"]["waveform"] is None
    assert not (folder / NAME).exists()


@pytest.mark.parametrize("waves", [False, True])
def test_a_mismatch_names_its_own(place: Watched, waves: bool) -> None:
    for _ in range(2):  # the second time all is reused
        engine = place.flow({"first": "wrong", "second": "wrong"}, options=Options(waves=waves))["engines"]["first"]
        assert engine["waveform"] == NAME
        assert engine["reason"].endswith(f"; waveform: {NAME}") and engine["reason"] in place.printed
        assert (place.outcome.report / NAME).read_text() == EVERY_LAYER
    assert [path.name for path in place.outcome.report.glob("waveform_*")] == [NAME], "the other engine has none"


def test_an_engine_that_breaks_leaves_one_beside_the_report(place: Watched) -> None:
    engine = place.flow({"first": "stuck"})["engines"]["first"]
    assert engine["status"] == "fail" and engine["waveform"] == NAME
    assert (place.outcome.report / NAME).read_text() == ALL_VECTORS
