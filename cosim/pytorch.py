"""The trained PyTorch module itself, as an engine."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bnn.canonical import canonicalise_with_signs
from bnn.network import Argmax, Network
from cosim.engine import EngineError, Results

if TYPE_CHECKING:
    from torch import nn

_BATCH = 1000


class PyTorch:
    """Runs the module that a Network was converted from.

    Reports the integers that PyTorch computes as such (accumulators, signs and pools) and the class, the argmax of its
    floating-point scores. A fixed-point :class:`~bnn.network.Affine` has no counterpart.

    Parameters
    ----------
    module : nn.Sequential
        What :func:`bnn.frontends.torch.convert` was given.
    """

    name = "pytorch"

    def __init__(self, module: "nn.Module") -> None:
        self._module = module

    def prepare(self, network: Network, folder: Path) -> None:
        """Trace the module; `network` is its conversion, canonical or not. Writes nothing.

        Raises
        ------
        EngineError
            If `network` is not a conversion of this module.
        """
        from bnn.frontends.torch import trace

        self._conversion = trace(self._module, network.name, network.input)
        canonical, signs = canonicalise_with_signs(self._conversion.network)
        if network == canonical:
            self._signs = dict(signs)
        elif network == self._conversion.network:
            self._signs = {}
        else:
            raise EngineError(f"network {network.name} is not a conversion of the module that the engine was given")
        self._network = network

    def run(self, inputs: NDArray[np.integer], every_layer: bool = False) -> Results:
        """Compute the accumulators of the last layer and the class; or everything that PyTorch computes in integers."""
        import torch

        from bnn.frontends.torch import module_input

        observed = self._conversion.observed
        last = list(observed)[-1]
        names = [name for name in observed if every_layer or name == last]
        collected: dict[str, list[NDArray[np.int64]]] = {name: [] for name in names}
        classes: list[NDArray[np.int64]] = []
        with torch.inference_mode():
            for start in range(0, len(inputs), _BATCH):
                values = [module_input(inputs[start : start + _BATCH], self._network.input)]
                for module in self._conversion.modules:
                    values.append(module(values[-1]))
                for name in names:
                    result = values[observed[name] + 1]
                    if name in self._conversion.orders:
                        result = result[:, torch.from_numpy(self._conversion.orders[name])]
                    elif result.ndim > 2:
                        result = result.movedim(1, -1)
                    collected[name].append(_integers(name, result.numpy() / self._conversion.units[name]))
                classes.append(values[-1].argmax(dim=1, keepdim=True).numpy())
        results = {name: np.concatenate(parts) * self._signs.get(name, 1) for name, parts in collected.items()}
        if isinstance(self._network.output, Argmax):
            results[self._network.output.name] = np.concatenate(classes)
        return results


def _integers(name: str, values: NDArray[np.floating]) -> NDArray[np.int64]:
    integers = values.astype(np.int64)
    if not np.array_equal(integers, values):
        raise EngineError(f"layer {name}: expected integers from PyTorch, got fractions")
    return integers
