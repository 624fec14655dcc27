"""Checks of what a simulation of the RTL gives."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests import oracle

from xnorflow.bnn.network import Network


def assert_equal(network: Network, inputs: NDArray[Any], got: Any) -> None:
    expected = oracle.run(network, inputs)
    assert got.results
    for layer, result in got.results.items():
        np.testing.assert_array_equal(result, expected[layer], err_msg=layer)


def assert_on_time(project: Any, frames: Any, got: Any) -> None:
    """Check the first beat in and the last beat out of each frame, counted from the first beat of all."""
    model = project.timing.frames[:frames]
    start = got.entered[0]
    assert [cycle - start for cycle in got.entered[:: project.in_beats]] == [frame.first_in for frame in model]
    last = got.left[project.out_beats - 1 :: project.out_beats]
    assert [cycle - start for cycle in last] == [frame.last_out for frame in model]


def replace_text(module: Any, old: Any, new: Any) -> Any:
    def fault(folder: Path) -> None:
        path = next(folder.glob(f"*_{module}.v"))
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return fault
