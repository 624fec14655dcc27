"""The trained PyTorch module itself, as an engine."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.canonical import canonicalise_with_signs
from xnorflow.bnn.network import Argmax, Network
from xnorflow.cosim.engine import Engine, EngineError, Results
from xnorflow.cosim.observed import integers

if TYPE_CHECKING:
    import torch

    from xnorflow.bnn.frontends.torch import TorchConversion


class PyTorch(Engine):
    """Runs the module that a Network was converted from.

    Reports the integers that PyTorch computes (its conversion's ``observed``) and, where the network ends in an argmax,
    the class: that of its floating-point scores. A fixed-point :class:`~xnorflow.bnn.network.Affine` has no
    counterpart. The integers are those inside the module's trace, whose result is held against the module's own, bit
    for bit, in every batch.

    Parameters
    ----------
    conversion : TorchConversion
        What :func:`xnorflow.bnn.frontends.torch.trace` has made of the module.
    """

    name = "pytorch"

    def __init__(self, conversion: "TorchConversion") -> None:
        self._conversion = conversion

    def prepare(self, network: Network, folder: Path) -> None:
        """See what can be observed; `network` is the conversion's, canonical or not. Writes nothing.

        Raises
        ------
        EngineError
            If `network` is not a conversion of this module.
        """
        canonical, signs = canonicalise_with_signs(self._conversion.network)
        if network == canonical:
            self._signs = dict(signs)
        elif network == self._conversion.network:
            self._signs = {}
        else:
            raise EngineError(f"network {network.name} is not the conversion of the module that the engine was given")
        self._network = network

    def run(self, inputs: NDArray[np.integer[Any]], every_layer: bool = False) -> Results:
        """Compute the last of the integers and the class; or everything that PyTorch computes in integers."""
        from xnorflow.bnn.frontends.torch_trace import BATCH

        observed = self._conversion.observed
        names = list(observed) if every_layer else list(observed)[-1:]
        collected: dict[str, list[NDArray[np.int64]]] = {name: [] for name in names}
        classes: list[NDArray[np.int64]] = []
        chosen = isinstance(self._network.output, Argmax)
        for start in range(0, len(inputs), BATCH):
            part = inputs[start : start + BATCH]
            whole = np.concatenate([part, np.zeros((BATCH - len(part), *part.shape[1:]), part.dtype)])
            values = self._batch(whole, {self._conversion.scores, *(observed[name].place for name in names)})
            for name in names:
                result = values[observed[name].place].numpy()[: len(part)]
                shape = self._network.signals[name].shape
                collected[name].append(integers(name, result, observed[name], shape, "PyTorch"))
            if chosen:
                scores = values[self._conversion.scores][: len(part)]
                shape = self._network.signals[self._network.output.name].shape  # one class, or one per pixel
                classes.append(scores.argmax(dim=1).reshape(len(part), *shape).numpy())
        results = {name: np.concatenate(parts) * self._signs.get(name, 1) for name, parts in collected.items()}
        if chosen:
            results[self._network.output.name] = np.concatenate(classes)
        return results

    def _batch(self, inputs: NDArray[np.integer[Any]], wanted: set[str]) -> dict[str, "torch.Tensor"]:
        """Run the module and its trace on a batch; return the results of the nodes that are wanted."""
        import torch
        from torch import fx

        from xnorflow.bnn.frontends.torch import module_input

        values: dict[str, torch.Tensor] = {}

        class Watched(fx.Interpreter):
            def run_node(self, n: fx.Node) -> object:
                result = super().run_node(n)
                if n.name in wanted:
                    values[n.name] = result if isinstance(result, torch.Tensor) else result[0]
                return result

        with torch.no_grad():
            x = module_input(inputs, self._network.input)
            traced = Watched(self._conversion.graph).run(x.clone())
            own = self._conversion.module(x)
        if not torch.equal(traced, own):
            raise EngineError(f"network {self._network.name}: the module's trace does not compute what the module does")
        return values
