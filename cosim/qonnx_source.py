"""The QONNX model that a Network was converted from, executed by onnxruntime, as an engine."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.canonical import canonicalise_with_signs
from xnorflow.bnn.network import Argmax, Network
from xnorflow.cosim.engine import Engine, EngineError, Results

if TYPE_CHECKING:
    import onnx

    from xnorflow.bnn.frontends.core.value import Observed
    from xnorflow.bnn.frontends.qonnx import QonnxConversion


class QonnxSource(Engine):
    """Executes the user's model, as many vectors at a time as it was exported for, without optimisations.

    Reports the integers that it computes (sums of layers of weights, signs) and, where the network ends in an argmax,
    the class: its own TopK or ArgMax, or the argmax of its scores, before a softmax whose float32 makes different
    scores equal. The integers are inner tensors of the model whose constants have been folded; the class is what the
    model gives as it is in the file, if the Network's input is the model's own.

    Parameters
    ----------
    model : onnx.ModelProto
        As :func:`xnorflow.bnn.frontends.qonnx_file.load` has read it.
    conversion : QonnxConversion
        What :func:`xnorflow.bnn.frontends.qonnx.trace` has made of it.
    """

    name = "onnx"

    def __init__(self, model: "onnx.ModelProto", conversion: "QonnxConversion") -> None:
        self._model, self._conversion = model, conversion

    def prepare(self, network: Network, folder: Path) -> None:
        """Load the model; `network` is its conversion, canonical or not. Writes nothing.

        Raises
        ------
        EngineError
            If `network` is not a conversion of this model.
        """
        from xnorflow.bnn.errors import UserError

        canonical, signs = canonicalise_with_signs(self._conversion.network)
        if network == canonical:
            self._signs = dict(signs)
        elif network == self._conversion.network:
            self._signs = {}
        else:
            raise EngineError(f"network {network.name} is not a conversion of the model that the engine was given")
        self._network = network
        try:
            self._load()
        except UserError as error:
            raise EngineError(f"onnx: {error}") from None

    def _load(self) -> None:
        from xnorflow.bnn.qonnx_lowering import session

        folded, taken = self._conversion.model, self._conversion.input.place
        outputs = [output.name for output in folded.graph.output]
        places = [place.place for place in self._conversion.observed.values()]
        self._tensors = list(dict.fromkeys([*places, *outputs, self._conversion.scores]))
        self._folded = session(_from(folded, taken), self._tensors)
        self._outputs, self._original = outputs, None
        if self._conversion.whole:
            known = {tensor.name for tensor in self._model.graph.initializer}
            (self._feed,) = [value.name for value in self._model.graph.input if value.name not in known]
            self._original = session(self._model, outputs)

    def run(self, inputs: NDArray[np.integer[Any]], every_layer: bool = False) -> Results:
        """Compute the last sums and the class; or everything that the model computes in integers."""
        observed = self._conversion.observed
        names = [name for name in observed if every_layer or name == list(observed)[-1]]
        collected: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
        classes: list[NDArray[np.int64]] = []
        taken, batch = self._conversion.input, self._conversion.batch
        try:
            for start in range(0, len(inputs), batch):
                vectors = inputs[start : start + batch]
                filled = np.concatenate([vectors, np.repeat(vectors[:1], batch - len(vectors), axis=0)])
                real = (filled * taken.scale).astype(np.float32)
                given = np.stack([vector.ravel()[taken.positions] for vector in real])
                values = dict(zip(self._tensors, self._folded.run(None, {taken.place: given}), strict=True))
                for name in names:
                    place = observed[name]
                    collected[name] += [_integers(name, of, place) for of in values[place.place][: len(vectors)]]
                if self._original is not None:
                    values |= dict(zip(self._outputs, self._original.run(None, {self._feed: given}), strict=True))
                if isinstance(self._network.output, Argmax):
                    classes.append(self._classes(values)[: len(vectors)])
        except EngineError:  # of fractions where integers were expected
            raise
        except Exception as error:  # onnxruntime has an exception of its own for each kind of failure
            raise EngineError(f"onnx: onnxruntime failed: {str(error).splitlines()[0]}") from None
        results: dict[str, NDArray[np.integer[Any]]] = {}
        for name in names:
            shape = self._network.signals[name].shape
            results[name] = np.array(collected[name]).reshape(-1, *shape) * self._signs.get(name, 1)
        last = self._network.output
        if isinstance(last, Argmax):
            shape = self._network.signals[last.name].shape
            results[last.name] = np.concatenate(classes).reshape(-1, *shape)
        return results

    def _classes(self, values: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
        """Return the classes: the index that the model gives, or the argmax of its scores, over the channels."""
        for name in self._outputs:
            if np.issubdtype(values[name].dtype, np.integer) and name != self._conversion.scores:
                return values[name].reshape(len(values[name]), -1)
        classes: NDArray[np.int64] = values[self._conversion.scores].argmax(axis=1)
        return classes


def _from(model: "onnx.ModelProto", tensor: str) -> "onnx.ModelProto":
    """Return the model with `tensor` as its input, and only the nodes that come after it."""
    import onnx
    from onnx import TensorProto, helper

    cut = onnx.ModelProto()
    cut.CopyFrom(model)
    known, nodes = {tensor}, []
    for node in model.graph.node:  # a chain: what does not depend on it stands before it
        if known & set(node.input):
            known |= set(node.output)
            nodes.append(node)
    del cut.graph.node[:]
    cut.graph.node.extend(nodes)
    del cut.graph.input[:]
    cut.graph.input.append(helper.make_tensor_value_info(tensor, TensorProto.FLOAT, None))
    return cut


def _integers(name: str, values: NDArray[np.floating[Any]], place: "Observed") -> NDArray[np.int64]:
    """Return an operation's integers, channels last and flat, from the tensor that holds them."""
    flat = np.empty(values.size)
    flat[place.positions.ravel()] = values.ravel()
    real = (flat.reshape(-1, len(place.scale)) - place.shift) / place.scale
    integers: NDArray[np.int64] = np.rint(real).astype(np.int64)
    if not (np.abs(real - integers) < 0.25).all():
        raise EngineError(f"layer {name}: expected integers from the model, got fractions")
    return integers.ravel()
