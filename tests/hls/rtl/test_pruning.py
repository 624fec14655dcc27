"""Pruned networks against whole ones: every output, every layer that can be told, and what has to be gone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray
from tests import oracle, strategies
from tests.hls.rtl.icarus import build, needs_icarus, run
from tests.narrowed import a

from xnorflow.bnn.network import Affine, Argmax, Conv2d, Dense, Flatten, Input, MaxPool2d, Network, Threshold
from xnorflow.hls.rtl.config import Folded, RtlConfig, Unrolled
from xnorflow.hls.rtl.project import write
from xnorflow.hls.rtl.pruning import prune


def restored(layer: Any, values: NDArray[Any], pruned: Any) -> Any:
    remains = pruned.remains[layer]
    full = np.broadcast_to(remains.base, (*values.shape[:-1], remains.base.size)).copy()
    full[..., remains.kept] += values
    return full


def assert_exact(network: Network, pruned: Any, inputs: NDArray[Any]) -> None:
    expected, got = oracle.run(network, inputs), oracle.run(pruned.network, inputs)
    np.testing.assert_array_equal(got[network.output.name], expected[network.output.name])
    for layer, values in got.items():
        if layer not in pruned.remains:
            np.testing.assert_array_equal(values, expected[layer], err_msg=layer)
        elif pruned.remains[layer] is not None:
            np.testing.assert_array_equal(restored(layer, values, pruned), expected[layer], err_msg=layer)


@settings(max_examples=150, deadline=None)
@given(strategies.networks(width=20, weight_bits=4, operations=strategies.EVERY))
def test_pruned_networks_compute_the_same(network: Any) -> None:
    pruned = prune(network)
    assert_exact(network, pruned, strategies.inputs_for(network, 40))
    again = prune(pruned.network)
    for neurons, _ in again.counts.values():  # but the one that a layer must keep
        assert neurons <= 1


SECOND = np.array([[1, 1, -1, -1], [-1, 1, 1, 1], [1, 0, 1, -1]])


def chain(second: Any = SECOND, affine: bool = True) -> Any:
    """Of four neurons the first is always +1 and the third never; the second layer's weights are `second`."""
    rng = np.random.default_rng(5)
    last = (
        Dense("dense2", ("sign1",), second),
        *((Affine("affine", ("dense2",), np.array([3, -2, 0]), np.array([7, 8, 9])),) if affine else ()),
        Argmax("argmax", ("affine" if affine else "dense2",)),
    )  # fmt: skip
    return Network(
        "chain",
        (
            Input("image", (), shape=(6,)),
            Dense("dense1", ("image",), rng.choice(np.array([-1, 1], np.int8), (4, 6)) * np.array([1, 1, 1, 1, 0, 1])),
            Threshold("sign1", ("dense1",), np.array([-5, 0, 6, 1]), np.ones(4, np.int8)),
            *last,
        ),
    )


def every_input(count: int) -> Any:
    return np.array(list(np.ndindex(*[2] * count))) * 2 - 1


def test_constant_neurons_and_unused_inputs_are_left_out_and_counted() -> None:
    network = chain()
    pruned = prune(network)
    assert pruned.counts == {"dense1": (2, 1), "dense2": (0, 0)}
    assert a(Dense, pruned.network["dense1"]).weight.shape == (2, 6)
    assert a(Dense, pruned.network["dense2"]).weight.shape == (3, 2)
    assert_exact(network, pruned, every_input(6))
    assert set(pruned.remains) == {"dense1", "sign1", "dense2"}  # of dense1 nothing can be told


def test_neurons_without_a_reader_are_left_out() -> None:
    network = chain(SECOND * np.array([1, 0, 1, 1]))
    pruned = prune(network)
    assert pruned.counts == {"dense1": (2, 1), "dense2": (0, 1)}
    assert a(Dense, pruned.network["dense1"]).weight.shape == (1, 6)
    assert pruned.remains["sign1"] is None
    assert_exact(network, pruned, every_input(6))


def test_constants_stay_where_nothing_could_make_good_for_them() -> None:
    network = chain(affine=False)
    assert prune(network).network == network


def convolutional(pad_value: int) -> Any:
    """The first of three channels is always +1; it is read through a pool by a padded convolution."""
    rng = np.random.default_rng(3)
    first = rng.choice(np.array([-1, 1], np.int8), (3, 2, 2, 1))
    most = 3 * int((first[0] > 0).sum())
    return Network(
        "image",
        (
            Input("image", (), shape=(5, 4, 1), kind="unsigned", bits=2),
            Conv2d("conv1", ("image",), first),
            Threshold("sign1", ("conv1",), np.array([most, 1, 0]), np.array([-1, 1, 1], np.int8)),
            MaxPool2d("pool1", ("sign1",), (2, 2), (1, 1)),
            Conv2d("conv2", ("pool1",), rng.choice(np.array([-1, 1], np.int8), (2, 2, 2, 3)),
                   padding=(1, 0, 0, 1), pad_value=pad_value),
            MaxPool2d("pool2", ("conv2",), (2, 1), (1, 1)),
            Threshold("sign2", ("pool2",), np.array([1, -2]), np.array([1, -1], np.int8)),
            Flatten("flatten", ("sign2",)),
            Dense("dense", ("flatten",), rng.choice(np.array([-1, 1], np.int8), (2, 8))),
        ),
    )  # fmt: skip


@pytest.mark.parametrize("pad_value, neurons", [(1, 1), (0, 0), (-1, 0)])
def test_padding_must_look_like_the_constant(pad_value: int, neurons: int) -> None:
    network = convolutional(pad_value)
    pruned = prune(network)
    assert pruned.counts["conv1"] == (neurons, 0)
    assert_exact(network, pruned, strategies.inputs_for(network, 60))


@needs_icarus
@pytest.mark.parametrize("default", [Folded(2, 2), Unrolled(2)])
def test_probes_fill_in_what_is_not_computed(default: Folded | Unrolled, tmp_path: Path) -> None:
    network = chain()
    project = write(network, tmp_path / "rtl", RtlConfig(default=default))
    assert project.pruned == {"dense1": (2, 1), "dense2": (0, 0)}
    assert "| dense1 | 2 | 1 |" in (project.folder / "README.md").read_text()
    monitor = "\n".join(
        f"always @(posedge aclk) if (dut.{probe.stream}_valid && dut.{probe.stream}_ready && aresetn) "
        f'$display("probe {layer} %h", dut.{probe.stream}_data);'
        for layer, probe in project.probes.items()
    )
    inputs = every_input(6)
    build(project, len(inputs), extra=monitor)
    observed = run(project, inputs)
    expected = oracle.run(network, inputs)
    np.testing.assert_array_equal(observed.results["argmax"], expected["argmax"])
    assert set(project.probes) == {"image", "sign1", "dense2", "affine"}
    for layer, probe in project.probes.items():
        words = [line[2] for line in observed.lines if line[0] == "probe" and line[1] == layer]
        data = [bytes.fromhex(word.zfill(len(word) + len(word) % 2))[::-1] for word in words]
        values = probe.unpack(np.stack([np.frombuffer(word, np.uint8) for word in data]))
        np.testing.assert_array_equal(values, expected[layer], err_msg=layer)
