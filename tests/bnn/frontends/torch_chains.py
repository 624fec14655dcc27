"""Chains of PyTorch modules, converted and compared."""

from typing import Any

import numpy as np
import torch
from tests import oracle, strategies
from tests.narrowed import there
from torch import nn

from xnorflow.bnn.canonical import canonicalise
from xnorflow.bnn.frontends.torch import trace
from xnorflow.bnn.network import Affine, Input
from xnorflow.cosim.compare import compare
from xnorflow.cosim.pytorch import PyTorch


def hostile(module: nn.Module, seed: int) -> Any:
    """Give every batch norm statistics that break naive folding: ties, zero, negative, tiny and huge scales."""
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                n = layer.num_features
                if layer.affine:
                    layer.weight.copy_(torch.from_numpy(rng.choice([1, -1, 0.3, -2, 0, 1e-30, -1e30], n)))
                    layer.bias.copy_(torch.from_numpy(rng.choice([0, 0, 1, -0.5], n)))
                there(layer.running_mean).copy_(
                    torch.from_numpy(rng.choice([0, 1, -2, 3.5, 1e6], n, p=[0.3, 0.2, 0.2, 0.2, 0.1]))
                )
                there(layer.running_var).copy_(torch.from_numpy(rng.choice([1e-8, 1, 4, 50], n)))
    return module


def agree(module: nn.Sequential, input: Input, seed: int) -> None:
    conversion = trace(module, "n", input)
    network = conversion.network
    inputs = strategies.inputs_for(network, 30, seed)
    for form in (network, canonicalise(network)):
        engine = PyTorch(conversion)
        engine.prepare(form, None)  # type: ignore[arg-type]
        got = engine.run(inputs, every_layer=True)
        comparison = compare(form, oracle.run(form, inputs), {k: v for k, v in got.items() if k != "argmax"})
        assert comparison.first is None, comparison.first
        expected = oracle.run(form, inputs)
        affine = next((op for op in form.operations if isinstance(op, Affine)), None)
        if affine is not None and affine.ambiguous == 0:
            assert np.array_equal(expected["argmax"], got["argmax"])
