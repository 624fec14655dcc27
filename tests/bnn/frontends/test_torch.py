"""The PyTorch front end: exact on hostile modules, and plain refusals of everything else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import strategies
from tests.bnn.frontends.torch_chains import agree, hostile
from torch import nn

from xnorflow.bnn.canonical import canonicalise
from xnorflow.bnn.errors import UserError
from xnorflow.bnn.frontends.torch import convert, module_input, trace
from xnorflow.bnn.network import Argmax, Conv2d, Input, MaxPool2d, Threshold
from xnorflow.cosim.compare import compare
from xnorflow.cosim.golden import Golden
from xnorflow.cosim.pytorch import PyTorch
from xnorflow.models.layers import BNN, BinaryConv2d, BinaryLinear, Sign

VECTOR = Input("x", (), shape=(20,))
IMAGE = Input("x", (), shape=(8, 9, 3))
PIXELS = Input("x", (), shape=(8, 9, 3), kind="unsigned", bits=8)
FIXED = Input("x", (), shape=(8, 9, 3), kind="signed", bits=6, fraction=4)


def conv_net(*, pool: str, stride: int = 1, padding: int = 1) -> nn.Sequential:
    norm, sign, hardtanh, max_pool = nn.BatchNorm2d(6), Sign(), nn.Hardtanh(), nn.MaxPool2d(2)
    middle = {
        "before norm": (max_pool, norm, sign),
        "before sign": (norm, max_pool, hardtanh, sign),
        "after sign": (norm, hardtanh, sign, max_pool),
        "odd": (nn.MaxPool2d(3, stride=2), norm, sign),
    }[pool]
    return nn.Sequential(
        nn.Sequential(BinaryConv2d(3, 6, 3, stride=stride, padding=padding), *middle),
        *(BinaryConv2d(6, 5, 2, padding=1), nn.BatchNorm2d(5, affine=False), Sign(), nn.Dropout(0.5)),
        *(nn.Flatten(), nn.LazyBatchNorm1d(), Sign(), nn.Identity()),
    )


def finish(module: nn.Sequential, input: Input) -> nn.Sequential:
    """Add a dense classifier of the right width."""
    module.eval()(module_input(np.ones((1, *input.shape), np.int64), input))
    features = module(module_input(np.ones((1, *input.shape), np.int64), input)).shape[1]
    module.extend([BinaryLinear(features, 7), nn.BatchNorm1d(7)])
    return module.eval()


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_dense(seed: int) -> None:
    torch.manual_seed(seed % 1000)
    agree(hostile(BNN((20, 17, 9, 4)).eval(), seed), VECTOR, seed)


@pytest.mark.parametrize("pool", ["before norm", "before sign", "after sign", "odd"])
@pytest.mark.parametrize("input", [IMAGE, PIXELS, FIXED], ids=["bipolar", "pixels", "fixed"])
@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (1, 1), (2, 1)])
def test_convolution(pool: str, input: Input, stride: int, padding: int) -> None:
    torch.manual_seed(0)
    for seed in range(3):
        agree(hostile(finish(conv_net(pool=pool, stride=stride, padding=padding), input), seed), input, seed)


def test_module_input_is_float_and_channels_first() -> None:
    values = np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5)
    taken = module_input(values, PIXELS)
    assert taken.shape == (2, 5, 3, 4) and taken.dtype == torch.float32 and taken[1, 4, 2, 3] == values[1, 2, 3, 4]
    assert module_input(np.array([[16, -8]]), FIXED).tolist() == [[1.0, -0.5]]


def test_structure() -> None:
    module = finish(conv_net(pool="before sign"), IMAGE)
    conversion = trace(module, "n", IMAGE)
    kinds = " ".join(type(operation).__name__ for operation in conversion.network.operations)
    assert kinds == "Input Conv2d Threshold MaxPool2d Conv2d Threshold Flatten Dense Affine Argmax"
    assert "threshold1" not in conversion.observed  # PyTorch pools first, so it never computes these signs
    assert {"pool1", "conv1", "threshold2", "dense1"} <= set(conversion.observed)


@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_same_padding_and_strings() -> None:
    module = nn.Sequential(BinaryConv2d(3, 2, 4, padding="same"), Sign()).eval()  # type: ignore[arg-type]
    agree(module, PIXELS, 1)
    assert isinstance(conv := convert(module, "n", PIXELS)["conv1"], Conv2d) and conv.padding == (1, 2, 1, 2)


def test_ternary_and_foreign_layers() -> None:
    """Any Linear with a binary_weight() will do, ternary ones too; any element-wise sign as well."""

    class Ternary(nn.Linear):
        def binary_weight(self) -> torch.Tensor:
            return self.weight.mul(4).round().clamp(-1, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ self.binary_weight().T

    class ForeignSign(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.sign(x)

    torch.manual_seed(0)
    norm = nn.BatchNorm1d(9)
    nn.init.constant_(norm.bias, 0.1)
    agree(nn.Sequential(Ternary(20, 9, bias=False), norm, ForeignSign(), BinaryLinear(9, 3)).eval(), VECTOR, 0)
    agree(nn.Sequential(BinaryConv2d(3, 2, 3), nn.BatchNorm2d(2), ForeignSign()).eval(), IMAGE, 0)


def test_an_activation_whose_few_values_lie_apart_unevenly_is_exact() -> None:
    agree(nn.Sequential(BinaryLinear(20, 3), nn.Hardtanh(-2.5, 2)).eval(), VECTOR, 0)


def test_module_is_left_alone() -> None:
    module = BNN((20, 4)).train()
    convert(module, "n", VECTOR)
    assert module.training and all(child.training for child in module)


def linear(change: Callable[[Any], object]) -> nn.Sequential:
    module = BNN((20, 4, 3))
    change(module)
    return module


@pytest.mark.parametrize(
    ("words", "module", "input"),
    [
        ("expected an nn.Module, got int", 3, VECTOR),
        ("at least one layer", nn.Sequential(), VECTOR),
        (r"module '1' \(Softshrink\): softshrink: not supported; supported are",
         nn.Sequential(BinaryLinear(20, 3), nn.Softshrink()), VECTOR),
        (r"module '1' \(BatchNorm1d\): batch_norm: expected a sign or quantiser after it \(before module '3'",
         hostile(nn.Sequential(BinaryLinear(20, 3), nn.BatchNorm1d(3), nn.Dropout(), BinaryLinear(3, 2)).eval(), 2),
         VECTOR),
        (r"module '1' \(ReLU\): relu: expected a sign or quantiser after it \(before module '2'",
         nn.Sequential(BinaryConv2d(3, 3, 3), nn.ReLU(), BinaryConv2d(3, 2, 3)), PIXELS),
        (r"module '1.0' \(Linear\): addmm: expected weights -a, 0 and \+a",
         nn.Sequential(Sign(), nn.Sequential(nn.Linear(20, 3))), VECTOR),
        ("fails when it is called.*RuntimeError: mat1 and mat2 shapes", nn.Sequential(BinaryLinear(19, 3)), VECTOR),
        ("running_mean should contain 4", linear(lambda m: m.__setitem__(1, nn.BatchNorm1d(5))), VECTOR),
        ("finite.* in '1.weight'", linear(lambda m: nn.init.constant_(m[1].weight, float("nan"))), VECTOR),
        ("finite.* in '4.bias'", linear(lambda m: nn.init.constant_(m[4].bias, float("inf"))), VECTOR),
        ("running statistics", nn.Sequential(BinaryLinear(20, 4), nn.BatchNorm1d(4, track_running_stats=False)),
         VECTOR),
        ("expected dilation 1", nn.Sequential(nn.MaxPool2d(2, dilation=2)), IMAGE),
        ("windows are all of one size", nn.Sequential(nn.AdaptiveAvgPool2d(5)), IMAGE),
        ("without windows that reach out", nn.Sequential(nn.AvgPool2d(3, 2, ceil_mode=True)), IMAGE),
        ("count_include_pad=True", nn.Sequential(nn.AvgPool2d(2, 1, 1, count_include_pad=False)), IMAGE),
        ("an image with its channels first", nn.Sequential(BinaryConv2d(3, 2, 3), nn.Flatten(2)), IMAGE),
        ("pad_value|padding smaller", nn.Sequential(BinaryConv2d(3, 2, 2, padding=2)), IMAGE),
    ],
)  # fmt: skip
def test_refused(words: str, module: nn.Module, input: Input) -> None:
    with pytest.raises(UserError, match=words):
        convert(module, "n", input)


def test_sums_beyond_float32_are_refused() -> None:
    wide = Input("x", (), shape=(600,), kind="unsigned", bits=16)
    with pytest.raises(UserError, match="which float32 holds exactly"):
        convert(nn.Sequential(BinaryLinear(600, 2)), "n", wide)


def test_classes_and_signs_at_the_end() -> None:
    scores = convert(nn.Sequential(BinaryLinear(20, 3)), "n", VECTOR)
    assert isinstance(scores.output, Argmax) and scores.output.inputs == ("dense1",)
    signs = convert(nn.Sequential(BinaryLinear(20, 3), Sign()), "n", VECTOR)
    assert isinstance(signs.output, Threshold)
    assert isinstance(convert(nn.Sequential(nn.MaxPool2d((2, 3))), "n", IMAGE).output, MaxPool2d)


def test_an_argmax_per_pixel_is_compared_at_every_pixel(tmp_path: Path) -> None:
    class Segmenter(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            classes: torch.Tensor = super().forward(x).argmax(1)
            return classes

    torch.manual_seed(0)
    layers = (BinaryConv2d(3, 4, 3), nn.BatchNorm2d(4), Sign(), BinaryConv2d(4, 3, 1))
    conversion = trace(Segmenter(*layers).eval(), "n", PIXELS)
    network = canonicalise(conversion.network)
    inputs = strategies.inputs_for(network, 20)
    engine, golden = PyTorch(conversion), Golden()
    for of in (engine, golden):
        of.prepare(network, tmp_path)
    results = engine.run(inputs)
    assert results["argmax"].shape == (20, *network.signals["argmax"].shape) and results["argmax"].size > 20
    assert compare(network, golden.run(inputs), results).first is None
