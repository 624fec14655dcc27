"""Binary layers for PyTorch, trained through a straight-through estimator.

The forward pass only ever sees +1 and -1, with ``sign(0) = +1``. Training keeps a float *latent* weight behind every
binary one; its gradient is that of the sign's straight-through estimator (Courbariaux et al., "Binarized Neural
Networks", 2016, eq. 4): the identity where the latent value lies in [-1, 1], zero outside.
"""

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class _StraightThroughSign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x >= 0).to(x.dtype).mul_(2).sub_(1)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors  # type: ignore[attr-defined]
        passed: Tensor = gradient * (x.abs() <= 1)
        return passed


def binarize(x: Tensor) -> Tensor:
    """Sign of ``x`` in {-1, +1}, same shape and dtype; 0 and -0 give +1, NaN gives -1.

    The gradient passes unchanged where ``|x| <= 1`` and is zero elsewhere.
    """
    signs: Tensor = _StraightThroughSign.apply(x)  # type: ignore[no-untyped-call]
    return signs


class Sign(nn.Module):
    """Binary activation: :func:`binarize` as a module."""

    def forward(self, x: Tensor) -> Tensor:
        return binarize(x)


class BinaryLinear(nn.Linear):
    """Dense layer with binary weights and no bias; inputs (N, in), outputs (N, out).

    ``weight`` holds the latent weights, shape (out, in), float in [-1, 1] as long as
    :func:`clip_latent_weights` follows every optimiser step.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, bias=False)

    def binary_weight(self) -> Tensor:
        """Weights in {-1, +1}, shape (out, in)."""
        return binarize(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.binary_weight())


class BinaryConv2d(nn.Conv2d):
    """2-D convolution with binary weights, no bias and zero padding; inputs and outputs are NCHW.

    ``weight`` holds the latent weights, shape (out, in, kernel height, kernel width). A padded position is 0, not -1:
    it adds nothing to the sum.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, bias=False)

    def binary_weight(self) -> Tensor:
        """Weights in {-1, +1}, shape (out, in, kernel height, kernel width)."""
        return binarize(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.binary_weight(), stride=self.stride, padding=self.padding)


class BinaryRNN(nn.Module):
    """A recurrent layer with a binary state: ``h[t] = sign(scale * (W x[t] + U h[t-1]) + bias)``, ``h[-1] = 0``.

    W and U are binary. Scale and bias, one for each unit, stand where a batch norm has its own in evaluation: a batch's
    statistics would be those of one step. The gradient goes back through all steps, and through each sign by its
    straight-through estimator. Steps are the pixels of an image, row by row, or the last axis of a sequence.

    Parameters
    ----------
    inputs, units
        Channels of x, and of the state.
    last
        Whether the result is the state after the last step, (N, units), rather than after every step, in x's shape.
    """

    def __init__(self, inputs: int, units: int, last: bool = False) -> None:
        super().__init__()
        self.input, self.state = BinaryLinear(inputs, units), BinaryLinear(units, units)
        self.scale = nn.Parameter(torch.full((units,), (inputs + units) ** -0.5))
        self.bias = nn.Parameter(torch.zeros(units))
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        first, *later = x.flatten(2).unbind(2)
        states = [binarize(self.scale * self.input(first) + self.bias)]
        for step in later:
            states.append(binarize(self.scale * (self.input(step) + self.state(states[-1])) + self.bias))
        return states[-1] if self.last else torch.stack(states, 2).reshape(len(x), -1, *x.shape[2:])


class BNN(nn.Sequential):
    """Binary multi-layer perceptron: BinaryLinear, BatchNorm1d, Sign per hidden layer, then BinaryLinear, BatchNorm1d.

    Parameters
    ----------
    sizes
        Features of the input, of each hidden layer and of the output, such as ``(784, 128, 10)``.
    """

    def __init__(self, sizes: tuple[int, ...]) -> None:
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(sizes):
            layers += [BinaryLinear(inputs, outputs), nn.BatchNorm1d(outputs), Sign()]
        super().__init__(*layers[:-1])


class Residual(nn.Module):
    """``x + branch(x)``: a shortcut past layers whose result has the shape of what they take.

    Where both are sums of a binary layer, so is their sum, an integer, as in Bi-Real Net (Liu et al., 2018): what the
    sign inside the branch forgets goes past it.

    Parameters
    ----------
    layers
        The branch, one after the other.
    """

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.branch = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        total: Tensor = x + self.branch(x)
        return total


def clip_latent_weights(module: nn.Module) -> None:
    """Clip the latent weights of every binary layer in ``module`` to [-1, 1], in place.

    Beyond 1 the straight-through gradient is zero: an unclipped weight could leave and never come back.
    """
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, BinaryLinear | BinaryConv2d):
                layer.weight.clamp_(-1, 1)
