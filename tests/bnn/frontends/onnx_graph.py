"""QONNX models in the making, and the check of what is made of them."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tests import oracle
from tests.strategies import inputs_for

from xnorflow.bnn.canonical import canonicalise
from xnorflow.bnn.frontends import qonnx, qonnx_file
from xnorflow.bnn.network import Affine, Input
from xnorflow.cosim.compare import compare
from xnorflow.cosim.qonnx_source import QonnxSource

DOMAIN = "qonnx.custom_op.general"
VECTORS = 60


class Graph:
    """A model in the making: a chain of nodes, each of which takes the result of the one before it first."""

    def __init__(self, shape: Any, seed: int = 0, opset: int = 13) -> None:
        self.random, self.shape, self.opset = np.random.default_rng(seed), shape, opset
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.last = "x"
        self.annotated: str | None = None
        self.result = TensorProto.FLOAT

    def constant(self, value: Any, dtype: Any = np.float32) -> Any:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def node(
        self,
        kind: Any,
        *operands: Any,
        source: Any = None,
        domain: str = "",
        name: str | None = None,
        **attributes: Any,
    ) -> Any:
        """Add a node; operands that are no names become constants, integers among them as int64."""
        named = [
            of if isinstance(of, str)
            else self.constant(of, np.int64 if np.asarray(of).dtype == np.int64 and domain == "" else np.float32)
            for of in operands
        ]  # fmt: skip
        output = name or f"n{len(self.nodes)}"
        sources = [self.last if source is None else source] if source != "" else []
        self.nodes.append(helper.make_node(kind, [*sources, *named], [output], name or "", domain=domain, **attributes))
        self.last = output
        return output

    def bipolar(self, scale: float = 1.0) -> Any:
        return self.node("BipolarQuant", float(scale), domain=DOMAIN)

    def quant(self, scale: Any, bits: Any, signed: int = 1, narrow: int = 0) -> Any:
        mode: dict[str, Any] = {"signed": signed, "narrow": narrow, "rounding_mode": "ROUND"}
        return self.node("Quant", float(scale), 0.0, float(bits), domain=DOMAIN, **mode)

    def signs(self, *shape: Any) -> Any:
        return self.random.choice([-1.0, 1.0], shape)

    def conv(self, outputs: int, inputs: int, *kernel: Any, scale: float = 1.0, **attributes: Any) -> Any:
        return self.node("Conv", self.signs(outputs, inputs, *kernel) * scale, **attributes)

    def norm(self, channels: Any) -> Any:
        """A batch norm that no training would give: negative, zero, huge and tiny factors."""
        values = [
            self.random.choice([-2.0, -1e-3, 0.0, 1e6, 1.0, 0.5], channels),
            self.random.choice([0.0, 1.0, -0.25], channels),
            self.random.integers(-5, 5, channels) * 0.5,
            self.random.choice([1.0, 1e-6, 4.0], channels),
        ]
        return self.node("BatchNormalization", *(self.constant(value) for value in values), epsilon=0.0)

    def dense(self, inputs: int, classes: int = 3) -> Any:
        return self.node("MatMul", self.signs(inputs, classes))

    def classes(self, features: Any, classes: int = 3) -> Any:
        self.node("Flatten")
        return self.dense(features, classes)

    def model(self, batch: int | str = 1) -> Any:
        graph = helper.make_graph(
            self.nodes,
            "idiom",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, *self.shape])],
            [helper.make_tensor_value_info(self.last, self.result, None)],
            self.constants,
        )
        if self.annotated:
            entry = onnx.StringStringEntryProto(key="finn_datatype", value=self.annotated)
            graph.quantization_annotation.append(
                onnx.TensorAnnotation(tensor_name="x", quant_parameter_tensor_names=[entry])
            )
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid(DOMAIN, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def converted(graph: Any, folder: Path, batch: int | str = 1) -> Any:
    """Load and convert a model as a user's file."""
    path = folder / "idiom.onnx"
    path.write_bytes(graph.model(batch).SerializeToString())
    model = qonnx_file.load(path)
    return model, qonnx.trace(model, "idiom", lambda shape: Input("input", (), shape))


def check(graph: Any, folder: Path, batch: int | str = 1, ambiguous: int = 0) -> Any:
    """Convert, and hold every layer that the file computes against its own execution, on every vector."""
    model, conversion = converted(graph, folder, batch)
    network = canonicalise(conversion.network)
    inputs = inputs_for(network, VECTORS)
    engine, want = QonnxSource(model, conversion), oracle.run(network, inputs)
    engine.prepare(network, folder)
    got = engine.run(inputs, every_layer=True)
    assert len(got) > 1 and compare(network, want, got).first is None
    assert sum(of.pairs for of in conversion.ambiguous.values()) == ambiguous
    last = network.output
    assert last.name in got or isinstance(last, Affine)
    return conversion


def image(seed: int = 0, bits: int = 4, **settings: Any) -> Any:
    graph = Graph((2, 6, 6), seed, **settings)
    graph.quant(0.25, bits)
    return graph
