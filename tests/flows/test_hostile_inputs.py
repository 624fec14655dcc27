"""Hostile inputs of every kind through the command line: one clear line and status 2, no traceback, nothing written.

The inputs are made on the fly. The engines are stand-ins, so that one which is let through costs little, and shows.
"""

import gzip
import io
import json
import os
import struct
import sys
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from tests.flows import fakes
from tests.flows.users_models import CODE, keras_model

from xnorflow.bnn import io as network_io
from xnorflow.bnn import qonnx_export
from xnorflow.flows import cli
from xnorflow.flows.places import MARK
from xnorflow.models.checkpoint import FOLDER

ZOO = FOLDER / "digits_bnn.safetensors"


# --- Network files: what is wrong in the header or the tensors of a sound one


def network(change: Any) -> Any:
    """Return what writes a Network file that `change` has spoiled: given the tensors and the header's network."""

    def make(folder: Path) -> Any:
        path = folder / "net.safetensors"
        network_io.save(fakes.network(), path)
        with safe_open(path, framework="numpy") as file:
            header = json.loads(file.metadata()[network_io.HEADER])
        tensors = load_file(path)
        header["network"] = change(tensors, header["network"]) or header["network"]
        save_file(tensors, path, {network_io.HEADER: json.dumps(header)})
        return [path]

    return make


def field(layer: Any, name: str, value: Any) -> Any:
    return network(lambda t, n: n["operations"][layer].update({name: value}))


def part(name: str, value: Any) -> Any:
    return network(lambda t, n: n.update({name: value}))


def tensor(name: str, value: Any) -> Any:
    return network(lambda t, n: t.update({name: value}))


def header(text: str) -> Any:
    """Return what writes a safetensors file with any text as the Network's header."""

    def make(folder: Path) -> Any:
        save_file({"x": np.zeros(1)}, folder / "net.safetensors", {network_io.HEADER: text})
        return [folder / "net.safetensors"]

    return make


def images(*layers: Any, **taken: Any) -> Any:
    """Return what writes a Network file of an input of one's own and layers given as JSON, without arrays."""

    def change(tensors: Any, described: Any) -> Any:
        tensors.clear()
        first = {"operation": "Input", "name": "input", "inputs": [], "shape": [4], "kind": "bipolar", "bits": 1}
        return {"name": "n", "shapes": {}, "operations": [{**first, "fraction": 0, **taken}, *layers]}

    return network(change)


def pool(
    name: str = "p",
    inputs: Any = ("input",),
    size: Any = (2, 2),
    stride: Any = (2, 2),
    operation: str = "MaxPool2d",
) -> Any:
    return {"operation": operation, "name": name, "inputs": list(inputs), "size": size, "stride": stride}


def sums(count: int) -> Any:
    """Sums of sums, each 65,536 times as wide as the one before."""
    square = (256, 256)
    pads = [pool(f"p{i}", (f"p{i - 1}" if i else "input",), square, (1, 1), "SumPool2d") for i in range(count)]
    return images(*pads, shape=[256 + 255 * (count - 1), 256 + 255 * (count - 1), 1], kind="unsigned", bits=16)


DEEP = "[" * 100_000

NETWORKS = {
    "network shapes a list": (part("shapes", []), "expected shapes as a dict"),
    "network shapes missing": (network(lambda t, n: n.pop("shapes") and None), "expected a network of"),
    "network a part too many": (part("more", 1), "expected a network of"),
    "network null": (network(lambda t, n: [None]), "expected a network of"),
    "network operations a dict": (part("operations", {}), "expected operations as a list"),
    "network operations empty": (network(lambda t, n: {**n, "operations": []}), "shapes of no layer"),
    "network without layers": (images(), "expected layers of weights, got none"),
    "network without weights": (images(pool(), shape=[4, 4, 1]), "expected layers of weights, got none"),
    "network operations numbers": (part("operations", [1, 2]), "expected a layer with name and operation"),
    "network layer without name": (network(lambda t, n: n["operations"][1].pop("name") and None), "expected a layer"),
    "network name a number": (part("name", 5), "expected name as a str"),
    "network name empty": (part("name", ""), "network name ''"),
    "network name long": (part("name", "a" * 300), "at most 100 characters"),
    "network name a path": (part("name", "../../etc"), "network name '../../etc'"),
    "layer name long": (field(0, "name", "a" * 300), "at most 100 characters"),
    "layer name a path": (field(0, "name", "../x"), "layer name '../x'"),
    "layer name a number": (field(0, "name", 5), "expected a layer with name and operation"),
    "layer name of a newline": (field(0, "name", "input\n"), "expected a lower case letter"),
    "layer name twice": (images(pool("input"), shape=[4, 4, 1]), "expected unique names"),
    "layer operation a list": (field(1, "operation", ["Dense"]), "expected a layer with name and operation"),
    "layer operation unknown": (field(1, "operation", "Relu"), "unknown operation 'Relu'"),
    "layer operation dunder": (field(1, "operation", "__class__"), "unknown operation"),
    "layer inputs text": (field(1, "inputs", "input"), "expected inputs of type"),
    "layer inputs numbers": (field(1, "inputs", [1]), "expected inputs of type"),
    "layer inputs deep": (field(1, "inputs", [[["input"]]]), "expected inputs of type"),
    "layer inputs none": (field(1, "inputs", []), "one operand"),
    "layer inputs itself": (field(1, "inputs", ["dense1"]), "expected operands from earlier layers"),
    "layer inputs unknown": (field(1, "inputs", ["nowhere"]), "expected operands from earlier layers"),
    "input shape empty": (field(0, "shape", []), "a shape of positive lengths"),
    "input shape 2**50": (field(0, "shape", [2**50]), "at most 16,777,216 values"),
    "input shape 4096 x 4096 x 64": (field(0, "shape", [4096, 4096, 64]), "at most 16,777,216 values"),
    "input shape many ones and 2**40": (field(0, "shape", [1] * 60 + [2**40]), "at most 16,777,216 values"),
    "input shape negative": (field(0, "shape", [-16]), "a shape of positive lengths"),
    "input shape 0": (field(0, "shape", [0]), "a shape of positive lengths"),
    "input shape fractional": (field(0, "shape", [16.5]), "expected shape of type"),
    "input shape text": (field(0, "shape", "16"), "expected shape of type"),
    "input shape of 4,000 digits": (field(0, "shape", [10**4000]), "at most 16,777,216 values"),
    "input shape other": (field(0, "shape", [17]), "an operand of shape"),
    "input kind": (field(0, "kind", "float"), "expected kind of type"),
    "input kind a list": (field(0, "kind", []), "expected kind of type"),
    "input bits 0": (field(0, "bits", 0), "1 to 1 bits"),
    "input bits 10**9": (field(0, "bits", 10**9), "1 to 1 bits"),
    "input bits true": (field(0, "bits", True), "expected bits of type int"),
    "input bits null": (field(0, "bits", None), "expected bits of type int"),
    "input fraction 10**9": (field(0, "fraction", 10**9), "fraction 0 to 64"),
    "input fraction negative": (field(0, "fraction", -1), "fraction 0 to 64"),
    "input fraction NaN": (field(0, "fraction", float("nan")), "expected fraction of type int"),
    "input an extra field": (field(0, "colour", "red"), "expected the fields"),
    "pool size 0": (images(pool(size=(0, 2)), shape=[4, 4, 1]), "two positive lengths as size"),
    "pool stride 10**30": (images(pool(stride=(10**30, 1)), shape=[4, 4, 1]), "two positive lengths as stride"),
    "pool size three": (images(pool(size=(1, 1, 1)), shape=[4, 4, 1]), "expected size of type"),
    "pool too large": (images(pool(size=(5, 5)), shape=[4, 4, 1]), "of at least (5, 5)"),
    "sums beyond 2**53": (sums(3), "values below 2**53"),
    "two inputs": (images({"operation": "Input", "name": "i", "inputs": [], "shape": [1], "kind": "bipolar",
                           "bits": 1, "fraction": 0}), "a single Input"),
    "result unused": (images(pool("a"), pool("b"), shape=[4, 4, 1]), "nothing uses the result of a"),
    "shape of a weight 2**60": (network(lambda t, n: n["shapes"].update({"dense1.weight": [2**30, 2**30]})), "268,4"),
    "shape of a weight text": (network(lambda t, n: n["shapes"].update({"dense1.weight": "12"})), "expected a shape"),
    "shape of a weight empty": (network(lambda t, n: n["shapes"].update({"dense1.weight": []})), "expected a shape"),
    "shape of a weight negative": (network(lambda t, n: n["shapes"].update({"dense1.weight": [-1, 16]})), "a shape"),
    "shape of a weight (12, 0)": (network(lambda t, n: n["shapes"].update({"dense1.weight": [12, 0]})), "packed"),
    "shape of a weight other": (network(lambda t, n: n["shapes"].update({"dense1.weight": [16, 12]})), "packed"),
    "shape of no layer": (network(lambda t, n: n["shapes"].update({"x.weight": [1]})), "x.weight"),
    "tensor missing": (network(lambda t, n: t.pop("threshold1.direction") is None or None), "lacks the tensor"),
    "tensor too many": (tensor("more", np.zeros(1)), "tensors that no layer uses: more"),
    "weights of another type": (tensor("dense1.weight.positive", np.zeros((12, 1), np.int64)), "packed weights uint64"),
    "weights beyond the end": (tensor("dense1.weight.positive", np.full((12, 1), 2**20, np.uint64)), "unused bits"),
    "weights masked and positive": (
        network(lambda t, n: t.update({"dense1.weight.positive": np.ones((12, 1), np.uint64),
                                       "dense1.weight.mask": np.zeros((12, 1), np.uint64)})),
        "both masked and positive",
    ),
    "threshold fractional": (tensor("threshold1.threshold", np.zeros(12)), "integer thresholds"),
    "threshold out of range": (tensor("threshold1.threshold", np.full(12, 2**62)), "clamped"),
    "direction 0": (tensor("threshold1.direction", np.zeros(12, np.int8)), "directions of -1 or +1"),
    "direction fractional": (tensor("threshold1.direction", np.full(12, 0.5)), "directions of -1 or +1"),
    "header no JSON": (header("{"), "not a Network"),
    "header deep JSON": (header('{"schema": 1, "network": ' + DEEP), "not a Network"),
    "header a number": (header("7"), "not a Network"),
    "header huge number": (header('{"schema": ' + "9" * 5000 + "}"), "not a Network"),
    "header schema text": (header('{"schema": "1"}'), "expected schema 1 to 2, got '1'"),
    "header schema only": (header('{"schema": 1}'), "expected a network of"),
}  # fmt: skip


# --- any file, by its bytes


def raw(name: str, content: Any) -> Any:
    def make(folder: Path) -> Any:
        (folder / name).write_bytes(content)
        return [folder / name]

    return make


def safetensors(text: str | bytes, length: Any = None) -> Any:
    content = text if isinstance(text, bytes) else text.encode()
    return raw("x.safetensors", struct.pack("<Q", len(content) if length is None else length) + content)


BYTES = {
    f"{name}{suffix}": (raw(f"x{suffix}", content), word)
    for suffix, word in ((".safetensors", "not a readable safetensors"), (".onnx", "not an ONNX model"),
                         (".h5", "expected a Keras model"), (".keras", "Keras"))
    for name, content in (("nothing", b""), ("zeros", bytes(1000)), ("random", np.random.default_rng(0).bytes(5000)),
                          ("text", b"MODEL" * 100), ("ff", b"\xff" * 100))
    if (name, suffix) not in (("nothing", ".h5"), ("nothing", ".keras"))
} | {
    "nothing.h5": (raw("x.h5", b""), "an empty file"),
    "HDF5 of nothing": (raw("x.h5", b"\x89HDF\r\n\x1a\n" + bytes(2000)), "damaged or truncated"),
    "HDF5 magic alone": (raw("x.h5", b"\x89HDF\r\n\x1a\n"), "damaged or truncated"),
    "HDF5 as ONNX": (raw("x.onnx", b"\x89HDF\r\n\x1a\n" + bytes(20)), "damaged or truncated"),
    "zip of nothing": (raw("x.keras", b"PK\x03\x04" + bytes(100)), "damaged or truncated"),
    "safetensors of deep JSON": (safetensors(DEEP), "not a readable safetensors"),
    "safetensors header beyond the end": (safetensors("{}", 2**63), "not a readable safetensors"),
    "safetensors tensor beyond the end": (
        safetensors('{"x": {"dtype": "F32", "shape": [1000], "data_offsets": [0, 4000]}}'), "not a readable"),
    "safetensors shape overflow": (
        safetensors('{"x": {"dtype": "F32", "shape": [4294967296, 4294967296], "data_offsets": [0, 0]}}'), "not a re"),
    "safetensors of no tensor": (safetensors("{}"), "nor a checkpoint"),
    "safetensors not UTF-8": (safetensors(b"\xff\xfe{}"), "not a readable safetensors"),
    "a checkpoint of parameters alone": (raw("x.pth", bytes(9)), "give MODEL=package.module:factory CHECKPOINT="),
}  # fmt: skip


# --- checkpoints of the zoo


def checkpoint(change: Any) -> Any:
    def make(folder: Path) -> Any:
        path = folder / "trained.safetensors"
        with safe_open(ZOO, framework="numpy") as file:
            facts = json.loads(file.metadata()["xnorflow_checkpoint"])
        changed = change(facts)
        save_file(load_file(ZOO), path, {"xnorflow_checkpoint": changed if changed else json.dumps(facts)})
        return [path]

    return make


def fact(**changed: Any) -> Any:
    return checkpoint(lambda facts: facts.update(changed))


def recorded(**changed: Any) -> Any:
    return checkpoint(lambda facts: facts["metadata"].update(changed))


CHECKPOINTS = {
    "checkpoint no JSON": (checkpoint(lambda facts: "{"), "missing or damaged"),
    "checkpoint deep JSON": (checkpoint(lambda facts: DEEP), "missing or damaged"),
    "checkpoint a list": (checkpoint(lambda facts: "[]"), "missing or damaged"),
    "checkpoint schema": (fact(schema_version=99), "schema version 99"),
    "checkpoint schema a list": (fact(schema_version=[]), "schema version []"),
    "checkpoint model a list": (fact(model=[]), "damaged header"),
    "checkpoint model unknown": (fact(model="resnet"), "no model of the zoo"),
    "checkpoint metadata a list": (fact(metadata=[]), "damaged header"),
    "checkpoint test a number": (recorded(test=5), "damaged header"),
    "checkpoint test a list": (recorded(test=[1]), "damaged header"),
    "checkpoint accuracy text": (recorded(test={"accuracy": "high", "count": 1}), "damaged header"),
    "checkpoint accuracy 10**400": (recorded(test={"accuracy": 10**400, "count": 1}), "damaged header"),
    "checkpoint accuracy NaN": (recorded(test={"accuracy": float("nan"), "count": 1}), "damaged header"),
    "checkpoint count null": (recorded(test={"accuracy": 0.5, "count": None}), "damaged header"),
    "checkpoint data set a number": (recorded(dataset=3), "damaged header"),
    "checkpoint data set half a surrogate": (recorded(dataset={"name": "\ud800"}), "damaged header"),
    "checkpoint of a Keras model": (fact(model="mnist_qkeras"), "whose checkpoints are Keras's"),
    "checkpoint of another model": (fact(model="mnist_bnn"), "trained.safetensors"),
}


# --- QONNX


def qonnx(change: Any) -> Any:
    def make(folder: Path) -> Any:
        path = folder / "model.onnx"
        qonnx_export.write(fakes.network(), path)
        model = onnx.load(path)
        changed = change(model)
        path.write_bytes((changed if isinstance(changed, onnx.ModelProto) else model).SerializeToString())
        return [path]

    return make


def node(kind: Any, change: Any) -> Any:
    """Spoil the first node of a kind."""
    return qonnx(lambda model: change(next(node for node in model.graph.node if node.op_type == kind)))


def attribute(kind: Any, **values: Any) -> Any:
    def change(node: Any) -> None:
        for entry in [entry for entry in node.attribute if entry.name in values]:
            node.attribute.remove(entry)
        node.attribute.extend(helper.make_attribute(name, value) for name, value in values.items())

    return node(kind, change)


def weight(change: Any) -> Any:
    def spoil(model: Any) -> None:
        (first, *_) = (tensor for tensor in model.graph.initializer if len(tensor.dims) == 2)
        changed = change(numpy_helper.to_array(first).copy())
        first.CopyFrom(numpy_helper.from_array(changed, first.name))

    return qonnx(spoil)


def built(
    *nodes: Any, shape: Any = (1, 4), inputs: int = 1, initialisers: Any = (), opset: int = 13, out: str = "y"
) -> Any:
    """Return what writes a model of one's own nodes, from "x" to `out`."""

    def make(folder: Path) -> Any:
        kind = onnx.TensorProto.FLOAT
        taken = [helper.make_tensor_value_info("x" if not i else f"x{i}", kind, shape) for i in range(inputs)]
        tensors = [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in initialisers]
        graph = helper.make_graph(nodes, "g", taken, [helper.make_tensor_value_info(out, kind, None)], tensors)
        opsets = [helper.make_opsetid("", opset), helper.make_opsetid("qonnx.custom_op.general", 1)]
        (folder / "model.onnx").write_bytes(helper.make_model(graph, opset_imports=opsets).SerializeToString())
        return [folder / "model.onnx"]

    return make


QUANTISED = "qonnx.custom_op.general"
ONE = ("one", 1.0)


def make(kind: Any, inputs: Any, outputs: Any, **attributes: Any) -> Any:
    domain = QUANTISED if kind in ("Quant", "BipolarQuant", "MultiThreshold", "Trunc") else ""
    return helper.make_node(kind, inputs, outputs, domain=domain, **attributes)


def circle() -> Any:
    return built(make("Add", ["x", "b"], ["a"]), make("Identity", ["a"], ["b"]), make("Identity", ["a"], ["y"]))


def initialiser_as_input(model: Any) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.ones(3, np.float32), "idle"))
    model.graph.input.append(helper.make_tensor_value_info("idle", onnx.TensorProto.FLOAT, (3,)))
    model.graph.node[-1].op_type = "Gelu"  # else all is well
    model.graph.node[-1].domain = ""


def subgraph(model: Any) -> None:
    inner = helper.make_graph([], "inner", [], [])
    model.graph.node[1].attribute.append(helper.make_attribute("body", inner))


ONNX = {
    "onnx without nodes": (qonnx(lambda model: model.graph.ClearField("node")), "it has no graph"),
    "onnx without outputs": (qonnx(lambda model: model.graph.ClearField("output")), "it has no graph"),
    "onnx without inputs": (qonnx(lambda model: model.graph.ClearField("input")), "expected one input, got 0"),
    "onnx two inputs": (built(make("Add", ["x", "x1"], ["y"]), inputs=2), "expected one input, got 2"),
    "onnx a node without outputs": (node("MatMul", lambda n: n.ClearField("output")), "expected a result, got none"),
    "onnx a node with output ''": (node("MatMul", lambda n: n.output.__setitem__(0, "")), "expected a result"),
    "onnx a node without inputs": (node("MatMul", lambda n: n.ClearField("input")), "not a valid ONNX model"),
    "onnx a node of one operand": (node("MatMul", lambda n: n.input.pop() and None), "not a valid ONNX model"),
    "onnx Mul of one operand": (built(make("Mul", ["x"], ["y"])), "not a valid ONNX model"),
    "onnx Add of three operands": (built(make("Add", ["x", "x", "x"], ["y"])), "input size 3"),
    "onnx Add of itself": (built(make("Add", ["x", "x"], ["y"])), "does not say which integers"),
    "onnx BipolarQuant without scale": (built(make("BipolarQuant", ["x"], ["y"])), "expected 2 operands, got 1"),
    "onnx Quant of 1 operand": (built(make("Quant", ["x"], ["y"])), "expected 4 operands, got 1"),
    "onnx Quant of '' operands": (built(make("Quant", ["x", "", "", ""], ["y"])), "expected 4 operands, got 1"),
    "onnx Trunc of 2 operands": (built(make("Trunc", ["x", "one"], ["y"]), initialisers=[ONE]), "expected 5 or 6"),
    "onnx MultiThreshold of 1": (built(make("MultiThreshold", ["x"], ["y"])), "expected 2 operands, got 1"),
    "onnx duplicate names": (qonnx(lambda m: [n.__setattr__("name", "same") for n in m.graph.node][:0]), "'same'"),
    "onnx duplicate results": (
        built(make("Identity", ["x"], ["y"]), make("Identity", ["x"], ["y"])), "not a valid ONNX model"),
    "onnx a circle": (circle(), "without circles"),
    "onnx an operand of nowhere": (built(make("Identity", ["nowhere"], ["y"])), "not a valid ONNX model"),
    "onnx an output of nowhere": (built(make("Identity", ["x"], ["y"]), out="z"), "model.onnx"),
    "onnx an attribute of another type": (attribute("MatMul", alpha="x"), "not a valid ONNX model"),
    "onnx perm text": (built(make("Transpose", ["x"], ["y"], perm="10")), "not a valid ONNX model"),
    "onnx perm beyond": (built(make("Transpose", ["x"], ["y"], perm=[0, 9])), "each axis once in perm"),
    "onnx axis text": (built(make("Flatten", ["x"], ["y"], axis="1")), "not a valid ONNX model"),
    "onnx signed text": (built(make("Quant", ["x", *["one"] * 3], ["y"], signed="yes"), initialisers=[ONE]), "signed"),
    "onnx rounding_mode a number": (
        built(make("Quant", ["x", *["one"] * 3], ["y"], rounding_mode=1), initialisers=[ONE]), "rounding_mode"),
    "onnx rounding_mode unknown": (
        built(make("Quant", ["x", *["one"] * 3], ["q"], rounding_mode="DICE"), make("MatMul", ["q", "w"], ["y"]),
              initialisers=[ONE, ("w", np.ones((4, 2)))]), "got zero point 1"),
    "onnx Quant of 10**9 bits": (
        built(make("Quant", ["x", "one", "zero", "bits"], ["y"]),
              initialisers=[ONE, ("zero", 0.0), ("bits", 1e9)]), "1 to 64 bits"),
    "onnx Quant of half a bit": (
        built(make("Quant", ["x", "one", "zero", "bits"], ["y"]),
              initialisers=[ONE, ("zero", 0.0), ("bits", 0.5)]), "bit width, a whole number"),
    "onnx Quant of scale 0": (
        built(make("Quant", ["x", "zero", "zero", "one"], ["y"]), initialisers=[ONE, ("zero", 0.0)]), "scale above 0"),
    "onnx Quant of no constant scale": (built(make("BipolarQuant", ["x", "x"], ["y"])), "one constant scale"),
    "onnx thresholds of one axis": (
        built(make("MultiThreshold", ["x", "t"], ["y"]), initialisers=[("t", np.zeros(4))]), "of shape (chan"),
    "onnx out_scale infinite": (
        built(make("MultiThreshold", ["x", "t"], ["y"], out_scale=float("inf")),
              initialisers=[("t", np.zeros((4, 1)))]), "NaN or infinity as out_scale"),
    "onnx weights of no column": (weight(lambda w: w[:, :0]), "expected values, got shape"),
    "onnx weights of no row": (weight(lambda w: w[:0]), "expected values, got shape"),
    "onnx weights of three axes": (weight(lambda w: w[None]), "expected a matrix of weights"),
    "onnx weights in double": (weight(lambda w: w.astype(float)), "expected float32, got float64"),
    "onnx weights in half": (weight(lambda w: w.astype(np.float16)), "expected float32, got float16"),
    "onnx weights as text": (weight(lambda w: w.astype(str).astype(object)), "model.onnx"),
    "onnx weights infinite": (weight(lambda w: w * np.float32(np.inf)), "expected finite numbers"),
    "onnx weights damaged": (
        qonnx(lambda m: m.graph.initializer[0].__setattr__("raw_data", b"123")), "data are damaged"),
    "onnx weights of negative size": (
        qonnx(lambda m: m.graph.initializer[0].dims.__setitem__(slice(None), [-1])), "values, got shape (-1,)"),
    "onnx weights of 2**60": (
        qonnx(lambda m: m.graph.initializer[0].dims.__setitem__(slice(None), [2**30, 2**30])), "data are damaged"),
    "onnx weights of no type": (qonnx(lambda m: m.graph.initializer[0].__setattr__("data_type", 99)), "damaged"),
    "onnx initialiser also an input": (qonnx(initialiser_as_input), "(Gelu): not supported"),
    "onnx input of 2**50": (built(make("Sign", ["x"], ["y"]), shape=(1, 2**50)), "at most 16,777,216 values"),
    "onnx input of 4096 x 4096 x 64": (built(make("Sign", ["x"], ["y"]), shape=(1, 64, 4096, 4096)), "16,777,216"),
    "onnx input negative": (built(make("Sign", ["x"], ["y"]), shape=(1, -4)), "expected a fixed shape"),
    "onnx input of 0": (built(make("Sign", ["x"], ["y"]), shape=(1, 0)), "expected a fixed shape"),
    "onnx input of a name": (built(make("Sign", ["x"], ["y"]), shape=("n", "m")), "expected a fixed shape"),
    "onnx input of no axis": (built(make("Sign", ["x"], ["y"]), shape=()), "expected a fixed shape"),
    "onnx input of batch 64": (built(make("Sign", ["x"], ["y"]), shape=(64, 4)), "does not say which integers"),
    "onnx input of integers": (
        qonnx(lambda m: m.graph.input[0].type.tensor_type.__setattr__("elem_type", 7)), "expected float32, got INT64"),
    "onnx input no tensor": (qonnx(lambda m: m.graph.input[0].type.ClearField("tensor_type")), "input"),
    "onnx a subgraph": (qonnx(subgraph), "expected no graph inside a node"),
    "onnx a function": (qonnx(lambda m: m.functions.append(onnx.FunctionProto(name="f"))), "expected a plain graph"),
    "onnx an old opset": (built(make("Sign", ["x"], ["y"]), opset=5), "expected opset 9 or newer"),
    "onnx opset 10**6": (built(make("Sign", ["x"], ["y"]), opset=10**6), "or older, got 1000000"),
    "onnx opset none": (qonnx(lambda m: m.ClearField("opset_import")), "expected opset 9 or newer, got 0"),
    "onnx ir version 0": (qonnx(lambda m: m.ClearField("ir_version")), "not a valid ONNX model"),
    "onnx an operator of Python": (node("MatMul", lambda n: n.__setattr__("domain", "os")), "got one of domain 'os'"),
    "onnx 6,000 nodes": (
        built(*(make("Identity", [f"n{i}" if i else "x"], [f"n{i + 1}"]) for i in range(6000)), out="n6000"),
        "expected at most 5,000 nodes"),
}  # fmt: skip


# --- Keras


INPUT = 'kind = "bipolar"'


def keras(change: Any) -> Any:
    """Return what writes an HDF5 model whose configuration `change` has spoiled: given its layers, or all of it."""

    def make(folder: Path) -> Any:
        path = folder / "model.h5"
        path.write_bytes(SOUND["h5"])
        with h5py.File(path, "r+") as file:
            configuration = json.loads(file.attrs["model_config"])
            changed = change(configuration)
            text = changed if isinstance(changed, str | bytes) else json.dumps(configuration)
            del file.attrs["model_config"]
            file.attrs["model_config"] = text
        return [path, "--config", config(folder, f"[input]\n{INPUT}")]

    return make


def layer(index: Any, **changed: Any) -> Any:
    """Change entries of a layer's configuration."""
    return keras(lambda c: c["config"]["layers"][index]["config"].update(changed))


def entry(index: Any, **changed: Any) -> Any:
    """Change entries of a layer itself."""
    return keras(lambda c: c["config"]["layers"][index].update(changed))


def hdf5(change: Any) -> Any:
    def make(folder: Path) -> Any:
        path = folder / "model.h5"
        path.write_bytes(SOUND["h5"])
        with h5py.File(path, "r+") as file:
            change(file)
        return [path, "--config", config(folder, f"[input]\n{INPUT}")]

    return make


def archive(**members: Any) -> Any:
    def make(folder: Path) -> Any:
        with zipfile.ZipFile(folder / "model.keras", "w", zipfile.ZIP_DEFLATED) as file:
            for name, content in members.items():
                file.writestr(name.replace("_json", ".json").replace("_weights_h5", ".weights.h5"), content)
        return [folder / "model.keras", "--config", config(folder, f"[input]\n{INPUT}")]

    return make


def everything(file: Any, change: Any) -> None:
    kernels = []
    file["model_weights"].visititems(lambda name, item: kernels.append(name) if name.endswith("kernel:0") else None)
    change(file["model_weights"], kernels[0])


def circular(file: Any) -> None:
    group = file.create_group("round")
    for name in "abcdefgh":
        group[name] = group
    del file.attrs["model_config"]


SOUND: dict[str, Any] = {}
"""The bytes of a sound model of Keras, made once."""

KERAS = {
    "keras class_name a list": (keras(lambda c: c.update(class_name=["Sequential"])), "Sequential or functional"),
    "keras class_name null": (keras(lambda c: c.update(class_name=None)), "Sequential or functional"),
    "keras class_name subclassed": (keras(lambda c: c.update(class_name="Net")), "a subclassed Model holds code"),
    "keras a layer's class_name a list": (entry(1, class_name=["QDense"]), "expected a name as class_name"),
    "keras a layer's class_name a dict": (entry(1, class_name={}), "expected a name as class_name"),
    "keras a layer's class_name a number": (entry(1, class_name=5), "expected a name as class_name"),
    "keras a layer's class_name empty": (entry(1, class_name=""), "not supported; supported are"),
    "keras a Lambda": (entry(1, class_name="Lambda"), "it holds code"),
    "keras an LSTM": (entry(1, class_name="LSTM"), "not supported; supported are"),
    "keras a module of another": (entry(1, module="os"), "expected a class of Keras, QKeras or Larq"),
    "keras a module a list": (entry(1, module=["keras"]), "expected a class of Keras, QKeras or Larq"),
    "keras a registered name of another": (entry(1, registered_name="os>system"), "expected a class of Keras"),
    "keras a layer null": (keras(lambda c: c["config"]["layers"].__setitem__(1, None)), "Keras cannot load it"),
    "keras a layer a number": (keras(lambda c: c["config"]["layers"].__setitem__(1, 3)), "Keras cannot load it"),
    "keras no layers": (keras(lambda c: c["config"].update(layers=[])), "model.h5"),
    "keras layers a number": (keras(lambda c: c["config"].update(layers=5)), "Keras cannot load it"),
    "keras config a list": (keras(lambda c: c.update(config=[])), "model.h5"),
    "keras config null": (keras(lambda c: c.update(config=None)), "Keras cannot load it"),
    "keras a layer's config null": (entry(1, config=None), "Keras cannot load it"),
    "keras a layer's config a list": (entry(1, config=[]), "Keras cannot load it"),
    "keras units negative": (layer(1, units=-8), "Keras cannot load it"),
    "keras units text": (layer(1, units="many"), "Keras cannot load it"),
    "keras units 10**30": (layer(1, units=10**30), "Keras cannot load it"),
    "keras units other": (layer(1, units=9), "Keras cannot load it"),
    "keras units null": (layer(1, units=None), "Keras cannot load it"),
    "keras input shape empty": (layer(0, batch_input_shape=[]), "model.h5"),
    "keras input shape negative": (layer(0, batch_input_shape=[None, -20]), "Keras cannot load it"),
    "keras input shape text": (layer(0, batch_input_shape="20"), "Keras cannot load it"),
    "keras input shape unknown": (layer(0, batch_input_shape=[None, None]), "model.h5"),
    "keras a quantizer of code": (layer(1, kernel_quantizer="__import__('os').system('id')"), "is not a known quant"),
    "keras an activation of code": (layer(1, activation="print(1)"), "is not a known activation"),
    "keras a quantizer's argument of code": (layer(3, activation="binary(alpha=print(1))"), "is not a known act"),
    "keras a quantizer a list": (layer(1, kernel_quantizer=[1, 2]), "model.h5"),
    "keras a quantizer unknown": (
        layer(1, kernel_quantizer={"class_name": "Evil", "config": {}}), "is not a class that Keras"),
    "keras names twice": (
        keras(lambda c: [e["config"].update(name="same") for e in c["config"]["layers"]][:0]), "model.h5"),
    "keras a name half a surrogate": (layer(1, name="\ud800"), "expected JSON"),
    "keras a name a number": (layer(1, name=5), "model.h5"),
    "keras no JSON": (keras(lambda c: "{"), "expected JSON"),
    "keras JSON of bytes": (keras(lambda c: b"\xff\xfe"), "expected JSON"),
    "keras JSON deep": (keras(lambda c: "[" * 50_000), "expected JSON"),
    "keras JSON deep and valid": (keras(lambda c: json.dumps(c)[:-1] + ', "x": ' + "[" * 500 + "]" * 500 + "}"),
                                  "nested at most"),
    "keras JSON a number": (keras(lambda c: "5"), "Sequential or functional"),
    "keras JSON a huge number": (keras(lambda c: "9" * 5000), "expected JSON"),
    "keras configuration an array": (hdf5(lambda f: f.attrs.__setitem__("model_config", np.arange(3))), "expected JSO"),
    "keras configuration empty": (hdf5(lambda f: f.attrs.__setitem__("model_config", h5py.Empty("f"))), "expected JSO"),
    "keras configuration missing": (hdf5(lambda f: f.attrs.__delitem__("model_config")), "weights alone?"),
    "keras weights missing": (hdf5(lambda f: f.__delitem__("model_weights")), "Keras cannot load it"),
    "keras weights text": (
        hdf5(partial(everything, change=lambda g, n: (g.__delitem__(n), g.__setitem__(n, "text")))), "model.h5"),
    "keras weights a group": (
        hdf5(partial(everything, change=lambda g, n: (g.__delitem__(n), g.create_group(n)))), "Keras cannot load it"),
    "keras weights elsewhere": (
        hdf5(partial(everything, change=lambda g, n: (g.__delitem__(n),
                                                      g.__setitem__(n, h5py.SoftLink("/x"))))), "got a link"),
    "keras weights NaN": (
        hdf5(partial(everything, change=lambda g, n: g[n].__setitem__((0, 0), np.nan))), "expected finite weights"),
    "keras groups in a circle": (hdf5(circular), "weights alone?"),
    "keras archive of two": (archive(config_json="{}", model_weights_h5=b"", more="x"), "expected HDF5"),
    "keras archive of paths": (archive(**{"config_json": "{}", "model_weights_h5": b"", "../x": "x"}), "plain names"),
    "keras archive a bomb": (archive(config_json=b" " * (1 << 24), model_weights_h5=b""), "a zip bomb?"),
    "keras archive without weights": (archive(config_json="{}"), "'model.weights.h5'"),
}  # fmt: skip


# --- PyTorch: factories and their parameters


TORCH_CODE = (
    CODE
    + """
from torch import nn

def exits():
    raise SystemExit(0)

def generator():
    raise GeneratorExit

def endless():
    return endless()

def nothing():
    return None

def a_class():
    return Net

def meta():
    return Net().to("meta")

def lazy():
    return nn.LazyLinear(3)

class Surprise(BaseException):
    pass

def surprise():
    raise Surprise(":x: [bold]")

def lines():
    raise ValueError("one\\ntwo\\nthree")

not_callable = 5
"""
)


def factory(name: str, code: Any = TORCH_CODE, module: str = "hostile_net") -> Any:
    def make(folder: Path) -> Any:
        (folder / f"{module}.py").write_text(code)
        return [f"{module}:{name}", "--config", config(folder, f"[input]\n{INPUT}\nshape = [20]")]

    return make


def parameters(change: Any, name: str = "weights.pt") -> Any:
    """Return what gives the factory a checkpoint: what `change` makes of the module's parameters, or writes."""

    def make(folder: Path) -> Any:
        module = torch.nn.ModuleDict(
            {"first": torch.nn.Linear(20, 8), "norm": torch.nn.BatchNorm1d(8), "second": torch.nn.Linear(8, 3)}
        )
        changed = change(dict(module.state_dict()))
        path = folder / name
        path.write_bytes(changed) if isinstance(changed, bytes) else torch.save(changed, path)
        return [*factory("Net")(folder), "--checkpoint", path]

    return make


TORCH = {
    "factory exits": (factory("exits"), "the factory raises SystemExit"),
    "factory raises GeneratorExit": (factory("generator"), "the factory raises GeneratorExit"),
    "factory raises a BaseException": (factory("surprise"), "the factory raises Surprise: :x: [bold]"),
    "factory recurses": (factory("endless"), "the factory raises RecursionError"),
    "factory raises lines": (factory("lines"), "the factory raises ValueError: one"),
    "factory gives nothing": (factory("nothing"), "got NoneType"),
    "factory gives a class": (factory("a_class"), "got type"),
    "factory gives tensors without values": (factory("meta"), "expected tensors with values"),
    "factory gives a lazy module": (factory("lazy"), "got a lazy module"),
    "factory no callable": (factory("not_callable"), "nothing to call of the name 'not_callable'"),
    "factory not there": (factory("Nyet"), "nothing to call of the name 'Nyet'"),
    "factory of no syntax": (factory("Net", "def (", "hostile_syntax"), "SyntaxError"),
    "factory of null bytes": (factory("Net", "\0", "hostile_null"), "importing 'hostile_null' raises"),
    "factory's import exits": (factory("Net", "raise SystemExit(3)", "hostile_exit"), "raises SystemExit: 3"),
    "factory's import raises GeneratorExit": (factory("Net", "raise GeneratorExit", "hostile_gone"), "GeneratorExit"),
    "factory of a module that is not there": (lambda folder: ["hostile_none:Net"], "no module 'hostile_none'"),
    "factory with the file's suffix": (lambda folder: ["hostile_none.py:Net"], "is it hostile_none:Net?"),
    "checkpoint of no module": (lambda folder: ["digits_bnn", "--checkpoint", "x.pt"], "goes with a model package.mod"),
    "parameters of meta tensors": (
        parameters(lambda s: {k: v.to("meta") for k, v in s.items()}), "expected a plain tensor"),
    "parameters sparse": (
        parameters(lambda s: {**s, "first.weight": s["first.weight"].to_sparse()}), "expected a plain tensor"),
    "parameters complex": (
        parameters(lambda s: {**s, "first.weight": s["first.weight"] * 1j}), "expected a plain tensor"),
    "parameters a list": (parameters(lambda s: [1, 2]), "expected a state_dict"),
    "parameters a tensor": (parameters(lambda s: torch.zeros(3)), "expected a state_dict"),
    "parameters of numbers": (parameters(lambda s: {**s, "first.weight": 5}), "weights.pt"),
    "parameters by number": (parameters(lambda s: {**s, 5: torch.zeros(1)}), "weights.pt"),
    "parameters infinite": (
        parameters(lambda s: {**s, "first.weight": s["first.weight"] / 0}), "expected finite numbers"),
    "parameters of one axis more": (
        parameters(lambda s: {**s, "first.weight": s["first.weight"][None]}), "expected shape (8, 20)"),
    "parameters empty": (parameters(lambda s: b""), "neither a readable safetensors file nor"),
    "parameters random": (parameters(lambda s: b"\x80" * 100), "weights.pt"),
    "parameters a zip of nothing": (parameters(lambda s: b"PK\x03\x04" + bytes(50)), "not a readable PyTorch"),
    "parameters a folder": (lambda folder: [*factory("Net")(folder), "--checkpoint", folder], "cannot be read"),
    "parameters not there": (lambda folder: [*factory("Net")(folder), "--checkpoint", "no.pt"], "no.pt: cannot be re"),
}  # fmt: skip


# --- configuration files


def config(folder: Path, content: Any) -> Any:
    path = folder / "flow.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def sound(folder: Path) -> Any:
    path = folder / "net.safetensors"
    network_io.save(fakes.network(), path)
    return path


def toml(content: Any) -> Any:
    return lambda folder: [sound(folder), "--config", config(folder, content)]


def liberty(content: str | bytes, name: str = "cells.lib") -> Any:
    """Return what writes a Liberty file, and a configuration that names it."""

    def make(folder: Path) -> Any:
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return toml(f"[synthesis]\nliberty = ['{name}']\n")(folder)

    return make


def setting(table: Any, text: str, word: Any) -> Any:
    return f"toml [{table}] {text[:40]}", (toml(f"[{table}]\n{text}\n"), word)


TOML = {
    "toml deep arrays": (toml("x = " + "[" * 20_000), "nested too deep"),
    "toml deep tables": (toml("x = " + "{a = " * 20_000), "TOML"),
    "toml deep keys": (toml("[" + ".".join("a" * 500) + "]"), "unknown table or setting a"),
    "toml not UTF-8": (toml(b"\xff\xfe"), "not a TOML file"),
    "toml null bytes": (toml(b"\0\0"), "not a TOML file"),
    "toml twice": (toml("[hls]\n[hls]"), "not a TOML file"),
    "toml large": (toml("#" * (2 << 20)), "expected at most 1,048,576 bytes"),
    "toml number of 5,000 digits": (toml("[hls]\nreuse_factor = " + "9" * 5000), "TOML"),
    "toml a list of tables": (toml("[[hls]]\npart = 'x'"), "hls: expected a table"),
    "toml a name of 300 characters": (toml("a" * 300 + " = 1"), "unknown table or setting"),
    "toml endless": (lambda folder: [sound(folder), "--config", "/dev/zero"], "expected at most 1,048,576 bytes"),
    "toml a folder": (lambda folder: [sound(folder), "--config", folder], "cannot be read"),
    "toml a name too long": (lambda folder: [sound(folder), "--config", "a" * 300], "cannot be read"),
    "toml [input] for a file that tells": (toml("[input]\nbits = 1"), "tells itself which integers it takes"),
    "toml a layer that is not there": (toml("[rtl.layers.dense9]\npe = 1"), "no layer 'dense9'"),
    "toml an hls layer that is not there": (toml("[hls.layers.dense9]\nreuse_factor = 1"), "no layer 'dense9'"),
    "toml a layer of 300 characters": (toml(f"[rtl.layers.{'a' * 300}]\npe = 1"), "no layer 'aaa"),
    **dict([
        setting("hls", "part = 5", "part must be a name"),
        setting("hls", "part = ''", "part must name an FPGA part"),
        setting("hls", "part = '; rm -rf /'", "part must name an FPGA part"),
        setting("hls", f"part = '{'x' * 300}'", "part must be a name"),
        setting("hls", "part = ['x']", "part must be a name"),
        setting("hls", "io_type = []", "io_type must be a name"),
        setting("hls", "strategy = 1", "strategy must be a name"),
        setting("hls", "strategy = 'fast'", "strategy must be one of"),
        setting("hls", "clock_ns = 0", "clock_ns must be a period"),
        setting("hls", "clock_ns = nan", "clock_ns must be a period"),
        setting("hls", "clock_ns = inf", "clock_ns must be a period"),
        setting("hls", "clock_ns = 1e300", "clock_ns must be a period"),
        setting("hls", "clock_ns = true", "clock_ns must be a period"),
        setting("hls", "clock_ns = 2020-01-01", "clock_ns must be a period"),
        setting("hls", "reuse_factor = true", "reuse_factor must be a whole number"),
        setting("hls", "reuse_factor = 1.0", "reuse_factor must be a whole number"),
        setting("hls", "reuse_factor = 10000000000000000000000", "reuse_factor must be a whole number"),
        setting("hls.layers.dense1", "reuse_factor = []", "reuse_factor must be a whole number"),
        setting("hls.layers.dense1", "strategy = []", "strategy must be one of"),
        setting("hls.layers", "dense1 = []", "layers must be tables"),
        setting("rtl", "clock_ns = 'fast'", "clock_ns must be a period"),
        setting("rtl", "clock_ns = 1e-300", "clock_ns must be a period in nanoseconds, 0.01 to 1,000,000"),
        setting("rtl", "clock_ns = -inf", "clock_ns must be a period"),
        setting("rtl", "in_width = 12", "in_width must be a multiple of 8"),
        setting("rtl", "in_width = 8.0", "in_width must be a multiple of 8"),
        setting("rtl", "in_width = 8000000000", "in_width must be a multiple of 8"),
        setting("rtl", "out_width = []", "out_width must be a multiple of 8"),
        setting("rtl", "target_fps = nan", "target_fps must be a number above 0"),
        setting("rtl", "target_fps = inf", "target_fps must be a number above 0"),
        setting("rtl", "target_fps = 1e300", "cannot"),
        setting("rtl", "target_fps = []", "target_fps must be a number above 0"),
        setting("rtl", "max_luts = 1", "does not fit into 1 LUTs"),
        setting("rtl", "max_luts = true", "max_luts must be a whole number"),
        setting("rtl", "layers = []", "layers must be tables"),
        setting("rtl.layers.dense1", "architecture = []", "architecture must be one of"),
        setting("rtl.layers.dense1", "architecture = 5", "architecture must be one of"),
        setting("rtl.layers.dense1", "pe = 1.5", "pe must be a whole number"),
        setting("rtl.layers.dense1", "simd = -1", "simd must be a whole number"),
        setting("rtl.layers.dense1", "levels_per_stage = 0", "levels_per_stage must be a whole number"),
        setting("rtl.default", "architecture = 'unrolled'\neffort = []", "effort must be fast or high"),
        setting("synthesis", "targets = [1]", "targets must be a list of names"),
        setting("synthesis", "targets = [[]]", "targets must be a list of names"),
        setting("synthesis", "targets = ['../x']", "no target '../x'"),
        setting("synthesis", "place_limit_s = 1e300", "place_limit_s must be a number of seconds"),
        setting("synthesis", "place_limit_s = nan", "place_limit_s must be a number of seconds"),
        setting("synthesis", "targets = ['ecp5', 'ecp5']", "targets names ecp5 twice"),
        setting("synthesis", "liberty = 'a.lib'", "liberty must be a list of files"),
        setting("synthesis", "liberty = ['']", "liberty must be a list of files"),
        setting("synthesis", f"liberty = ['{'x/' * 3000}']", "liberty must be a list of files"),
        setting("synthesis", f"liberty = ['{'x' * 300}']", "cannot be read: File name too long"),
        setting("synthesis", "liberty = [\"a\\u0000b\"]", "cannot be read: embedded null byte"),
        setting("synthesis", "liberty = ['nowhere.lib']", "nowhere.lib: cannot be read"),
        setting("synthesis", "liberty = ['.']", "cannot be read: Is a directory"),
        setting("synthesis", "liberty = ['/dev/null']", "expected a library of cells"),
        setting("synthesis", "liberty = ['a.lib', 'b/a.lib.gz']", "would be in one folder, asic_a"),
        setting("vendor", "run = [[]]", "run must be a list of"),
        setting("vendor", "run = 'rtl'", "run must be a list of"),
        setting("vendor", "limit_s = inf", "limit_s must be a number of seconds"),
        setting("vendor", "limit_s = false", "limit_s must be a number of seconds"),
        setting("input", "shape = [1.5]", "shape must be a list of whole numbers"),
        setting("input", "shape = [true]", "shape must be a list of whole numbers"),
        setting("input", "shape = []", "shape must be a list of whole numbers"),
        setting("input", "shape = [1000000000000]", "shape must be a list of whole numbers"),
        setting("input", "shape = [100000, 100000]", "at most 16,777,216 values"),
        setting("input", "kind = 5", "kind must be a name"),
        setting("input", "bits = true", "bits must be a whole number"),
        setting("input", "kind = 'unsigned'\nbits = 1000", "1 to 16 bits"),
        setting("input", "fraction = 1000000000", "fraction 0 to 64"),
        setting("input", "fraction = -1", "fraction 0 to 64"),
        setting("fixed", "bits = 1", "bits: expected 2 to 16 bits, got 1"),
        setting("fixed", "bits = 17", "bits: expected 2 to 16 bits, got 17"),
        setting("fixed", "bits = 8.0", "bits must be a whole number"),
        setting("fixed", "bits = true", "bits must be a whole number"),
        setting("fixed", "bits = " + "9" * 400, "expected 2 to 16 bits"),
        setting("fixed", "classes_may_differ = 2", "classes_may_differ must be a share of 0 to 1"),
        setting("fixed", "classes_may_differ = nan", "classes_may_differ must be a share of 0 to 1"),
        setting("fixed", "layers = []", "layers must be a table with a whole number"),
        setting("fixed", "layers.dense1 = 99", "dense1: expected 2 to 16 bits, got 99"),
        setting("fixed", "layers.dense1 = true", "layers must be a table with a whole number"),
        setting("fixed", "layers.dense1 = { bits = 8 }", "layers must be a table with a whole number"),
        setting("fixed", "layers.nowhere = 8", "no layer 'nowhere' whose weights are rounded"),
        setting("require", "lut = 0", "lut must be a number above 0"),
        setting("require", "lut = nan", "lut must be a number above 0"),
        setting("require", "lut = inf", "lut must be a number above 0"),
        setting("require", "lut = true", "lut must be a number above 0"),
        setting("require", "lut = []", "lut must be a number above 0"),
        setting("require", "lut = { limit = 1 }", "a table with a limit and a provenance"),
        setting("require", "lut = { limit = 1, provenance = 'x' }", "a table with a limit and a provenance"),
        setting("require", "lut = { limit = 0, provenance = 'vendor' }", "a table with a limit and a provenance"),
        setting("require", "lut = { limit = 1, provenance = 'vendor', of = 1 }", "a table with a limit and a prov"),
        setting("require", "lut = " + "9" * 400, "lut must be a number above 0"),
        setting("require", "accuracy = 96", "accuracy must be a share above 0, at most 1"),
        setting("require", "accuracy = '96 %'", "accuracy must be a share above 0, at most 1"),
        setting("require", "accuracy = { limit = 2, provenance = 'measured' }", "accuracy must be a share above 0"),
        setting("require", "LUT = 3", "unknown setting LUT"),
        setting("require", "energy_nj = 1979-05-27", "energy_nj must be a number above 0"),
        setting("require", "target = 3", "target must be a name"),
        setting("require", "target = 'ice40'", "target must be one of those synthesised for, xilinx7, ecp5"),
    ]),
    "liberty of nothing": (liberty(""), "expected a library of cells in Liberty format"),
    "liberty of other text": (liberty("hello"), "expected a library of cells in Liberty format"),
    "liberty of random bytes": (liberty(np.random.default_rng(0).bytes(2000)), "expected a library of cells"),
    "liberty of no cell": (liberty("library (x) { }"), "expected a library of cells in Liberty format"),
    "liberty of no name": (liberty("library () { cell () { } }"), "has no flip-flop"),
    "liberty cut short": (liberty('library (x) { cell ("A" { area : 1'), "expected a library of cells"),
    "liberty of groups in groups": (liberty("library (x) { " + "a () {" * 100_000), "in at most 100 others"),
    "liberty of a packed nothing": (liberty(b"\x1f\x8b", "cells.lib.gz"), "cells.lib.gz: damaged"),
    "liberty packed and cut": (liberty(gzip.compress(bytes(9999))[:-9], "cells.lib.gz"), "cells.lib.gz: damaged"),
    "liberty of a link to itself": (
        lambda folder: [(folder / "c.lib").symlink_to("c.lib"), *toml("[synthesis]\nliberty = ['c.lib']")(folder)][1:],
        "Too many levels of symbolic links"),
}  # fmt: skip


# --- arguments


def option(*arguments: Any) -> Any:
    return lambda folder: [sound(folder), *arguments]


def code(name: str, content: Any) -> Any:
    def make(folder: Path) -> Any:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content)
        return [name]

    return make


ARGUMENTS = {
    **{f"vectors {text[:20]!r} ({len(text)})": (option("--vectors", text), word) for text, word in (
        ("0", "at least 1"), ("000", "at least 1"), ("", "at least 1"), ("1.5", "at least 1"), ("1e3", "at least 1"),
        ("0x10", "at least 1"), (" 5", "at least 1"), ("nan", "at least 1"), ("ALL", "at least 1"),
        ("1_000", "at least 1"), ("\u00b2", "at least 1"), ("10000001", "at most 10,000,000"),
        ("1000000000", "at most 10,000,000"), ("1" + "0" * 18, "at most 10,000,000"), ("9" * 5000, "10,000,000"),
    )},
    "vectors that fill the memory": (
        lambda folder: [*images(pool(), shape=[256, 256, 1])(folder), "--vectors", "1000000"], "fit into the memory"),
    "vectors all of no data": (option("--vectors", "all"), "without test images"),
    "rate nan": (option("--target-fps", "nan"), "target_fps must be a number above 0"),
    "rate inf": (option("--target-fps", "inf"), "target_fps must be a number above 0"),
    "rate 0": (option("--target-fps", "0"), "target_fps must be a number above 0"),
    "rate out of reach": (option("--target-fps", "1e12"), "cannot"),
    "LUTs 0": (option("--max-luts", "0"), "max_luts must be a whole number above 0"),
    "LUTs too few": (option("--max-luts", "1"), "does not fit into 1 LUTs"),
    "both goals": (option("--max-luts", "100", "--target-fps", "5"), "not both"),
    "a model of 300 characters": (lambda folder: ["a" * 300], "aaa"),
    "a model of 5,000 characters": (lambda folder: ["a" * 5000], "aaa"),
    "a file of 250 characters": (lambda folder: [sound(folder).rename(folder / ("a" * 238 + ".safetensors"))], "100 c"),
    "a factory of 300 characters": (lambda folder: ["a" * 150 + ":" + "b" * 150], "aaa"),
    "a model of nothing": (lambda folder: [""], "unknown model ''"),
    "a model that is a folder": (lambda folder: [folder], "a folder, neither"),
    "a model that is a device": (lambda folder: ["/dev/zero"], "unknown model '/dev/zero'"),
    "a model of markup": (lambda folder: ["[bold]:x:[/bold]"], "'[bold]:x:[/bold]'"),
    "a model not UTF-8": (lambda folder: [os.fsdecode(b"\xffnet.safetensors")], r"\xffnet.safetensors: expected a nam"),
    "a configuration not UTF-8": (option("--config", os.fsdecode(b"\xff.toml")), "expected a name in UTF-8"),
    "an OUT not UTF-8": (option("--out", os.fsdecode(b"\xff")), "expected a name in UTF-8"),
    "code": (code("my_net.py", "class Net: pass"), "my_net:Net"),
    "code of functions": (code("my_net.py", "def make(): pass"), "my_net:make"),
    "code in a folder": (code("sub/my_net.py", "class Net: pass"), "sub.my_net:Net"),
    "code of no syntax": (code("my_net.py", "class ("), "my_net:Net, where Net is its name"),
    "code and a checkpoint": (lambda f: [*code("my_net.py", "class Net: 1")(f), "--checkpoint", "x.pt"], "my_net:Net"),
    "data not there": (option("--data", "no/such"), "no folder no/such"),
    "data not there for digits_bnn": (lambda folder: ["digits_bnn", "--data", "no/such"], "no folder no/such"),
    "data not there for mnist_bnn": (lambda folder: ["mnist_bnn", "--data", "no/such"], "no folder no/such"),
    "data a file": (lambda folder: ["digits_bnn", "--data", sound(folder)], "no folder"),
    "data a name too long": (lambda folder: ["digits_bnn", "--data", "a" * 300], "aaa"),
}  # fmt: skip


# --- folders of data


def idx(shape: Any, values: Any = None, magic: Any = None) -> Any:
    head = bytes((0, 0, 8, len(shape))) if magic is None else magic
    return head + struct.pack(f">{len(shape)}I", *shape) + (bytes(int(np.prod(shape))) if values is None else values)


def mnist(**changed: Any) -> Any:
    """Return what makes a folder of MNIST of which some files are spoiled."""
    files = {
        f"{part}-{what}": content
        for part in ("train", "t10k")
        for what, content in (("images-idx3-ubyte", idx((3, 28, 28))), ("labels-idx1-ubyte", idx((3,))))
    }

    def make(folder: Path) -> Any:
        for name, content in {**files, **changed}.items():
            if content is not None:
                (folder / name).write_bytes(content)
        return ["mnist_bnn", "--data", folder]

    return make


def images_of(content: Any, size: Any = (32, 32)) -> Any:
    """Return what makes a folder of CIFAR-10 whose first image is spoiled."""
    from PIL import Image

    def make(folder: Path) -> Any:
        from xnorflow.models.cifar10 import CLASSES

        for part in ("train", "test"):
            for name in CLASSES:
                (folder / part / name).mkdir(parents=True)
                Image.new("RGB", size).save(folder / part / name / "a.png")
        if content is not None:
            (folder / "test" / "airplane" / "a.png").write_bytes(content)
        return ["cifar10_cnv", "--data", folder]

    return make


def png(size: Any) -> Any:
    from PIL import Image

    target = io.BytesIO()
    Image.new("1", size).save(target, "png")
    return target.getvalue()


IMAGES, LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"

DATA = {
    "mnist of nothing": (lambda folder: ["mnist_bnn", "--data", folder], "no MNIST in"),
    "mnist without labels": (mnist(**{LABELS: None}), "neither there"),
    "mnist of no images": (mnist(**{IMAGES: idx((0, 28, 28)), LABELS: idx((0,))}), "has no images"),
    "mnist of 2**96 images": (mnist(**{IMAGES: idx((2**32 - 1,) * 3, b"")}), "should have"),
    "mnist of no pixels": (mnist(**{IMAGES: idx((3, 0, 28))}), "expected 28x28"),
    "mnist truncated": (mnist(**{IMAGES: idx((3, 28, 28))[:-1]}), "should have 2352 bytes"),
    "mnist header truncated": (mnist(**{IMAGES: bytes((0, 0, 8, 3, 0))}), "truncated"),
    "mnist empty": (mnist(**{IMAGES: b""}), "not the expected idx file"),
    "mnist of other magic": (mnist(**{IMAGES: idx((3, 28, 28), magic=b"\0\0\r\3")}), "not the expected idx file"),
    "mnist of fewer labels": (mnist(**{LABELS: idx((2,))}), "has 3 images, but"),
    "mnist of label 99": (mnist(**{LABELS: idx((3,), b"\0\1c")}), "has a label 99"),
    "mnist gzip damaged": (mnist(**{IMAGES: None, f"{IMAGES}.gz": b"\x1f\x8b" + bytes(20)}), "cannot be read"),
    "mnist gzip truncated": (
        mnist(**{IMAGES: None, f"{IMAGES}.gz": gzip.compress(idx((3, 28, 28)))[:-9]}), "cannot be read"),
    "mnist gzip a bomb": (
        mnist(**{IMAGES: None, f"{IMAGES}.gz": gzip.compress(bytes((1 << 28) + 9), 1)}), "more than 268,435,456 bytes"),
    "cifar of nothing": (lambda folder: ["cifar10_cnv", "--data", folder], "no CIFAR-10 in"),
    "cifar no image": (images_of(b"text"), "is not an image that can be read"),
    "cifar an image truncated": (images_of(png((32, 32))[:40]), "is not an image that can be read"),
    "cifar of another size": (images_of(png((33, 32))), "has 33x32 pixels, expected 32x32"),
    "cifar an image of 2**30 pixels": (images_of(png((1, 1)).replace(
        struct.pack(">II", 1, 1), struct.pack(">II", 2**15, 2**15))), "image"),
}  # fmt: skip


# --- other commands than `run`


def rounding(*words: str) -> Any:
    return lambda folder: [words[0], sound(folder), *words[1:]]


def sweep(text: str, name: str = "points.toml") -> Any:
    def make(folder: Path) -> Any:
        sound(folder)
        (folder / name).write_text(text)
        return ["sweep", folder / name, "--vectors", "8"]

    return make


def swept(text: str, word: str) -> Any:
    return f"sweep {text[:50]}", (sweep(f"[sweep]\nmodels = ['net.safetensors']\n{text}\n"), word)


MODELS = {
    f"{command} {what}": (lambda folder, command=command, make=make: [command, *map(str, make(folder))], word)
    for command in ("check", "coverage", "summary", "estimate")
    for what, (make, word) in {
        "nothing": (lambda folder: [""], "unknown model ''"),
        "a folder": (lambda folder: [folder], "a folder, neither"),
        "a device": (lambda folder: ["/dev/zero"], "unknown model '/dev/zero'"),
        "a name too long": (lambda folder: ["a" * 5000], "aaa"),
        "a damaged ONNX model": (ONNX["onnx a circle"][0], "without circles"),
        "a configuration of nowhere": (lambda folder: ["mnist_larq", "--config", "nowhere"], "nowhere: cannot be read"),
    }.items()
}  # fmt: skip

COMMANDS = MODELS | {
    **{f"{command} --fixed {bits}": (rounding(command, "--fixed", bits), word)
       for command in ("run", "summary", "estimate")
       for bits, word in (("1", "expected 2 to 16 bits"), ("9" * 400, "expected 2 to 16 bits"), ("nan", "--fixed"))},
    **{f"coverage --vectors {text[:9]}": (rounding("coverage", "--vectors", text), "--vectors")
       for text in ("0", "-1", "1e9", "1000000000", "9" * 5000, "all", "")},
    "coverage --data": (rounding("coverage", "--data", "nowhere"), "nowhere"),
    **{f"estimate {name} {text[:9]}": (rounding("estimate", name, text), word)
       for name, word in (("--target-fps", "target_fps"), ("--clock-ns", "clock_ns"))
       for text in ("0", "-1", "nan", "inf", "1e400")},
    "estimate --max-luts 0": (rounding("estimate", "--max-luts", "0"), "max_luts"),
    "cache --keep -1": (lambda folder: ["cache", "--keep", "-1"], "--keep"),
    "cache --keep nan": (lambda folder: ["cache", "--keep", "nan"], "--keep"),
    "cache a word too many": (lambda folder: ["cache", "all"], "all"),
    "clean a word too many": (lambda folder: ["clean", "all"], "all"),
    "sweep of nowhere": (lambda folder: ["sweep", "nowhere.toml"], "error: nowhere.toml: cannot be read"),
    "sweep of a device": (lambda folder: ["sweep", "/dev/zero"], "error: /dev/zero: expected at most 1,048,576 bytes"),
    "sweep of nothing": (sweep(""), "names no models"),
    "sweep no table": (sweep("sweep = 3"), "sweep: expected a table, got 3"),
    "sweep no models": (sweep("[sweep]\nmodels = []"), "models must be a list of models"),
    "sweep a model of nowhere": (sweep("[sweep]\nmodels = ['nowhere']"), "unknown model 'nowhere'"),
    "sweep a null character": (sweep('[sweep]\nmodels = ["a\\u0000b"]'), "unknown model"),
    "sweep a name too long": (sweep("[sweep]\nmodels = ['net.safetensors']", "a" * 240 + ".toml"), "100 characters"),
    **dict([
        swept("target_fps = 3", "target_fps must be a list of numbers above 0"),
        swept("target_fps = [0]", "target_fps must be a list of numbers above 0"),
        swept("target_fps = [nan]", "target_fps must be a list of numbers above 0"),
        swept("max_luts = [" + "9" * 400 + "]", "max_luts must be a list of whole numbers above 0"),
        swept("architecture = ['x']", "architecture must be a list of"),
        swept("clock_ns = [0]", "clock_ns must be a list of periods"),
        swept("points = 3", "points must be tables"),
        swept("points = [3]", "points must be tables"),
        swept("points = [{ x = 1 }]", "points must be tables"),
        swept("points = [{ target_fps = 1, max_luts = 3 }]", "a point has one of"),
        swept("run = 'some'", "run must be 'pareto', 'all' or 'none'"),
        swept("more = 1", "unknown setting more"),
        swept("[strange]\nx = 1", "unknown table or setting strange"),
        swept("[input]\nbits = 1", "tells itself which integers it takes"),
    ]),
}  # fmt: skip


HOSTILE = {**NETWORKS, **BYTES, **CHECKPOINTS, **ONNX, **KERAS, **TORCH, **TOML, **ARGUMENTS, **DATA}


@pytest.fixture(scope="module", autouse=True)
def sound_models(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("sound") / "model.h5"
    keras_model().save(path)
    SOUND["h5"] = path.read_bytes()


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    """Run the command line with stand-ins for the engines; return its status and what it writes to stderr."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delenv("XNORFLOW_DATA", raising=False)
    places = {"build": tmp_path / "build", "reports": tmp_path / "reports"}
    fakes.install(monkeypatch.setattr, log=tmp_path / "log", **places)
    before = set(sys.modules)

    def ran(arguments: Any, command: tuple[str, ...] = ("run", "--vectors", "8")) -> Any:
        monkeypatch.setattr("sys.argv", ["xnorflow", *command, *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        for name in [name for name in set(sys.modules) - before if name.startswith("hostile_")]:
            del sys.modules[name]
        return ended.value.code, capfd.readouterr().err

    return ran


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_input_ends_in_one_line_and_status_2(name: str, tmp_path: Path, command: Any) -> None:
    prepare, word = HOSTILE[name]
    arguments = prepare(tmp_path / "here")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "here").rglob("*") if path.is_file()}
    status, told = command([*arguments, "--out", tmp_path / "out"] if "--out" not in arguments else arguments)
    assert status == 2, told
    assert told.startswith("error: ") and word in told, told
    assert len(told) < 3000 + 2 * sum(len(str(argument)) for argument in arguments), "as long as what was given"
    assert "Traceback" not in told and told.count("error:") == 1, told
    check_nothing_is_left(tmp_path)
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "here").rglob("*") if path.is_file()}
    assert {path: time for path, time in after.items() if "__pycache__" not in path.parts} == before


@pytest.mark.parametrize("name", COMMANDS)
def test_a_hostile_input_of_another_command_ends_in_a_message_and_status_2(
    name: str, tmp_path: Path, command: Any
) -> None:
    prepare, word = COMMANDS[name]
    status, told = command(prepare(tmp_path / "here"), ())
    assert status == 2 and word in told, told
    assert "Traceback" not in told and "traceback" not in told, told
    check_nothing_is_left(tmp_path)


@pytest.mark.parametrize("keep", ["inf", "1e300", "1e400"])
def test_a_cache_may_be_kept_of_any_size(keep: str, command: Any) -> None:
    assert command(["cache", "--keep", keep], ()) == (0, "")


def check_nothing_is_left(folder: Path) -> None:
    """No report and no project, and in the cache only whole entries, beside locks."""
    for place in ("out", "reports"):
        assert [path for path in (folder / place).rglob("*") if path.suffix != ".lock"] == []
    left = [path for path in (folder / "build").rglob("*") if path.is_file()]
    whole = {path.parent for path in left if path.name == "entry.json"}
    assert [path for path in left if path.suffix != ".lock" and path.name != MARK and path.parent not in whole] == []


# --- sound files, damaged at random


def sound_parameters(folder: Path) -> Any:
    module = torch.nn.ModuleDict(
        {"first": torch.nn.Linear(20, 8), "norm": torch.nn.BatchNorm1d(8), "second": torch.nn.Linear(8, 3)}
    )
    torch.save(module.state_dict(), folder / "weights.pt")
    return folder / "weights.pt"


def sound_onnx(folder: Path) -> Any:
    qonnx_export.write(fakes.network(), folder / "model.onnx")
    return folder / "model.onnx"


def sound_keras(folder: Path) -> Any:
    (folder / "model.h5").write_bytes(SOUND["h5"])
    return folder / "model.h5"


def sound_toml(folder: Path) -> Any:
    return config(folder, "[hls]\npart = 'xc7'\n[rtl]\nclock_ns = 5\ntarget_fps = 1000\n[rtl.layers.dense1]\npe = 2\n")


FILES = {
    "network": (sound, lambda folder, path: [path]),
    "onnx": (sound_onnx, lambda folder, path: [path]),
    "keras": (sound_keras, lambda folder, path: [path, "--config", config(folder, f"[input]\n{INPUT}")]),
    "parameters": (sound_parameters, lambda folder, path: [*factory("Net")(folder), "--checkpoint", path]),
    "toml": (sound_toml, lambda folder, path: [sound(folder), "--config", path]),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_ends_without_a_traceback(name: str, tmp_path: Path, command: Any) -> None:
    write, arguments_for = FILES[name]
    path = write(tmp_path / "here")
    whole = path.read_bytes()
    arguments = arguments_for(tmp_path / "here", path)

    @settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), max_size=4),
        kept=st.one_of(st.just(1.0), st.floats(0, 1)),
    )
    def damage(flips: Any, kept: Any) -> None:
        damaged = bytearray(whole[: round(kept * len(whole))])
        for where, bits in flips if damaged else ():
            damaged[int(where * len(damaged))] ^= bits
        path.write_bytes(damaged)
        status, told = command(arguments)
        assert status in (0, 1, 2) and "Traceback" not in told, told
        assert (status == 2) == told.startswith("error: "), told

    damage()


def test_there_are_many_of_them() -> None:
    assert len(HOSTILE) >= 200
    assert sum(not word for _, word in HOSTILE.values()) == 0, "each tells something"
