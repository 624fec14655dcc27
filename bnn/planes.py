"""Integer weights as binary and ternary ones: for engines whose layers are these alone.

A weight is the sum over its magnitude's bits k of ``2**k * sign(w) * bit k``, so that a layer of integer weights is one
of ternary weights for each bit, and a sum that shifts them.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType

import numpy as np

from xnorflow.bnn.names import fresh
from xnorflow.bnn.network import MAX_NAME, Add, Conv2d, Dense, Network, Operation, weight_bits


@lru_cache(maxsize=8)  # each folding of a network asks for it
def ternary(network: Network) -> tuple[Network, Mapping[str, str]]:
    """Return an equal network whose weights are -1, 0 and +1.

    Returns
    -------
    Network
        Every result of the network is there under its name, and planes besides.
    mapping of str to str
        For each plane, by name, the layer that it is a part of.
    """
    operations: list[Operation] = []
    parts: dict[str, str] = {}
    for operation in network.operations:
        if not isinstance(operation, Dense | Conv2d) or weight_bits(operation.weight) <= 2:
            operations.append(operation)
            continue
        sign, magnitude = np.sign(operation.weight).astype(np.int8), np.abs(operation.weight.astype(np.int32))
        names, shifts = [], []
        for place in range(int(magnitude.max()).bit_length()):
            plane = sign * (magnitude >> place & 1).astype(np.int8)
            if plane.any():
                name = fresh(f"{operation.name[: MAX_NAME - 20]}_plane{place}", network.signals, parts)
                parts[name] = operation.name
                operations.append(replace(operation, name=name, weight=plane))
                names.append(name)
                shifts.append(place)
        if len(names) == 1:  # a sum has two operands
            name = fresh(f"{operation.name[: MAX_NAME - 20]}_nothing", network.signals, parts)
            parts[name] = operation.name
            operations.append(replace(operation, name=name, weight=np.zeros_like(sign)))
            names.append(name)
            shifts.append(0)
        operations.append(Add(operation.name, tuple(names), shift=tuple(shifts)))
    return Network(network.name, tuple(operations)), MappingProxyType(parts)
