"""An image that is only flattened is a flat input: the same integers, in as few beats as the bus needs."""

from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import oracle, strategies
from tests.hls.rtl.checks import assert_equal, assert_on_time
from tests.hls.rtl.icarus import needs_icarus, run, simulate

from xnorflow.bnn.network import Argmax, Conv2d, Dense, Flatten, Input, MultiThreshold, Network, Operation, Threshold
from xnorflow.hls.rtl.config import Folded, RtlConfig, Unrolled
from xnorflow.hls.rtl.cycles import cycles
from xnorflow.hls.rtl.flattening import flat_input
from xnorflow.hls.rtl.folding import choose
from xnorflow.hls.rtl.project import plan, write

SHAPES = st.one_of(
    st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 3)), st.integers(1, 40).map(lambda n: (n,))
)


@st.composite
def flattened(draw: st.DrawFn, shapes: Any = SHAPES) -> Any:
    """Networks whose input is an image or a vector, perhaps compared, perhaps flattened, perhaps compared again."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(shapes)
    kind = draw(st.sampled_from(["bipolar", "unsigned", "signed"]))
    operations: list[Operation] = [
        Input("image", (), shape=shape, kind=kind, bits=1 if kind == "bipolar" else draw(st.integers(2, 9)))  # type: ignore[arg-type]
    ]

    def compare(channels: Any) -> None:
        signal = operations[0].infer()
        for operation in operations[1:]:
            signal = operation.infer(signal)
        alike = draw(st.sampled_from([n for n in range(1, channels + 1) if channels % n == 0]))  # then they repeat
        direction = np.resize(rng.choice(np.array([-1, 1], np.int8), alike), channels)
        levels = 1 if signal.bipolar else draw(st.integers(1, 3))
        bounds = np.sort(rng.integers(signal.low.max(), signal.high.min() + 1, (alike, levels)), axis=1)
        bounds = np.resize(bounds, (channels, levels))
        name, operand = f"compare{len(operations)}", (operations[-1].name,)
        if levels == 1:
            operations.append(Threshold(name, operand, bounds[:, 0], direction))
        else:
            operations.append(MultiThreshold(name, operand, bounds, direction, low=-1, step=1))

    if draw(st.booleans()):
        compare(shape[-1])
    if len(shape) > 1 or draw(st.booleans()):
        operations.append(Flatten("flatten", (operations[-1].name,)))
        if draw(st.booleans()):
            compare(prod(shape))
    weight = rng.choice(np.array([-1, 1], np.int8), (5, prod(shape)))
    operations += [Dense("dense", (operations[-1].name,), weight), Argmax("argmax", ("dense",))]
    return Network("flat", tuple(operations))


@settings(max_examples=200, deadline=None)
@given(flattened(), st.sampled_from([8, 24, 64, None]))
def test_a_flat_input_gives_the_same_integers(network: Network, beat_bits: int) -> None:
    flat = flat_input(network, beat_bits)
    inputs = strategies.inputs_for(network, 20)
    expected = oracle.run(network, inputs)
    got = oracle.run(flat, inputs.reshape(len(inputs), *flat.input.shape))
    missing = set(expected) - set(got)
    assert missing <= {"flatten"}  # behind which thresholds were
    for name in set(expected) - missing:
        values = expected[name]
        np.testing.assert_array_equal(got[name].reshape(values.shape), values, err_msg=name)
    values = flat.input.shape[-1]  # type: ignore[assignment]
    first: Any = flat.operations[1]
    if len(flat.input.shape) > 1 and beat_bits:  # beats of whole values, as many as fit or as many as differ
        assert values * network.input.bits <= beat_bits or values == first.direction.size
        assert not any(isinstance(operation, Flatten) for operation in flat.operations[1:2])


@needs_icarus
@settings(max_examples=25, deadline=None)
@given(
    flattened(),
    st.sampled_from([Folded(1, 3), Folded(5, 100), Unrolled(2)]),
    st.sampled_from([None, 8, 24]),
    st.integers(0, 9),
)
def test_the_hardware_takes_it_exactly_and_on_time(
    tmp_path_factory: pytest.TempPathFactory, network: Network, default: Any, in_width: int, seed: int
) -> None:
    project = write(network, tmp_path_factory.mktemp("flat") / "rtl", RtlConfig(default=default, in_width=in_width))
    inputs = strategies.inputs_for(network, 4, seed)
    clean = simulate(project, inputs)
    assert_equal(network, inputs, clean)
    assert_on_time(project, len(inputs), clean)
    assert_equal(network, inputs, run(project, inputs, stall=40, seed=seed))


def image(kind: str = "bipolar", bits: int = 1, *between: Any) -> Any:
    weight = np.random.default_rng(0).choice(np.array([-1, 1], np.int8), (10, 784))
    last = between[-1].name if between else "image"
    return Network(
        "mnist_like",
        (
            Input("image", (), shape=(28, 28, 1), kind=kind, bits=bits),  # type: ignore[arg-type]
            *between,
            Flatten("flatten", (last,)),
            Dense("dense", ("flatten",), weight),
        ),
    )


@pytest.mark.parametrize(
    "network, default, beats",
    [
        (image(), Folded(10, 784), 13),
        (image(), Unrolled(), 1),
        (image("unsigned", 8), Folded(10, 784), 98),
        (
            image("unsigned", 8, MultiThreshold("levels", ("image",), np.array([[50, 100, 200]]), np.ones(1, np.int8))),
            Folded(10, 784),
            98,
        ),
    ],
)
def test_the_interval_of_an_image_is_that_of_its_beats(network: Network, default: Any, beats: Any) -> None:
    pipeline = plan(network, RtlConfig(default=default))
    assert pipeline.source.vectors == cycles(pipeline).interval == beats


def test_the_bus_is_as_wide_as_the_rate_needs() -> None:
    for interval in (784, 13, 12, 5, 1):
        choice = choose(image(), RtlConfig(clock_ns=10), target_fps=1e8 / interval)
        assert choice.timing.interval <= interval
        assert (choice.config.in_width is None) == (interval >= 13)
    assert choice.config.in_width == 784


def test_an_image_that_is_convolved_stays_one() -> None:
    weight = np.ones((3, 2, 2, 1), np.int8)
    network = Network("n", (Input("x", (), shape=(5, 5, 1)), Conv2d("conv", ("x",), weight)))
    assert flat_input(network, 64) is network


def test_a_network_that_ends_with_its_thresholds_keeps_its_output() -> None:
    operations = (
        Input("x", (), shape=(2, 2, 1), kind="unsigned", bits=4),
        Flatten("flat", ("x",)),
        Threshold("sign", ("flat",), np.array([3, 5, 3, 5]), np.ones(4, np.int8)),
    )
    assert flat_input(Network("n", operations), 64).output.name == "sign"
