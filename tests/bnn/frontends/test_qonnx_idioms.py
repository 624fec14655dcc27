"""What published QONNX and FINN files hold, one idiom at a time: each Network equals what onnxruntime computes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto
from tests import oracle
from tests.bnn.frontends.onnx_graph import DOMAIN, VECTORS, Graph, check, converted, image
from tests.strategies import inputs_for

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.frontends import qonnx, qonnx_file
from xnorflow.bnn.network import Affine, Argmax, Conv2d, DepthToSpace, Input, MaxPool2d, MultiThreshold
from xnorflow.cosim.compare import compare
from xnorflow.cosim.qonnx_source import QonnxSource

STEPS = {
    "Relu": lambda g, c: g.node("Relu"),
    "Clip": lambda g, c: g.node("Clip", -1.5, 2.0),
    "PRelu": lambda g, c: g.node("PRelu", g.random.choice([0.25, 0.5, 2.0], (c, 1, 1))),
    "LeakyRelu": lambda g, c: g.node("LeakyRelu", alpha=0.125),
    "Elu": lambda g, c: g.node("Elu"),
    "Selu": lambda g, c: g.node("Selu"),
    "Sigmoid": lambda g, c: g.node("Sigmoid"),
    "Tanh": lambda g, c: g.node("Tanh"),
    "HardSigmoid": lambda g, c: g.node("HardSigmoid"),
    "LeakyRelu, rounded": lambda g, c: (g.node("LeakyRelu", alpha=0.3), g.node("Mul", 0.7)),
}


@pytest.mark.parametrize("kind", STEPS)
def test_steps_that_never_fall_stand_between_a_sum_and_its_quantiser(kind: str, tmp_path: Path) -> None:
    graph = image(len(kind))
    graph.conv(5, 2, 3, 3)
    graph.norm(5)
    STEPS[kind](graph, 5)
    graph.quant(0.5, 2, signed=0)
    graph.conv(4, 5, 3, 3)
    STEPS[kind](graph, 4)
    graph.node("Sub", 0.25)
    graph.bipolar()
    graph.classes(16)
    check(graph, tmp_path)


@pytest.mark.parametrize("keep", [0, 1])
def test_rows_and_columns_are_reduced_one_after_the_other(keep: int, tmp_path: Path) -> None:
    graph = image(keep)
    graph.conv(4, 2, 3, 3)
    graph.norm(4)
    y = graph.bipolar()
    graph.node("ReduceMean", source=y, axes=[3], keepdims=keep)
    mean = graph.node("ReduceMean", axes=[2], keepdims=keep)
    graph.node("ReduceMax", source=y, axes=[2], keepdims=keep)
    graph.node("ReduceSum", np.array([-1]), keepdims=keep)
    graph.node("Add", mean)
    graph.node("Add", 0.3)
    graph.bipolar()
    graph.classes(4)
    check(graph, tmp_path)


def test_a_step_that_falls_and_rises_is_refused_by_its_own_name(tmp_path: Path) -> None:
    graph = image()
    graph.conv(5, 2, 3, 3)
    graph.node("PRelu", np.full((5, 1, 1), -1.0))
    graph.node("Sub", 1.5)
    graph.node("BipolarQuant", 1.0, domain=DOMAIN, name="my/sign")
    graph.classes(80)
    with pytest.raises(
        UserError, match=r"node 'my/sign' \(BipolarQuant\): expected results that only rise or only fall"
    ):
        converted(graph, tmp_path)


@pytest.mark.parametrize(("bits", "signed"), [(2, 1), (5, 0), (8, 1), (8, 0)])
def test_quantisers_and_weights_have_up_to_8_bits(bits: int, signed: int, tmp_path: Path) -> None:
    graph = image(bits)
    graph.conv(5, 2, 3, 3)
    graph.norm(5)
    graph.quant(0.25, bits, signed)
    weight = graph.random.integers(-(2 ** (bits - 1)) + 1, 2 ** (bits - 1), (4, 5, 2, 2)) * 0.5
    weight[0, 0, 0, 0] = -(2 ** (bits - 1)) * 0.5 if bits == 2 else 0
    graph.node("Conv", weight)
    graph.bipolar()
    graph.classes(36)
    check(graph, tmp_path)


@pytest.mark.parametrize("largest", [-128, 127])
def test_weights_may_be_the_lowest_of_8_bits(largest: int, tmp_path: Path) -> None:
    graph = image(5)
    weight = graph.random.integers(-127, 127, (5, 2, 3, 3)) * 0.5
    weight[:, 0, 0, 0] = 0.5 * largest
    graph.node("Conv", weight)
    graph.norm(5)
    graph.bipolar()
    graph.classes(80)
    network = check(graph, tmp_path).network
    assert isinstance(conv := network["conv1"], Conv2d) and (conv.weight == largest).sum() == 5


def test_a_bias_that_is_exact_counts_for_nothing(tmp_path: Path) -> None:
    graph = image(1)
    weight, bias = graph.signs(5, 2, 3, 3) * 0.5, graph.random.integers(-9, 9, 5) * 0.5
    graph.node("Conv", weight, graph.constant(bias))
    graph.bipolar()
    graph.classes(80)
    check(graph, tmp_path)


@pytest.mark.parametrize("opset", [9, 10, 11, 12])
def test_old_opsets_are_converted(opset: int, tmp_path: Path) -> None:
    graph = image(opset, opset=opset)
    graph.conv(5, 2, 3, 3)
    graph.norm(5)
    graph.bipolar()
    if opset < 11:
        graph.node("Pad", mode="constant", pads=[0, 0, 1, 0, 0, 0, 0, 1], value=1.0)
    graph.conv(4, 5, 3, 3)
    graph.quant(0.5, 3)
    graph.classes(4 * (6 if opset < 11 else 4) // 2 * 3 if opset < 11 else 16)
    if opset < 11:
        graph.nodes.pop()
        graph.last = graph.nodes[-1].output[0]
        graph.dense(4 * 3 * 3)
    graph.node("Softmax", axis=1)
    conversion = check(graph, tmp_path)
    assert any("softmax" in note for note in conversion.notes)


@pytest.mark.parametrize("kind", ["channels", "vector", "sums", "input"])
def test_branches_are_concatenated(kind: str, tmp_path: Path) -> None:
    graph = image(3)
    first = graph.conv(5, 2, 3, 3, pads=[1, 1, 1, 1])
    if kind != "sums":
        graph.norm(5)
        first = graph.bipolar()
    second = graph.conv(4, 5, 3, 3, pads=[1, 1, 1, 1]) if kind != "sums" else graph.node(
        "Conv", graph.signs(4, 2, 3, 3) * 0.5, source="n0", pads=[1, 1, 1, 1])  # fmt: skip
    if kind != "sums":
        graph.norm(4)
        second = graph.quant(0.5, 2)
    if kind == "vector":
        first, second = (graph.node("Flatten", source=source) for source in (first, second))
    if kind == "input":
        second, width = "n0", 7
    else:
        width = 9
    graph.node("Concat", second, source=first, axis=1)
    if kind in ("sums", "channels"):
        graph.node("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    if kind == "sums":
        graph.norm(9)
        graph.bipolar()
    if kind == "vector":
        graph.dense(9 * 36)
    else:
        side = 2 if kind == "input" else 1
        graph.conv(4, width, 3, 3, strides=[2, 2])
        graph.bipolar()
        graph.classes(4 * side * side)
    check(graph, tmp_path)


@pytest.mark.parametrize("behind", ["sign", "quantiser"])
@pytest.mark.parametrize(("pads", "ceil"), [([1, 1, 1, 1], 0), ([0, 0, 0, 0], 1), ([1, 0, 0, 1], 1)])
def test_max_pools_are_padded_and_cover_the_edge(pads: list[int], ceil: int, behind: str, tmp_path: Path) -> None:
    """In front of a sign, behind a batch norm with negative factors, a maximum is a minimum of the sums."""
    graph = image(sum(pads))
    graph.conv(6, 2, 2, 2)
    graph.norm(6)
    window = {"kernel_shape": [2, 2], "strides": [2, 2], "pads": pads, "ceil_mode": ceil}
    graph.node("MaxPool", **window)
    graph.norm(6)
    graph.bipolar() if behind == "sign" else graph.quant(0.5, 3)
    graph.node("MaxPool", kernel_shape=[2, 2], strides=[1, 1], pads=[1, 1, 0, 0])
    graph.classes(54)
    conversion = check(graph, tmp_path)
    assert sum(isinstance(operation, MaxPool2d) for operation in conversion.network.operations) == 2


def test_an_average_stands_between_batch_norm_and_sign(tmp_path: Path) -> None:
    graph = image(5)
    graph.conv(6, 2, 3, 3)
    values = [graph.random.choice([-2.0, 0.0, 1.0, 0.5], 6), np.ones(6), np.full(6, 0.5), np.ones(6)]
    graph.node("BatchNormalization", *(graph.constant(value) for value in values), epsilon=0.0)
    graph.node("AveragePool", kernel_shape=[2, 2], strides=[2, 2])
    graph.bipolar()
    graph.classes(24)
    check(graph, tmp_path)


@pytest.mark.parametrize(
    ("kernel", "stride", "attributes"),
    [
        ((2, 2), (2, 2), {}),
        ((3, 3), (2, 2), {"pads": [1, 1, 1, 1]}),
        ((3, 2), (2, 1), {"pads": [1, 0, 0, 1], "output_padding": [1, 0]}),
        ((4, 5), (2, 3), {"pads": [1, 2, 1, 0]}),
        ((2, 2), (1, 1), {"group": 2}),
        ((2, 2), (3, 2), {"dilations": [2, 1]}),
    ],
)
def test_transposed_convolutions_are_convolutions_of_phases(
    kernel: tuple[int, ...], stride: tuple[int, ...], attributes: dict[str, Any], tmp_path: Path
) -> None:
    graph = image(sum(kernel))
    graph.conv(4, 2, 3, 3)
    graph.norm(4)
    graph.bipolar()
    outputs = 6 // attributes.get("group", 1)
    graph.node("ConvTranspose", graph.signs(4, outputs, *kernel), strides=list(stride), **attributes)
    graph.norm(6)
    graph.bipolar()
    check(graph, tmp_path)


@pytest.mark.parametrize("quantised", [False, True])
@pytest.mark.parametrize("end", ["conv", "dense"])
def test_images_are_enlarged_by_whole_factors(end: str, quantised: bool, tmp_path: Path) -> None:
    graph = image(2)
    graph.conv(3, 2, 3, 3)
    graph.norm(3)
    graph.quant(0.5, 3) if quantised else graph.bipolar()
    graph.node("Resize", "", np.array([1, 1, 2, 3], np.float32), mode="nearest", nearest_mode="floor",
               coordinate_transformation_mode="asymmetric")  # fmt: skip
    if end == "conv":
        graph.conv(4, 3, 3, 3, strides=[2, 2])
        graph.bipolar()
        graph.classes(4 * 3 * 5)
    else:
        graph.classes(3 * 8 * 12)
    conversion = check(graph, tmp_path)
    assert any(isinstance(op, DepthToSpace) for op in conversion.network.operations) == (end == "conv")


def test_pixels_come_from_channels_and_channels_are_split_and_shuffled(tmp_path: Path) -> None:
    graph = image(4)
    graph.conv(8, 2, 3, 3)
    graph.norm(8)
    graph.bipolar()
    graph.node("Reshape", np.array([1, 2, 4, 4, 4]))
    graph.node("Transpose", perm=[0, 2, 1, 3, 4])
    graph.node("Reshape", np.array([1, 8, 4, 4]))
    half = graph.node("Slice", np.array([2]), np.array([6]), np.array([1]))
    graph.conv(8, 4, 3, 3)
    graph.bipolar()
    graph.node("DepthToSpace", blocksize=2, mode="CRD")
    graph.conv(4, 2, 1, 1)
    graph.node("Add", half)
    graph.bipolar()
    graph.classes(64)
    check(graph, tmp_path)


def test_shortcuts_take_every_other_pixel_and_channels_of_0(tmp_path: Path) -> None:
    graph = image(6)
    graph.conv(4, 2, 3, 3)
    graph.norm(4)
    y = graph.bipolar()
    long = graph.conv(8, 4, 3, 3, strides=[2, 2], pads=[1, 1, 1, 1])
    graph.node("Slice", np.array([0, 1]), np.array([99, 99]), np.array([2, 3]), np.array([2, 2]), source=y)
    graph.node("Pad", np.array([0, 1, 0, 0, 0, 3, 0, 0]))
    graph.node("Add", long)
    graph.norm(8)
    graph.bipolar()
    graph.classes(32)
    check(graph, tmp_path)


def test_results_are_subtracted(tmp_path: Path) -> None:
    graph = image(8)
    graph.conv(4, 2, 3, 3)
    graph.norm(4)
    y = graph.bipolar()
    graph.conv(4, 4, 3, 3, pads=[1, 1, 1, 1])
    graph.node("Sub", y)
    graph.norm(4)
    graph.bipolar()
    graph.classes(64)
    check(graph, tmp_path)


def test_constants_stand_beside_channels(tmp_path: Path) -> None:
    graph = image(7)
    graph.conv(4, 2, 3, 3)
    graph.norm(4)
    graph.bipolar()
    graph.node("Concat", np.broadcast_to([[[0.0]], [[0.0]]], (1, 2, 4, 4)).astype(np.float32), axis=1)
    graph.conv(5, 6, 3, 3, pads=[1, 1, 1, 1])
    graph.node("Concat", np.full((1, 1, 4, 4), 1.5), axis=1)
    graph.norm(6)
    graph.bipolar()
    graph.node("ReduceSum", np.array([2, 3]), keepdims=0)
    graph.dense(6)
    check(graph, tmp_path)


def test_sequences_are_images_of_height_1(tmp_path: Path) -> None:
    graph = Graph((3, 12), 7)
    graph.quant(0.5, 4)
    graph.conv(5, 3, 3, pads=[1, 0])
    graph.norm(5)
    graph.node("MaxPool", kernel_shape=[2], strides=[2])
    graph.bipolar()
    graph.conv(4, 5, 2, dilations=[2])
    graph.node("GlobalMaxPool")
    graph.bipolar()
    graph.classes(4)
    conversion = check(graph, tmp_path)
    assert conversion.network.input.shape == (1, 12, 3)


@pytest.mark.parametrize("chosen", [False, True])
@pytest.mark.parametrize("scaled", [False, True])
def test_a_network_ends_with_an_image(scaled: bool, chosen: bool, tmp_path: Path) -> None:
    graph = image(8)
    graph.conv(5, 2, 3, 3)
    graph.norm(5)
    graph.bipolar()
    graph.conv(3, 5, 1, 1)
    if scaled:
        graph.node("Mul", np.array([0.5, 2.0, 0.25]).reshape(3, 1, 1))
        graph.node("Add", np.array([0.5, 0.0, 1.0]).reshape(3, 1, 1))
    if chosen:
        graph.node("ArgMax", axis=1)
        graph.result = TensorProto.INT64
    last = check(graph, tmp_path).network.output
    assert isinstance(last, Argmax if chosen else Affine if scaled else Conv2d)


@pytest.mark.parametrize("kind", ["Sigmoid", "Tanh", "Softmax", "LogSoftmax"])
def test_what_changes_no_order_is_left_out_at_the_end(kind: str, tmp_path: Path) -> None:
    graph = image(6)
    graph.conv(5, 2, 3, 3)
    graph.bipolar()
    graph.classes(80)
    graph.node(kind)
    (note,) = check(graph, tmp_path).notes
    assert kind in note and "does not change the order" in note


def test_a_quantiser_at_the_end_gives_the_scores(tmp_path: Path) -> None:
    graph = image(6)
    graph.conv(5, 2, 3, 3)
    graph.bipolar()
    graph.classes(80)
    graph.quant(3.0, 8)
    conversion = check(graph, tmp_path)
    assert isinstance(conversion.network[conversion.network.output.inputs[0]], MultiThreshold)


@pytest.mark.parametrize(
    ("name", "kind", "low", "high"),
    [
        ("BINARY", "unsigned", 0, 1),
        ("TERNARY", "signed", -2, 1),
        ("BIPOLAR", "bipolar", -1, 1),
        ("INT3", "signed", -4, 3),
        ("UINT8", "unsigned", 0, 255),
    ],
)
def test_finns_annotations_say_what_the_input_is(name: str, kind: str, low: int, high: int, tmp_path: Path) -> None:
    graph = Graph((12,), 1)
    graph.annotated = name
    graph.dense(12, 8)
    graph.node("MultiThreshold", graph.random.integers(-9, 9, (8, 1)).astype(float), domain=DOMAIN,
               out_scale=2.0, out_bias=-1.0, out_dtype="BIPOLAR")  # fmt: skip
    graph.dense(8)
    taken = check(graph, tmp_path).network.input
    signal = taken.infer()
    assert (taken.kind, signal.low[0], signal.high[0]) == (kind, low, high)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_finns_thresholds_take_channels_first_and_last(layout: str, tmp_path: Path) -> None:
    graph = Graph((2, 6, 6) if layout == "NCHW" else (6, 6, 2), 2)
    graph.annotated = "UINT4"
    graph.node("MultiThreshold", np.array([[3.0], [9.0]]), domain=DOMAIN, data_layout=layout, out_scale=2.0,
               out_bias=-1.0)  # fmt: skip
    if layout == "NHWC":
        graph.node("Transpose", perm=[0, 3, 1, 2])
    graph.conv(5, 2, 3, 3)
    graph.node("Transpose", perm=[0, 2, 3, 1])
    graph.node("MultiThreshold", np.sort(graph.random.integers(-9, 9, (5, 3)), axis=1).astype(float), domain=DOMAIN,
               data_layout="NHWC", out_bias=-2.0)  # fmt: skip
    graph.node("MatMul", graph.signs(5, 4))
    graph.bipolar()
    graph.classes(64)
    conversion = check(graph, tmp_path)
    assert conversion.network.input.shape == (6, 6, 2)


def test_a_batch_norm_of_vectors_stands_between_views(tmp_path: Path) -> None:
    graph = Graph((12,), 3)
    graph.bipolar()
    graph.dense(12, 8)
    graph.node("Unsqueeze", np.array([2]))
    graph.norm(8)
    graph.node("Squeeze", np.array([2]))
    graph.bipolar()
    graph.dense(8)
    check(graph, tmp_path)


@pytest.mark.parametrize("batch", [4, "N"])
def test_a_batch_is_taken_apart(batch: int | str, tmp_path: Path) -> None:
    graph = image(9)
    graph.conv(5, 2, 3, 3)
    graph.norm(5)
    graph.bipolar()
    graph.node("Reshape", np.array([4 if batch == 4 else -1, 80]))
    graph.dense(80)
    conversion = check(graph, tmp_path, batch=batch)
    assert [note for note in conversion.notes if "4 vectors at a time" in note] == list(conversion.notes)
    assert len(conversion.notes) == (batch == 4)


def test_constants_fold_before_operators_are_judged(tmp_path: Path) -> None:
    graph = Graph((12,), 3)
    graph.bipolar()
    sums = graph.dense(12, 8)
    root = graph.node("Einsum", np.full((1, 1), 4.0), np.full((1, 1), 2.0), source="", equation="ab,bc->ac")
    graph.node("Pow", 0.5, source=root)
    graph.node("Div", graph.last, source=sums)
    graph.bipolar()
    graph.dense(8)
    check(graph, tmp_path)


def test_a_scale_that_is_infinite_is_named(tmp_path: Path) -> None:
    graph = Graph((12,), 3)
    graph.bipolar()
    weight = graph.node("BipolarQuant", np.inf, source=graph.constant(np.ones((12, 3))), domain=DOMAIN, name="w/quant")
    graph.node("MatMul", weight, source="n0")
    with pytest.raises(UserError, match=r"the scale of node 'w/quant' \(BipolarQuant\): .*got infinity"):
        converted(graph, tmp_path)


def test_hardware_nodes_of_finn_are_refused_with_the_way_back(tmp_path: Path) -> None:
    graph = Graph((12,), 3)
    graph.node("MVAU_hls", np.ones((12, 3)), domain="finn.custom_op.fpgadataflow", name="MVAU_0")
    with pytest.raises(UserError, match=r"node 'MVAU_0' .*FINN's hardware; give the file of an earlier step"):
        converted(graph, tmp_path)


def test_values_that_are_no_integers_are_refused_by_the_first_node(tmp_path: Path) -> None:
    graph = image(1)
    graph.conv(5, 2, 3, 3)
    graph.node("Tanh", name="act/Tanh")
    graph.node("Mul", 0.3)
    graph.conv(4, 5, 3, 3)
    graph.classes(16)
    with pytest.raises(UserError, match=r"node 'act/Tanh' \(Tanh\): expected a sign or quantiser after it"):
        converted(graph, tmp_path)


def test_a_wrong_file_is_seen(tmp_path: Path) -> None:
    """The check itself goes red where the Network is another one."""
    graph = image(1)
    graph.conv(5, 2, 3, 3)
    graph.bipolar()
    graph.classes(80)
    model, conversion = converted(graph, tmp_path)
    network = conversion.network
    sign = network["threshold1"]
    other = replace(network, operations=tuple(
        replace(sign, threshold=sign.threshold + 2) if operation is sign else operation
        for operation in network.operations))  # fmt: skip
    inputs = inputs_for(network, VECTORS)
    engine = QonnxSource(model, conversion)
    engine.prepare(network, tmp_path)
    assert compare(other, oracle.run(other, inputs), engine.run(inputs, every_layer=True)).first is not None


def surveyed(graph: Any, folder: Path) -> Any:
    path = folder / "idiom.onnx"
    path.write_bytes(graph.model().SerializeToString())
    if foreign := qonnx_file.foreign(path):
        return foreign
    model = qonnx_file.load(path, any_operator=True)
    return qonnx.check(model, "idiom", lambda shape: Input("input", (), shape))


def test_a_check_tells_every_node_that_stands_in_the_way(tmp_path: Path) -> None:
    """An operator that is not supported, an argument that is not, real numbers between weights, by the file's names."""
    graph = Graph((3, 8, 8))
    graph.bipolar()
    graph.conv(4, 3, 3, 3)
    graph.node("LRN", name="norm", size=3)
    graph.bipolar()
    graph.node("AveragePool", name="mean", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    graph.norm(4)
    behind = graph.last
    graph.conv(4, 4, 1, 1)
    graph.node("Flatten")
    survey = surveyed(graph, tmp_path)
    wrong = {of.where: of.reason for of in survey.judged if not of.taken}
    assert len(survey.judged) == len(graph.nodes) and not survey.by_kind
    assert wrong.keys() == {
        "model 'idiom', node 'norm' (LRN)",
        "model 'idiom', node 'mean' (AveragePool)",
        f"model 'idiom', node {behind!r} (BatchNormalization)",
    }
    assert "not supported" in wrong["model 'idiom', node 'norm' (LRN)"]
    assert "ceil_mode 0" in wrong["model 'idiom', node 'mean' (AveragePool)"]


def test_a_check_of_nodes_that_are_none_of_onnx_goes_by_their_kinds(tmp_path: Path) -> None:
    graph = Graph((20,))
    graph.bipolar()
    graph.node("Thresholding", name="hls", domain="finn.custom_op.fpgadataflow.hls")
    graph.node("Det", name="other")
    survey = surveyed(graph, tmp_path)
    assert survey.by_kind and [of.taken for of in survey.judged] == [True, False, False]
    assert "an earlier step of FINN's flow" in survey.judged[1].reason and "supported are" in survey.judged[2].reason


def test_a_check_of_a_model_that_is_taken_refuses_nothing(tmp_path: Path) -> None:
    graph = Graph((20,))
    graph.bipolar()
    graph.dense(20, 6)
    graph.norm(6)
    graph.bipolar()
    graph.dense(6)
    survey = surveyed(graph, tmp_path)
    assert len(survey.judged) == 5 and all(of.taken for of in survey.judged)
