"""The stock style: hls4ml's own layers, configured so that every integer is exact.

What the plain conversion gets wrong, and what is done here instead:

- Its binary threshold compares ``>=`` whatever the direction. Only thresholds that point up are accepted: the network
  must be in canonical form (:mod:`xnorflow.bnn.canonical`).
- It rounds thresholds and stores them in the accumulator's type, where those outside wrap. Here thresholds are
  integers, clamped by the Network to one beyond the accumulator's range, and the type is wide enough for that.
- One bit cannot be 0, so that zero padding becomes -1. Bipolar values that meet zero padding are two bits wide (-1, 0,
  +1): they come from hls4ml's ternary threshold with both its thresholds equal.
- A one-bit unsigned type means bipolar to hls4ml's kernels, so integers always have two bits or more.
- Accumulators have the width of their sums.

A sum pool is a convolution with weights of 1, since hls4ml's average pooling rounds its mean. Of activations of more
than two values there is the ternary one.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from hls4ml.backends import get_backend
from hls4ml.model.types import IntegerPrecisionType, NamedType, PrecisionType, XnorPrecisionType

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.kernels import grouped
from xnorflow.bnn.names import fresh
from xnorflow.bnn.network import (
    Add,
    Affine,
    Conv2d,
    Dense,
    Flatten,
    Input,
    MaxPool2d,
    MultiThreshold,
    Network,
    Operation,
    Signal,
    SumPool2d,
    Threshold,
    weight_bits,
)
from xnorflow.hls.config import Hls4mlDict, HlsConfig
from xnorflow.hls.errors import Unsupported
from xnorflow.hls.folding import UNROLLED, neurons
from xnorflow.hls.storage import Storage, bits, integer


def expressible(network: Network, config: HlsConfig) -> tuple[Network, HlsConfig]:
    """Return an equal network in the operations that hls4ml has: a sum pool as a convolution, sums of two at a time."""
    operations: list[Operation] = []
    unrolled: Hls4mlDict = {}
    for operation in network.operations:
        if isinstance(operation, SumPool2d):
            channels = network.signals[operation.name].channels
            weight = grouped(np.ones((channels, *operation.size, 1), np.int8), channels)
            operations.append(Conv2d(operation.name, operation.inputs, weight=weight, stride=operation.stride))
            unrolled[operation.name] = {
                "reuse_factor": 1,
                "strategy": "latency",
            }  # of which hls4ml leaves out the zeros
        elif isinstance(operation, Add) and operation.shift:
            raise Unsupported(
                f"layer {operation.name}: hls4ml's sums do not shift their operands; use the packed style"
            )
        elif isinstance(operation, Add) and len(operation.inputs) > 2:
            left, *rest = operation.inputs
            for count, right in enumerate(rest[:-1], 2):
                name = fresh(f"{operation.name}_of_{count}", network.signals)
                operations.append(Add(name, (left, right)))
                left = operations[-1].name
            operations.append(replace(operation, inputs=(left, rest[-1])))
        else:
            operations.append(operation)
    made = Network(network.name, tuple(operations))
    return made, shared(made, replace(config, layers={**config.layers, **unrolled}))


def shared(network: Network, config: HlsConfig) -> HlsConfig:
    """Return a configuration in which every layer has a reuse factor and a strategy that is not "auto".

    Up to :data:`xnorflow.hls.folding.UNROLLED` weights stay unrolled. A larger layer gets the largest reuse factor that
    hls4ml takes and that keeps up with the target rate; it never unrolls more than that many multiplications.
    """
    backend = get_backend(config.backend)
    wanted = 1e9 / (config.clock_ns * config.target_fps) if config.target_fps is not None else 1
    layers: dict[str, Hls4mlDict] = {}
    for layer in neurons(network):
        reuse_factor, strategy = config.of(layer.name)
        if strategy == "auto" and layer.weights <= UNROLLED:
            strategy = "latency"
        elif strategy == "auto":
            strategy = "resource"
            if reuse_factor is None:
                valid = backend.get_valid_reuse_factors(layer.weights // layer.neurons, layer.neurons)
                few = [factor for factor in valid if layer.weights / factor <= UNROLLED]
                in_time = [factor for factor in few if factor * layer.vectors <= wanted]
                reuse_factor = max(in_time) if in_time else min(few)
        layers[layer.name] = {"reuse_factor": reuse_factor or 1, "strategy": strategy}
    strategy = "latency" if config.strategy == "auto" else config.strategy
    return replace(config, strategy=strategy, reuse_factor=config.reuse_factor or 1, layers=layers)


def layers(
    network: Network, config: HlsConfig, names: Mapping[str, str]
) -> tuple[list[Hls4mlDict], dict[str, Storage]]:
    """Return the layers of hls4ml's graph and how their results are stored.

    Parameters
    ----------
    network : Network
        :func:`expressible`, of its hardware part: no Argmax, no Flatten at the end; thresholds point up.
    config : HlsConfig
    names : mapping of operation name to layer name

    Returns
    -------
    list of dict
        What `ModelGraph.from_layer_list` takes.
    dict of str to Storage
        By operation name; no entry for an operation that changes no value.

    Raises
    ------
    Unsupported
        If hls4ml's layers cannot express the network exactly.
    """
    entries: list[Hls4mlDict] = []
    stored: dict[str, Storage] = {}
    sources: dict[str, str] = {}
    for operation in network.operations:
        sources[operation.name] = names[operation.name]
        inputs = [sources[name] for name in operation.inputs]
        if _does_nothing(operation):
            sources[operation.name] = inputs[0]
            continue
        if not isinstance(operation, Flatten):
            stored[operation.name] = _storage(network, operation, stored)
            config.check_registers(operation.name, int(np.prod(stored[operation.name].shape)))
        make = _MAKE.get(type(operation))
        if make is None:
            raise Unsupported(f"layer {operation.name}: the stock style has no {type(operation).__name__}")
        if (
            isinstance(operation, Conv2d)
            and operation.pad_value
            and _operand(network, operation, stored).kind != "sign"
        ):
            raise Unsupported(
                f"layer {operation.name}: pads with -1 what another layer reads with 0 in between, which hls4ml cannot"
                " store in one type; use the packed style"
            )
        entry = {"name": names[operation.name], **make(operation, network, config)}
        if inputs:
            entry["inputs"] = inputs
        entries.append(entry)
    return entries, stored


def hls_config(source: Storage, config: HlsConfig, names: Mapping[str, str]) -> Hls4mlDict:
    """Return hls4ml's model configuration: reuse factors and strategies; types are set layer by layer."""

    def sharing(reuse_factor: int | None, strategy: str) -> Hls4mlDict:
        return {"ReuseFactor": reuse_factor, "Strategy": strategy}

    precision = f"ap_{'' if source.signed else 'u'}int<{source.bits}>"
    return {
        "Model": {"Precision": precision, **sharing(config.reuse_factor, config.strategy)},
        "LayerName": {names[layer]: sharing(*config.of(layer)) for layer in config.layers},
    }


def set_types(graph: Any, network: Network, names: Mapping[str, str], stored: Mapping[str, Storage]) -> None:
    """Give every value of a fresh graph its type, every weight its bits and every threshold its integers."""
    for operation in network.operations:
        storage = stored.get(operation.name)
        if storage is None:
            continue
        node = graph.graph[names[operation.name]]
        node.get_output_variable().type.precision = _precision(storage)
        if isinstance(operation, Dense | Conv2d):
            operand = _operand(network, operation, stored)
            width = weight_bits(operation.weight)
            weight = node.weights["weight"]
            if width == 1:
                weight.data = (weight.data > 0).astype(np.int64)
            weight.update_precision(IntegerPrecisionType(width, True) if width > 1 else XnorPrecisionType())
            weight.type.name = f"weight{node.index}_t"
            node.set_attr("accum_t", NamedType(f"accum{node.index}_t", _accumulator(operation, operand)))
        elif isinstance(operation, MaxPool2d):
            node.set_attr("accum_t", NamedType(f"accum{node.index}_t", _precision(storage)))
        elif isinstance(operation, Threshold):
            node.set_thresholds(np.ones(operation.threshold.size), -operation.threshold.astype(np.float64))
            if storage.kind == "sign":
                node.weights["threshold"].data = operation.threshold
            else:  # +1 above and -1 at or below threshold - 1, never 0
                node.weights["threshold_hi"].data = operation.threshold - 1
                node.weights["threshold_lo"].data = operation.threshold - 1
        elif isinstance(operation, MultiThreshold):
            node.set_thresholds(np.ones(len(operation.threshold)), -operation.threshold[:, 0].astype(np.float64))
            node.weights["threshold_lo"].data, node.weights["threshold_hi"].data = operation.threshold.T - 1
        elif isinstance(operation, Affine):
            for name, values, least in (("scale", operation.scale, 3), ("bias", operation.offset, 2)):
                width = max(least, bits(min(int(values.min()), -1), int(values.max())))
                node.weights[name].data = values
                node.weights[name].update_precision(IntegerPrecisionType(width, True))
                node.weights[name].type.name = f"{name}{node.index}_t"


def check(
    graph: Any, network: Network, config: HlsConfig, names: Mapping[str, str], stored: Mapping[str, Storage]
) -> None:
    """See that hls4ml's passes have kept what was set.

    Raises
    ------
    UserError
        If a reuse factor is not possible; the message lists those that are.
    Unsupported
        If a pass has changed a layer or a type.
    """
    backend = get_backend(config.backend)
    for operation in network.operations:
        storage = stored.get(operation.name)
        if storage is None:
            continue
        node = graph.graph.get(names[operation.name])
        want = _precision(storage)
        got = node and node.get_output_variable().type.precision
        if node is None or (got.width, got.signed) != (want.width, want.signed):
            raise Unsupported(f"layer {operation.name}: hls4ml changed its type from {want} to {got}")
        reuse_factor, _ = config.of(operation.name)
        if isinstance(operation, Dense | Conv2d) and node.get_attr("reuse_factor") != reuse_factor:
            possible = backend.get_valid_reuse_factors(*backend.get_layer_mult_size(node))
            raise UserError(
                f"hls, layer {operation.name}: reuse_factor {reuse_factor} does not divide its work evenly; hls4ml's"
                f" resource strategy takes {', '.join(map(str, possible))}"
            )


def _does_nothing(operation: Operation) -> bool:
    """Whether hls4ml would remove the layer: results are the operand's."""
    return isinstance(operation, Affine) and bool((operation.scale == 1).all() and (operation.offset == 0).all())


def _operand(network: Network, operation: Operation, stored: Mapping[str, Storage]) -> Storage:
    """How the operand is stored, behind operations that change no value."""
    name = operation.inputs[0]
    while name not in stored:
        (name,) = network[name].inputs
    return stored[name]


def _storage(network: Network, operation: Operation, stored: Mapping[str, Storage]) -> Storage:
    signal = network.signals[operation.name]
    if isinstance(operation, MaxPool2d):
        operand = _operand(network, operation, stored)
        return Storage(operand.kind, signal.shape, operand.bits, operand.signed)
    readers = _readers(network, operation.name)
    if signal.bipolar:
        if any(map(_needs_numbers, readers)):
            return Storage("integer", signal.shape, 2, True)
        return Storage("sign", signal.shape, 1, False)
    # A threshold is stored in its operand's type and may be one beyond the range.
    margin = int(any(isinstance(reader, Threshold | MultiThreshold) for reader in readers))
    storage = integer(signal, margin)
    return Storage("integer", signal.shape, max(2, storage.bits), storage.signed)


def _readers(network: Network, name: str) -> list[Operation]:
    """What computes with a value: its consumers, behind max-pools and flattens."""
    readers: list[Operation] = []
    for consumer in network.consumers(name):
        passes = isinstance(consumer, MaxPool2d | Flatten) or _does_nothing(consumer)
        readers.extend(_readers(network, consumer.name) if passes else [consumer])
    return readers


def _zero_padded(operation: Operation) -> bool:
    return isinstance(operation, Conv2d) and any(operation.padding) and operation.pad_value == 0


def _needs_numbers(reader: Operation) -> bool:
    """Whether what reads a bipolar value needs it as a number, of two bits."""
    integer_weights = isinstance(reader, Dense | Conv2d) and weight_bits(reader.weight) > 2
    return isinstance(reader, Affine | Add) or _zero_padded(reader) or integer_weights


def _precision(storage: Storage) -> PrecisionType:
    return XnorPrecisionType() if storage.kind == "sign" else IntegerPrecisionType(storage.bits, storage.signed)


def _accumulator(operation: Dense | Conv2d, operand: Storage) -> PrecisionType:
    terms, width = int(np.prod(operation.weight.shape[1:])), weight_bits(operation.weight)
    if operand.kind == "sign" and width == 1:
        return IntegerPrecisionType(bits(0, terms), False)  # counts equal bits
    if width > 2:
        terms = int(np.abs(operation.weight.astype(np.int64)).reshape(len(operation.weight), -1).sum(axis=1).max())
    largest = terms * (1 if operand.kind == "sign" else 1 << (operand.bits - operand.signed))
    return IntegerPrecisionType(bits(-largest, largest), True)


def _input(operation: Input, network: Network, config: HlsConfig) -> Hls4mlDict:
    return {"class_name": "InputLayer", "input_shape": list(operation.shape)}


def _dense(operation: Dense, network: Network, config: HlsConfig) -> Hls4mlDict:
    outputs, inputs = operation.weight.shape
    return {
        "class_name": "Dense",
        "n_in": inputs,
        "n_out": outputs,
        "weight_data": operation.weight.T.astype(np.int64),
        "bias_data": None,
    }


def _conv2d(operation: Conv2d, network: Network, config: HlsConfig) -> Hls4mlDict:
    filters, kernel_h, kernel_w, channels = operation.weight.shape
    height, width, _ = network.signals[operation.inputs[0]].shape
    if any(operation.padding) and operation.pad_value == 1:
        raise Unsupported(
            f"layer {operation.name}: hls4ml's layers pad with 0 (or with -1, in one bit), not with +1;"
            " use the packed style"
        )
    if config.io_type == "io_stream" and kernel_h == 1 and operation.stride[0] > 1:
        raise Unsupported(
            f"layer {operation.name}: hls4ml's streaming convolution ignores the vertical stride of a kernel of one"
            " row; use io_parallel or the packed style"
        )
    return {
        "class_name": "Conv2D",
        "data_format": "channels_last",
        "in_height": height,
        "in_width": width,
        "n_chan": channels,
        "weight_data": operation.weight.transpose(1, 2, 3, 0).astype(np.int64),
        "bias_data": None,
        "n_filt": filters,
        "filt_height": kernel_h,
        "filt_width": kernel_w,
        **_geometry(operation, network, operation.stride, operation.padding),
    }


def _geometry(
    operation: Operation, network: Network, stride: tuple[int, int], padding: tuple[int, int, int, int]
) -> dict[str, int]:
    out_height, out_width, _ = network.signals[operation.name].shape
    return {
        "out_height": out_height,
        "out_width": out_width,
        "stride_height": stride[0],
        "stride_width": stride[1],
        **dict(zip(("pad_top", "pad_bottom", "pad_left", "pad_right"), padding, strict=True)),
    }


def _max_pool2d(operation: MaxPool2d, network: Network, config: HlsConfig) -> Hls4mlDict:
    height, width, channels = network.signals[operation.inputs[0]].shape
    if config.io_type == "io_stream" and operation.size != operation.stride:
        raise Unsupported(
            f"layer {operation.name}: hls4ml streams max-pools only where size and stride are equal; use io_parallel or"
            " the packed style"
        )
    return {
        "class_name": "MaxPooling2D",
        "data_format": "channels_last",
        "in_height": height,
        "in_width": width,
        "n_filt": channels,
        "pool_height": operation.size[0],
        "pool_width": operation.size[1],
        **_geometry(operation, network, operation.stride, (0, 0, 0, 0)),
    }


def _threshold(operation: Threshold, network: Network, config: HlsConfig) -> Hls4mlDict:
    if (operation.direction < 0).any():
        channel = int(np.flatnonzero(operation.direction < 0)[0])
        raise Unsupported(
            f"layer {operation.name}: channel {channel} points down and the canonical form could not turn it;"
            " hls4ml's threshold only points up: use the packed style"
        )
    if network.signals[operation.inputs[0]].bipolar:
        raise Unsupported(f"layer {operation.name}: a threshold on bipolar values; use the packed style")
    _refuse_flattened(operation, network, config)
    signal = network.signals[operation.name]
    readers = _readers(network, operation.name)
    return _quantized_tanh(signal, 3 if any(map(_needs_numbers, readers)) else 2)


def _quantized_tanh(signal: Signal, values: int) -> Hls4mlDict:
    return {
        "class_name": "BatchNormalizationQuantizedTanh",
        "n_in": signal.size,
        "n_out": signal.size,
        "n_filt": signal.channels,
        "quantize": values,
    }


def _multi_threshold(operation: MultiThreshold, network: Network, config: HlsConfig) -> Hls4mlDict:
    signal = network.signals[operation.name]
    if (operation.low, operation.step, operation.levels) != (-1, 1, 2) or (operation.direction < 0).any():
        raise Unsupported(
            f"layer {operation.name}: of activations of several thresholds hls4ml has the ternary one, -1, 0 and +1, of"
            " thresholds that point up; use the packed style"
        )
    if network.signals[operation.inputs[0]].bipolar:
        raise Unsupported(f"layer {operation.name}: a threshold on bipolar values; use the packed style")
    if any(isinstance(reader, Threshold | MultiThreshold) for reader in _readers(network, operation.name)):
        raise Unsupported(f"layer {operation.name}: thresholds of ternary values; use the packed style")
    _refuse_flattened(operation, network, config)
    return _quantized_tanh(signal, 3)


def _add(operation: Add, network: Network, config: HlsConfig) -> Hls4mlDict:
    _refuse_flattened(operation, network, config)
    return {"class_name": "Merge", "op": "add"}


def _refuse_flattened(operation: Operation, network: Network, config: HlsConfig) -> None:
    """hls4ml's streams stay pixels when flattened, which its layers with one value per element do not expect."""
    flattened = any(isinstance(network[source], Flatten) for source in operation.inputs)
    if config.io_type == "io_stream" and flattened:
        raise Unsupported(
            f"layer {operation.name}: hls4ml cannot stream it behind a flatten; use io_parallel or packed"
        )


def _flatten(operation: Flatten, network: Network, config: HlsConfig) -> Hls4mlDict:
    return {"class_name": "Reshape", "target_shape": list(network.signals[operation.name].shape)}


def _affine(operation: Affine, network: Network, config: HlsConfig) -> Hls4mlDict:
    _refuse_flattened(operation, network, config)
    return {
        "class_name": "ApplyAlpha",
        "n_in": operation.scale.size,
        "n_filt": -1,
        "scale_data": operation.scale,
        "bias_data": operation.offset,
    }


_MAKE: Mapping[type[Operation], Any] = {
    Input: _input,
    Dense: _dense,
    Conv2d: _conv2d,
    MaxPool2d: _max_pool2d,
    Add: _add,
    Threshold: _threshold,
    MultiThreshold: _multi_threshold,
    Flatten: _flatten,
    Affine: _affine,
}
