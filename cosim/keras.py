"""The trained Keras, QKeras or Larq model itself, as an engine."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.canonical import canonicalise_with_signs
from xnorflow.bnn.network import Argmax, Network
from xnorflow.cosim.engine import Engine, EngineError, Results

if TYPE_CHECKING:
    from xnorflow.bnn.frontends.keras import Conversion

_BATCH = 256
_OFF = 0.1
"""How far from an integer a float32 sum may lie, in steps of one: sums with scales that are no power of two round."""


class Keras(Engine):
    """Runs the model that a Network was converted from.

    Reports what Keras computes in place of integers (:attr:`xnorflow.bnn.frontends.keras.Conversion.observed`: sums,
    and what activations give) and, where the network ends in an argmax, the class: that of its floating-point scores. A
    fixed-point :class:`~xnorflow.bnn.network.Affine` has no counterpart.

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

    def run(self, inputs: NDArray[np.integer], every_layer: bool = False) -> Results:
        """Compute the last sums that Keras computes as we do and the class; or everything that it computes so."""
        from xnorflow.bnn.frontends.keras_file import import_keras

        keras = import_keras()
        observed = self._conversion.observed
        names = list(observed) if every_layer else list(observed)[-1:]
        graph = keras.Model(self._model.inputs, [*(observed[name].tensor for name in names), self._conversion.scores])
        collected: dict[str, list[NDArray[np.int64]]] = {name: [] for name in names}
        classes: list[NDArray[np.int64]] = []
        chosen = isinstance(self._network.output, Argmax)
        for start in range(0, len(inputs), _BATCH):
            integers = inputs[start : start + _BATCH]
            real = (integers / 2.0**self._network.input.fraction).astype(np.float32)
            *results, scores = graph(real.reshape(len(real), *self._model.inputs[0].shape[1:]), training=False)
            for name, result in zip(names, results, strict=True):
                kind = observed[name]
                values = np.asarray(result if kind.quantizer is None else kind.quantizer(result), np.float64)
                shape = self._network.signals[name].shape
                collected[name].append(_integers(name, (values - kind.shift) / kind.scale).reshape(-1, *shape))
            if chosen:
                classes.append(np.asarray(scores).argmax(axis=-1).reshape(len(integers), -1)[:, :1])
        results_by_name = {name: np.concatenate(parts) * self._signs.get(name, 1) for name, parts in collected.items()}
        if chosen:
            results_by_name[self._network.output.name] = np.concatenate(classes)
        return results_by_name


def _integers(name: str, values: NDArray[np.float64]) -> NDArray[np.int64]:
    if not np.isfinite(values).all():
        raise EngineError(f"layer {name}: expected integers from Keras, got NaN or infinity")
    integers = np.rint(values)
    if values.size and np.abs(values - integers).max() > _OFF:
        raise EngineError(f"layer {name}: expected integers from Keras, got fractions")
    return integers.astype(np.int64)
