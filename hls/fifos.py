"""The FIFOs between the layers of a streaming hls4ml project: as deep as its processes need them, not as its images."""

from itertools import pairwise
from math import prod
from typing import Any

from hls4ml.backends.fpga.fpga_layers import BatchNormalizationQuantizedTanh, PointwiseConv2D
from hls4ml.backends.fpga.passes.clone import Clone
from hls4ml.model.graph import ModelGraph
from hls4ml.model.layers import (
    ApplyAlpha,
    Conv2D,
    Dense,
    Input,
    Layer,
    Merge,
    Pooling2D,
    Reshape,
    ZeroPadding2D,
)

from xnorflow.bnn.network import Network
from xnorflow.hls.errors import Unsupported
from xnorflow.hls.rtl.units import VectorStep
from xnorflow.hls.schedule import LEAST_DEPTH, PIPELINE_DEPTH, Dataflow, LayerLoop, pixel_process, window_process


def set_depths(graph: ModelGraph, dataflow: Dataflow) -> None:
    """Give every stream of a graph the depth that its processes need.

    Parameters
    ----------
    graph : ModelGraph
        After all of hls4ml's passes.
    dataflow : Dataflow
    """
    for node in graph.get_layers():
        if not isinstance(node, Reshape):
            for variable in node.variables.values():
                variable.pragma = ("stream", LEAST_DEPTH)
    for process in dataflow.processes:
        node = graph.graph[process.layer]
        for source, name in zip(process.sources, node.inputs, strict=True):
            _stream(node, name).pragma = ("stream", dataflow.depths[source, process.layer])


def _stream(node: Layer, name: str) -> Any:
    """Return the variable that an input of a layer is read from: a flattened one is what it was before."""
    writer = node.get_input_node(name)
    if isinstance(writer, Reshape):
        return _stream(writer, writer.inputs[0])
    return node.get_input_variable(name)


def _writer(node: Layer, name: str) -> Layer:
    """Return the layer that computes an input of a layer, before it was cloned or flattened."""
    writer = node.get_input_node(name)
    return _writer(writer, writer.inputs[0]) if isinstance(writer, Clone | Reshape) else writer


def stock_dataflow(graph: ModelGraph, network: Network) -> Dataflow:
    """Return the processes of a graph of hls4ml's own layers, as their C++ tells.

    Layers of the latency strategy are pipelines that take a pixel every `reuse_factor` cycles. Those of the resource
    strategy have a pipeline inside, of `reuse_factor` iterations, that begins anew for each pixel.

    Parameters
    ----------
    graph : ModelGraph
        After all of hls4ml's passes.
    network : Network

    Raises
    ------
    Unsupported
        If there is a layer whose loop is not known.
    """
    processes = []
    for node in graph.get_layers():
        if not isinstance(node, Input | Clone | Reshape):
            sources = [_writer(node, name) for name in node.inputs]
            scan, results = _scan(node, sources[0])
            processes.append(LayerLoop(scan, results, 0, layer=node.name, sources=tuple(of.name for of in sources)))
    return Dataflow(tuple(processes), network)


def _scan(node: Layer, source: Layer) -> tuple[tuple[VectorStep, ...], int]:
    """Return what each packet that a layer reads does, and how many it writes."""
    packets = prod(source.get_output_variable().shape[:-1])
    reuse_factor = node.get_attr("reuse_factor", 1)
    restarts = node.get_attr("strategy", "latency").lower() != "latency"
    match node:
        case ZeroPadding2D():
            return _padding(node)
        case Dense():
            loop = pixel_process(1, packets, reuse_factor + PIPELINE_DEPTH, 0)  # it begins when all has come
        case Conv2D() | PointwiseConv2D() if restarts:
            loop = window_process(_window(node, "filt"), reuse_factor + PIPELINE_DEPTH, 0, PIPELINE_DEPTH)
        case Conv2D() | PointwiseConv2D():
            loop = window_process(_window(node, "filt"), reuse_factor, 0, reuse_factor)
        case Pooling2D():
            loop = window_process(_window(node, "pool"), 1, 0)
        case BatchNormalizationQuantizedTanh() | ApplyAlpha() | Merge():
            loop = pixel_process(packets, 1, reuse_factor, 0)
        case _:
            raise Unsupported(f"layer {node.name}: how long a {node.class_name} of hls4ml takes is not known")
    return loop.scan, loop.results


def _window(node: Layer, kernel: str) -> dict[str, int]:
    names = ("in_height", "in_width", "pad_top", "pad_bottom", "pad_left", "pad_right", "stride_height", "stride_width")
    numbers = {name: node.get_attr(name, 0) for name in names}
    return {**numbers, **{f"kernel_{side}": node.get_attr(f"{kernel}_{side}") for side in ("height", "width")}}


def _padding(node: Layer) -> tuple[tuple[VectorStep, ...], int]:
    """Return the loop of a layer that writes an image with a border: what is above the first pixel, with it."""
    height, width, _ = node.get_output_variable().shape
    bottom, right = (
        node.get_attr("pad_top") + node.get_attr("in_height"),
        node.get_attr("pad_left") + node.get_attr("in_width"),
    )
    pixels = [
        y * width + x for y in range(node.get_attr("pad_top"), bottom) for x in range(node.get_attr("pad_left"), right)
    ]
    spans = [end - start for start, end in pairwise([0, *pixels[1:], height * width])]
    return tuple(VectorStep(n, tuple(range(PIPELINE_DEPTH, PIPELINE_DEPTH + n))) for n in spans), height * width
