"""Folding equals the formula on every reachable accumulator, whatever the statistics."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests import oracle

from xnorflow.bnn.errors import NetworkError
from xnorflow.bnn.folding import fold_affine, fold_multi_threshold, fold_threshold
from xnorflow.bnn.network import IntArray, Signal

GAMMA = st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-30, -1e-30, 1e-44, 3e37, -3e37, 0.37, -2.5])
STATISTIC = st.one_of(st.sampled_from([0.0, 0.5, -0.5, 1.0, -7.0, 1e30, -1e30, 1e-30]), st.floats(-50, 50, width=32))


def reachable(signal: Signal, channel: int) -> IntArray:
    return np.arange(signal.low[channel], signal.high[channel] + 1, signal.step)


@given(st.lists(st.tuples(GAMMA, STATISTIC, STATISTIC, st.sampled_from([0.0, 1e-12, 1.0, 40.0, 1e30])), min_size=1,
                max_size=6), st.integers(1, 60), st.sampled_from([1, 2]))  # fmt: skip
def test_batch_norm_and_sign(channels: list[tuple[float, float, float, float]], high: int, step: int) -> None:
    gamma, beta, mean, variance = (torch.tensor(column) for column in zip(*channels, strict=True))
    norm = torch.nn.BatchNorm1d(len(channels)).eval()
    norm.load_state_dict({"weight": gamma, "bias": beta, "running_mean": mean, "running_var": variance}, strict=False)

    def formula(acc: IntArray) -> NDArray[Any]:
        with torch.no_grad():
            return torch.where(norm(torch.from_numpy(acc).float()) >= 0, 1, -1).numpy()

    low = np.array([-high - (k % 3) * step for k in range(len(channels))])
    signal = Signal((len(channels),), low, np.full(len(channels), high), step=step)
    threshold = fold_threshold("t", ("x",), formula, signal)
    threshold.infer(signal)  # thresholds are inside the range
    for channel in range(len(channels)):
        acc = reachable(signal, channel)
        expected = formula(np.repeat(acc[:, None], len(channels), axis=1))[:, channel]
        folded = (
            (acc >= threshold.threshold[channel])
            if threshold.direction[channel] > 0
            else (acc <= threshold.threshold[channel])
        )
        assert np.array_equal(np.where(folded, 1, -1), expected)
        if 0 < folded.sum() < len(acc):
            assert threshold.threshold[channel] in acc


@given(st.lists(st.tuples(GAMMA, STATISTIC, st.sampled_from([-1.5, -0.5, 0.0, 0.5, 2.5])), min_size=1, max_size=6),
       st.integers(1, 60), st.sampled_from([1, 2]),
       st.sampled_from([(0, 1, 3), (-1, 1, 2), (-3, 2, 3), (0, 1, 15), (-8, 1, 15)]))  # fmt: skip
def test_scale_and_quantiser(
    channels: list[tuple[float, float, float]], high: int, step: int, quantiser: tuple[int, int, int]
) -> None:
    """Rounding half to even and clipping, with results that rise, fall, stay and jump over levels."""
    scale, offset, half = (np.array(column, np.float32) for column in zip(*channels, strict=True))
    lowest, distance, levels = quantiser

    def formula(acc: IntArray) -> NDArray[Any]:
        with np.errstate(over="ignore"):
            levelled: NDArray[Any] = lowest + distance * np.clip(
                np.rint(acc.astype(np.float32) * scale + offset + half), 0, levels
            )
            return levelled

    low = np.array([-high - (k % 3) * step for k in range(len(channels))])
    signal = Signal((len(channels),), low, np.full(len(channels), high), step=step)
    folded = fold_multi_threshold("t", ("x",), formula, signal, low=lowest, step=distance, levels=levels)
    folded.infer(signal)  # thresholds are inside the range
    for channel in range(len(channels)):
        acc = np.repeat(reachable(signal, channel)[:, None], len(channels), axis=1)
        assert np.array_equal(oracle.apply(folded, acc)[:, channel], formula(acc)[:, channel])


def test_large_range_is_evaluated_in_chunks() -> None:
    """A range of some millions of accumulators: the chunks' joints must not lose a change."""
    signal = Signal((2,), np.array([-6_000_000, -5]), np.array([6_000_000, 5]))
    point = np.array([2_097_152 - 6_000_000, 3])
    folded = fold_threshold("t", ("x",), lambda acc: np.where(acc >= point, 1, -1), signal)
    assert folded.threshold.tolist() == point.tolist() and folded.direction.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("words", "formula"),
    [
        ("got 0 for accumulator 0 of channel 0", np.sign),
        ("got nan for accumulator -3", lambda acc: np.where(acc == -3, np.nan, 1)),
        ("only rise or only fall", lambda acc: np.where(acc % 2 == 0, 1, -1)),
    ],
)
@pytest.mark.parametrize("rows", [None, np.arange(-3, 4)[:, None]])
def test_not_a_threshold(words: str, formula: object, rows: IntArray | None) -> None:
    with pytest.raises(NetworkError, match=f"^layer 't': expected .*{words}"):
        fold_threshold("t", ("x",), formula, Signal((1,), np.array([-3]), np.array([3])), rows)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "formula"),
    [
        (
            "one of 4 levels from -3 to 3, got -2.5 for accumulator 1 of channel 0",
            lambda acc: -3 + acc * 0.5 * (acc > 0),
        ),
        ("4 levels from -3 to 3, got 5 for", lambda acc: np.where(acc > 2, 5, 3)),
        ("got nan", lambda acc: np.where(acc == -3, np.nan, 1)),
        ("channel 0, got 2 changes in both directions", lambda acc: np.where(np.abs(acc) > 1, 3, -1)),
    ],
)
def test_not_several_thresholds(words: str, formula: object) -> None:
    signal = Signal((1,), np.array([-3]), np.array([3]))
    with pytest.raises(NetworkError, match=f"^layer 't': expected .*{words}"):
        fold_multi_threshold("t", ("x",), formula, signal, low=-3, step=2, levels=3)  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.floats(-2, 2, width=32), st.floats(-5, 5, width=32)), min_size=2, max_size=4),
       st.integers(1, 12))  # fmt: skip
def test_affine_ambiguous_counts_every_disagreement(channels: list[tuple[float, float]], n: int) -> None:
    slope, intercept = (np.array(column, np.float32) for column in zip(*channels, strict=True))
    signal = Signal((len(channels),), np.full(len(channels), -n), np.full(len(channels), n), step=2)
    formula = lambda acc: acc.astype(np.float32) * slope + intercept  # noqa: E731
    affine = fold_affine("a", ("x",), formula, signal, slope.astype(np.float64), intercept.astype(np.float64))
    acc = reachable(signal, 0)
    grid = np.repeat(acc[:, None], len(channels), axis=1)
    floats, integers = formula(grid), grid * affine.scale + affine.offset
    disagreements = 0
    for i in range(len(channels)):
        for j in range(i + 1, len(channels)):
            for a in range(len(acc)):
                for b in range(len(acc)):
                    disagreements += (floats[a, i] >= floats[b, j]) != (integers[a, i] >= integers[b, j])
    assert disagreements == affine.ambiguous


def test_affine_takes_the_narrowest_scores() -> None:
    signal = Signal((2,), np.array([-3, -3]), np.array([3, 3]))
    slope, intercept = np.array([0.5, -0.25]), np.array([0.0, 1.0])
    affine = fold_affine("a", ("x",), lambda acc: acc * slope + intercept, signal, slope, intercept)
    assert (affine.fraction, affine.ambiguous) == (2, 0)
    assert affine.scale.tolist() == [2, -1] and affine.offset.tolist() == [0, 4]


def test_affine_ties_go_to_the_lowest_class() -> None:
    """Equal float scores of two classes must be equal integers, or the wrong one could win."""
    signal = Signal((2,), np.array([-2, -2]), np.array([2, 2]))
    slope, intercept = np.array([1 / 3, 1 / 3]), np.array([0.1, 0.1])
    affine = fold_affine("a", ("x",), lambda acc: acc * slope + intercept, signal, slope, intercept)
    assert affine.ambiguous == 0 and affine.scale[0] == affine.scale[1] and affine.offset[0] == affine.offset[1]


def test_affine_refuses_infinity() -> None:
    signal = Signal((1,), np.array([-2]), np.array([2]))
    with pytest.raises(NetworkError, match="finite"):
        fold_affine("a", ("x",), lambda acc: acc * np.inf, signal, np.array([np.inf]), np.array([0.0]))


REAL = st.floats(-3, 3, width=32)


@given(REAL, st.floats(-40, 40, width=32), st.integers(1, 300), st.sampled_from([1, 2]))
def test_affine_of_one_score_keeps_its_sign_and_tells_accumulators_apart(
    slope: float, intercept: float, n: int, step: int
) -> None:
    signal = Signal((1,), np.array([-n]), np.array([n]), step=step)
    formula = lambda acc: acc.astype(np.float32) * np.float32(slope) + np.float32(intercept)  # noqa: E731
    affine = fold_affine("a", ("x",), formula, signal, np.array([slope]), np.array([intercept]))
    acc = reachable(signal, 0)
    integers = affine.scale[0] * acc + affine.offset[0]
    assert affine.ambiguous == ((integers >= 0) != (formula(acc) >= 0)).sum()
    if abs(slope) > 1e-4:  # else 40 bits may be too few beside the offset
        assert affine.ambiguous == 0 or abs(slope * acc + intercept).min() < 1e-4
        real = (slope * acc + intercept) * 2.0**affine.fraction
        nearest = np.abs(integers[:, None] - real[None, :]).argmin(axis=1)
        assert np.array_equal(nearest, np.arange(len(acc)))


def test_affine_of_one_score_counts_signs_that_the_framework_may_round_either_way() -> None:
    signal = Signal((1,), np.array([-3]), np.array([3]))
    half = np.array([0.5])
    ends = (lambda acc: acc * 0.5 - 0.1, lambda acc: acc * 0.5 + 0.1)
    affine = fold_affine("a", ("x",), lambda acc: acc * 0.5, signal, half, np.zeros(1), interval=ends)
    assert affine.ambiguous == 1  # accumulator 0 alone lies between -0.1 and 0.1


def test_affine_counts_what_the_interval_leaves_open_and_nothing_else() -> None:
    """A tie that is exact goes to the lower class and is decided; only what lies strictly between the ends is not."""
    signal = Signal((2,), np.array([0, 0]), np.array([2, 2]))
    one, zero = np.ones(2), np.zeros(2)
    exact = fold_affine("a", ("x",), lambda acc: acc * 1.0, signal, one, zero, (lambda acc: acc * 1.0,) * 2)
    assert exact.ambiguous == 0
    # Class 0 between acc and acc + 1, class 1 exact: acc0 >= acc1 surely, acc0 + 1 < acc1 surely not, else open.
    upper = fold_affine("a", ("x",), lambda acc: acc * 1.0, signal, one, zero,
                        (lambda acc: acc * 1.0, lambda acc: acc + np.array([1.0, 0.0])))  # fmt: skip
    assert upper.ambiguous == 2  # (0, 1) and (1, 2): equal to the upper end, which wins


@given(
    st.lists(st.tuples(st.integers(-70, 70), st.booleans()), min_size=1, max_size=5),
    st.integers(1, 60),
    st.sampled_from([1, 2, 3]),
    st.sampled_from([(-1, 2, 1), (0, 1, 3), (-4, 2, 4)]),
    st.integers(2, 5),
)
def test_bisection_finds_the_thresholds_that_all_accumulators_show(
    channels: list[tuple[int, bool]], count: int, step: int, scheme: tuple[int, int, int], known: int
) -> None:
    """Also where a channel never or always reaches a level, and whether it rises or falls."""
    lowest, distance, levels = scheme
    points = np.array([point for point, _ in channels])
    turn = np.array([-1 if falls else 1 for _, falls in channels])
    low = np.array([-count * step - k for k in range(len(channels))])
    signal = Signal((len(channels),), low, low + 2 * count * step, step=step)

    def formula(acc: IntArray) -> NDArray[Any]:
        passed = sum((turn * acc >= turn * points + 5 * level).astype(int) for level in range(levels))
        return lowest + distance * np.asarray(passed)

    rows = low + step * np.linspace(0, 2 * count, known).astype(int)[:, None]
    if levels == 1:
        assert fold_threshold("t", ("x",), formula, signal, rows) == fold_threshold("t", ("x",), formula, signal)
        return
    several, found = (
        fold_multi_threshold("t", ("x",), formula, signal, low=lowest, step=distance, levels=levels, rows=of)
        for of in (None, rows)
    )
    assert found == several
