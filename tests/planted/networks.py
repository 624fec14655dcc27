"""What exercises planted edits: small networks with an architecture that makes the template in question."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tests.cosim.csim_networks import (
    WIDE,
    images_network,
    padded_network,
    recurrent_network,
    residual_network,
    small_network,
    vectors_network,
    wide_network,
)
from tests.hls import tiny
from tests.hls.rtl.networks import (
    BLOCK_MEMORY,
    in_block_memory,
    small_dense,
    small_image,
    small_recurrent,
    small_residual,
)

from xnorflow.bnn.network import (
    Affine,
    Argmax,
    Conv2d,
    Dense,
    Flatten,
    Input,
    MultiThreshold,
    Network,
    SumPool2d,
    Threshold,
)
from xnorflow.hls.config import HlsConfig
from xnorflow.hls.rtl.config import Folded, RtlConfig, Unrolled

_RANDOM = np.random.default_rng(4)


def _weights(*shape: int) -> NDArray[Any]:
    return _RANDOM.choice(np.array([-1, 1], np.int8), shape)


def _affine(classes: int) -> tuple[Affine, Argmax]:
    scale, offset = _RANDOM.integers(-9, 10, classes), _RANDOM.integers(-20, 20, classes)
    return Affine("affine", ("dense2",), scale=scale, offset=offset), Argmax("argmax", ("affine",))


def _dense(name: str, *rest: object) -> Network:
    sign = Threshold("sign1", ("dense1",), _RANDOM.integers(-3, 4, 9), _weights(9))
    first = (Input("image", (), shape=(21,)), Dense("dense1", ("image",), _weights(9, 21)), sign)
    return Network(name, (*first, Dense("dense2", ("sign1",), _weights(6, 9)), *rest))  # type: ignore[arg-type]


def _ties() -> Network:
    """Every score twice, so that the largest is always a tie."""
    weight = np.repeat(_weights(3, 21), 2, axis=0)
    dense = Dense("dense1", ("image",), weight)
    return Network("ties", (Input("image", (), shape=(21,)), dense, Argmax("argmax", ("dense1",))))


def _ones() -> Network:
    operations = tuple(
        replace(operation, pad_value=1) if operation.name == "conv2" else operation
        for operation in small_image().operations
    )
    return Network("ones", operations)


def _levels() -> Network:
    levels = MultiThreshold(
        "levels", ("conv1",), np.sort(_RANDOM.integers(-9, 10, (4, 3)), axis=1), _weights(4), low=-3, step=2
    )
    image = Input("image", (), shape=(5, 5, 2), kind="signed", bits=4)
    conv = Conv2d("conv1", ("image",), _weights(4, 3, 3, 2))
    return Network(
        "levels_net",
        (image, conv, levels, Flatten("flat", ("levels",)), Dense("dense", ("flat",), _weights(3, 36))),
    )


def _global() -> Network:
    return Network(
        "whole",
        (
            Input("image", (), shape=(4, 5, 2), kind="unsigned", bits=3),
            Conv2d("conv1", ("image",), _weights(3, 2, 2, 2)),
            SumPool2d("sums", ("conv1",), size=(3, 4), stride=(1, 1)),
            Flatten("flat", ("sums",)),
            Dense("dense", ("flat",), _weights(3, 3)),
        ),
    )


class Case(NamedTuple):
    """A network and the engine that runs it.

    Attributes
    ----------
    engine : {"rtl", "csim", "test bench"}
    network : Network
    config : RtlConfig, HlsConfig, or mapping
        Of the project; for "csim", the settings of :class:`~xnorflow.cosim.csim.CSim`.
    """

    engine: str
    network: Network
    config: Any


_SLOW = RtlConfig(default=Folded(1, 3), in_width=8, out_width=8)
_RTL: Mapping[str, tuple[Network, RtlConfig]] = {
    "image": (small_image(), _SLOW),
    "padded with ones": (_ones(), _SLOW),
    "residual": (small_residual(), _SLOW),
    "recurrent": (small_recurrent(), _SLOW),
    "levels": (_levels(), _SLOW),
    "global": (_global(), _SLOW),
    "serial affine": (_dense("serial", *_affine(6)), RtlConfig(default=Folded(1, 3))),
    "class alone": (_dense("alone", *_affine(6)), RtlConfig(default=Folded(2, 3), output="class")),
    "vector in memory": (small_dense(sizes=(96, 16, 4)), RtlConfig(default=Folded(1, 8), in_width=8)),
    "weights in block memory": (in_block_memory("bipolar", (-1, 1)), replace(BLOCK_MEMORY, clock_ns=4.0)),
    "ties": (_ties(), RtlConfig(default=Folded(1, 3))),
    "unrolled ties": (_ties(), RtlConfig(default=Unrolled(2))),
    "unrolled": (_dense("parallel", *_affine(6)), RtlConfig(default=Unrolled(2))),
    "unrolled image": (small_image(), RtlConfig(default=Folded(1, 3), layers={"conv2": Unrolled(2)})),
}

# What the tests of the C-simulation run, so that what is caught here is caught there.
_FOLDED = {"backend": "vivado", "io_type": "io_stream", "strategy": "resource", "reuse_factor": 3}
_CSIM: Mapping[str, tuple[Network, Mapping[str, Any]]] = {
    "dense": (vectors_network(), {"io_type": "io_parallel"}),
    "folded image": (images_network(), _FOLDED),
    "padded with ones, C++": (padded_network(1), {"io_type": "io_parallel"}),
    "branches": (residual_network(), {"backend": "vivado"}),
    "folded branches": (
        residual_network(),
        {"backend": "vivado", "strategy": "resource", "reuse_factor": 5},
    ),
    "hard-wired": (small_network(), {"io_type": "io_stream", "strategy": "latency"}),
    "hard-wired, parallel": (small_network(), {"io_type": "io_parallel", "strategy": "latency"}),
    "wide": (wide_network(), WIDE),
    "recurrent, C++": (recurrent_network(), {"backend": "vivado", "io_type": "io_stream"}),
}

CASES: Mapping[str, Case] = {
    **{name: Case("rtl", *case) for name, case in _RTL.items()},
    **{name: Case("csim", *case) for name, case in _CSIM.items()},
    "test bench": Case("test bench", tiny.network(), HlsConfig()),
}
