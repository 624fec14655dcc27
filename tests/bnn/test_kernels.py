"""Grouped and dilated convolutions, written as whole ones, compute what torch computes."""

import numpy as np
import pytest
import torch
from tests import oracle

from xnorflow.bnn.errors import NetworkError
from xnorflow.bnn.kernels import dilated, grouped
from xnorflow.bnn.network import Conv2d


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("dilation", [(1, 1), (2, 1), (3, 2)])
@pytest.mark.parametrize("kernel", [(2, 3), (1, 1)])
def test_equal_torch(groups: int, dilation: tuple[int, int], kernel: tuple[int, int]) -> None:
    rng = np.random.default_rng(groups)
    x = rng.integers(-9, 9, (3, 7, 8, 6))
    weight = rng.choice([-1, 0, 1], (12, *kernel, 6 // groups))
    ours = oracle.apply(Conv2d("c", ("x",), weight=dilated(grouped(weight, groups), dilation)), x)
    theirs = torch.nn.functional.conv2d(
        torch.from_numpy(x).permute(0, 3, 1, 2).double(),
        torch.from_numpy(weight).permute(0, 3, 1, 2).double(),
        dilation=dilation,
        groups=groups,
    )
    assert np.array_equal(ours, theirs.permute(0, 2, 3, 1).numpy())


def test_refused() -> None:
    with pytest.raises(NetworkError, match="divide the 4 outputs, got 3"):
        grouped(np.ones((4, 1, 1, 1)), 3)
    with pytest.raises(NetworkError, match="positive dilations"):
        dilated(np.ones((4, 2, 2, 1)), (0, 1))
