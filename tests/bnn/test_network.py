"""Invariants of the IR: what is inferred, and what is refused with which words."""

import re
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import oracle, strategies
from tests.narrowed import a

from xnorflow.bnn.errors import NetworkError
from xnorflow.bnn.network import (
    Add,
    Affine,
    Conv2d,
    Dense,
    DepthToSpace,
    Flatten,
    Input,
    MaxPool2d,
    MultiThreshold,
    Network,
    Operation,
    Recurrent,
    SumPool2d,
    Threshold,
)

X = Input("x", (), shape=(4,))
IMAGE = Input("x", (), shape=(5, 6, 2))


def dense(name: str, source: str, outputs: int, inputs: int) -> Dense:
    return Dense(name, (source,), weight=np.ones((outputs, inputs), np.int8))


@given(strategies.networks(weight_bits=16, grown=True, operations=strategies.EVERY), st.integers(0, 2**32 - 1))
def test_ranges_hold_and_bits_suffice(network: Network, seed: int) -> None:
    results = oracle.run(network, strategies.inputs_for(network, 8, seed))
    for name, values in results.items():
        signal = network.signals[name]
        assert values.shape[1:] == signal.shape
        assert (values >= signal.low).all() and (values <= signal.high).all()
        assert not ((values - signal.low) % signal.step).any()
        if signal.bipolar:
            assert set(np.unique(values)) <= {-1, 1} and signal.bits == 1
        else:
            low = -(2 ** (signal.bits - 1)) if signal.signed else 0
            assert values.min() >= low and values.max() < low + 2**signal.bits


@pytest.mark.parametrize(
    ("low", "high", "bits", "signed"),
    [(-1, 0, 1, True), (-4, 3, 3, True), (-4, 4, 4, True), (0, 0, 1, False), (0, 255, 8, False), (0, 256, 9, False)],
)
def test_width(low: int, high: int, bits: int, signed: bool) -> None:
    from xnorflow.bnn.network import Signal

    signal = Signal((1,), np.array([low]), np.array([high]))
    assert (signal.bits, signal.signed) == (bits, signed)


def test_extremes_are_reached() -> None:
    """The derived range is tight for a dense layer: its ends are the sums for the extreme inputs."""
    weight = np.array([[1, -1, 0], [1, 1, 1]])
    network = Network("n", (Input("x", (), shape=(3,), kind="unsigned", bits=4), Dense("d", ("x",), weight=weight)))
    assert network.signals["d"].low.tolist() == [-15, 0] and network.signals["d"].high.tolist() == [15, 45]


def test_a_sum_of_branches_has_the_sum_of_ranges_and_what_their_steps_share() -> None:
    """Sums of bipolar values change by 2 and so do their sums; beside any integer they no longer do."""
    first, second = dense("a", "x", 3, 4), Dense("b", ("x",), weight=np.array([[1, 1, 1, 0]] * 3))
    signal = Network("n", (X, first, second, Add("s", ("a", "b")))).signals["s"]
    assert (signal.low[0], signal.high[0], signal.step, signal.bipolar) == (-7, 7, 2, False)
    levels = MultiThreshold("m", ("a",), threshold=np.array([[-2, 1]] * 3), direction=np.ones(3, np.int8), low=-1)
    signal = Network("n", (X, first, levels, Add("s", ("a", "m")))).signals["s"]
    assert (signal.low[0], signal.high[0], signal.step) == (-5, 5, 1)


def test_a_sum_pool_adds_up_a_window() -> None:
    pool = SumPool2d("p", ("x",), size=(3, 2), stride=(2, 2))
    signal = Network("n", (IMAGE, pool)).signals["p"]
    assert (signal.shape, signal.low[0], signal.high[0], signal.step, signal.bipolar) == ((2, 3, 2), -6, 6, 2, False)


def test_several_thresholds_give_what_can_be_reached() -> None:
    """Of a channel whose first threshold is always passed and whose last never is, the ends do not occur."""
    threshold = np.array([[-4, 0, 5], [-2, 0, 2], [-2, 0, 4]])
    levels = MultiThreshold("m", ("d",), threshold=threshold, direction=np.array([1, 1, -1]), low=-3, step=2)
    network = Network("n", (X, dense("d", "x", 3, 4), levels))
    signal = network.signals["m"]
    assert (signal.low.tolist(), signal.high.tolist()) == ([-1, -3, -1], [1, 3, 3])
    assert (signal.step, signal.bits, signal.signed) == (2, 3, True)


def test_a_layer_behind_several_thresholds_takes_their_steps() -> None:
    levels = MultiThreshold("m", ("x",), threshold=np.zeros((4, 1), int), direction=np.ones(4, np.int8), low=3, step=5)
    signal = Network("n", (X, levels, Dense("d", ("m",), weight=np.array([[1, -1, 0, 1]])))).signals["d"]
    assert (signal.low[0], signal.high[0], signal.step) == (3 - 8 + 3, 8 - 3 + 8, 5)


def several(threshold: object, channels: int = 1, **settings: int) -> MultiThreshold:
    return MultiThreshold(
        "m", ("d",), threshold=np.asarray(threshold), direction=np.ones(channels, np.int8), **settings
    )


def recurrent(**settings: Any) -> Recurrent:
    none = np.zeros(2, int)
    given = {"weight": np.array([[1, -1], [0, 1]]), "threshold": none, "first": none, "direction": np.ones(2, int)}
    return Recurrent("r", ("x",), **given | settings)


def test_the_sums_of_a_recurrent_layer_have_its_state_in_them() -> None:
    """Thresholds of the steps behind the first may be as large as these sums, those of the first as the operand."""
    operation = recurrent(threshold=np.array([9, -5]), first=np.array([2, -1]), shift=2)
    sums = operation.sums(IMAGE.infer())
    assert (sums.low.tolist(), sums.high.tolist(), sums.step) == ([-9, -5], [9, 5], 2)
    network = Network("n", (IMAGE, operation))
    assert network.signals["r"].shape == IMAGE.shape and network.signals["r"].bipolar
    assert Network("n", (IMAGE, replace(operation, last=True))).signals["r"].shape == (2,)


REFUSED: list[tuple[str, tuple[Operation, ...]]] = [
    ("expected an Input as the first", ()),
    ("expected an Input as the first", (dense("d", "x", 2, 4),)),
    ("expected a single Input", (X, Input("y", (), shape=(4,)))),
    ("unique names", (X, dense("d", "x", 4, 4), dense("d", "d", 4, 4))),
    ("operands from earlier layers", (X, dense("d", "e", 4, 4))),
    ("nothing uses the result of d", (X, dense("d", "x", 4, 4), dense("e", "x", 4, 4))),
    (r"layer 'd' \(Dense\): expected an operand of shape \(3,\)", (X, dense("d", "x", 4, 3))),
    ("flatten first", (IMAGE, dense("d", "x", 4, 60))),
    ("expected one operand", (X, Dense("d", ("x", "x"), weight=np.ones((2, 4), np.int8)))),
    (r"\(height, width, 3\)", (IMAGE, Conv2d("c", ("x",), weight=np.ones((1, 2, 2, 3), np.int8)))),
    ("at least the kernel", (IMAGE, Conv2d("c", ("x",), weight=np.ones((1, 7, 7, 2), np.int8)))),
    ("at least", (IMAGE, MaxPool2d("p", ("x",), size=(6, 2)))),
    ("1 channels", (IMAGE, Threshold("t", ("x",), threshold=np.zeros(1, int), direction=np.ones(1, np.int8)))),
    ("of channel 1 clamped", (X, dense("d", "x", 2, 4),
                              Threshold("t", ("d",), threshold=np.array([5, 6]), direction=np.array([1, 1])))),
    ("of channel 0 clamped", (X, dense("d", "x", 2, 4),
                              Threshold("t", ("d",), threshold=np.array([5, -5]), direction=np.array([-1, -1])))),
    ("operand of 3 channels", (X, dense("d", "x", 2, 4),
                               Affine("a", ("d",), scale=np.zeros(3, int), offset=np.zeros(3, int)))),
    ("whose channels 4 divides", (IMAGE, DepthToSpace("g", ("x",)))),
    ("values below 2", (Input("x", (), shape=(2**17, 1, 33), kind="unsigned", bits=16), Conv2d(
        "c", ("x",), weight=np.full((1, 2**17, 1, 33), 2**15 - 1)))),
    ("operands of equal shape", (X, dense("d", "x", 3, 4), Add("s", ("x", "d")))),
    ("at least", (IMAGE, SumPool2d("p", ("x",), size=(2, 7)))),
    (r"an operand \(height, width, 2\), a pixel for each step", (Input("x", (), shape=(2,)), recurrent())),
    (r"an operand \(height, width, 2\)", (Input("x", (), shape=(1, 5, 3)), recurrent())),
    ("of channel 0 clamped", (IMAGE, recurrent(threshold=np.array([5, 0])))),
    ("of channel 1 clamped", (IMAGE, recurrent(first=np.array([0, 3])))),
    ("an operand of 1 channels", (X, dense("d", "x", 2, 4), several([[0]]))),
    ("threshold of channel 0 clamped", (X, dense("d", "x", 1, 4), several([[-4, 6]]))),
    ("pad_value 0", (Input("x", (), shape=(5, 5, 1), kind="unsigned", bits=8),
                     Conv2d("c", ("x",), weight=np.ones((1, 3, 3, 1), np.int8), padding=(1, 1, 1, 1), pad_value=-1))),
]  # fmt: skip


TOLD = r"(network|layer|layers)\b.*?: (expected ((?!, got None).)+|nothing uses .+)"
"""What every message has: where, what was expected, and what came, which is never nothing."""


@pytest.mark.parametrize(("words", "operations"), REFUSED)
def test_refused_networks(words: str, operations: tuple[Operation, ...]) -> None:
    with pytest.raises(NetworkError, match=words) as refused:
        Network("n", operations)
    assert re.fullmatch(TOLD, str(refused.value))


@pytest.mark.parametrize(
    ("words", "make"),
    [
        ("lower case", lambda: Flatten("Bad name", ("x",))),
        ("shape of positive", lambda: Input("x", (), shape=(0,))),
        ("1 to 16 bits", lambda: Input("x", (), shape=(1,), kind="unsigned", bits=17)),
        ("2 to 16 bits", lambda: Input("x", (), shape=(1,), kind="signed", bits=1)),
        ("weights -1, 0 and", lambda: recurrent(weight=np.ones((2, 3)))),
        ("weights -1, 0 and", lambda: recurrent(weight=np.full((2, 2), 3))),
        ("integer first of shape", lambda: recurrent(first=np.zeros(3, int))),
        ("integer threshold of shape", lambda: recurrent(threshold=np.zeros(2))),
        ("2 directions", lambda: recurrent(direction=np.array([1, 0]))),
        ("a shift of 0 to 30", lambda: recurrent(shift=31)),
        ("kind", lambda: Input("x", (), shape=(1,), kind="float")),  # type: ignore[arg-type]
        ("whole weights of -32,767 to 32,767", lambda: Dense("d", ("x",), weight=np.full((2, 2), 0.5))),
        ("whole weights", lambda: Dense("d", ("x",), weight=np.full((2, 2), np.nan))),
        ("whole weights", lambda: Dense("d", ("x",), weight=np.full((2, 2), -(2**15)))),
        ("a shift of 0 to 30 for each of 2", lambda: Add("s", ("x", "y"), shift=(1,))),
        ("outputs, inputs", lambda: Dense("d", ("x",), weight=np.ones((2, 2, 2), np.int8))),
        ("positive strides", lambda: Conv2d("c", ("x",), weight=np.ones((1, 1, 1, 1), np.int8), stride=(0, 1))),
        (
            "smaller than the kernel",
            lambda: Conv2d("c", ("x",), weight=np.ones((1, 1, 1, 1), np.int8), padding=(1, 0, 0, 0)),
        ),
        ("pad_value", lambda: Conv2d("c", ("x",), weight=np.ones((1, 1, 1, 1), np.int8), pad_value=2)),
        ("integer thresholds", lambda: Threshold("t", ("x",), threshold=np.zeros(1), direction=np.ones(1))),  # type: ignore[arg-type]
        ("directions", lambda: Threshold("t", ("x",), threshold=np.zeros(1, int), direction=np.zeros(1, int))),
        ("two or more different", lambda: Add("s", ("x",))),
        ("two or more different", lambda: Add("s", ("x", "y", "x"))),
        ("padding smaller than the window", lambda: MaxPool2d("p", ("x",), padding=(2, 0, 0, 0))),
        ("two positive lengths as stride", lambda: SumPool2d("p", ("x",), stride=(1, 0))),
        ("channels, levels", lambda: several([0])),
        ("1 to 255 levels", lambda: several(np.zeros((1, 0), int))),
        ("1 to 255 levels", lambda: several(np.zeros((1, 256), int))),
        ("integer thresholds", lambda: several([[0.5]])),
        ("ascending", lambda: several([[0, 1], [1, 0]], 2)),
        ("1 directions", lambda: several([[0]], 2)),
        ("positive step", lambda: several([[0]], step=0)),
        ("a Threshold", lambda: several([[0]], low=-1, step=2)),
        ("integer scale", lambda: Affine("a", ("x",), scale=np.ones(1), offset=np.ones(1, int))),  # type: ignore[arg-type]
    ],
)
def test_refused_operations(words: str, make: Callable[[], object]) -> None:
    with pytest.raises(NetworkError, match=words) as refused:
        make()
    assert re.fullmatch(TOLD, str(refused.value))


LEAST, MOST = -(1 << 31), (1 << 31) - 1


def test_levels_are_of_32_bits() -> None:
    for low, step in ((LEAST, 1), (MOST - 3, 3)):
        assert (several([[0]], low=low, step=step).low, several([[0]], low=low, step=step).step) == (low, step)
    for low in (LEAST - 1, MOST + 1):
        with pytest.raises(NetworkError, match=f"got .*{low}"):
            several([[0]], low=low)


def test_whatever_is_given_becomes_tuples_of_int_and_frozen_int64_or_int8() -> None:
    short, ones = np.zeros(2, np.int16), np.ones(2, np.int64)
    weight = np.ones((1, 3, 3, 2), np.float32)
    operations: list[Operation] = [
        Input("a", (), shape=[np.int64(4)]),  # type: ignore[arg-type]
        Conv2d("b", ["a"], weight=weight, stride=[np.int64(1), 2], padding=[np.int8(1)] * 4),  # type: ignore[arg-type]
        MaxPool2d("c", ["a"], size=[np.int64(2), 2], stride=[np.int64(1), 1], padding=[np.int64(1)] * 4),  # type: ignore[arg-type]
        SumPool2d("d", ["a"], size=[np.int64(2), 2], stride=[np.int64(1), 1]),  # type: ignore[arg-type]
        DepthToSpace("e", ["a"], block=[np.int64(2), 2]),  # type: ignore[arg-type]
        Add("f", ["a", "b"], shift=[np.int64(1), 0]),  # type: ignore[arg-type]
        Threshold("g", ["a"], threshold=short, direction=ones),  # type: ignore[arg-type]
        MultiThreshold("h", ["a"], threshold=short[:, None], direction=ones, low=np.int64(1), step=np.int8(2)),  # type: ignore[arg-type]
        Affine("i", ["a"], scale=short, offset=short),  # type: ignore[arg-type]
        recurrent(threshold=short, first=short, direction=ones),
    ]
    for operation in operations:
        for spec in fields(operation):
            value = getattr(operation, spec.name)
            if isinstance(value, np.ndarray):
                kinds = {"direction": (np.int8,), "weight": (np.int8, np.int16)}.get(spec.name, (np.int64,))
                assert value.dtype in kinds and not value.flags.writeable, (operation, spec.name)
            elif isinstance(value, list | tuple):
                assert type(value) is tuple and {type(of) for of in value} <= {int, str}, (operation, spec.name)
            else:
                assert type(value) in (int, str, bool), (operation, spec.name)


def test_frozen_equal_digest() -> None:
    weight = np.ones((2, 4), np.int8)
    one = Network("n", (X, Dense("d", ("x",), weight=weight)))
    weight[0, 0] = -1  # the operation keeps a private copy
    two = Network("n", (X, dense("d", "x", 2, 4)))
    other = Network("n", (X, Dense("d", ("x",), weight=weight)))
    assert one == two and one.digest == two.digest
    assert one != other and one.digest != other.digest
    with pytest.raises(ValueError, match="read-only"):
        a(Dense, one["d"]).weight[0, 0] = 1


def test_digest_is_stable() -> None:
    """Equal on every machine and in every version: caches and baselines rely on it."""
    network = Network("n", (X, dense("d", "x", 2, 4)))
    assert network.digest == "590846deb8ba22f0868889c1f7f41fe61db602bf01d2823dfe502a11085b5ff8"
