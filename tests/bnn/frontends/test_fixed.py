"""Rounded weights: how far they take a sum is never more than what is proved; the rest stays exact."""

from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests import oracle

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.folding import fold_multi_threshold, fold_threshold
from xnorflow.bnn.frontends.core.assembler import Assembler, Geometry, Value, Window
from xnorflow.bnn.frontends.core.fixed import Fixed, NotExact, largest_error, rounded
from xnorflow.bnn.frontends.core.layout import canonical
from xnorflow.bnn.frontends.core.levels import sample
from xnorflow.bnn.network import Add, Conv2d, Input, MultiThreshold, Network, Signal

IMAGE = Input("x", (), shape=(4, 3, 2), kind="unsigned", bits=8)


def begun(fixed: Fixed | None, scale: NDArray[Any], shift: NDArray[Any]) -> tuple[Assembler, Value]:
    core = Assembler("model 'm'", fixed=fixed)
    core.at("model 'm', layer", "y")
    return core, core.start(IMAGE, canonical(IMAGE.shape), scale, shift)


def real_sum(kernel: Any, bias: Any, scale: Any, shift: Any, geometry: Any, image: Any) -> Any:
    """Convolve exact numbers: kernel (outputs, height, width, inputs), the image's integers (height, width, inputs)."""
    (height, width, inputs), (top, bottom, left, right) = image.shape, geometry.padding
    results = {}
    rows = (height + top + bottom - kernel.shape[1]) // geometry.stride[0] + 1
    columns = (width + left + right - kernel.shape[2]) // geometry.stride[1] + 1
    for row, column, output in product(range(rows), range(columns), range(len(kernel))):
        total = Fraction(float(bias[output]))
        for y, x, channel in product(range(kernel.shape[1]), range(kernel.shape[2]), range(inputs)):
            at = (row * geometry.stride[0] + y - top, column * geometry.stride[1] + x - left)
            if 0 <= at[0] < height and 0 <= at[1] < width:
                value = Fraction(float(scale[channel])) * int(image[(*at, channel)]) + Fraction(float(shift[channel]))
                total += Fraction(float(kernel[output, y, x, channel])) * value
        results[row, column, output] = total
    return results


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), bits=st.integers(2, 16), padded=st.booleans(), shifted=st.booleans(),
    spread=st.sampled_from([0.0, 1.0, 8.0]),
)  # fmt: skip
def test_sums_are_within_the_bound_of_exact_rational_ones(
    seed: int, bits: int, padded: Any, shifted: int, spread: Any
) -> None:
    rng = np.random.default_rng(seed)
    kernel = (rng.normal(size=(3, 2, 3, 2)) * np.exp(rng.normal(size=(3, 1, 1, 1)) * spread)).astype(np.float32)
    scale, bias = rng.uniform(0.001, 2, 2), rng.normal(size=3)
    shift = rng.normal(size=2) if shifted else np.zeros(2)
    geometry = Geometry((1, int(rng.integers(1, 3))), (1, 0, 2, 1) if padded else (0, 0, 0, 0))
    core, value = begun(Fixed(bits), scale, shift)
    made = core.convolution(value, kernel, geometry, bias)
    (name,) = made.sources
    network = Network("n", tuple(core.operations))
    image = rng.choice([0, 255, int(rng.integers(256))], IMAGE.shape)
    expected = real_sum(kernel, bias, scale, shift, geometry, image)
    sums = oracle.run(network, image[None])[name][0]
    exact_bound = [Fraction(float(bound)) for bound in core.rounded[name].bound]
    for (row, column, output), real in expected.items():
        stands_for = Fraction(float(made.encoding.scale[output])) * int(sums[row, column, output])
        stands_for += Fraction(float(made.encoding.shift[output]))
        assert abs(real - stands_for) <= exact_bound[output]
    assert isinstance(network[name], Add if padded and shifted else Conv2d)


def test_the_bound_is_never_below_a_million_draws() -> None:
    """Of weights and operands in units of 2**-20, whose sums int64 holds exactly."""
    rng = np.random.default_rng(1)
    units = rng.integers(-(2**20), 2**20, (10**6, 9)) >> rng.integers(0, 12, (10**6, 1))
    weight, scale, error = rounded(units / 2**20, 8)
    assert (np.abs(weight) < 128).all() and (np.abs(error) <= scale[:, None] / 2).all()
    integers = rng.choice([0, 255, 100], units.shape)
    real, ours = (units * integers).sum(axis=1), (weight.astype(np.int64) * integers).sum(axis=1)
    away = np.abs(real - ours * (scale * 2**20).astype(np.int64)) / 2**20
    bound = largest_error(error, units / 2**20, np.full(9, 255.0))
    assert (away <= bound).all()
    assert (away > 0.2 * bound).any()


def test_scales_are_powers_of_two_and_no_weight_saturates() -> None:
    weight, scale, error = rounded(np.array([[127.0, -127.0], [127.4, 1.0], [0.0, 0.0], [1e-30, 5e-31]]), 8)
    assert scale.tolist()[:3] == [1.0, 2.0, 1.0] and np.array_equal(np.log2(scale), np.rint(np.log2(scale)))
    assert weight.tolist()[:3] == [[127, -127], [64, 0], [0, 0]]  # 0.5 goes to the even integer
    assert np.array_equal(scale[:, None] * weight + error, [[127.0, -127.0], [127.4, 1.0], [0, 0], [1e-30, 5e-31]])  # type: ignore[arg-type]


ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "prelu": lambda x: np.where(x > 0, x, x * x.dtype.type(0.25)),
    "hardtanh": lambda x: np.clip(x, -1, 1),
    "rprelu": lambda x: np.where(x > 0.5, x - x.dtype.type(0.2), x * x.dtype.type(0.1) + x.dtype.type(0.25)),
    "falling": lambda x: -x * x.dtype.type(0.3) + np.minimum(x, 0) * x.dtype.type(-0.1),
    "sigmoid": lambda x: 1 / (1 + np.exp(-np.clip(x, -50, 50))),
}


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), bits=st.integers(2, 16), kind=st.sampled_from(list(ACTIVATIONS)),
    pooled=st.booleans(), spread=st.sampled_from([0.0, 3.0]),
)  # fmt: skip
def test_values_are_within_the_bound_of_real_ones(seed: int, bits: int, kind: str, pooled: Any, spread: Any) -> None:
    """Of an activation of exact sums, as the framework has it; behind a maximum, too."""
    rng = np.random.default_rng(seed)
    core, value = begun(Fixed(bits), np.ones(2), np.zeros(2))
    scale = (rng.normal(size=(3, 1, 1, 1)) * np.exp(rng.normal(size=(3, 1, 1, 1)) * spread)).astype(np.float32)
    kernel = rng.choice([-1, 1], (3, 2, 2, 2)).astype(np.float32) * scale
    sums = core.convolution(value, kernel, Geometry(), rng.normal(size=3) * 100)
    made = core.step([sums], ACTIVATIONS[kind])
    if pooled:
        made = core.max_pool(made, Window((2, 1), (1, 1)))
    settled = core.need(made)
    network = Network("n", tuple(core.operations))
    images = rng.choice([0, 255, 100, 7], (20, *IMAGE.shape))
    results = oracle.run(network, images)
    real = ACTIVATIONS[kind](sums.encoding.values(results["conv1"], 0)).astype(np.float64)
    if pooled:
        real = np.maximum(real[:, 1:], real[:, :-1])
    ours = settled.encoding.scale * results[settled.sources[0]] + settled.encoding.shift
    assert (np.abs(real - ours) <= settled.encoding.fixed * (1 + 1e-12)).all()
    levels = [of for of in core.operations if isinstance(of, MultiThreshold)]
    assert all(of.levels < 2 ** min(bits, 8) for of in levels)  # there are none where all is in the linear part
    assert {of.name for of in levels} == set(core.rounded)


def test_a_clip_of_rounded_values_is_no_quantiser_but_a_sign_is() -> None:
    core, value = begun(Fixed(4), np.full(2, 1 / 7), np.zeros(2))
    kernel = np.random.default_rng(0).normal(size=(2, 1, 1, 2)).astype(np.float32)
    values = core.need(core.step([core.convolution(value, kernel, Geometry())], lambda x: np.maximum(x, 0)))
    clipped = core.need(core.step([values], lambda x: np.minimum(x, 3)))
    signs = core.need(core.step([values], lambda x: np.where(x >= 5, 1, -1).astype(x.dtype)))
    assert clipped.sources[0] in core.rounded and clipped.sources[0] not in core.observed
    assert signs.sources[0] not in core.rounded and signs.sources[0] in core.observed


def test_values_that_rise_and_fall_are_refused() -> None:
    core, value = begun(Fixed(8), np.ones(2), np.zeros(2))
    made = core.convolution(value, np.ones((1, 1, 1, 2), np.float32), Geometry())
    with pytest.raises(UserError, match="layer: expected real values that only rise or only fall"):
        core.need(core.step([made], lambda x: np.abs(x - 100)))


def test_branches_of_any_scales_are_added_on_one_grid() -> None:
    rng = np.random.default_rng(3)
    core, value = begun(Fixed(8), np.ones(2), np.zeros(2))
    kernels = rng.choice([-1, 1], (2, 3, 1, 1, 2)) * rng.uniform(0.1, 2, (2, 3, 1, 1, 1))
    left, right = (core.convolution(value, kernel.astype(np.float32), Geometry()) for kernel in kernels)
    total = core.sum_of([left, right])
    network = Network("n", tuple(core.operations))
    images = rng.integers(0, 256, (20, *IMAGE.shape))
    results = oracle.run(network, images)
    real = sum(images @ kernel[:, 0, 0].T for kernel in kernels.astype(np.float32).astype(np.float64))
    ours = total.encoding.scale * results[total.sources[0]] + total.encoding.shift
    assert (np.abs(real - ours) <= total.encoding.fixed).all()
    with pytest.raises(UserError, match=r"the sum of results whose scales.*FIXED=8"):
        core, value = begun(None, np.ones(2), np.zeros(2))
        core.sum_of([core.convolution(value, kernel.astype(np.float32), Geometry()) for kernel in kernels])


@pytest.mark.parametrize(("values", "told"), [
    ([0.3, 0.7712345], "or integers up to 128 times that.*FIXED=8"),
    ([0.3, np.nan], "finite weights"),
])  # fmt: skip
def test_without_leave_weights_are_refused_and_it_is_told_how_to_give_it(values: list[float], told: str) -> None:
    core, value = begun(None, np.ones(2), np.zeros(2))
    with pytest.raises(UserError, match=rf"model 'm', layer: .*{told}") as error:
        core.convolution(value, np.array(values, np.float32).reshape(1, 1, 1, 2), Geometry())
    assert not isinstance(error.value, NotExact)


def test_weights_that_are_not_finite_are_refused_with_leave_too() -> None:
    core, value = begun(Fixed(), np.ones(2), np.zeros(2))
    with pytest.raises(UserError, match="finite weights"):
        core.convolution(value, np.array([0.3, np.inf], np.float32).reshape(1, 1, 1, 2), Geometry())


def test_what_is_exact_stays_so() -> None:
    kernel = np.array([0.5, -0.5], np.float32).reshape(1, 1, 1, 2)
    made = []
    for fixed in (None, Fixed(3)):
        core, value = begun(fixed, np.ones(2), np.zeros(2))
        core.convolution(value, kernel, Geometry())
        made.append(Network("n", tuple(core.operations)))
        assert core.rounded == {}
    assert made[0] == made[1]


def test_a_layer_has_its_own_bits_and_must_be_there() -> None:
    kernel = np.array([0.3, 0.7712345], np.float32).reshape(1, 1, 1, 2)
    core, value = begun(Fixed(4, {"conv1": 12}), np.ones(2), np.zeros(2))
    value = core.convolution(value, kernel, Geometry())
    assert core.rounded["conv1"].bits == 12
    with pytest.raises(UserError, match="no layer 'conv2' whose weights are rounded; there are conv1"):
        core.fixed = Fixed(4, {"conv2": 12})
        core.finish(core.convolution(value, np.ones((2, 4, 3, 1), np.float32), Geometry()), "m", chosen=False)
    with pytest.raises(UserError, match="conv1: expected 2 to 16 bits, got 17"):
        Fixed(4, {"conv1": 17})


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 2))
def test_bisection_finds_the_thresholds_of_evaluation(seed: int, levels: Any, step: int) -> None:
    rng = np.random.default_rng(seed)
    low = rng.integers(-500, 100, 5)
    signal = Signal((5,), low, low + step * rng.integers(0, 400, 5), step=step)
    slope, offset = rng.normal(size=5) * (rng.random(5) > 0.2), rng.normal(size=5) * 100

    def formula(integers: Any) -> Any:
        return np.clip(np.floor(slope * integers + offset), 0, levels)

    settings = {"low": 0, "step": 1, "levels": levels}
    rows = sample(signal)[0][:: max(1, int(rng.integers(100)))]
    rows = np.concatenate([rows, signal.high[None]])
    assert fold_multi_threshold("t", ("x",), formula, signal, **settings, rows=rows) == fold_multi_threshold(
        "t", ("x",), formula, signal, **settings
    )

    def sign(integers: Any) -> Any:
        return np.where(slope * integers + offset >= 0, 1, -1)

    assert fold_threshold("t", ("x",), sign, signal, rows) == fold_threshold("t", ("x",), sign, signal)


@pytest.mark.parametrize("few", [True, False])
def test_a_sign_behind_rounded_weights_has_two_values(few: bool) -> None:
    """Of a sum that is 0 somewhere, however many values it has."""
    core, value = begun(Fixed(3 if few else 16), np.ones(2), np.zeros(2))
    kernel = np.random.default_rng(0).normal(size=(40, 2, 2, 2)).astype(np.float32)
    made = core.step([core.convolution(value, kernel, Geometry())], np.sign, "sign")
    settled = core.need(made)
    assert core.signals[settled.sources[0]].bipolar
    network = Network("n", tuple(core.operations))
    sums = oracle.run(network, np.zeros((1, *IMAGE.shape), int))
    assert (sums["conv1"] == 0).all() and (sums[settled.sources[0]] == 1).all()
