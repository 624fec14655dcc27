"""QONNX files become Networks that equal what onnxruntime computes, or are refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from onnx import TensorProto, helper, numpy_helper
from tests import oracle
from tests.strategies import inputs_for, networks

from xnorflow.bnn.canonical import canonicalise
from xnorflow.bnn.errors import UserError
from xnorflow.bnn.frontends import qonnx, qonnx_file
from xnorflow.bnn.network import (
    Affine,
    Argmax,
    Conv2d,
    Dense,
    DepthToSpace,
    Flatten,
    Input,
    MultiThreshold,
    Network,
    Threshold,
)
from xnorflow.bnn.qonnx_export import INPUT, to_qonnx, write
from xnorflow.cosim.compare import compare
from xnorflow.cosim.qonnx_source import QonnxSource

DOMAIN = "qonnx.custom_op.general"
BREVITAS = Path(__file__).parent / "brevitas"


def refuse(shape: tuple[int, ...]) -> Input:
    raise UserError("the file does not say what it takes")


def _reads_otherwise(network: Network) -> bool:
    """Return whether a part is no longer what it was: levels that no sum reaches, DepthToSpace of one pixel."""
    for operation in network.operations[1:]:
        x = network.signals[operation.inputs[0]]
        if isinstance(operation, DepthToSpace) and x.shape[:2] == (1, 1):
            return True
        if isinstance(operation, Threshold | MultiThreshold):
            rows = operation.threshold.reshape(x.channels, -1)
            for row, way, low, high in zip(rows, operation.direction.astype(int), x.low, x.high, strict=True):
                passed = (np.arange(low, high + 1, x.step)[:, None] * way >= row * way).sum(axis=1)
                if len(np.unique(passed)) <= len(row):
                    return True
    return False


@settings(max_examples=12)
@given(network=networks(width=20, grown=True))
def test_what_is_exported_comes_back_equal(network: Network, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("qonnx") / "network.onnx"
    write(network, path)
    model = qonnx_file.load(path)
    ends = {value.name: value.type.tensor_type.shape.dim for value in (*model.graph.input, *model.graph.output)}
    sizes = {name: [dim.dim_value for dim in dims] for name, dims in ends.items()}
    for value, told in ((network.input, sizes.pop(INPUT)), (network.output, sizes.pop(network.output.name))):
        shape = network.signals[value.name].shape
        assert told == [1, shape[-1], *shape[:-1]]
    assert not sizes
    try:
        conversion = qonnx.trace(model, "back", refuse)
    except UserError:
        assume(not _reads_otherwise(network))
        raise
    back = conversion.network
    inputs = inputs_for(network, 12)
    want, got = oracle.run(network, inputs), oracle.run(back, inputs)
    scores = [net.output.inputs[0] if isinstance(net.output, Argmax) else net.output.name for net in (network, back)]
    seen = conversion.observed.get(scores[1]) if not isinstance(network[scores[0]], Affine) else None
    assert np.array_equal(got[scores[1]] * seen.scale + seen.shift if seen else got[scores[1]], want[scores[0]])
    if isinstance(network.output, Argmax):
        assert np.array_equal(got[back.output.name], want[network.output.name])
    engine = QonnxSource(model, conversion)
    engine.prepare(canonicalise(back), path.parent)
    canonical = oracle.run(canonicalise(back), inputs)
    assert compare(canonicalise(back), canonical, engine.run(inputs, every_layer=True)).first is None


@pytest.mark.parametrize(("low", "kind"), [(0, "UINT2"), (-1, "INT2")])
def test_an_exported_file_is_of_an_old_format_and_names_the_type_of_its_levels(low: int, kind: str) -> None:
    levels = MultiThreshold("levels", ("x",), np.array([[0, 0]] * 4), np.ones(4, np.int8), low=low)
    model = to_qonnx(Network("net", (Input("x", (), (4,)), levels, Dense("d", ("levels",), np.ones((2, 4), np.int8)))))
    (node,) = (node for node in model.graph.node if node.op_type == "MultiThreshold")
    assert {of.name: of.s for of in node.attribute}["out_dtype"] == kind.encode()
    assert (model.ir_version, model.producer_name) == (8, "xnorflow"), "read by tools of 2022, too"


@pytest.mark.parametrize("pad_value", [-1, 0, 1])
def test_padding_that_differs_on_every_side_comes_back(pad_value: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    network = Network(
        "padded",
        (
            Input("x", (), shape=(4, 5, 2)),
            Conv2d(
                "conv",
                ("x",),
                weight=rng.choice([-1, 1], (3, 3, 4, 2)).astype(np.int8),
                padding=(2, 0, 1, 3),
                pad_value=pad_value,
            ),
            Flatten("flatten", ("conv",)),
            Dense("dense", ("flatten",), weight=rng.choice([-1, 0, 1], (3, 72)).astype(np.int8)),
        ),
    )
    write(network, tmp_path / "padded.onnx")
    back = qonnx.trace(qonnx_file.load(tmp_path / "padded.onnx"), "back", refuse).network
    inputs = inputs_for(network, 8)
    conv = next(operation for operation in back.operations if isinstance(operation, Conv2d))
    assert (conv.padding, conv.pad_value) == ((2, 0, 1, 3), pad_value)
    assert np.array_equal(oracle.run(back, inputs)["dense1"], oracle.run(network, inputs)["dense"])


def hostile(seed: int, sizes: Any = (6, 5, 3), scale: float = 1.0, pool: bool = True) -> Any:
    """A convolution and two dense layers as Brevitas exports them, with batch norms that no training would give."""
    rng = np.random.default_rng(seed)
    nodes, constants = [], []

    def constant(name: str, value: Any) -> Any:
        constants.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    def node(kind: Any, inputs: Any, output: Any, domain: Any = "", **attributes: Any) -> Any:
        nodes.append(helper.make_node(kind, inputs, [output], output, domain=domain, **attributes))
        return output

    def weight(name: str, shape: Any) -> Any:
        name = constant(f"{name}.weight", rng.normal(size=shape))
        return node("BipolarQuant", [name, constant(f"{name}.scale", scale)], f"{name}.quant", DOMAIN)

    def norm(source: Any, name: str, channels: Any) -> Any:
        gamma = rng.choice([-2.0, -1e-3, 0.0, 1e6, 1.0, 0.5], channels)
        mean = rng.integers(-9, 9, channels) * rng.choice([1.0, 0.5], channels) * scale
        beta = rng.choice([0.0, 1.0, -0.25], channels)
        values = [gamma, beta, mean, rng.choice([1.0, 1e-6, 4.0], channels)]
        return node(
            "BatchNormalization",
            [source, *(constant(f"{name}.{n}", value) for n, value in enumerate(values))],
            name,
            epsilon=1e-5,
        )

    parameters = [constant("in.scale", 0.25), constant("in.zero", 0), constant("in.bits", 3)]
    x = node("Quant", ["x", *parameters], "in", DOMAIN, signed=1, narrow=0, rounding_mode="ROUND")
    first, second, classes = sizes
    x = node("Conv", [x, weight("conv", (first, 2, 3, 3))], "conv", kernel_shape=[3, 3], pads=[2, 0, 0, 2])
    x = norm(x, "norm1", first)
    if pool:
        x = node("MaxPool", [x], "pool", kernel_shape=[2, 2], strides=[2, 2])
    x = node("BipolarQuant", [x, constant("one", 1.0)], "sign1", DOMAIN)
    size = first * (2 * 3 if pool else 4 * 6)
    constants.append(numpy_helper.from_array(np.array([1, -1]), "shape"))
    x = node("Reshape", [x, "shape"], "flat")
    x = node("MatMul", [x, weight("dense1", (size, second))], "dense1")
    x = norm(x, "norm2", second)
    bits = [constant("bit", 1), constant("zero", 0), constant("bits", 1)]
    x = node("Quant", [x, *bits], "sign2", DOMAIN, signed=1, narrow=1, rounding_mode="ROUND")
    x = node("MatMul", [x, weight("dense2", (second, classes))], "dense2")
    x = node("Mul", [x, constant("last.scale", 0.3)], "scaled")
    node("Add", [x, constant("last.offset", rng.normal(size=classes))], "scores")
    graph = helper.make_graph(
        nodes,
        "hostile",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 4, 6])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, classes])],
        constants,
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 13), helper.make_opsetid(DOMAIN, 1)], ir_version=8
    )


def saved(model: Any, path: Path) -> Any:
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("scale", [1.0, 0.5, 0.1])
@pytest.mark.parametrize("seed", range(4))
def test_hostile_batch_norms_fold_as_onnxruntime_computes_them(seed: int, scale: float, tmp_path: Path) -> None:
    model = qonnx_file.load(saved(hostile(seed, scale=scale, pool=seed % 2 == 0), tmp_path / "hostile.onnx"))
    conversion = qonnx.trace(model, "hostile", refuse)
    network = canonicalise(conversion.network)
    assert (network.input.kind, network.input.bits, network.input.fraction) == ("signed", 3, 2)
    assert scale == 0.1 or not conversion.ambiguous
    engine, inputs = QonnxSource(model, conversion), inputs_for(network, 150)
    assert (inputs == 0).any()
    engine.prepare(network, tmp_path)
    got = engine.run(inputs, every_layer=True)
    assert {"conv1", "dense1", "threshold2", "dense2", "argmax"} <= set(got)
    if not conversion.ambiguous:
        assert compare(network, oracle.run(network, inputs), got).first is None
    assert conversion.whole


def residual(seed: int, narrow: int = 0, scale: float = 0.5) -> Any:
    """A residual block behind a depthwise, dilated convolution; activations of 2 bits; two averages; an addition."""
    rng = np.random.default_rng(seed)
    nodes, constants = [], []

    def constant(name: str, value: Any) -> Any:
        constants.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    def node(kind: Any, inputs: Any, output: Any, domain: Any = "", **attributes: Any) -> Any:
        nodes.append(helper.make_node(kind, inputs, [output], output, domain=domain, **attributes))
        return output

    def weight(name: str, shape: Any) -> Any:
        name = constant(f"{name}.weight", rng.normal(size=shape))
        return node("BipolarQuant", [name, constant(f"{name}.scale", 1.0)], f"{name}.quant", DOMAIN)

    def norm(source: Any, name: str, channels: Any) -> Any:
        values = [
            rng.choice([-0.5, 1e-3, 0.0, 1e6, 1.0, 0.25], channels),
            rng.choice([0.0, 1.0, -0.25], channels),
            rng.integers(-5, 5, channels) * 0.5,
            rng.choice([1.0, 4.0], channels),
        ]
        return node(
            "BatchNormalization",
            [source, *(constant(f"{name}.{n}", value) for n, value in enumerate(values))],
            name,
            epsilon=0.0,
        )

    def quant(source: Any, name: str, bits: Any, signed: Any, scale: float, narrow: int) -> Any:
        parameters = [constant(f"{name}.{k}", v) for k, v in (("s", scale), ("z", 0), ("b", bits))]
        mode = {"signed": signed, "narrow": narrow, "rounding_mode": "ROUND"}
        return node("Quant", [source, *parameters], name, DOMAIN, **mode)

    x = quant("x", "in", 3, 1, 1.0, 0)
    attributes = {"kernel_shape": [2, 2], "dilations": [2, 1], "pads": [1, 0, 1, 1], "group": 3}
    x = node("Conv", [x, weight("depth", (6, 1, 2, 2))], "depth", **attributes)
    first = quant(norm(x, "norm1", 6), "act1", 2, 1, scale, narrow)
    x = node("Conv", [first, weight("conv", (6, 6, 3, 3))], "conv", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    x = node("Add", [x, first], "joined")
    x = node("AveragePool", [x], "average", kernel_shape=[2, 3], strides=[1, 2])
    x = quant(norm(x, "norm2", 6), "act2", 2, 0, scale, 0)
    x = node("Conv", [x, weight("point", (5, 6, 1, 1))], "point", kernel_shape=[1, 1])
    x = node("GlobalAveragePool", [x], "whole")
    x = node("Flatten", [x], "flat", axis=1)
    x = quant(norm(x, "norm3", 5), "act3", 4, 1, 0.25, 0)
    node("MatMul", [x, weight("dense", (5, 3))], "scores")
    graph = helper.make_graph(
        nodes,
        "residual",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 5, 6])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 3])],
        constants,
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 13), helper.make_opsetid(DOMAIN, 1)], ir_version=8
    )


@pytest.mark.parametrize("narrow", [0, 1])
@pytest.mark.parametrize("seed", range(4))
def test_residual_networks_of_several_bits_compute_what_onnxruntime_computes(
    seed: int, narrow: int, tmp_path: Path
) -> None:
    model = qonnx_file.load(saved(residual(seed, narrow), tmp_path / "residual.onnx"))
    conversion = qonnx.trace(model, "residual", refuse)
    network = canonicalise(conversion.network)
    kinds = [type(operation).__name__ for operation in network.operations]
    assert (kinds.count("Add"), kinds.count("SumPool2d"), kinds.count("MultiThreshold")) == (1, 2, 3)
    engine, inputs = QonnxSource(model, conversion), inputs_for(network, 100)
    engine.prepare(network, tmp_path)
    got, want = engine.run(inputs, every_layer=True), oracle.run(network, inputs)
    assert {"conv1", "threshold1", "add1", "pool1", "threshold2", "pool2", "threshold3", "dense1"} <= set(got)
    first = compare(network, want, got).first
    # Means of 6 and 20 values are rounded, and a mean on a threshold may fall on either side: this is said.
    assert first is None or conversion.ambiguous


def rescaled(model: Any, name: str, scale: float) -> Any:
    for tensor in model.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(np.float32(scale), name))  # type: ignore[arg-type]
    return model


@pytest.mark.parametrize("scale", [0.25, 3.0, 0.75])
@pytest.mark.parametrize("seed", range(2))
def test_branches_of_different_scales_compute_what_onnxruntime_computes(
    seed: int, scale: float, tmp_path: Path
) -> None:
    """a / 4 + b is one of integers, (a + 4 b) / 4."""
    model = rescaled(residual(seed), "conv.weight.scale", scale)
    model = qonnx_file.load(saved(model, tmp_path / "scaled.onnx"))
    conversion = qonnx.trace(model, "scaled", refuse)
    network = canonicalise(conversion.network)
    engine, inputs = QonnxSource(model, conversion), inputs_for(network, 100)
    engine.prepare(network, tmp_path)
    got, want = engine.run(inputs, every_layer=True), oracle.run(network, inputs)
    assert "copy1" in network.signals and np.array_equal(got["add1"], want["add1"])
    first = compare(network, want, got).first
    assert first is None or conversion.ambiguous


def pooled(
    pads: tuple[int, ...] = (1, 0, 0, 2), include: Any = 1, keep: int = 0, axes: Any = (2, 3), scale: float = 0.5
) -> Any:
    """The residual network, whose first average is padded and whose second is a ReduceMean; behind act1 another."""
    model = residual(1, narrow=1, scale=scale)
    nodes = {node.name: node for node in model.graph.node}
    nodes["average"].attribute.extend(
        [helper.make_attribute("pads", pads), helper.make_attribute("count_include_pad", include)]
    )
    nodes["whole"].op_type = "ReduceMean"
    nodes["whole"].attribute.extend([helper.make_attribute("axes", axes), helper.make_attribute("keepdims", keep)])
    return model


@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("pads", [(1, 0, 0, 2), (0, 1, 0, 0)])
def test_padded_averages_and_means_compute_what_onnxruntime_computes(
    pads: tuple[int, ...], keep: int, tmp_path: Path
) -> None:
    model = qonnx_file.load(saved(pooled(pads, keep=keep), tmp_path / "pooled.onnx"))
    conversion = qonnx.trace(model, "pooled", refuse)
    network = canonicalise(conversion.network)
    assert isinstance(pool := network["pool1"], Conv2d) and pool.padding == (pads[0], pads[2], pads[1], pads[3])
    engine, inputs = QonnxSource(model, conversion), inputs_for(network, 100)
    engine.prepare(network, tmp_path)
    got, want = engine.run(inputs, every_layer=True), oracle.run(network, inputs)
    assert {"pool1", "pool2", "dense1"} <= set(got) and np.array_equal(got["pool1"], want["pool1"])
    first = compare(network, want, got).first
    assert first is None or conversion.ambiguous


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"include": 0}, r"'?AveragePool.*count_include_pad 1"),
    ],
)
def test_other_averages_are_refused(options: dict[str, int], words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        qonnx.trace(qonnx_file.load(saved(pooled(keep=1, **options), tmp_path / "m.onnx")), "m", refuse)  # type: ignore[arg-type]


def truncated(version: int, mode: str) -> Any:
    """The residual network, the second average of which Brevitas multiplies to sums again and truncates to 4 bits."""
    model = residual(1, narrow=1)
    nodes = {node.name: node for node in model.graph.node}
    after = nodes["act3"]
    model.graph.node.remove(nodes["norm3"])
    constants = {"area": 20, "t.scale": 0.5, "t.zero": 0, "t.in": 8, "t.scale2": 4, "t.out": 4}
    for name, value in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(np.float32(value), name))  # type: ignore[arg-type]
    names = ["t.scale", "t.zero", "t.in", *(["t.scale2"] if version == 2 else []), "t.out"]
    model.graph.node.append(helper.make_node("Mul", ["flat", "area"], ["total"], "total"))
    after.op_type = "Trunc"
    del after.input[:], after.attribute[:]
    after.input.extend(["total", *names])
    after.attribute.append(helper.make_attribute("rounding_mode", mode))
    if version == 2:
        after.attribute.append(helper.make_attribute("signed", 1))
        next(opset for opset in model.opset_import if opset.domain == DOMAIN).version = 2
    return model


@pytest.mark.parametrize("mode", ["FLOOR", "ROUND"])
@pytest.mark.parametrize("version", [1, 2])
def test_truncated_sums_are_what_qonnx_truncates(version: int, mode: str, tmp_path: Path) -> None:
    """qonnx's own Python executes the node; sums are rounded to integers before bits are cut off."""
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx

    path = saved(truncated(version, mode), tmp_path / "truncated.onnx")
    conversion = qonnx.trace(qonnx_file.load(path), "truncated", refuse)
    network, model = conversion.network, ModelWrapper(conversion.model)
    place, inputs = conversion.observed["threshold3"], inputs_for(network, 40)
    want = oracle.run(network, inputs)["threshold3"]
    assert len(np.unique(want)) > 2
    (name,) = [value.name for value in conversion.model.graph.input]
    for vector, expected in zip(inputs, want, strict=True):
        given = vector.ravel()[conversion.input.positions][None].astype(np.float32)
        results = execute_onnx(model, {name: given}, return_full_exec_context=True)
        assert np.array_equal((results[place.place][0] - place.shift) / place.scale, expected.ravel()[place.positions])


def test_truncations_around_another_zero_are_refused(tmp_path: Path) -> None:
    model = rescaled(truncated(1, "FLOOR"), "t.zero", 1)
    with pytest.raises(UserError, match=r"\(Trunc\): expected zero point 0 and a scale above 0, got 1 and 0.5"):
        qonnx.trace(qonnx_file.load(saved(model, tmp_path / "m.onnx")), "m", refuse)


def test_sums_of_unrelated_scales_are_refused(tmp_path: Path) -> None:
    model = rescaled(residual(0), "conv.weight.scale", 0.3)
    with pytest.raises(
        UserError, match=r"\(Add\): expected the sum of results whose scales are in a ratio.*such as 0.15"
    ):
        qonnx.trace(qonnx_file.load(saved(model, tmp_path / "m.onnx")), "m", refuse)


def test_a_sign_that_is_0_at_0_has_three_values_and_says_where(tmp_path: Path) -> None:
    model = hostile(0)
    node = next(node for node in model.graph.node if node.name == "sign2")
    node.op_type, node.domain = "Sign", ""
    del node.input[1:], node.attribute[:]
    before = next(node for node in model.graph.node if node.name == "norm2")
    before.op_type = "Mul"
    del before.input[2:], before.attribute[:]
    model = qonnx_file.load(saved(model, tmp_path / "m.onnx"))
    conversion = qonnx.trace(model, "m", refuse)
    assert isinstance(conversion.network["threshold2"], MultiThreshold)
    assert "node 'sign2' (Sign): a sign that gives 0 at 0, which" in conversion.notes[0]
    engine, inputs = QonnxSource(model, conversion), inputs_for(conversion.network, 100)
    engine.prepare(conversion.network, tmp_path)
    got, want = engine.run(inputs, every_layer=True), oracle.run(conversion.network, inputs)
    assert (want["threshold2"] == 0).any() and compare(conversion.network, want, got).first is None


def _set(name: str, **changes: Any) -> Any:
    def change(model: Any) -> None:
        node = next(node for node in model.graph.node if node.name == name)
        for key, value in changes.items():
            setattr(node, key, value)

    return change


def _nan(model: Any) -> None:
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.full(1, np.nan, np.float32), "in.scale"))


def _external(model: Any) -> None:
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == "conv.weight")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def _dynamic(model: Any) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "H"


def _wrong_shape(model: Any) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 3


def _function(model: Any) -> None:
    model.functions.add(name="f", domain="f")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_nan, "NaN"),
        (_external, "another file"),
        (_dynamic, "fixed shape"),
        (_wrong_shape, "expected shapes and types that fit each other; onnxruntime says: .*'conv'"),
        (_function, "functions"),
        (_set("norm2", op_type="Mean"), "'norm2' \\(Mean\\): not supported"),
        (_set("sign1", domain="antigravity"), "antigravity"),
        (_set("norm2", domain="antigravity"), "antigravity"),
    ],
)
def test_what_is_not_supported_is_refused_with_its_name(
    change: Callable[..., Any], message: str, tmp_path: Path
) -> None:
    model = hostile(0)
    change(model)
    with pytest.raises(UserError, match=message):
        qonnx.trace(qonnx_file.load(saved(model, tmp_path / "bad.onnx")), "bad", refuse)


@pytest.mark.parametrize("content", [b"", b"no model", b"\x80\x04K\x01.", hostile(0).SerializeToString()[:900]])
def test_files_that_are_no_model_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(content)
    with pytest.raises(UserError, match="not an ONNX model"):
        qonnx_file.load(tmp_path / "bad.onnx")


def test_an_input_that_is_not_quantised_is_asked_for(tmp_path: Path) -> None:
    model = hostile(0)
    del model.graph.node[0]
    model.graph.node[1].input[0] = "x"
    model = qonnx_file.load(saved(model, tmp_path / "plain.onnx"))
    with pytest.raises(UserError, match="does not say"):
        qonnx.trace(model, "plain", refuse)
    network = qonnx.trace(model, "plain", lambda shape: Input("input", (), shape, "unsigned", 4)).network
    assert network.input.shape == (4, 6, 2)


def test_a_model_that_brevitas_exported_predicts_as_it_did_in_brevitas(tmp_path: Path) -> None:
    """Brevitas 0.13.4: 4-bit input, convolution, batch norms with negative, zero and huge gammas, two dense layers."""
    model = qonnx_file.load(BREVITAS / "digits.onnx")
    conversion = qonnx.trace(model, "digits", refuse)
    network = canonicalise(conversion.network)
    assert not conversion.ambiguous and not conversion.notes
    with np.load(BREVITAS / "digits.npz") as file:
        inputs, scores = np.moveaxis(file["inputs"], 1, -1), file["scores"]
    assert (network.input.kind, network.input.bits, network.input.fraction) == ("signed", 4, 3)
    want = oracle.run(network, inputs)
    assert np.array_equal(want[network.output.inputs[0]], scores)
    engine = QonnxSource(model, conversion)
    engine.prepare(network, tmp_path)
    assert compare(network, want, engine.run(inputs, every_layer=True)).first is None
