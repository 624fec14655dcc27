"""What coverage predicts is what generated hardware shows; ``tests.planted.coverage`` plants more than these few."""

import shutil
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.planted import coverage

needs_icarus = pytest.mark.skipif(not shutil.which("iverilog"), reason="needs iverilog: apt-get install iverilog")
needs_compiler = pytest.mark.skipif(not shutil.which("g++"), reason="needs g++: apt-get install g++")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "network", "count"),
    [
        pytest.param("rtl", "image", 8, marks=needs_icarus),
        pytest.param("rtl", "digits_bnn", 5, marks=needs_icarus),
        pytest.param("hls", "image", 2, marks=needs_compiler),
    ],
)
def test_planted_faults_show_in_exactly_the_predicted_vectors(engine: str, network: str, count: int) -> None:
    planted, showed, wrong = coverage.check(engine, *coverage.case(network), count)
    assert wrong == [] and planted >= count // 2 and showed


@pytest.mark.slow
@pytest.mark.exhaustive  # half an hour
@pytest.mark.parametrize("network", ["image", "digits_bnn"])
@pytest.mark.parametrize("engine", [pytest.param("rtl", marks=needs_icarus), pytest.param("hls", marks=needs_compiler)])
def test_three_hundred_planted_faults_show_as_predicted(engine: str, network: str) -> None:
    planted, showed, wrong = coverage.check(engine, *coverage.case(network), 75, seed=1)
    assert wrong == [] and planted == 75 and 0 < showed < 75


@pytest.mark.slow
@needs_icarus
def test_a_wrong_prediction_would_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(self: object, group: object, which: NDArray[Any], vectors: NDArray[Any]) -> NDArray[Any]:
        return np.zeros((len(which), 1), np.uint64)

    monkeypatch.setattr(coverage.Simulator, "shown", nothing)
    _, showed, wrong = coverage.check("rtl", *coverage.case("image"), 6)
    assert len(wrong) == showed > 0
