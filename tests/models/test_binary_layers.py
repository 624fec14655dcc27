from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.narrowed import there
from torch.nn import functional as F

from xnorflow.models.layers import BNN, BinaryConv2d, BinaryLinear, Residual, Sign, binarize, clip_latent_weights


def test_sign_of_zero_is_plus_one() -> None:
    x = torch.tensor([0.0, -0.0, 1e-45, -1e-45, 3.0, -3.0])
    assert Sign()(x).tolist() == [1, 1, 1, -1, 1, -1]


def test_gradient_passes_up_to_one_and_is_zero_beyond() -> None:
    x = torch.tensor([-1.5, -1.0, -0.3, 0.0, 1.0, 1.0001], requires_grad=True)
    upstream = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    Sign()(x).backward(upstream)
    assert there(x.grad).tolist() == [0, 2, 3, 4, 5, 0]


def test_dense_layer_sums_signs_and_trains_its_latent_weights() -> None:
    layer = BinaryLinear(3, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.5, -0.2, 0.0], [-2.0, 0.1, -0.1]]))
    assert layer.bias is None
    assert layer.binary_weight().tolist() == [[1, -1, 1], [-1, 1, -1]]
    x = torch.tensor([[1.0, 1.0, -1.0]])
    y = layer(x)
    assert y.tolist() == [[-1, 1]]
    y.sum().backward()
    assert layer.weight.grad.tolist() == [[1, 1, -1], [0, 1, -1]]  # the latent weight -2 is out of reach


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 10_000),
    kernel=st.sampled_from([1, 2, 3, (3, 1)]),
    stride=st.sampled_from([1, 2, (2, 1)]),
    padding=st.sampled_from([0, 1]),
)
def test_convolution_is_the_plain_one_with_signs_as_weights(seed: int, kernel: Any, stride: Any, padding: Any) -> None:
    torch.manual_seed(seed)
    layer = BinaryConv2d(2, 3, kernel, stride=stride, padding=padding)
    x = torch.randint(0, 256, (2, 2, 6, 5)).float()
    weight = torch.where(layer.weight >= 0, 1.0, -1.0)
    assert layer.bias is None
    assert torch.equal(layer.binary_weight(), weight)
    assert torch.equal(layer(x), F.conv2d(x, weight, stride=stride, padding=padding))


def test_padding_adds_nothing() -> None:
    layer = BinaryConv2d(1, 1, 3, padding=1)
    with torch.no_grad():
        layer.weight.fill_(1)
    assert layer(torch.ones(1, 1, 3, 3))[0, 0].tolist() == [[4, 6, 4], [6, 9, 6], [4, 6, 4]]


def test_latent_weights_are_clipped_in_every_binary_layer_and_nothing_else() -> None:
    module: Any = torch.nn.Sequential(
        BinaryConv2d(1, 2, 3), torch.nn.Linear(2, 2), torch.nn.Sequential(BinaryLinear(2, 2))
    )
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(-3)
    clip_latent_weights(module)
    assert module[0].weight.unique().tolist() == [-1]
    assert module[2][0].weight.unique().tolist() == [-1]
    assert module[1].weight.unique().tolist() == [-3]


def test_bnn_is_dense_norm_sign_and_ends_in_a_norm() -> None:
    kinds = [type(layer).__name__ for layer in BNN((4, 3, 2))]
    assert kinds == ["BinaryLinear", "BatchNorm1d", "Sign", "BinaryLinear", "BatchNorm1d"]


def test_a_residual_adds_what_it_takes_to_what_its_layers_give() -> None:
    layers = (torch.nn.BatchNorm2d(2), Sign(), BinaryConv2d(2, 2, 3, padding=1))
    x = torch.randint(-9, 9, (4, 2, 5, 5)).float()
    expected = x + torch.nn.Sequential(*layers).eval()(x)
    assert torch.equal(Residual(*layers).eval()(x), expected)
    assert torch.equal(expected, expected.round())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_is_kept(dtype: torch.dtype) -> None:
    assert binarize(torch.zeros(2, dtype=dtype)).dtype == dtype
