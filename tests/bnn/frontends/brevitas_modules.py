"""What the tests of Brevitas modules share: plain binary quantisers, and a hostile batch norm."""

from typing import Any

import torch
from brevitas import nn as bnn_layers
from brevitas.quant import SignedBinaryActPerTensorConst, SignedBinaryWeightPerTensorConst


class Weight(SignedBinaryWeightPerTensorConst):
    """-1 and +1. By default they are -0.1 and +0.1, whose float32 sums depend on their order."""

    scaling_const = 1.0


class Sign(SignedBinaryActPerTensorConst):
    scaling_const = 1.0


def sign() -> Any:
    return bnn_layers.QuantIdentity(act_quant=Sign)


def norm(kind: Any, channels: Any, random: Any) -> Any:
    """A batch norm with negative, zero and huge factors, and thresholds on integers and half-way."""
    made = kind(channels)
    with torch.no_grad():
        made.weight.copy_(torch.tensor(random.choice([-1.0, 0.5, 1.0, -250.0], channels)))
        made.weight[0] = 0
        made.bias.copy_(torch.tensor(random.choice([0.0, 1.0, -0.5], channels)))
        made.running_mean.copy_(torch.tensor(random.integers(-9, 9, channels) / 2))
        made.running_var.copy_(torch.tensor(random.choice([0.25, 1.0, 4.0], channels)))
        made.eps = 0.0
    return made
