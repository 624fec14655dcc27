"""Operators of PyTorch, each equal to the module's own integers on every vector, behind hostile batch norms."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.bnn.frontends.torch_modules import IMAGE, PIXELS, VECTOR, Where, Written, agree, hostile
from torch import nn
from torch.nn import functional as F

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.frontends.torch import check, trace
from xnorflow.bnn.network import Input

SEQUENCE = Input("x", (), shape=(12, 2))
SHAPES = {"a": (4, 2, 3, 3), "b": (4, 4, 3, 3), "t": (4, 4, 2, 2), "l": (5, 4), "p": (4,), "s": (4, 2, 3)}


def ends(m: Any, x: Any) -> Any:
    """A sign, the mean over the image and a dense layer of 5 classes."""
    return F.linear(Where.apply(x).mean((2, 3)), m.l.sign())


def sums(m: Any, x: Any, **options: Any) -> Any:
    return F.conv2d(x, m.a.sign(), **options)


def concatenated(m: Any, x: Any) -> Any:
    y = sums(m, x)
    y = torch.cat([Where.apply(m.image_norm(y)), Where.apply(y + 0.5)], 1)
    return ends(m, m.image_norm(F.conv2d(y, torch.cat([m.b, -m.b.roll(1, 0)], 1).sign())))


def chunked(m: Any, x: Any) -> Any:
    first, second = Where.apply(m.image_norm(sums(m, x))).chunk(2, 1)
    return ends(m, m.image_norm(F.conv2d(torch.cat([second, first], 1), m.b.sign(), padding=1)))


def shuffled(m: Any, x: Any) -> Any:
    y = F.pixel_shuffle(Where.apply(m.image_norm(sums(m, x))), 2)
    return ends(m, m.image_norm(F.conv2d(y, m.b[:, :1].sign(), padding=1)))


def transposed(m: Any, x: Any) -> Any:
    y = F.conv_transpose2d(Where.apply(m.image_norm(sums(m, x))), m.t.sign(), stride=2)
    return ends(m, m.image_norm(y))


def upsampled(m: Any, x: Any) -> Any:
    y = F.interpolate(Where.apply(m.image_norm(sums(m, x))), scale_factor=2)
    return ends(m, m.image_norm(F.conv2d(y, m.b.sign())))


def depthwise(m: Any, x: Any) -> Any:
    y = F.conv2d(Where.apply(m.image_norm(sums(m, x))), m.b[:, :1].sign(), padding=1, groups=4)
    return ends(m, m.image_norm(y))


def padded_with(value: Any) -> Any:
    def forward(m: Any, x: Any) -> Any:
        y = F.pad(Where.apply(m.image_norm(sums(m, x))), (1, 0, 2, 1), value=value)
        return ends(m, m.image_norm(F.conv2d(y, m.b.sign())))

    return forward


def cut(m: Any, x: Any) -> Any:
    y = F.pad(Where.apply(m.image_norm(sums(m, x))), (-1, 0, 0, -1))
    return ends(m, m.image_norm(F.conv2d(y, m.b.sign())))


def option_a(m: Any, x: Any) -> Any:
    """The shortcut of a ResNet without weights: every other pixel, and channels of 0 beside them."""
    y = Where.apply(m.image_norm(sums(m, x)))
    long = F.conv2d(y, torch.cat([m.b, m.b.roll(1, 0)]).sign(), stride=2, padding=1)
    z = Where.apply(long + F.pad(y[:, :, ::2, 1::2], (0, 0, 0, 0, 1, 3)) - 0.5)
    return F.linear(z.mean((2, 3)), torch.cat([m.l, -m.l.roll(1, 0)], 1).sign())


def beside_constants(m: Any, x: Any) -> Any:
    y = Where.apply(m.image_norm(sums(m, x)))
    zeros = F.conv2d(torch.cat([torch.zeros_like(y[:, :2]), y[:, 1:3]], 1), m.b.sign(), padding=1)
    others = F.conv2d(torch.cat([y[:, :3], torch.full_like(y[:, :1], 0.25)], 1), m.b.sign())
    return ends(m, m.image_norm(zeros)) + ends(m, m.image_norm(others))


def normed_constants(m: Any, x: Any) -> Any:
    """A batch norm and a sign over channels of which some are constant, which the next layer's bias then holds."""
    y = Where.apply(m.image_norm(torch.cat([sums(m, x)[:, :2], torch.full_like(x[:, :, 2:, 2:], 1.5)], 1)))
    return ends(m, m.image_norm(F.conv2d(y, m.b.sign())))


def subtracted(m: Any, x: Any) -> Any:
    y = Where.apply(m.image_norm(sums(m, x)))
    return ends(m, m.image_norm(F.conv2d(y, m.b.sign(), padding=1) - y))


def summed(m: Any, x: Any) -> Any:
    return F.linear(Where.apply(m.image_norm(sums(m, x))).sum((2, 3)), m.l.sign())


def over_rows_and_columns(m: Any, x: Any) -> Any:
    """Means over columns and then over rows, the largest of each row, the sum of each column."""
    y = Where.apply(m.image_norm(sums(m, x)))
    z = F.conv2d(y, m.b.sign(), padding=1).amax(2, keepdim=True) + y.sum(2, keepdim=True)
    z = Where.apply(z.mean(3)[:, :, 0] - 0.3)
    return F.linear(y.mean(3).mean(2) + y.max(3)[0].max(2)[0] + z, m.l.sign())


def activated_by(function: Any) -> Any:
    return lambda m, x: ends(m, m.image_norm(function(m, sums(m, x))))


def pooled_behind(*steps: Any, **options: Any) -> Any:
    """Steps before a max pool: where the batch norm behind it falls, the maximum of sums becomes a minimum."""

    def forward(m: Any, x: Any) -> Any:
        y = sums(m, x, padding=1)
        for step in steps:
            y = step(m, y)
        return ends(m, m.image_norm(F.max_pool2d(y, 3, 2, **options)))

    return forward


def fallen(m: Any, x: Any) -> Any:
    """What waits for the threshold falls before the pool and behind it: the maximum becomes a minimum."""
    y = F.max_pool2d(torch.sigmoid(-0.3 * sums(m, x)), 2)
    return ends(m, 0.6 - y)


def averaged(m: Any, x: Any) -> Any:
    y = F.avg_pool2d(Where.apply(m.image_norm(sums(m, x))), 3, 1, 1)
    return ends(m, m.image_norm(F.adaptive_max_pool2d(y, 2)))


def quantised_to(bits: Any) -> Any:
    def forward(m: Any, x: Any) -> Any:
        y = torch.clamp(torch.round(m.image_norm(sums(m, x)) * 8), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1) / 8
        weight = torch.clamp(torch.round(m.b), -2, 1)
        return ends(m, m.image_norm(F.conv2d(y, weight)))

    return forward


def ended_by(function: Any) -> Any:
    return lambda m, x: function(F.dropout(ends(m, m.image_norm(sums(m, x))), 0.5, m.training))


OPERATORS = {
    "cat": concatenated,
    "chunk": chunked,
    "pixel shuffle": shuffled,
    "transposed": transposed,
    "upsampled": upsampled,
    "depthwise": depthwise,
    **{f"pad {value}": padded_with(value) for value in (0, -1, 1)},
    "negative pad": cut,
    "option A": option_a,
    "constants": beside_constants,
    "normed constants": normed_constants,
    "sum": summed,
    "difference": subtracted,
    "rows and columns": over_rows_and_columns,
    "hardtanh": activated_by(lambda m, x: F.hardtanh(x, inplace=True)),
    "prelu": activated_by(lambda m, x: F.prelu(x, m.p.abs())),
    "leaky relu": activated_by(lambda m, x: F.leaky_relu(x, 0.1, inplace=True)),
    "sigmoid": activated_by(lambda m, x: torch.sigmoid(x)),
    "pool": pooled_behind(padding=1),
    "pool, ceil": pooled_behind(ceil_mode=True),
    "bias, pool": pooled_behind(lambda m, x: x.add_(m.p.view(1, -1, 1, 1).expand_as(x))),
    "relu, pool": pooled_behind(lambda m, x: F.relu(x), padding=1),
    "norm, hardtanh, pool": pooled_behind(lambda m, x: m.image_norm(x), lambda m, x: F.hardtanh(x), ceil_mode=True),
    "sign, pool": pooled_behind(lambda m, x: Where.apply(m.image_norm(x)), padding=1),
    "falling, pool, falling": fallen,
    "average": averaged,
    "quantised to 8 bits": quantised_to(8),
    "quantised to 3 bits": quantised_to(3),
    **{f"{name} at the end": ended_by(of) for name, of in {
        "log softmax": lambda x: F.log_softmax(x, 1), "softmax": lambda x: F.softmax(x, -1),
        "sigmoid": torch.sigmoid, "argmax": lambda x: x.argmax(1)}.items()},
}  # fmt: skip


QUICK = {
    *("option A", "constants", "normed constants", "sum", "difference", "rows and columns"),
    *("cat", "pixel shuffle", "transposed", "depthwise", "pad 0", "negative pad", "prelu", "average"),
    *("pool, ceil", "falling, pool, falling", "quantised to 3 bits", "argmax at the end"),
}


def _cases() -> Iterator[Any]:
    for name in OPERATORS:
        yield pytest.param(name, 1, IMAGE, marks=[] if name in QUICK else pytest.mark.slow, id=f"{name}, signs")
        if name != "argmax at the end":
            yield pytest.param(name, 2, PIXELS, marks=pytest.mark.slow, id=f"{name}, pixels")


@pytest.mark.parametrize(("name", "seed", "input"), [*_cases()])
def test_is_taken_as_the_module_computes_it(name: str, seed: int, input: Input) -> None:
    agree(hostile(Written(OPERATORS[name], seed=seed, **SHAPES), seed), input, seed, 24)


@pytest.mark.parametrize("given", ["channels first", "length first", "a row of an image"])
def test_a_sequence(given: str) -> None:
    def forward(m: Any, x: Any) -> Any:
        x = {"length first": x.transpose(1, 2), "a row of an image": x.flatten(2)}.get(given, x)
        y = m.sequence_norm(F.max_pool1d(F.conv1d(x, m.s.sign()), 2, padding=1))
        y = F.conv_transpose1d(Where.apply(y), m.t[..., 0].sign(), stride=2)
        return F.linear(Where.apply(torch.cat([y, -y + 1], 1)[:, 2:6] - 0.5).mean(2), m.l.sign())

    for seed in range(2):
        module = Written(forward, seed=seed, **SHAPES)
        module.sequence_norm = nn.BatchNorm1d(4)
        input = replace(SEQUENCE, shape=(1, 12, 2)) if given == "a row of an image" else SEQUENCE
        agree(hostile(module, seed), input, seed, 40)
        notes = trace(module, "n", input).notes
        assert any("(N, 12, 2)" in note for note in notes) == (given == "length first")


@pytest.mark.parametrize("std", [(0.5, 0.25), (0.3081, 0.3081)])
def test_pixels_are_normalised_in_the_module(std: tuple[float, ...]) -> None:
    """8-bit pixels divided by 255, with a mean and a deviation: an affine of integers, folded into the thresholds."""

    def forward(m: Any, x: Any) -> Any:
        x = (x / 255 - torch.tensor([0.1307, 0.4914])[:, None, None]) / torch.tensor(std)[:, None, None]
        return ends(m, m.image_norm(sums(m, x)) + 0.1)

    conversion = agree(hostile(Written(forward, seed=1, **SHAPES), 1), PIXELS, 1, 60)
    assert sum(of.pairs for of in conversion.ambiguous.values()) < 100  # near their thresholds, of some 100,000


def test_normalised_pixels_that_meet_zero_padding_are_refused_with_the_way_round() -> None:
    def forward(m: Any, x: Any) -> Any:
        return ends(m, m.image_norm(sums(m, (x / 255 - 0.1307) / 0.3081, padding=1)))

    with pytest.raises(UserError, match="no integer of the operand stands for the padding: subtract the mean after it"):
        trace(hostile(Written(forward, **SHAPES), 1), "n", PIXELS)  # type: ignore[arg-type]


def test_every_operator_is_judged() -> None:
    net = nn.Sequential(
        *(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Hardtanh(), nn.Softshrink(), nn.MaxPool2d(2, dilation=2)),
        *(nn.Flatten(), nn.Linear(4, 3), nn.LogSoftmax(1)),
    ).eval()
    judged = {of.where.removeprefix("model 'n', module "): of.reason for of in check(net, "n", PIXELS).judged}
    refused = {where: reason for where, reason in judged.items() if reason}
    assert list(refused) == [
        "'0' (Conv2d): convolution",
        "'3' (Softshrink): softshrink",
        "'4' (MaxPool2d): max_pool2d",
        "'6' (Linear): addmm",
    ]
    assert "expected weights" in refused["'0' (Conv2d): convolution"]
    assert {"'1' (BatchNorm2d): batch_norm", "'2' (Hardtanh): hardtanh", "'7' (LogSoftmax): _log_softmax"} <= set(
        judged
    )
    assert all(of.taken for of in check(Written(averaged, **SHAPES).eval(), "n", IMAGE).judged)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="expected weights"):
        trace(net, "n", PIXELS)


def test_vectors() -> None:
    """Constants for each feature, and of several views of one."""

    def forward(m: Any, x: Any) -> Any:
        x = Where.apply(x * torch.linspace(-1, 1, 20) + 0.05)
        return F.linear(Where.apply(m.norm(F.linear(x, m.w.sign()))).view(len(x), 2, 4)[:, 1], m.l.sign())

    agree(hostile(Written(forward, w=(8, 20), **SHAPES), 1), VECTOR, 1)  # type: ignore[arg-type]
