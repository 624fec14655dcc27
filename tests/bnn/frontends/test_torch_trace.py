"""What a trace makes of code that changes tensors in place, hides them from it, or computes what nobody uses."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.bnn.frontends.torch_modules import PIXELS, VECTOR, Where, Written, agree, hostile
from torch import nn
from torch.nn import functional as F

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.frontends.torch import trace
from xnorflow.bnn.frontends.torch_trace import kind_of, trace_module


def data_of_both(m: Any, x: Any) -> Any:
    """Activations and weights are binarised behind the back of a trace, as in BinaryNet."""
    for weight in (m.a, m.b):
        x.data = torch.where(x.data >= 0, 1.0, -1.0)
        if not hasattr(weight, "org"):
            weight.org = weight.data.clone()
        weight.data = weight.org.sign()
        x = F.hardtanh(m.norm(F.linear(x, weight))) if weight is m.a else F.linear(x, weight)
    return x


def copied(m: Any, x: Any) -> Any:
    m.a.data.copy_(m.a.data.sign())
    y = F.linear(x, m.a)
    z = torch.empty_like(y)
    z.copy_(m.norm(y))
    return F.linear(Where.apply(z), m.b.sign())


def residual(m: Any, x: Any) -> Any:
    x = Where.apply(F.linear(x, m.a.sign()) + 0.5)
    out = F.linear(x, m.c.sign())
    out += x
    out.mul_(2).sub_(1)
    return F.linear(Where.apply(m.norm(out)), m.b.sign())


def seen_by_two(m: Any, x: Any) -> Any:
    y = F.linear(x, m.a.sign())
    z = y * 2
    y.add_(1)
    return F.linear(Where.apply(m.norm(y + z)), m.b.sign())


def masked(m: Any, x: Any) -> Any:
    y = m.norm(F.linear(x, m.a.sign()))
    y[y >= 0] = 1
    y[y < 0] = -1
    return F.linear(y, m.b.sign())


def of_an_old_alias(m: Any, x: Any) -> Any:
    """What was taken before an assignment to .data stays what it was."""
    y = m.norm(F.linear(x, m.a.sign()))
    before = y.view(-1)
    y.data = torch.where(y >= 0, 1.0, -1.0)
    before.zero_()
    return F.linear(y, m.b.sign())


def of_a_shared_one(m: Any, x: Any) -> Any:
    """What is assigned is shared, so that changing it changes both."""
    y, z = m.norm(F.linear(x, m.a.sign())), torch.zeros(1)
    z.data = y
    z.sub_(0.25)
    return F.linear(Where.apply(y), m.b.sign())


def unused(m: Any, x: Any) -> Any:
    y = F.linear(x, m.a.sign())
    m.average = torch.fft.fft(y).abs().mean(0) + F.linear(x, m.a)  # nothing that a network can have
    return F.linear(Where.apply(m.norm(y)), m.b.sign())


def constants(m: Any, x: Any) -> Any:
    y = torch.maximum(F.linear(x, m.a.sign()) * torch.tensor(0.5), torch.tensor([-3.0])) + torch.full((1,), 0.25)
    return F.linear(torch.where(m.norm(y) > torch.tensor(0.0), torch.ones(8), -torch.ones(1, 8)), m.b.sign())


def filled(m: Any, x: Any) -> Any:
    y = m.norm(F.linear(x, m.a.sign()))
    z = y.new(y.size())
    z[y >= 0] = 1
    z[y < 0] = -1
    return F.linear(z + torch.zeros_like(z) * y.new_full((1,), 3.0), m.b.sign())


IDIOMS = [filled, data_of_both, copied, residual, seen_by_two, masked, of_an_old_alias, of_a_shared_one, unused]


@pytest.mark.parametrize("forward", [*IDIOMS, constants], ids=lambda forward: forward.__name__)
def test_is_taken_as_the_module_computes_it(forward: Callable[..., Any]) -> None:
    for seed in range(3):
        module = hostile(Written(forward, seed=seed, a=(8, 20), b=(5, 8), c=(8, 8)), seed)
        before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        conversion = agree(module, VECTOR, seed)
        assert not conversion.ambiguous
        assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())  # left alone


def test_nothing_changes_in_place_and_nothing_is_left_over() -> None:
    for forward in IDIOMS:
        module = Written(forward, a=(8, 20), b=(5, 8), c=(8, 8)).eval()
        _, graph, _ = trace_module(module, torch.ones(1, 20), torch.ones(4, 20), "m")
        for node in graph.graph.nodes:
            assert not kind_of(node).endswith("_") and kind_of(node) not in ("copy", "_fft_r2c"), node
            assert node.users or node.op == "output" or kind_of(node) == "getitem", node


def test_a_module_that_changes_its_parameters_is_taken_as_it_stays() -> None:
    """XNOR-Net centres its weights in every forward; from the second on there is nothing left to centre."""

    def forward(m: Any, x: Any) -> Any:
        m.a.data = m.a.data - torch.trunc(m.a.data.mean(1, keepdim=True) * 64) / 64
        m.a.data.clamp_(-1, 1)
        return F.linear(Where.apply(m.norm(F.linear(x, m.a.sign()))), m.b.sign())

    module = hostile(Written(forward, a=(8, 20), b=(5, 8)), 1)
    with torch.no_grad():
        module.get_parameter("a").mul_(64).round_().div_(64).add_(0.5)
    (note,) = agree(module, VECTOR).notes
    assert "it changes its own parameters when it is called" in note and "as it is after" in note


def test_data_parallel_is_taken_off_and_said() -> None:
    class Features(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.DataParallel(hostile(Written(residual, a=(8, 20), b=(5, 8), c=(8, 8)), 1))

        def forward(self, x: Any) -> Any:
            return self.features(x)

    module = nn.DataParallel(Features()).eval()
    conversion = agree(module, VECTOR)
    assert isinstance(module.module.features, nn.DataParallel)  # the module itself is left alone
    assert not any(isinstance(child, nn.DataParallel) for child in conversion.module.modules())
    (note,) = conversion.notes
    assert "nn.DataParallel is taken off (itself, module.features)" in note
    plain = trace(module.module.features.module, "n", VECTOR)
    assert plain.network == conversion.network and not plain.notes


def test_messages_name_the_module_after_everything_is_rewritten() -> None:
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(2, 3, 3, bias=False), nn.ReLU(inplace=True))
            self.body[0].weight.data = torch.randn(3, 2, 3, 3).sign()

        def forward(self, x: Any) -> Any:
            return F.conv2d(self.body(x), torch.ones(1, 3, 1, 1))

    with pytest.raises(UserError, match=r"module 'body.1' \(ReLU\): relu"):
        trace(Outer(), "n", PIXELS)
