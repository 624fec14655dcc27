"""The QONNX model that a Network was converted from, executed by onnxruntime, as an engine."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.canonical import canonicalise_with_signs
from xnorflow.bnn.network import Argmax, Network
from xnorflow.cosim.engine import EngineError, Results

if TYPE_CHECKING:
    import onnx

    from xnorflow.bnn.frontends.qonnx import Conversion, Observed


class QonnxSource:
    """Executes the user's model, one vector at a time as it was exported, node by node without optimisations.

    Reports the integers that it computes (sums of layers of weights, signs) and, where the network ends in an argmax,
    the class: its own TopK or ArgMax, or the argmax of its scores. The integers are inner tensors of the model after
    qonnx's cleanup; the class is what the model gives as it is in the file, if the Network's input is the model's own.

    Parameters
    ----------
    model : onnx.ModelProto
        As :func:`xnorflow.bnn.frontends.qonnx_file.load` has read it.
    conversion : Conversion
        What :func:`xnorflow.bnn.frontends.qonnx.trace` has made of it.
    """

    name = "onnx"

    def __init__(self, model: "onnx.ModelProto", conversion: "Conversion") -> None:
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

        cleaned, taken = self._conversion.model, self._conversion.input.tensor
        self._outputs = [output.name for output in cleaned.graph.output]
        self._tensors = [place.tensor for place in self._conversion.observed.values()]
        self._cleaned = session(_from(cleaned, taken), list(dict.fromkeys([*self._tensors, *self._outputs])))
        self._original = None
        if self._conversion.whole:
            known = {tensor.name for tensor in self._model.graph.initializer}
            (self._feed,) = [value.name for value in self._model.graph.input if value.name not in known]
            self._original = session(self._model, [output.name for output in self._model.graph.output])

    def run(self, inputs: NDArray[np.integer], every_layer: bool = False) -> Results:
        """Compute the last sums and the class; or everything that the model computes in integers."""
        observed = self._conversion.observed
        names = [name for name in observed if every_layer or name == list(observed)[-1]]
        collected: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
        classes: list[int] = []
        chosen = isinstance(self._network.output, Argmax)
        taken = self._conversion.input
        try:
            for vector in inputs:
                real = vector.astype(np.float32) * np.float32(taken.scale[0])
                given = real.ravel()[taken.positions][None]
                tensors = [output.name for output in self._cleaned.get_outputs()]
                values = dict(zip(tensors, self._cleaned.run(None, {taken.tensor: given}), strict=True))
                outputs = [values[name] for name in self._outputs]
                if self._original is not None:
                    outputs = self._original.run(None, {self._feed: given})
                for name in names:
                    collected[name].append(_integers(name, values[observed[name].tensor][0], observed[name]))
                if chosen:
                    classes.append(_class(outputs))
        except EngineError:  # of fractions where integers were expected
            raise
        except Exception as error:  # onnxruntime has an exception of its own for each kind of failure
            raise EngineError(f"onnx: onnxruntime failed: {str(error).splitlines()[0]}") from None
        results: dict[str, NDArray[np.integer]] = {}
        for name in names:
            shape = self._network.signals[name].shape
            results[name] = np.array(collected[name]).reshape(-1, *shape) * self._signs.get(name, 1)
        if chosen:
            results[self._network.output.name] = np.array(classes)[:, None]
        return results


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


def _integers(name: str, values: NDArray[np.floating], place: "Observed") -> NDArray[np.int64]:
    """Return an operation's integers, channels last and flat, from the tensor that holds them."""
    flat = np.empty(values.size)
    flat[place.positions.ravel()] = values.ravel()
    real = (flat.reshape(-1, len(place.scale)) - place.shift) / place.scale
    integers = np.rint(real).astype(np.int64)
    if not (np.abs(real - integers) < 0.25).all():
        raise EngineError(f"layer {name}: expected integers from the model, got fractions")
    return integers.ravel()


def _class(outputs: list[NDArray[Any]]) -> int:
    """Return the class: the index that the model gives, or the argmax of its scores."""
    for values in outputs:
        if np.issubdtype(values.dtype, np.integer) and values.size == 1:
            return int(values.item())
    return int(outputs[-1].argmax())
