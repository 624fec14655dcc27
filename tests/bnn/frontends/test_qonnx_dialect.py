"""What early Brevitas wrote, and FINN's streamlined files: each Network equals qonnx's own execution of the file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import helper
from tests import oracle
from tests.bnn.frontends.onnx_graph import DOMAIN, VECTORS, Graph, check, converted, image
from tests.narrowed import there
from tests.strategies import inputs_for

from xnorflow.bnn.canonical import canonicalise
from xnorflow.bnn.errors import UserError
from xnorflow.bnn.frontends import qonnx_file


def executed(graph: Any, inputs: NDArray[Any], shapes: Any) -> Any:
    """Compute scores by qonnx, which knows nothing of this project, and finds not all shapes itself."""
    from qonnx.core.datatype import DataType
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.infer_shapes import InferShapes

    wrapped = ModelWrapper(graph.model())
    made = {name for node in wrapped.graph.node for name in node.output}
    for value in shapes:
        if value.name in made:
            wrapped.set_tensor_shape(value.name, [dim.dim_value for dim in value.type.tensor_type.shape.dim])
    wrapped = wrapped.transform(InferShapes())
    for node in wrapped.graph.node:  # Im2Col asks whether what it pads by is a value of its operand
        wrapped.set_tensor_datatype(node.input[0], DataType["INT8"])
    (taken,) = [value.name for value in wrapped.graph.input]
    given = np.asarray(inputs, np.float32)
    return np.concatenate([execute_onnx(wrapped, {taken: one[None]})[graph.last] for one in given])


def same(graph: Any, folder: Path) -> None:
    """Hold the Network's scores against qonnx's, beside what :func:`check` compares."""
    conversion = check(graph, folder)
    network = canonicalise(conversion.network)
    inputs, last = inputs_for(network, VECTORS), list(conversion.observed)[-1]
    scores, place = oracle.run(network, inputs)[last], conversion.observed[last]
    assert np.array_equal(
        scores * place.scale + place.shift, executed(graph, inputs, conversion.model.graph.value_info)
    )


def finn(shape: Any, seed: int, annotated: str = "UINT4") -> Any:
    graph = Graph(shape, seed)
    graph.annotated = annotated
    return graph


def threshold(graph: Any, channels: Any, levels: Any, **given: Any) -> Any:
    limits = np.sort(graph.random.integers(-9, 9, (channels, levels)), axis=1).astype(float)
    return graph.node("MultiThreshold", limits, domain=DOMAIN, data_layout="NHWC", **given)


@pytest.mark.parametrize(
    ("size", "stride", "pads", "dilation"),
    [((3, 3), [1, 1], [1, 1, 1, 1], [1, 1]), ((2, 3), [2, 1], [0, 2, 1, 0], [1, 1]),
     ((2, 2), [1, 2], [0, 0, 0, 0], [2, 3]), ((1, 1), [2, 2], [0, 0, 0, 0], [1, 1])],
)  # fmt: skip
def test_windows_and_a_product_are_a_convolution(
    size: Any, stride: Any, pads: Any, dilation: Any, tmp_path: Path
) -> None:
    graph = finn((6, 7, 2), 1)
    graph.node("Im2Col", domain=DOMAIN, kernel_size=size, stride=stride, pad_amount=pads, dilations=dilation,
               input_shape="(1,6,7,2)", depthwise=0)  # fmt: skip
    graph.node("MatMul", graph.signs(size[0] * size[1] * 2, 5), name="product")
    threshold(graph, 5, 3, out_bias=-1.0)
    extents = [
        (length + pads[axis] + pads[axis + 2] - dilation[axis] * (size[axis] - 1) - 1) // stride[axis] + 1
        for axis, length in enumerate((6, 7))
    ]
    graph.classes(5 * extents[0] * extents[1])
    same(graph, tmp_path)


@pytest.mark.parametrize(("size", "stride", "pad", "ceil"), [(2, 2, 0, 0), (3, 2, 1, 1), (3, 1, 1, 0)])
def test_pools_have_their_channels_last(size: Any, stride: Any, pad: Any, ceil: Any, tmp_path: Path) -> None:
    graph = finn((6, 7, 2), 2)
    graph.node("MatMul", graph.signs(2, 4))
    threshold(graph, 4, 1, out_scale=2.0, out_bias=-1.0)
    graph.node("MaxPoolNHWC", domain=DOMAIN, kernel_shape=[size] * 2, strides=[stride] * 2, pads=[pad] * 4,
               ceil_mode=ceil)  # fmt: skip
    graph.node("MatMul", graph.signs(4, 3))
    threshold(graph, 3, 1)
    extents = [-(-(length + 2 * pad - size) // stride) + 1 if ceil else (length + 2 * pad - size) // stride + 1
               for length in (6, 7)]  # fmt: skip
    graph.classes(3 * extents[0] * extents[1])
    same(graph, tmp_path)


def test_bits_are_compared_and_counted(tmp_path: Path) -> None:
    graph = finn((12,), 3, "BINARY")
    for inputs, outputs in ((12, 8), (8, 3)):
        weight = graph.random.integers(0, 2, (inputs, outputs)).astype(float)
        graph.node("XnorPopcountMatMul", weight, domain=DOMAIN)
        if outputs == 8:
            limits = graph.random.integers(3, 9, (8, 1)).astype(float)
            graph.node("MultiThreshold", limits, domain=DOMAIN, out_dtype="BINARY")
    same(graph, tmp_path)


def test_what_is_not_as_finn_makes_it_is_refused(tmp_path: Path) -> None:
    graph = finn((6, 6, 2), 1)
    windows = graph.node("Im2Col", domain=DOMAIN, kernel_size=[3, 3], stride=[1, 1], name="windows")
    threshold(graph, 18, 1)
    with pytest.raises(UserError, match=r"node 'windows' \(Im2Col\): expected one MatMul behind it"):
        converted(graph, tmp_path)
    graph.nodes[1:] = [helper.make_node("MatMul", [windows, graph.constant(graph.signs(17, 3))], ["y"], "product")]
    with pytest.raises(UserError, match=r"node 'product' .*weights for windows of \[3, 3\], got shape \(17, 3\)"):
        converted(graph, tmp_path)
    graph.nodes[0].attribute.append(helper.make_attribute("pad_value", 1))
    with pytest.raises(UserError, match=r"node 'windows' .*expected .*pad_value 0"):
        converted(graph, tmp_path)
    graph = finn((4,), 1, "BINARY")
    graph.node("XnorPopcountMatMul", np.array([[0.0], [1], [2], [1]]), domain=DOMAIN, name="bits")
    with pytest.raises(UserError, match=r"node 'bits' .*expected weights 0 and 1, got others"):
        converted(graph, tmp_path)


@pytest.mark.parametrize("domain", [DOMAIN, "onnx.brevitas", "finn.custom_op.general", ""])
def test_domains_need_no_declaration(domain: Any, tmp_path: Path) -> None:
    graph = image(4)
    graph.conv(5, 2, 3, 3)
    graph.norm(5)
    graph.bipolar()
    graph.classes(80)
    model = graph.model()
    del model.opset_import[1:]
    for node in model.graph.node:
        node.domain = domain if node.domain else ""
    graph.model = lambda batch: model
    check(graph, tmp_path)


def test_scales_and_bit_widths_may_be_integers(tmp_path: Path) -> None:
    graph = Graph((12,), 5)
    operands = [graph.constant(value, kind) for value, kind in ((1, np.int32), (0, np.int64), (4, np.int64))]
    graph.node("Quant", *operands, domain=DOMAIN)
    graph.dense(12, 8)
    graph.bipolar()
    graph.dense(8)
    assert check(graph, tmp_path).network.input.bits == 4


def test_a_narrow_input_is_taken_with_all_its_integers(tmp_path: Path) -> None:
    graph = Graph((12,), 6)
    graph.quant(0.25, 8, narrow=1)
    graph.dense(12, 8)
    graph.norm(8)
    graph.bipolar()
    graph.dense(8)
    conversion = check(graph, tmp_path)
    assert (conversion.network.input.bits, conversion.whole) == (8, False)
    assert "never gives the lowest or highest integer of its 8 bits" in conversion.notes[0]


def test_a_check_judges_finns_nodes(tmp_path: Path) -> None:
    graph = finn((6, 6, 2), 1)
    graph.node("Im2Col", domain=DOMAIN, kernel_size=[3, 3], stride=[1, 1])
    graph.node("MVAU_hls", graph.signs(18, 3), domain="finn.custom_op.fpgadataflow", name="MVAU_0")
    path = tmp_path / "idiom.onnx"
    path.write_bytes(graph.model().SerializeToString())
    survey = there(qonnx_file.foreign(path))
    assert [of.taken for of in survey.judged] == [True, False]
