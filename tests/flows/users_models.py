"""Models as users have them."""

from typing import Any

from tests.bnn.frontends.keras_models import hostile, keras, qkeras

L = keras.layers
CODE = """
import torch
from torch import nn
from torch.nn import functional as F

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm, self.second = nn.Linear(20, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)

    def forward(self, x):
        x = torch.where(self.norm(F.linear(x, self.first.weight.sign())) >= 0, 1.0, -1.0)
        return F.linear(x, self.second.weight.sign())

class Gelu(Net):
    def forward(self, x):
        return F.gelu(super().forward(x))

class Values(Net):
    def forward(self, x):
        return super().forward(x if x.sum() > 0 else -x)

def wide():
    return nn.Linear(64, 2)

def fails():
    raise OSError("no data here")
"""


def keras_model() -> Any:
    options = {"kernel_quantizer": "binary(alpha=1)", "use_bias": False}
    model = keras.Sequential(
        [L.InputLayer((20,)), qkeras.QDense(8, **options), L.BatchNormalization(),
         qkeras.QActivation(qkeras.binary(alpha=None)), qkeras.QDense(3, **options), L.BatchNormalization()]
    )  # fmt: skip
    return hostile(model, 3, halves=True)
