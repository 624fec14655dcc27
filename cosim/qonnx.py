"""A Network's QONNX model, executed by onnxruntime, as an engine."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.network import Network
from xnorflow.cosim.engine import Engine, EngineError, EngineUnavailable, Results, outputs

FILE = "network.onnx"

_BATCH = 256
_FLOAT32_EXACT = 2**24  # every integer up to here is a float32


class Qonnx(Engine):
    """Writes the network as a QONNX file (:mod:`xnorflow.bnn.qonnx_export`), and lets onnxruntime execute that file.

    QONNX's own quantisers are first put in terms of standard operators (:mod:`xnorflow.bnn.qonnx_lowering`), and the
    model is made to take any number of vectors.
    """

    name = "qonnx"

    def prepare(self, network: Network, folder: Path) -> None:
        """Write ``network.onnx`` into `folder`.

        Raises
        ------
        EngineUnavailable
            If the network holds an operation that the export does not know, or a sum may be larger than float32 holds
            exactly.
        """
        from xnorflow.bnn import qonnx_export

        if reason := qonnx_export.unsupported(network):
            raise EngineUnavailable(reason)
        largest = qonnx_export.largest_sum(network)
        if largest > _FLOAT32_EXACT:
            raise EngineUnavailable(
                f"a layer adds up to {largest:,}; QONNX computes in float32, which holds integers up to "
                f"{_FLOAT32_EXACT:,}"
            )
        qonnx_export.write(network, folder / FILE)
        self.attach(network, folder)

    def attach(self, network: Network, folder: Path) -> None:
        """Take up the file that :meth:`prepare` has left in `folder`, perhaps in another process.

        Raises
        ------
        EngineError
            If it is not there, or not an ONNX file.
        """
        import onnx

        self._network = network
        try:
            self._model = onnx.load(folder / FILE)
        except Exception as error:  # whatever protobuf raises
            raise EngineError(f"qonnx: {folder / FILE} cannot be read: {error}") from None
        self._model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"
        self._sessions: dict[tuple[str, ...], Any] = {}

    def run(self, inputs: NDArray[np.integer[Any]], every_layer: bool = False) -> Results:
        from xnorflow.bnn.errors import UserError
        from xnorflow.bnn.qonnx_export import INPUT
        from xnorflow.bnn.qonnx_lowering import session

        names = tuple(self._network.signals) if every_layer else outputs(self._network)
        try:
            if names not in self._sessions:
                self._sessions[names] = session(self._model, names)
            unit = np.float32(2**self._network.input.fraction)
            parts: list[list[NDArray[Any]]] = []
            for start in range(0, len(inputs), _BATCH):
                values = inputs[start : start + _BATCH].astype(np.float32) / unit
                parts.append(self._sessions[names].run(None, {INPUT: np.moveaxis(values, -1, 1)}))
        except UserError as error:
            raise EngineError(f"qonnx: {error}") from None
        except Exception as error:  # onnxruntime has an exception of its own for each kind of failure
            raise EngineError(f"qonnx: onnxruntime failed: {str(error).splitlines()[0]}") from None
        results: dict[str, NDArray[np.integer[Any]]] = {}
        for index, name in enumerate(names):
            values = np.moveaxis(np.concatenate([part[index] for part in parts]), 1, -1)
            results[name] = values.astype(np.int64)
            if not np.array_equal(results[name], values):
                raise EngineError(f"qonnx: layer {name}: expected integers, got fractions")
        return results
