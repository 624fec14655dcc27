"""From the last sums to the class: a few scores at a time, and no wider than the class needs."""

from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import strategies
from tests.hls.rtl.checks import assert_equal, assert_on_time
from tests.hls.rtl.icarus import needs_icarus, run, simulate
from tests.hls.rtl.networks import small_dense

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.network import Affine, Argmax, Dense, Input, Network, Operation, Signal, Threshold
from xnorflow.hls.rtl.config import Folded, RtlConfig, Unrolled
from xnorflow.hls.rtl.lowering import lower
from xnorflow.hls.rtl.narrowing import narrowed
from xnorflow.hls.rtl.project import write
from xnorflow.hls.rtl.units import SerialAffine

SIGNS = np.array([-1, 1], np.int8)


@st.composite
def with_scores(draw: st.DrawFn) -> Network:
    """Small networks whose scores, scaled or not, tie often."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    inputs, hidden, classes = draw(st.integers(1, 20)), draw(st.integers(1, 12)), draw(st.integers(1, 12))
    operations: list[Operation] = [
        Input("image", (), shape=(inputs,)),
        Dense("dense1", ("image",), rng.choice(SIGNS, (hidden, inputs))),
        Threshold("sign", ("dense1",), np.zeros(hidden, np.int64), rng.choice(SIGNS, hidden)),
        Dense("dense2", ("sign",), rng.choice(SIGNS, (classes, hidden))),
    ]
    if draw(st.booleans()):
        largest = draw(st.sampled_from([1, 9, 1 << 20]))
        scale, offset = (rng.integers(-largest, largest + 1, classes) for _ in range(2))
        operations.append(Affine("affine", ("dense2",), scale, offset))
    if len(operations) == 4 or draw(st.booleans()):
        operations.append(Argmax("argmax", (operations[-1].name,)))
    return Network("tail", tuple(operations))


FOLDINGS = st.builds(Folded, st.integers(1, 12), st.sampled_from([1, 3, 50]))


@needs_icarus
@settings(max_examples=40, deadline=None)
@given(
    with_scores(),
    FOLDINGS,
    st.one_of(FOLDINGS, st.just(Unrolled(2))),
    st.sampled_from(["scores", "class"]),
    st.sampled_from([None, 8, 24]),
    st.integers(0, 9),
)
def test_scores_and_classes_are_exact_and_on_time(
    tmp_path_factory: pytest.TempPathFactory,
    network: Network,
    first: Folded,
    last: Folded | Unrolled,
    output: Literal["scores", "class"],
    width: int | None,
    seed: int,
) -> None:
    if not isinstance(network.output, Argmax):
        output = "scores"
    config = RtlConfig(layers={"dense1": first, "dense2": last}, out_width=width, output=output)
    project = write(network, tmp_path_factory.mktemp("tail") / "rtl", config)
    inputs = strategies.inputs_for(network, 6, seed)
    clean = simulate(project, inputs)
    assert_equal(network, inputs, clean)
    scores = network.output.inputs if isinstance(network.output, Argmax) and output == "scores" else ()
    assert set(clean.results) == {network.output.name, *scores}
    assert_on_time(project, len(inputs), clean)
    assert_equal(network, inputs, run(project, inputs, stall=40, seed=seed))
    assert_equal(network, inputs, run(project, inputs, reset_at=project.timing.latency // 2, stall=10, seed=seed))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_narrowed_scores_have_the_same_class_for_all_sums(data: st.DataObject) -> None:
    draw, classes = data.draw, data.draw(st.integers(2, 4))
    step = draw(st.sampled_from([1, 2]))
    low = np.array([draw(st.integers(-9, 9)) for _ in range(classes)])
    sums = Signal((classes,), low, low + step * np.array([draw(st.integers(0, 5)) for _ in range(classes)]), step=step)
    largest = draw(st.sampled_from([0, 3, 1000, 1 << 20]))
    scale, offset = (np.array([draw(st.integers(-largest, largest)) for _ in range(classes)]) for _ in range(2))
    *coarse, ends = narrowed(scale, offset, sums)
    axes = [np.arange(a, b + 1, step) for a, b in zip(sums.low, sums.high)]
    every = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, classes)
    expected = (every * scale + offset).argmax(1)
    np.testing.assert_array_equal((every * coarse[0] + coarse[1]).argmax(1), expected)
    scores = every * coarse[0] + coarse[1]
    assert ends == (scores.min(), scores.max()) and sum(ends) in (-1, 0)


def test_scores_of_a_trained_network_become_narrow() -> None:
    rng = np.random.default_rng(1)
    sums = Signal((10,), np.full(10, -128), np.full(10, 128), step=2)
    scale, offset = rng.integers(1 << 18, 1 << 19, 10), rng.integers(-(1 << 20), 1 << 20, 10)
    *_, (low, high) = narrowed(scale, offset, sums)
    given = np.stack([scale * sums.low, scale * sums.high]) + offset
    assert 4 * (high - low) < np.ptp(given)


def test_scores_go_one_at_a_time_where_there_is_time() -> None:
    for folding, channels in ((Folded(1, 1), 1), (Folded(4, 21), 2), (Folded(8, 21), None)):
        network = small_dense(sizes=(21, 8, 4))
        operations = (*network.operations[:-1], Affine("affine", ("dense2",), np.arange(4), np.arange(4)))
        network = Network("small", (*operations, Argmax("argmax", ("affine",))))
        units = lower(network, RtlConfig(default=folding)).units
        serial = [unit for unit in units if isinstance(unit, SerialAffine)]
        assert [unit.source.channels for unit in serial] == ([channels] if channels else [])


def test_a_class_is_wanted_of_a_network_with_an_argmax_alone() -> None:
    network = Network("n", small_dense().operations[:-1])
    with pytest.raises(UserError, match="n has no argmax at its end: output must be scores"):
        lower(network, RtlConfig(output="class"))
    with pytest.raises(UserError, match="output must be scores or class, got 'both'"):
        RtlConfig(output="both")  # type: ignore[arg-type]
