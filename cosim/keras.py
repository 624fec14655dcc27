"""The trained Keras, QKeras or Larq model itself, as an engine."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.canonical import canonicalise_with_signs
from xnorflow.bnn.network import Argmax, Network
from xnorflow.cosim.engine import Engine, EngineError, Results
from xnorflow.cosim.observed import integers

if TYPE_CHECKING:
    from xnorflow.bnn.frontends.core.value import Conversion

_BATCH = 256


class Keras(Engine):
    """Runs the model that a Network was converted from.

    Reports what Keras computes in place of integers (its conversion's ``observed``: sums, and what activations give)
    and, where the network ends in an argmax, the class: that of its floating-point scores. A fixed-point
    :class:`~xnorflow.bnn.network.Affine` has no counterpart.

    Parameters
    ----------
    model : tf_keras.Model
    conversion : Conversion
        What :func:`xnorflow.bnn.frontends.keras.trace` made of it.
    """

    name = "keras"

    def __init__(self, model: Any, conversion: "Conversion") -> None:
        self._model = model
        self._conversion = conversion

    def prepare(self, network: Network, folder: Path) -> None:
        """See what can be observed; `network` is the conversion's, canonical or not. Writes nothing.

        Raises
        ------
        EngineError
            If `network` is not the conversion's, or Keras computes none of its results.
        """
        canonical, signs = canonicalise_with_signs(self._conversion.network)
        if network == canonical:
            self._signs = dict(signs)
        elif network == self._conversion.network:
            self._signs = {}
        else:
            raise EngineError(f"network {network.name} is not the conversion of the model that the engine was given")
        if not self._conversion.observed:
            raise EngineError(f"network {network.name}: Keras computes none of its results as integers")
        self._network = network

    def run(self, inputs: NDArray[np.integer[Any]], every_layer: bool = False) -> Results:
        """Compute the last sums that Keras computes as we do and the class; or everything that it computes so."""
        from xnorflow.bnn.frontends.keras import run

        observed, signals = self._conversion.observed, self._network.signals
        names = list(observed) if every_layer else list(observed)[-1:]
        places = [*(observed[name].place for name in names), self._conversion.scores]
        collected: dict[str, list[NDArray[np.int64]]] = {name: [] for name in names}
        classes: list[NDArray[np.int64]] = []
        chosen = isinstance(self._network.output, Argmax)
        for start in range(0, len(inputs), _BATCH):
            real = (inputs[start : start + _BATCH] / 2.0**self._network.input.fraction).astype(np.float32)
            *results, scores = run(self._model, places, real)
            for name, result in zip(names, results, strict=True):
                collected[name].append(integers(name, result, observed[name], signals[name].shape, "Keras"))
            if chosen:
                classes.append(scores.argmax(axis=1).reshape(len(real), *signals[self._network.output.name].shape))
        results_by_name = {name: np.concatenate(parts) * self._signs.get(name, 1) for name, parts in collected.items()}
        if chosen:
            results_by_name[self._network.output.name] = np.concatenate(classes)
        return results_by_name
