"""The automatic folding keeps its promises, by the cycle model that simulation holds exact."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from tests.hls.rtl.networks import small_recurrent
from tests.narrowed import a

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.network import Affine, Argmax, Conv2d, Dense, Flatten, Input, MaxPool2d, Network, Threshold
from xnorflow.hls.rtl.config import Folded, RtlConfig, Unrolled
from xnorflow.hls.rtl.cycles import cycles
from xnorflow.hls.rtl.folding import OutOfReach, choose
from xnorflow.hls.rtl.project import plan
from xnorflow.hls.rtl.units import Fifo


@pytest.fixture
def network() -> Any:
    """Pools in front of a convolution: its pixels come in bursts."""
    rng = np.random.default_rng(0)

    def weights(*shape: Any) -> Any:
        return rng.choice(np.array([-1, 1], np.int8), shape)

    return Network(
        "bursts",
        (
            Input("image", (), shape=(16, 16, 3), kind="unsigned", bits=8),
            Conv2d("conv1", ("image",), weights(8, 3, 3, 3), padding=(1, 1, 1, 1)),
            MaxPool2d("pool1", ("conv1",)),
            Threshold("sign1", ("pool1",), np.zeros(8, np.int64), np.ones(8, np.int8)),
            Conv2d("conv2", ("sign1",), weights(16, 3, 3, 8), padding=(1, 1, 1, 1)),
            Threshold("sign2", ("conv2",), np.zeros(16, np.int64), np.ones(16, np.int8)),
            Flatten("flatten", ("sign2",)),
            Dense("dense", ("flatten",), weights(10, 1024)),
        ),
    )


@pytest.mark.parametrize("rate", [3e3, 1e5, 1e6])
def test_a_recurrent_layer_is_folded_by_the_cycles_of_its_loop(rate: Any) -> None:
    """A step begins when the one before it is done, so that the pipeline stages count with every step."""
    network = small_recurrent()
    choice = choose(network, RtlConfig(clock_ns=10), target_fps=rate)
    assert choice.timing.frames_per_second(10) >= rate
    layers = {layer.name: layer for layer in choice.layers}
    assert layers["state1"].neurons == layers["state1"].inputs == 7 and layers["state1"].vectors == 5
    assert layers["state1"].cycles <= 1e8 / rate
    slowest = choose(network, RtlConfig(), max_luts=10**6)
    assert slowest.timing.interval <= choice.timing.interval


@pytest.mark.parametrize("rate", [5e3, 5e4, 2e5])
def test_the_target_rate_is_reached_and_the_layers_are_balanced(network: Network, rate: float) -> None:
    choice = choose(network, RtlConfig(clock_ns=10), target_fps=rate)
    assert choice.timing.frames_per_second(10) >= rate
    assert cycles(plan(network, choice.config)) == choice.timing
    assert choose(network, choice.config) == choice
    wanted = 1e8 / rate
    for layer in choice.layers:
        assert layer.cycles <= wanted
        folded = a(Folded, layer.architecture)
        smaller = [Folded(max(1, folded.pe - 1), folded.simd), Folded(1, max(1, folded.simd - 1))]
        assert folded in smaller or wanted / 4 < layer.cycles  # none does much more than it must


def test_the_area_is_kept_and_more_area_is_no_slower(network: Network) -> None:
    intervals = []
    for limit in (1_200, 2_000, 16_000):
        choice = choose(network, RtlConfig(), max_luts=limit)
        assert choice.luts <= limit
        assert choose(network, choice.config) == choice
        intervals.append(choice.timing.interval)
    assert intervals == sorted(intervals, reverse=True)
    assert intervals[0] > intervals[-1]


def test_layers_that_are_named_stay_as_they_are(network: Network) -> None:
    fixed = Folded(2, 9)
    choice = choose(network, RtlConfig(layers={"conv1": fixed}), target_fps=1e3)
    assert choice.config.layers["conv1"] == fixed
    assert set(choice.config.layers) == {"conv1", "conv2", "dense"}


def test_a_rate_out_of_reach_gives_the_highest_where_that_will_do(network: Network) -> None:
    choice = choose(network, RtlConfig(), target_fps=1e9, strict=False)
    with pytest.raises(OutOfReach, match=f"{choice.timing.frames_per_second(10):,.0f} is the most") as refused:
        choose(network, RtlConfig(), target_fps=1e9)
    assert refused.value.nearest == choice


def test_an_area_too_small_gives_the_least_where_that_will_do(network: Network) -> None:
    choice = choose(network, RtlConfig(), max_luts=50, strict=False)
    with pytest.raises(OutOfReach, match=f"the least is estimated at {choice.luts:,}") as refused:
        choose(network, RtlConfig(), max_luts=50)
    assert refused.value.nearest == choice


def test_without_a_wish_the_configuration_is_taken_as_it_is(network: Network) -> None:
    config = RtlConfig(layers={"dense": Unrolled()}, default=Folded(3, 500))
    choice = choose(network, config)
    assert choice.config == config
    assert {layer.name: layer.architecture for layer in choice.layers} == {
        "conv1": Folded(3, 27),  # cut to the layer's size
        "conv2": Folded(3, 72),
        "dense": Unrolled(),
    }
    assert choice.timing == cycles(plan(network, config))
    assert choice.luts > sum(layer.luts for layer in choice.layers) > choice.layers[2].luts > 1000


@pytest.mark.parametrize(
    "goal, message",
    [
        ({"target_fps": 1e9}, "cannot reach"),
        ({"target_fps": -1.0}, "cannot reach"),
        ({"max_luts": 50}, "does not fit"),
        ({"target_fps": 1.0, "max_luts": 50}, "either"),
    ],
)
def test_a_goal_that_cannot_be_met_is_refused(network: Network, goal: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        choose(network, RtlConfig(), **goal)


def test_fifos_are_as_good_as_endless_ones_and_needed(network: Network) -> None:
    # conv2 takes four times as long per pixel as conv1, and gets a quarter of the pixels, all in every second row
    config = RtlConfig(layers={"conv1": Folded(8, 1), "conv2": Folded(4, 3), "dense": Folded(10, 64)})
    pipeline = plan(network, config)

    def interval(depth: Any) -> Any:
        units = (dataclasses.replace(unit, depth=depth) if isinstance(unit, Fifo) else unit for unit in pipeline.units)
        return cycles(dataclasses.replace(pipeline, units=tuple(units))).interval

    depths = [unit.depth for unit in pipeline.units if isinstance(unit, Fifo)]
    assert min(depths) == 1 and 1 < max(depths) < 20
    assert cycles(pipeline).interval == interval(1000) < interval(2)


def with_scores() -> Network:
    rng = np.random.default_rng(0)
    weights = [rng.choice(np.array([-1, 1], np.int8), shape) for shape in ((16, 40), (10, 16))]
    return Network(
        "scores",
        (
            Input("x", (), shape=(40,)),
            Dense("dense1", ("x",), weights[0]),
            Threshold("sign", ("dense1",), np.zeros(16, np.int64), np.ones(16, np.int8)),
            Dense("dense2", ("sign",), weights[1]),
            Affine("affine", ("dense2",), rng.integers(1, 99, 10), rng.integers(-99, 99, 10)),
            Argmax("argmax", ("affine",)),
        ),
    )


@pytest.mark.parametrize("interval", [1, 2, 7, 10, 40, 640])
def test_scores_are_taken_as_the_rate_wants_and_the_plan_is_what_is_built(interval: int) -> None:
    choice = choose(with_scores(), RtlConfig(clock_ns=10), target_fps=1e8 / interval)
    assert choice.timing.interval <= interval
    assert choice.timing == cycles(plan(with_scores(), choice.config))
    within = choose(with_scores(), RtlConfig(), max_luts=choice.luts)
    assert within.luts <= choice.luts
    assert within.timing == cycles(plan(with_scores(), within.config))
