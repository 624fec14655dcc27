"""A folder in which flows run whose first engine leaves a waveform."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.flows import fakes
from tests.flows.place import Place
from tests.narrowed import there

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
            self.waveform = there(self.leaves) / "simulation.fst"
            self.waveform.write_text(VCD)
        return super().run(inputs, every_layer)


class Watched(Place):
    """Runs flows whose first engine leaves a waveform of every layer."""

    def flow(self, faults: Any = None, **options: Any) -> Any:  # type: ignore[override]
        def make(view: Any, folder: Path) -> Any:
            return Waves("first", (faults or {}).get("first"), self.folder / "built.log")

        plain, first, second = fakes.kinds(faults, self.folder / "built.log")
        return super().flow(faults, engines=(plain, replace(first, keeps_waveform=True, make=make), second), **options)
