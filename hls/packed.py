"""The packed style: layers on words of bits, added to hls4ml through its extension API.

The kernels are in ``nnet_utils/nnet_packed.h`` and ``nnet_packed_stream.h``, with the representation and the formulas.
Here each operation becomes one layer of an hls4ml graph: its constants (packed weights, thresholds), and the structure
of compile-time numbers that the kernel is a template of. A :class:`~xnorflow.bnn.network.Flatten` costs nothing: its
consumer reads the words as they lie. Results with several readers are cloned by hls4ml's own pass where they are
streams.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from hls4ml.backends import get_backend
from hls4ml.backends.template import FunctionCallTemplate, LayerConfigTemplate
from hls4ml.model.layers import Layer, register_layer
from hls4ml.model.types import IntegerPrecisionType, WeightVariable
from numpy.typing import NDArray

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.network import (
    Add,
    Affine,
    Conv2d,
    Dense,
    Flatten,
    MaxPool2d,
    MultiThreshold,
    Network,
    Operation,
    Signal,
    SumPool2d,
    Threshold,
)
from xnorflow.bnn.packing import pack_bits, words
from xnorflow.hls.config import HlsConfig
from xnorflow.hls.errors import Unsupported
from xnorflow.hls.storage import Storage, bits, integer, packed

HEADERS = ("nnet_packed.h", "nnet_packed_stream.h")


class PackedLayer(Layer):
    """A layer whose kernel, shape, numbers and constants are given when it is made.

    Attributes of the layer: ``kernel`` (C++ function), ``storage`` (of the result), ``numbers`` (name to int, for the
    kernel's configuration), ``types`` (name to C++ type, likewise), ``constants`` (name to array, in the order of the
    kernel's arguments) and, where operators can be shared, ``sharing`` (the strategy; hls4ml's own attribute of that
    name would be checked by rules for hls4ml's layers).
    """

    def initialize(self) -> None:
        storage: Storage = self.get_attr("storage")
        self.add_output_variable(
            [*storage.shape[:-1], storage.elements], precision=IntegerPrecisionType(storage.bits, storage.signed)
        )
        for name, data in self.get_attr("constants").items():
            self.set_attr(name, PackedConstant(f"{name}{self.index}", data))
            del self.attributes[f"{name}_t"]  # constants have the machine's types


class PackedDense(PackedLayer):
    """A :class:`xnorflow.bnn.network.Dense`."""


class PackedConv2D(PackedLayer):
    """A :class:`xnorflow.bnn.network.Conv2d`."""


class PackedMaxPool2D(PackedLayer):
    """A :class:`xnorflow.bnn.network.MaxPool2d`."""


class PackedSumPool2D(PackedLayer):
    """A :class:`xnorflow.bnn.network.SumPool2d`."""


class PackedAdd(PackedLayer):
    """Two operands of a :class:`xnorflow.bnn.network.Add`; there is one for each further operand."""


class PackedThreshold(PackedLayer):
    """A :class:`xnorflow.bnn.network.Threshold`, of either direction."""


class PackedMultiThreshold(PackedLayer):
    """A :class:`xnorflow.bnn.network.MultiThreshold`, of either direction."""


class PackedAffine(PackedLayer):
    """A :class:`xnorflow.bnn.network.Affine`."""


LAYERS = (
    PackedDense,
    PackedConv2D,
    PackedMaxPool2D,
    PackedSumPool2D,
    PackedAdd,
    PackedThreshold,
    PackedMultiThreshold,
    PackedAffine,
)


class PackedConstant(WeightVariable):
    """A constant array of machine words or integers, initialised in its header and never loaded at run time.

    hls4ml writes weights through floating-point formats, which would round a 64-bit word.
    """

    def __init__(self, name: str, data: NDArray[Any]) -> None:
        super().__init__(name, f"{name}_t", IntegerPrecisionType(64, data.dtype != np.uint64), data)
        self.ctype = {"u": "nnet::word_t", "b": "bool", "i": "long long"}[data.dtype.kind]
        if data.dtype == np.uint32:
            self.ctype = "unsigned"

    def definition_cpp(self, name_suffix: str = "", as_reference: bool = False) -> str:
        shape = "".join(f"[{length}]" for length in self.shape)
        return f"static const {self.ctype} {self.name}{name_suffix}{shape}"

    def __iter__(self) -> "PackedConstant":
        form = "0x{:x}ull" if self.data.dtype == np.uint64 else "{:d}"
        self._iterator = (form.format(value) for value in self.data.ravel().tolist())
        return self

    def __next__(self) -> str:
        return next(self._iterator)


class _Config(LayerConfigTemplate):
    def __init__(self) -> None:
        super().__init__(LAYERS)

    def format(self, node: Layer) -> str:
        lines = [f"struct config{node.index} {{"]
        lines += [f"    static const int {name} = {value:d};" for name, value in node.get_attr("numbers").items()]
        if strategy := node.get_attr("sharing"):
            lines += [f"    static const int strategy = nnet::{strategy};"]
        lines += [f"    typedef {ctype} {name};" for name, ctype in node.get_attr("types").items()]
        return "\n".join([*lines, "};\n"])


class _Call(FunctionCallTemplate):
    def __init__(self) -> None:
        super().__init__(LAYERS, include_header=[f"nnet_utils/{header}" for header in HEADERS])

    def format(self, node: Layer) -> str:
        variables = [*map(node.get_input_variable, node.inputs), node.get_output_variable()]
        types = [*(variable.type.name for variable in variables), f"config{node.index}"]
        arguments = [variable.name for variable in variables]
        arguments += [node.get_weights(name).name for name in node.get_attr("constants")]
        return f"nnet::{node.get_attr('kernel')}<{', '.join(types)}>({', '.join(arguments)});"


@cache
def register(backend: str) -> None:
    """Make the packed layers known to an hls4ml backend, once per process."""
    for layer in LAYERS:
        register_layer(layer.__name__, layer)
    get_backend(backend).register_template(_Config)
    get_backend(backend).register_template(_Call)


@dataclass(frozen=True)
class _Operand:
    """Where an operation's operand lies: behind any Flatten."""

    node: str
    storage: Storage


def layers(
    network: Network, config: HlsConfig, names: Mapping[str, str]
) -> tuple[list[dict[str, Any]], dict[str, Storage]]:
    """Return the layers of hls4ml's graph and how their results are stored.

    Parameters
    ----------
    network : Network
        Its hardware part: no Argmax, no Flatten at the end.
    config : HlsConfig
    names : mapping of operation name to layer name

    Returns
    -------
    list of dict
        What `ModelGraph.from_layer_list` takes.
    dict of str to Storage
        By operation name; no entry for a Flatten.
    """
    operands: dict[str, _Operand] = {}
    entries: list[dict[str, Any]] = []
    stored: dict[str, Storage] = {}
    for operation in network.operations:
        if isinstance(operation, Flatten):
            operands[operation.name] = operands[operation.inputs[0]]
            continue
        storage = packed(network.signals[operation.name])
        name = names[operation.name]
        if not operation.inputs:
            shape = [*storage.shape[:-1], storage.elements]
            entries.append({"name": name, "class_name": "InputLayer", "input_shape": shape})
        elif isinstance(operation, Add):
            entries += _additions(operation, [operands[source] for source in operation.inputs], network, name)
        else:
            operand = operands[operation.inputs[0]]
            make = _MAKE.get(type(operation))
            if make is None:
                raise Unsupported(f"layer {operation.name}: the packed style has no {type(operation).__name__}")
            settings = make(operation, operand.storage, network, config)
            entries.append(_entry(name, [operand.node], storage, settings))
        stored[operation.name] = storage
        operands[operation.name] = _Operand(names[operation.name], storage)
    return entries, stored


def _entry(name: str, inputs: list[str], storage: Storage, settings: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "inputs": inputs, "storage": storage, "constants": {}, "types": {}, **settings}


def _additions(operation: Add, operands: list[_Operand], network: Network, name: str) -> list[dict[str, Any]]:
    """Return one layer for each operand but the first; the last bears the operation's name."""
    entries: list[dict[str, Any]] = []
    terms = [network.signals[source] for source in operation.inputs]
    left, sum_ = operands[0], terms[0]
    for count, (right, term) in enumerate(zip(operands[1:], terms[1:], strict=True), 2):
        sum_ = Signal(sum_.shape, sum_.low + term.low, sum_.high + term.high)
        node = name if count == len(operands) else f"{name}_of_{count}"
        storage = packed(sum_)
        pixels = storage.pixels
        numbers = {
            "n_pixels": pixels,
            "n_out": storage.channels,
            "binary1": left.storage.kind == "packed",
            "binary2": right.storage.kind == "packed",
            "n_chan1": left.storage.channels,
            "n_chan2": right.storage.channels,
            "n_in1": left.storage.pixels * left.storage.elements // pixels,
            "n_in2": right.storage.pixels * right.storage.elements // pixels,
        }
        settings = {"class_name": "PackedAdd", "kernel": "packed_add", "numbers": numbers, "types": _sum_types(storage)}
        entries.append(_entry(node, [left.node, right.node], storage, settings))
        left = _Operand(node, storage)
    return entries


def _sum_types(storage: Storage) -> dict[str, str]:
    """Return the machine's type that holds a sum of integers and every partial one."""
    return {"sum_t": "int" if storage.bits + (not storage.signed) <= 32 else "long long"}


def _operand_numbers(storage: Storage, taps: int) -> dict[str, int]:
    return {
        "binary": storage.kind == "packed",
        "n_taps": taps,
        "n_chan": storage.channels,
        "n_words": words(storage.channels),  # of weights; of the operand too if it is packed
        "n_elem": storage.elements,
    }


def _neurons(
    operation: Dense | Conv2d, weight: NDArray[np.int8], storage: Storage, padded: bool, config: HlsConfig
) -> dict[str, Any]:
    """Settings that a dense layer and a convolution share; `weight` has shape (outputs, taps, channels)."""
    outputs, taps, channels = weight.shape
    reuse_factor, strategy = config.of(operation.name)
    if reuse_factor > outputs:
        raise UserError(
            f"hls, layer {operation.name}: the packed style shares operators between neurons, so reuse_factor is at"
            f" most their number, {outputs}; got {reuse_factor}"
        )
    live = weight != 0
    ternary = not live.all()
    mask, count = np.zeros((1, 1), np.uint64), np.zeros((1, 1), np.uint32)
    if ternary:
        mask = pack_bits(live).reshape(outputs, -1)
        count = live.sum(axis=2 if padded else (1, 2), dtype=np.uint32).reshape(outputs, -1)
    # Partial sums stay inside the sum of the absolute terms, whatever their order.
    largest = 1 if storage.kind == "packed" else 1 << (storage.bits - storage.signed)
    total = taps * channels * largest
    width = bits(-total, total)
    return {
        "sharing": strategy,
        "numbers": {
            **_operand_numbers(storage, taps),
            "n_out": outputs,
            "reuse_factor": reuse_factor,
            "n_masks": mask.shape[1],
            "n_counts": count.shape[1],
            "ternary": ternary,
            "padded": padded,
        },
        # sum_t is the machine's type that holds every partial sum, accum_t what synthesis narrows it to.
        "types": {"accum_t": f"ap_int<{width}>", "sum_t": "int" if width <= 32 else "long long"},
        "constants": {"weight": pack_bits(weight > 0).reshape(outputs, -1), "mask": mask, "count": count},
    }


def _dense(operation: Dense, storage: Storage, network: Network, config: HlsConfig) -> dict[str, Any]:
    weight = operation.weight.reshape(len(operation.weight), storage.pixels, storage.channels)
    return {"class_name": "PackedDense", "kernel": "packed_dense"} | _neurons(operation, weight, storage, False, config)


def _window_numbers(
    operation: Operation,
    storage: Storage,
    network: Network,
    kernel: tuple[int, ...],
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    pad_value: int,
) -> dict[str, int]:
    out_height, out_width, _ = network.signals[operation.name].shape
    sides = dict(zip(("pad_top", "pad_bottom", "pad_left", "pad_right"), padding, strict=True))
    return {
        "in_height": storage.shape[0],
        "in_width": storage.shape[1],
        "out_height": out_height,
        "out_width": out_width,
        "kernel_height": kernel[0],
        "kernel_width": kernel[1],
        "stride_height": stride[0],
        "stride_width": stride[1],
        **sides,
        "pad_value": pad_value,
    }


def _conv2d(operation: Conv2d, storage: Storage, network: Network, config: HlsConfig) -> dict[str, Any]:
    outputs, kernel_h, kernel_w, channels = operation.weight.shape
    weight = operation.weight.reshape(outputs, kernel_h * kernel_w, channels)
    padded = any(operation.padding) and operation.pad_value == 0
    settings = _neurons(operation, weight, storage, padded, config)
    settings["numbers"] |= _window_numbers(
        operation, storage, network, (kernel_h, kernel_w), operation.stride, operation.padding, operation.pad_value
    )
    return {"class_name": "PackedConv2D", "kernel": "packed_conv2d"} | settings


def _max_pool2d(
    operation: MaxPool2d | SumPool2d, storage: Storage, network: Network, config: HlsConfig
) -> dict[str, Any]:
    numbers = _operand_numbers(storage, operation.size[0] * operation.size[1])
    numbers |= _window_numbers(operation, storage, network, operation.size, operation.stride, (0, 0, 0, 0), 0)
    return {"class_name": "PackedMaxPool2D", "kernel": "packed_max_pool2d", "numbers": numbers}


def _sum_pool2d(operation: SumPool2d, storage: Storage, network: Network, config: HlsConfig) -> dict[str, Any]:
    settings = _max_pool2d(operation, storage, network, config)
    settings |= {"class_name": "PackedSumPool2D", "kernel": "packed_sum_pool2d"}
    return settings | {"types": _sum_types(packed(network.signals[operation.name]))}


def _pixel_numbers(operation: Operation, storage: Storage, network: Network) -> dict[str, int]:
    result = network.signals[operation.name]
    pixels = result.size // result.channels
    return {
        **_operand_numbers(storage, 1),
        "n_pixels": pixels,
        "n_in": storage.pixels * storage.elements // pixels,  # several operand pixels where a Flatten lies between
        "n_out": result.channels,
        "n_out_words": words(result.channels),
    }


def _threshold(operation: Threshold, storage: Storage, network: Network, config: HlsConfig) -> dict[str, Any]:
    flip = operation.direction < 0
    threshold = operation.threshold + flip  # x <= t is not (x >= t + 1)
    span = integer(network.signals[operation.inputs[0]], margin=1)
    return {
        "class_name": "PackedThreshold",
        "kernel": "packed_threshold",
        "numbers": _pixel_numbers(operation, storage, network),
        "types": {"threshold_t": f"ap_int<{span.bits + (not span.signed)}>"},
        "constants": {"threshold": threshold, "flip": flip},
    }


def _multi_threshold(
    operation: MultiThreshold, storage: Storage, network: Network, config: HlsConfig
) -> dict[str, Any]:
    down = operation.direction < 0
    span = integer(network.signals[operation.inputs[0]], margin=1)
    levels = {"n_levels": operation.levels, "low": operation.low, "step": operation.step}
    return {
        "class_name": "PackedMultiThreshold",
        "kernel": "packed_multi_threshold",
        "numbers": _pixel_numbers(operation, storage, network) | levels,
        "types": {"threshold_t": f"ap_int<{span.bits + (not span.signed)}>"},
        "constants": {"threshold": operation.threshold + down[:, None], "flip": down},  # as for one threshold
    }


def _affine(operation: Affine, storage: Storage, network: Network, config: HlsConfig) -> dict[str, Any]:
    def ctype(values: NDArray[np.int64]) -> str:
        return f"ap_int<{bits(min(int(values.min()), -1), int(values.max()))}>"

    return {
        "class_name": "PackedAffine",
        "kernel": "packed_affine",
        "numbers": _pixel_numbers(operation, storage, network),
        "types": {"scale_t": ctype(operation.scale), "offset_t": ctype(operation.offset)},
        "constants": {"scale": operation.scale, "offset": operation.offset},
    }


_MAKE: Mapping[type[Operation], Any] = {
    Dense: _dense,
    Conv2d: _conv2d,
    MaxPool2d: _max_pool2d,
    SumPool2d: _sum_pool2d,
    Threshold: _threshold,
    MultiThreshold: _multi_threshold,
    Affine: _affine,
}


def hls_config(network: Network, config: HlsConfig) -> dict[str, Any]:
    """Return hls4ml's model configuration: how the top function overlaps its layers.

    One pipeline of everything unrolled where every layer is; otherwise processes that run side by side (dataflow).
    """
    source = packed(network.signals[network.input.name])
    weighted = [operation for operation in network.operations if isinstance(operation, Dense | Conv2d)]
    folded = any(config.of(operation.name)[1] == "resource" for operation in weighted)
    model = {
        "Precision": f"ap_{'' if source.signed else 'u'}int<{source.bits}>",
        "ReuseFactor": 1,  # of hls4ml's own layers, of which there are none
        "Strategy": "latency",
        "PipelineStyle": "dataflow",
    }
    if config.io_type == "io_parallel" and not folded and all(len(s.shape) == 1 for s in network.signals.values()):
        interval = max((config.of(operation.name)[0] for operation in weighted), default=1)
        model |= {"PipelineStyle": "pipeline", "PipelineInterval": interval}
    return {"Model": model}
