"""PyTorch modules as people write them, converted and compared."""

from typing import Any

import numpy as np
import torch
from tests import oracle, strategies
from tests.narrowed import there
from torch import nn

from xnorflow.bnn.frontends.torch import TorchConversion, trace
from xnorflow.bnn.network import Affine, Input
from xnorflow.cosim.pytorch import PyTorch

VECTOR = Input("x", (), shape=(20,))
IMAGE = Input("x", (), shape=(6, 6, 2))
PIXELS = Input("x", (), shape=(6, 6, 2), kind="unsigned", bits=8)


class Where(torch.autograd.Function):
    """A sign with a straight-through gradient, as people write it: nothing about its name says so."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return torch.where(x >= 0, 1.0, -1.0)

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:
        return gradient


class Written(nn.Module):
    """A call of `forward` on parameters of its own."""

    def __init__(self, forward: Any, *, seed: int = 0, **shapes: tuple[int, ...]) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.norm, self.image_norm = nn.BatchNorm1d(8), nn.BatchNorm2d(4)
        self.written = forward
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.randn(shape)))

    def forward(self, x: Any) -> Any:
        """Call what was written."""
        return self.written(self, x)


def hostile(module: nn.Module, seed: int) -> nn.Module:
    """Statistics on integers and half-way, and scales of all signs and sizes."""
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                for tensor, choices in (
                    (layer.weight, [1, -1, 0.3, -2, 0, 1e-30]),
                    (layer.bias, [0, 0, 1, -0.5]),
                    (layer.running_mean, [0, 1, -2, 3.5]),
                    (layer.running_var, [1e-8, 1, 4]),
                ):
                    there(tensor).copy_(torch.from_numpy(rng.choice(choices, layer.num_features)))
    return module.eval()


def agree(module: nn.Module, input: Input, seed: int = 0, count: int = 100) -> TorchConversion:
    """Hold every integer of the module, and its class, against the oracle's."""
    conversion = trace(module, "n", input)
    network = conversion.network
    inputs = strategies.inputs_for(network, count, seed)
    engine = PyTorch(conversion)
    engine.prepare(network, None)  # type: ignore[arg-type]
    expected, got = oracle.run(network, inputs), engine.run(inputs, every_layer=True)
    assert any(type(network[name]).__name__ in ("Dense", "Conv2d") for name in got if name != "argmax")
    decided = all(op.ambiguous == 0 for op in network.operations if isinstance(op, Affine))
    for name, result in got.items():
        if not np.array_equal(result, expected[name]) and (name != "argmax" or decided):
            if name != "argmax":  # the first that differs is one of which this is said
                at = np.nonzero(result != expected[name])
                assert conversion.ambiguous[name].holds(at[-1], expected[network[name].inputs[0]][at]).all()
            break
    return conversion
