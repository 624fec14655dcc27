"""Vectors in the two halves of a memory: exact to the bit and to the cycle, under stalls, gaps and resets."""

from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import strategies
from tests.hls.rtl.checks import assert_equal, assert_on_time, replace_text
from tests.hls.rtl.icarus import needs_icarus, run, simulate
from tests.hls.rtl.networks import small_dense

from xnorflow.bnn.network import Conv2d, Dense, Flatten, Input, Network, Operation, Threshold
from xnorflow.hls.rtl import area
from xnorflow.hls.rtl.buffering import Collected, buffered
from xnorflow.hls.rtl.config import Folded, RtlConfig
from xnorflow.hls.rtl.cycles import cycles, fit_fifos
from xnorflow.hls.rtl.folding import choose
from xnorflow.hls.rtl.lowering import Pipeline, lower
from xnorflow.hls.rtl.project import RtlProject, write
from xnorflow.hls.rtl.units import Mvtu


def wherever_possible() -> Any:
    """Take words even where that saves nothing, as in small networks."""

    def saved(chain: Collected, foldings: Any) -> int:
        return 1 if chain.words(foldings) else 0

    return mock.patch.object(Collected, "saved_luts", saved)


def in_words(pipeline: Pipeline) -> list[str]:
    return [unit.layer for unit in pipeline.units if isinstance(unit, Mvtu) and unit.in_words]


@st.composite
def collecting(draw: st.DrawFn) -> Network:
    """Networks whose layers have sizes with many divisors, on beats, on integers, and behind a flattened image."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    values, bound = draw(st.sampled_from([([-1, 1], 3), ([-1, 0, 1], 0)]))  # a neuron may have no input

    def weights(*shape: int) -> Any:
        return rng.choice(np.array(values, np.int8), shape)

    def sign(name: str, source: str, channels: int) -> Threshold:
        threshold = rng.integers(-bound, bound + 1, channels)
        return Threshold(name, (source,), threshold, rng.choice(np.array([-1, 1], np.int8), channels))

    kind, size, hidden = draw(st.sampled_from(["bits", "integers", "image"])), draw(st.sampled_from([8, 24, 32])), 24
    operations: list[Operation] = [Input("x", (), (size,))]
    if kind == "integers":
        operations = [Input("x", (), (size,), kind="unsigned", bits=draw(st.sampled_from([2, 4, 8])))]
    if kind == "image":
        operations = [
            Input("x", (), (4, 3, 2)),
            Conv2d("conv", ("x",), weights(8, 2, 2, 2)),
            sign("sign0", "conv", 8),
            Flatten("flatten", ("sign0",)),
        ]
        size = 48
    operations += [
        Dense("dense1", (operations[-1].name,), weights(hidden, size)),
        sign("sign1", "dense1", hidden),
        Dense("dense2", ("sign1",), weights(draw(st.integers(1, 9)), hidden)),
    ]
    return Network("collecting", tuple(operations))


SIZES = st.sampled_from([1, 2, 4, 8])


@needs_icarus
@settings(max_examples=25, deadline=None)
@given(collecting(), st.lists(st.builds(Folded, SIZES, SIZES), min_size=3, max_size=3), st.sampled_from([8, 32]),
       st.integers(0, 9))  # fmt: skip
def test_vectors_in_memory_are_exact_and_on_time(
    tmp_path_factory: pytest.TempPathFactory, network: Network, foldings: list[Folded], width: int, seed: int
) -> None:
    config = RtlConfig(layers=dict(zip(("dense1", "dense2"), foldings)), default=foldings[2], in_width=width)
    with wherever_possible():
        project = write(network, tmp_path_factory.mktemp("words") / "rtl", config)
    inputs = strategies.inputs_for(network, 7, seed)
    clean = simulate(project, inputs)
    assert_equal(network, inputs, clean)
    assert_on_time(project, len(inputs), clean)
    assert_equal(network, inputs, run(project, inputs, stall=40, seed=seed))
    for part in (3, 2):
        reset = project.timing.latency // part
        assert_equal(network, inputs, run(project, inputs, reset_at=reset, stall=10, seed=seed))


@pytest.mark.parametrize(
    "folding, before, width, taken",
    [
        (Folded(1, 8), Folded(1, 4), 8, ["dense1", "dense2"]),
        (Folded(1, 8), Folded(2, 4), 16, ["dense1", "dense2"]),  # two results for each word, half a word
        (Folded(1, 6), Folded(1, 4), 8, ["dense2"]),  # neither is a multiple of the other
        (Folded(1, 24), Folded(1, 4), 8, ["dense2"]),  # a vector at once
        (Folded(24, 8), Folded(1, 4), 8, []),  # each word but once
        (Folded(5, 8), Folded(1, 4), 8, ["dense1"]),  # the last group is not full
        (Folded(8, 1), Folded(1, 4), 64, ["dense2"]),  # the padding would take longer than the vector
    ],
)
def test_words_are_taken_where_the_parts_fit(folding: Folded, before: Folded, width: int, taken: list[str]) -> None:
    network = small_dense(sizes=(24, 24, 4))
    with wherever_possible():
        pipeline = buffered(lower(network, RtlConfig(layers={"dense1": folding, "dense2": before}, in_width=width)))
    assert in_words(pipeline) == taken


def test_memory_is_chosen_by_the_area_and_costs_no_interval() -> None:
    for size, expected in ((24, []), (784, ["dense1"])):
        network = small_dense(sizes=(size, 16, 4))
        pipeline = lower(network, RtlConfig())
        memory = buffered(pipeline)
        assert in_words(memory) == expected
        assert cycles(fit_fifos(memory)).interval == cycles(fit_fifos(pipeline)).interval
        before, after = (sum(map(area.luts, made.every_unit)) for made in (pipeline, memory))
        assert after < before if expected else after == before


@pytest.mark.parametrize("interval", [200, 1000, 20_000])
def test_what_is_planned_is_what_is_chosen(interval: int) -> None:
    network = small_dense(sizes=(784, 64, 32))
    choice = choose(network, RtlConfig(clock_ns=10, in_width=64), target_fps=1e8 / interval)
    assert choice.timing.interval <= interval
    within = choose(network, RtlConfig(in_width=64), max_luts=choice.luts)
    assert within.luts <= choice.luts
    assert within.timing.interval <= choice.timing.interval


def of_words(folder: Any) -> RtlProject:
    layers = {"dense1": Folded(2, 8), "dense2": Folded(1, 4)}
    with wherever_possible():
        return write(small_dense(sizes=(32, 16, 4)), folder, RtlConfig(layers=layers, in_width=8))


@needs_icarus
@pytest.mark.parametrize(
    "old, new",
    [
        ("!free && address == 30", "!free && address == 29"),  # the halves are swapped early
        ("word_written == 3) written", "word_written == 2) written"),  # the last word is lost
        ("(written ^ read) != 2'b10", "1'b1"),  # no back-pressure
        ("halves[{read[0], word_read}]", "halves[{written[0], word_read}]"),  # the half that is being written
        ("written != read", "1'b1"),  # begun before the vector is there
        ("in_valid && in_ready) halves", "in_valid) halves"),
        ("given || !free", "!free"),
    ],
)
def test_planted_faults_are_found(old: str, new: str, tmp_path: Any) -> None:
    project = of_words(tmp_path / "rtl")
    inputs = strategies.inputs_for(project.network, 12)
    assert_equal(project.network, inputs, simulate(project, inputs, stall=30))
    replace_text("dense1", old, new)(project.folder)
    with pytest.raises(AssertionError):
        assert_equal(project.network, inputs, simulate(project, inputs, stall=30, timeout=3000))
