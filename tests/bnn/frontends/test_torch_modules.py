"""Modules as people write them: functional calls, custom autograd functions, scales, biases, branches, views."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import oracle, strategies
from tests.bnn.frontends.torch_modules import IMAGE, PIXELS, VECTOR, Where, Written, agree, hostile
from torch import nn
from torch.nn import functional as F

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.frontends.torch import module_input, trace
from xnorflow.bnn.network import Conv2d, Input
from xnorflow.cosim.engine import EngineError
from xnorflow.cosim.pytorch import PyTorch
from xnorflow.models.layers import BinaryConv2d, Sign


class Halves(torch.autograd.Function):
    """Another one, which gives 0 and 1."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return (x > 0).float()

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:
        return gradient


SIGNS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "custom": Where.apply,
    "zero and one": Halves.apply,
    "torch.sign": torch.sign,  # 0 at 0: three values
    "shifted": lambda x: torch.sign(x + 0.5),
    "arithmetic": lambda x: 2 * (x >= 0).to(torch.float32) - 1,
    "clamped": lambda x: F.hardtanh(x, inplace=True).sign(),
    "like": lambda x: torch.where(x < 0, -torch.ones_like(x), torch.ones_like(x)),
    "down": lambda x: torch.where(x > 1.5, -1.0, 1.0),
    "two bits": lambda x: torch.clamp(torch.round(x * 0.25), -2, 1) * 0.5,
}


def mlp(sign: str, *, scale: bool = False, bias: bool = False) -> Any:
    def forward(m: Any, x: Any) -> Any:
        weights = [F.hardtanh(w).sign() for w in (m.first, m.second)]
        if scale:
            weights = [w * latent.abs().mean(1, keepdim=True) for w, latent in zip(weights, (m.first, m.second))]
        x = SIGNS[sign](m.norm(F.linear(x, weights[0], m.bias if bias else None)))
        return F.log_softmax(F.linear(x.view(x.size(0), -1), weights[1]), dim=1)

    return lambda seed: hostile(Written(forward, seed=seed, first=(8, 20), second=(5, 8), bias=(8,)), seed)


@pytest.mark.parametrize("sign", SIGNS)
def test_signs_are_told_by_what_they_do(sign: str) -> None:
    for seed in range(3):
        conversion = agree(mlp(sign)(seed), VECTOR, seed)
        assert any("softmax is left out" in note for note in conversion.notes)


@pytest.mark.parametrize(("scale", "bias"), [(True, False), (False, True), (True, True)])
def test_scales_and_biases(scale: bool, bias: bool) -> None:
    unproved = []
    for seed in range(4):
        make = mlp("custom", scale=scale, bias=bias)
        unproved.append(agree(make(seed), VECTOR, seed, 300).ambiguous)  # ties, which float32 may round either way
        module = make(seed)
        nn.init.normal_(module.norm.running_mean)
        nn.init.ones_(module.norm.running_var)
        assert not agree(module, VECTOR, seed, 300).ambiguous
    assert any(unproved) == (scale and not bias)


def test_zeros_of_a_sign_are_said_and_counted() -> None:
    module = Written(lambda m, x: F.linear(torch.sign(F.linear(x, m.a.sign())), m.b.sign()), a=(8, 20), b=(3, 8))
    conversion = agree(module, VECTOR)
    (note,) = conversion.notes
    assert "gives 0 at 0, which 8 of 168 pairs" in note  # each of 8 sums of 20 terms has 21 values
    with torch.no_grad():
        module.get_parameter("a")[0, :3] = 0
    notes = agree(module, VECTOR).notes
    assert any("3 of 160 weights are 0" in note for note in notes)


def test_a_sign_that_tells_minus_zero_from_zero_is_refused() -> None:
    module = Written(lambda m, x: torch.copysign(torch.ones_like(y := F.linear(x, m.a.sign())), y), a=(8, 20))
    with pytest.raises(UserError, match=r"the same for -0\.0 as for 0\.0"):
        trace(module, "n", VECTOR)


def block(m: Any, x: Any) -> Any:
    """Conv, pool between batch norm and sign, padding with -1, groups and dilation."""
    x = F.conv2d(x, Where.apply(m.a), padding=1)
    x = Where.apply(F.max_pool2d(m.image_norm(x), 2))
    x = F.conv2d(F.pad(x, (1, 1, 1, 1), value=-1.0), Where.apply(m.b), groups=2)
    x = Where.apply(x - 0.5)
    x = F.conv2d(x, Where.apply(m.c), dilation=2)
    return torch.flatten(x, 1)


@pytest.mark.parametrize("input", [IMAGE, PIXELS], ids=["bipolar", "pixels"])
def test_convolutions(input: Input) -> None:
    for seed in range(4):
        module = Written(block, seed=seed, a=(4, 2, 3, 3), b=(4, 2, 3, 3), c=(3, 4, 2, 2))
        try:
            conversion = agree(hostile(module, seed), input, seed, 40)
        except UserError as error:  # a negative scale between the pool and its sign
            assert "a sign that never falls after a max pool" not in str(error), error
            raise
        network = conversion.network
        second = network["conv2"]
        assert isinstance(second, Conv2d) and second.pad_value == -1 and (second.weight[0, ..., 2:] == 0).all()


def residual(m: Any, x: Any) -> Any:
    """Integers along the shortcut, batch norm and sign on the branch; averages at the end."""
    x = F.conv2d(x, Where.apply(m.a), padding=1)
    for weight in (m.b, m.c):
        x = x + F.conv2d(Where.apply(m.image_norm(x)), Where.apply(weight), padding=1)
    y = F.avg_pool2d(x, 2).mean((2, 3)) if m.double else F.adaptive_avg_pool2d(x, 1).flatten(1)
    return F.linear(Where.apply(y - 0.1), Where.apply(m.d))


@pytest.mark.parametrize("double", [False, True])
def test_residual_additions_and_averages(double: bool) -> None:
    for seed in range(3):
        module = Written(residual, seed=seed, a=(4, 2, 3, 3), b=(4, 4, 3, 3), c=(4, 4, 3, 3), d=(3, 4))
        module.double = double  # type: ignore[assignment, method-assign]
        conversion = agree(hostile(module, seed), IMAGE, seed, 40)
        kinds = [type(operation).__name__ for operation in conversion.network.operations]
        assert kinds.count("Add") == 2 and kinds.count("SumPool2d") == 1 + double


@pytest.mark.parametrize(("channels", "layout"), [(1, torch.contiguous_format), (2, torch.channels_last)])
def test_the_layout_in_memory_makes_no_difference(channels: int, layout: torch.memory_format) -> None:
    """Strides of an image of one channel may be those of channels last, too."""
    module = nn.Sequential(BinaryConv2d(channels, 4, 3), nn.BatchNorm2d(4), Sign(), BinaryConv2d(4, 3, 3))
    module.append(nn.AdaptiveAvgPool2d(1)).append(nn.Flatten()).to(memory_format=layout)  # type: ignore[call-overload]
    network = agree(hostile(module, 1), Input("x", (), shape=(6, 6, channels), kind="unsigned", bits=4)).network
    assert any(type(operation).__name__ == "SumPool2d" for operation in network.operations)


def test_views() -> None:
    def forward(m: Any, x: Any) -> Any:
        x = F.conv2d(x, Where.apply(m.a)).permute(0, 2, 3, 1).contiguous()  # channels last
        x = Where.apply(x.reshape(len(x), -1)[:, None].transpose(1, 2).squeeze(-1) - 0.5)
        return F.linear(x, Where.apply(m.b))

    agree(Written(forward, a=(4, 2, 3, 3), b=(3, 64)), PIXELS)


@settings(max_examples=15)
@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.sampled_from(["conv", "pool", "norm sign", "sign", "add", "scale"]), min_size=1, max_size=7),
)
def test_random_architectures(seed: int, steps: list[str]) -> None:
    """Whatever is accepted is exact."""

    def forward(m: Any, x: Any) -> Any:
        x = F.conv2d(x, Where.apply(m.a), padding=1)
        before = x
        for number, step in enumerate(steps):
            if step == "conv":
                before, x = x, F.conv2d(x, torch.roll(Where.apply(m.b), number, 0), padding=1)
            elif step == "pool":
                x = F.max_pool2d(x, 2) if x.shape[-1] > 1 else x
            elif step == "norm sign":
                x = Where.apply(m.image_norm(x))
            elif step == "sign":
                x = torch.sign(x)
            elif step == "add" and before.shape == x.shape and before is not x:
                x = x + before
            elif step == "scale":
                x = x * 0.5
        return F.linear(x.flatten(1).sign(), Where.apply(m.c)[:, : x.shape[1:].numel()], m.d)

    module = Written(forward, seed=seed % 99, a=(4, 2, 3, 3), b=(4, 4, 3, 3), c=(3, 144), d=(3,))
    try:
        agree(hostile(module, seed), IMAGE, seed % 999, 20)
    except UserError as error:
        assert "expected" in str(error)


def dynamic(m: Any, x: Any) -> Any:
    return F.linear(x if x.sum() > 0 else -x, m.a.sign())


def chance(m: Any, x: Any) -> Any:
    return F.linear(F.dropout(x, 0.5, training=True), m.a.sign())


def turning(m: Any, x: Any) -> Any:
    m.a.data.neg_()
    return F.linear(x, m.a.sign())


def hidden(m: Any, x: Any) -> Any:
    y = F.linear(x, m.a.sign())
    return y + float(y.detach().numpy().sum() > 1e9) if m.training else torch.from_numpy(y.numpy() * 2) - y


@pytest.mark.parametrize("scale", [0.125, 3.0, 0.3])
def test_branches_of_different_scales(scale: float) -> None:
    """a / 8 + b is one of integers, (a + 8 b) / 8; with 0.3 for both, of floats near such."""
    other = 1.0 if scale != 0.3 else scale

    def forward(module: Any, x: Any) -> Any:
        y = F.linear(x, module.a.sign() * scale)
        y = y + F.linear(x, module.b.sign() * other)
        return F.linear(Where.apply(module.norm(y)), module.c.sign())

    module = hostile(Written(forward, a=(8, 20), b=(8, 20), c=(3, 8)), 3)
    network = agree(module, VECTOR, 3).network
    assert any(type(operation).__name__ == "Add" for operation in network.operations)


REFUSED = {
    "dynamic": (dynamic, "its control flow depends on values"),
    "chance": (chance, "gives another result with every call: does it depend on chance"),
    "turning": (turning, "gives another result with every call.*or change its own parameters"),
    "hidden": (hidden, "its trace computes something else than the module"),
    "two results": (lambda m, x: (x, x), "one tensor"),
    "no result": (lambda m, x: m.a.sign(), "one tensor made from its input"),
    "raises": (lambda m, x: x.nonsense(), r"it fails when it is called.*float32 \(64, 20\): AttributeError"),
    "input scales": (lambda m, x: F.conv2d(x, m.b.sign()) * x.mean(1, keepdim=True)[..., 2:, 2:], "input scales K"),
    "several scales": (
        lambda m, x: F.linear(F.linear(x, m.a.sign() * m.a.abs().mean(1, keepdim=True)), m.a[:, :8].sign()),
        "a sign or quantiser between two layers of weights",
    ),
    "full precision": (lambda m, x: F.linear(x, m.a), "weights -a, 0 and"),
    "an operand times another": (
        lambda m, x: F.linear(x, m.a.sign()) * F.linear(x, m.a.neg().sign()),
        "operands from one layer",
    ),
    "rounded addition": (
        lambda m, x: F.linear(x, m.a.sign() * 0.3) + F.linear(x, -m.a.sign()),
        "the sum of results whose scales are in a ratio",
    ),
    "positions": (
        lambda m, x: torch.sign(F.conv2d(x, m.b.sign()) + torch.arange(16.0).reshape(4, 4) + 0.5),
        "differ from one to the next",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    forward, words = REFUSED[name]
    image = name in ("input scales", "positions")
    with pytest.raises(UserError, match=words):
        trace(Written(forward, a=(8, 20), b=(4, 2, 3, 3)), "n", IMAGE if image else VECTOR)


def test_the_engine_sees_a_module_that_has_changed() -> None:
    module = mlp("custom")(1)
    conversion = trace(module, "n", VECTOR)
    engine = PyTorch(conversion)
    engine.prepare(conversion.network, None)  # type: ignore[arg-type]
    inputs = strategies.inputs_for(conversion.network, 70, 0)
    assert engine.run(inputs)["argmax"].shape == (70, 1)
    with torch.no_grad():
        conversion.module.get_parameter("second").neg_()
    before = oracle.run(conversion.network, inputs)
    with pytest.raises(EngineError, match="trace does not compute what the module does"):
        conversion.module.written = lambda m, x: -F.linear(x[:, :8], m.second.sign())  # type: ignore[assignment]
        engine.run(inputs)
    assert before["argmax"].shape == (70, 1)
    with pytest.raises(EngineError, match="not the conversion"):
        engine.prepare(trace(mlp("custom")(2), "n", VECTOR).network, None)  # type: ignore[arg-type]


def test_the_digest_knows_every_weight() -> None:
    first = trace(mlp("custom")(1), "n", VECTOR)
    assert first.digest == trace(mlp("custom")(1), "n", VECTOR).digest
    module = mlp("custom")(1)
    with torch.no_grad():
        module.norm.bias[3] += 2**-20
    assert first.digest != trace(module, "n", VECTOR).digest


def test_the_module_is_fed_channels_first() -> None:
    assert module_input(np.zeros((2, 6, 5, 3), np.int64), PIXELS).shape == (2, 3, 6, 5)
