"""The packed style: layers on words of bits, added to hls4ml through its extension API.

The kernels are in ``nnet_utils/nnet_packed.h``, with the representation and the formulas. Here each operation becomes
one layer of an hls4ml graph, which is one process in hardware: its constants (packed weights, thresholds), and the
structure of compile-time numbers that the kernel is a template of. A layer with weights takes in the threshold behind
it, and the max-pools between the two then work on bits, so that what waits between the processes are bits. A
:class:`~xnorflow.bnn.network.Flatten` costs nothing: its consumer reads the words as they lie. Results with several
readers are cloned by hls4ml's own pass where they are streams.
"""

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from hls4ml.backends import get_backend
from hls4ml.backends.template import FunctionCallTemplate, LayerConfigTemplate
from hls4ml.model.graph import ModelGraph
from hls4ml.model.layers import Layer, register_layer
from hls4ml.model.types import IntegerPrecisionType, WeightVariable
from numpy.typing import NDArray

from xnorflow.bnn.network import (
    Add,
    Affine,
    Conv2d,
    Dense,
    Flatten,
    Input,
    IntArray,
    MaxPool2d,
    MultiThreshold,
    Network,
    Operation,
    Recurrent,
    SumPool2d,
    Threshold,
)
from xnorflow.bnn.packing import WORD, pack_bits
from xnorflow.hls.circuit import circuit
from xnorflow.hls.config import PARTITIONED, Hls4mlDict, HlsConfig
from xnorflow.hls.errors import Unsupported
from xnorflow.hls.folding import Folding, line_luts, plan
from xnorflow.hls.rtl.lowering import threshold_behind
from xnorflow.hls.schedule import (
    PIPELINE_DEPTH,
    LayerLoop,
    Schedule,
    pixel_process,
    recurrent_process,
    window_process,
)
from xnorflow.hls.storage import Storage, bits, integer, packed

HEADERS = ("nnet_packed.h",)

LARGEST_STATE = 512
"""Channels of a recurrent layer, whose neurons take in the whole state at once: one compressor tree."""


class PackedLayer(Layer):
    """A layer whose kernel, shape, numbers and constants are given when it is made.

    Attributes of the layer: ``kernel`` (C++ function), ``storage`` (of the result), ``numbers`` (name to int, for the
    kernel's configuration), ``types`` (name to C++ type, likewise), ``constants`` (name to array, in the order of the
    kernel's arguments) and ``circuit`` (the source of hard-wired neurons, else empty).
    """

    def initialize(self) -> None:
        storage: Storage = self.get_attr("storage")
        self.add_output_variable(
            [*storage.shape[:-1], storage.elements], precision=IntegerPrecisionType(storage.bits, storage.signed)
        )
        for name, data in self.get_attr("constants").items():
            self.set_attr(name, PackedConstant(f"{name}{self.index}", data))
            del self.attributes[f"{name}_t"]  # constants have the machine's types


class PackedNeurons(PackedLayer):
    """A :class:`xnorflow.bnn.network.Dense` or Conv2d, and the threshold behind it if there is one."""


class PackedPool(PackedLayer):
    """A :class:`xnorflow.bnn.network.MaxPool2d` or SumPool2d."""


class PackedAdd(PackedLayer):
    """Two operands of a :class:`xnorflow.bnn.network.Add`; there is one for each further operand."""


class PackedEach(PackedLayer):
    """A Threshold, MultiThreshold or Affine of :mod:`xnorflow.bnn.network`: what takes channel by channel."""


class PackedRecurrent(PackedLayer):
    """A :class:`xnorflow.bnn.network.Recurrent`."""


LAYERS = (PackedNeurons, PackedPool, PackedAdd, PackedEach, PackedRecurrent)

_CTYPES = {"u1": "unsigned char", "u2": "unsigned short", "u4": "unsigned", "u8": "nnet::word_t"}
_CTYPES |= {"i1": "signed char", "i2": "short", "i4": "int", "i8": "long long", "b1": "bool"}


class PackedConstant(WeightVariable):
    """A constant array of machine words or integers, initialised in its header and never loaded at run time.

    hls4ml writes weights through floating-point formats, which would round a 64-bit word.
    """

    def __init__(self, name: str, data: NDArray[Any]) -> None:
        super().__init__(name, f"{name}_t", IntegerPrecisionType(64, data.dtype.kind != "u"), data)
        self.ctype = _CTYPES[f"{data.dtype.kind}{data.dtype.itemsize}"]

    def definition_cpp(self, name_suffix: str = "", as_reference: bool = False) -> str:
        shape = "".join(f"[{length}]" for length in self.shape)
        return f"static const {self.ctype} {self.name}{name_suffix}{shape}"

    def __iter__(self) -> "PackedConstant":
        form = "0x{:x}ull" if self.data.dtype == np.uint64 else "0x{:x}" if self.data.dtype.kind == "u" else "{:d}"
        if self.data.ndim == 1:
            self._iterator = (form.format(value) for value in self.data.tolist())
            return self
        rows = self.data.reshape(-1, self.data.shape[-1]).tolist()
        # hls4ml puts one pair of braces around all: one more for each row, or compilers miss them.
        self._iterator = ("{" + ", ".join(form.format(value) for value in row) + "}" for row in rows)
        return self

    def __next__(self) -> str:
        return next(self._iterator)


class _Config(LayerConfigTemplate):
    def __init__(self) -> None:
        super().__init__(LAYERS)

    def format(self, node: Layer) -> str:
        lines = [f"struct config{node.index} {{"]
        lines += [f"    static const int {name} = {value:d};" for name, value in node.get_attr("numbers").items()]
        if node.get_attr("circuit"):
            lines += [f"    typedef nnet::{circuit_name(node)} circuit;"]
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


def circuit_name(node: Layer) -> str:
    """Return the name of the structure of hard-wired neurons of a layer, and of its header."""
    return f"circuit{node.index}"


@cache
def register(backend: str) -> None:
    """Make the packed layers known to an hls4ml backend, once per process."""
    for layer in LAYERS:
        register_layer(layer.__name__, layer)
    get_backend(backend).register_template(_Config)
    get_backend(backend).register_template(_Call)


def finish(graph: ModelGraph) -> None:
    """Let the layers include their circuits."""
    for node in graph.get_layers():
        if node.get_attr("circuit"):
            node.set_attr("include_header", [*node.get_attr("include_header"), f"{circuit_name(node)}.h"])


def write_headers(graph: ModelGraph, ours: Path, folder: Path, backend: str) -> None:
    """Write what the layers include, and what takes the place of the vendor's types in the C-simulation in bulk."""
    for header in HEADERS:
        text = (ours / header).read_text()
        if backend == "vivado":
            text = re.sub(r"BIND_STORAGE variable=(\w+) type=rom_1p", r"RESOURCE variable=\1 core=ROM_1P", text)
        (folder / "firmware" / "nnet_utils" / header).write_text(text)
    shutil.copytree(ours / "lanes", folder / "lanes")
    for node in graph.get_layers():
        if circuit := node.get_attr("circuit"):
            name = circuit_name(node)
            guard = f"{name.upper()}_H_"
            body = f"namespace nnet {{\n\nstruct {name} {{\n{circuit}\n}};\n\n}} // namespace nnet"
            text = f'#ifndef {guard}\n#define {guard}\n\n#include "nnet_utils/nnet_packed.h"\n\n{body}\n\n#endif\n'
            (folder / "firmware" / f"{name}.h").write_text(text)


@dataclass(frozen=True)
class _Placed:
    """Where an operation's operand lies: behind any Flatten."""

    node: str
    storage: Storage


def layers(
    network: Network, config: HlsConfig, names: Mapping[str, str]
) -> tuple[list[Hls4mlDict], dict[str, Storage], Schedule]:
    """Return the layers of hls4ml's graph, how their results are stored, and when everything happens.

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
        By operation name, of those whose results can be observed: no entry for a Flatten, nor for what stands in front
        of a threshold that is taken in.
    Schedule
    """
    return _LayerList(network, config, names).all()


class _LayerList:
    def __init__(self, network: Network, config: HlsConfig, names: Mapping[str, str]) -> None:
        self.network, self.config, self.names = network, config, names
        self.plan = plan(network, config)
        self.operands: dict[str, _Placed] = {}
        self.entries: list[Hls4mlDict] = []
        self.stored: dict[str, Storage] = {}
        self.processes: list[LayerLoop] = []

    def all(self) -> tuple[list[Hls4mlDict], dict[str, Storage], Schedule]:
        done: set[str] = set()
        for operation in self.network.operations:
            if operation.name in done:
                continue
            match operation:
                case Flatten():
                    self.operands[operation.name] = self.operands[operation.inputs[0]]
                case Input():
                    storage = self._storage(operation)
                    shape = [*storage.shape[:-1], storage.elements]
                    name = self.names[operation.name]
                    self.entries.append({"name": name, "class_name": "InputLayer", "input_shape": shape})
                    self._hand_on(operation, name)
                case Dense() | Conv2d():
                    done |= self._neurons(operation)
                case MaxPool2d() | SumPool2d():
                    self._pool(operation, operation, None)
                case Recurrent():
                    self._recurrent(operation)
                case Add():
                    self._add(operation)
                case Threshold() | MultiThreshold() | Affine():
                    self._each(operation)
                case _:
                    kind = type(operation).__name__
                    raise Unsupported(f"layer {operation.name}: the packed style has no {kind}")
        return self.entries, self.stored, Schedule(tuple(self.processes), self.network, self.plan)

    def _storage(self, operation: Operation) -> Storage:
        return packed(self.network.signals[operation.name])

    def _hand_on(self, operation: Operation, node: str) -> None:
        """Note where the result of `operation` lies."""
        self.stored[operation.name] = self._storage(operation)
        self.operands[operation.name] = _Placed(node, self.stored[operation.name])

    def _append(
        self, operation: Operation, name: str, kind: str, kernel: str, operands: Sequence[_Placed], storage: Storage,
        process: LayerLoop, **settings: Any,
    ) -> None:  # fmt: skip
        """Append the layer `name` of an operation; `storage` is of its results, `settings` are its attributes."""
        for of in (*(operand.storage for operand in operands), storage):
            self.config.check_registers(name, of.pixels * of.elements)
        inputs = [operand.node for operand in operands]
        process = replace(process, operation=operation.name, layer=name, sources=tuple(inputs))
        nothing = {"constants": {}, "types": {}, "circuit": ""}
        settings["numbers"] = {"n_steps": process.steps_per_frame, **settings["numbers"]}
        entry = {"name": name, "class_name": kind, "kernel": kernel, "inputs": inputs, "storage": storage}
        self.entries.append({**entry, **nothing, **settings})
        self.processes.append(process)

    def _neurons(self, operation: Dense | Conv2d) -> set[str]:
        """Append a layer with weights, with the threshold behind it; return what else that has done."""
        network = self.network
        operand = self.operands[operation.inputs[0]]
        storage, outputs = operand.storage, len(operation.weight)
        pools, threshold = threshold_behind(network, operation)
        result = packed(network.signals[operation.name])
        if threshold is not None:
            result = Storage("packed", result.shape, min(outputs, WORD), False)
        if isinstance(operation, Conv2d):
            shape = operation.weight.shape
            numbers = _window(storage, (shape[1], shape[2]), operation.stride, operation.padding, operation.pad_value)
            matrix = operation.weight.reshape(outputs, shape[1] * shape[2], shape[3])
            padded = any(operation.padding) and operation.pad_value == 0 and storage.kind == "packed"
        else:  # an image of one row
            flat = replace(storage, shape=(1, storage.pixels, storage.channels))
            numbers = _window(flat, (1, storage.pixels), (1, storage.pixels))
            matrix = operation.weight.reshape(outputs, storage.pixels, storage.channels)
            padded = False
        weight = matrix.astype(np.int64)
        thresholds: IntArray | None = None
        if threshold is not None:
            weight = weight * threshold.direction[:, None, None]
            thresholds = threshold.threshold * threshold.direction
        architecture = self.plan.layers[operation.name]
        if isinstance(architecture, Folding):
            settings = _folded(weight, thresholds, storage, padded, architecture)
        else:
            settings = _unrolled(weight, thresholds, storage, padded)
        settings["numbers"] = {"binary": storage.kind == "packed", "n_out": outputs, "padded": padded,
                               "thresholds": threshold is not None, **numbers, **settings["numbers"]}  # fmt: skip
        settings["types"] |= _sum_type(result) if threshold is None else {}
        kernel_name = "packed_folded" if isinstance(architecture, Folding) else "packed_unrolled"
        process = window_process(numbers, architecture.cycles, architecture.luts)
        process = replace(process, memory_bits=architecture.memory_bits)
        end: Operation = operation if threshold is None else threshold
        first: Operation = operation if pools else end
        node = self.names[first.name]
        self._append(operation, node, "PackedNeurons", kernel_name, [operand], result, process, **settings)
        if threshold is None or not pools:
            self._hand_on(end, node)
        else:
            self.operands[operation.name] = _Placed(node, result)
            for pool in pools:
                self._pool(pool, threshold if pool is pools[-1] else pool, threshold)
        return {end.name, *(pool.name for pool in pools)}

    def _pool(self, operation: MaxPool2d | SumPool2d, end: Operation, threshold: Threshold | None) -> None:
        """Append a pool, of bits where `threshold` is the one that was behind it; `end` names its result."""
        operand = self.operands[operation.inputs[0]]
        storage, result = operand.storage, packed(self.network.signals[operation.name])
        if threshold is not None:
            result = Storage("packed", result.shape, storage.bits, False)
        padding = operation.padding if isinstance(operation, MaxPool2d) else (0, 0, 0, 0)
        lowest = -(1 << (storage.bits - 1)) if storage.signed else 0  # never the maximum, unless all are
        pad_value = -1 if storage.kind == "packed" else lowest
        numbers = _window(storage, operation.size, operation.stride, padding, pad_value)
        constants, types = np.zeros(storage.elements, np.uint64), {"pool": "nnet::packed::largest"}
        if isinstance(operation, SumPool2d):
            types["pool"] = "nnet::packed::sum"
        if threshold is not None:
            constants = pack_bits((threshold.direction < 0)[None]).ravel()
        numbers |= {
            "binary": storage.kind == "packed",
            "n_out_elem": result.elements,
            "part_bits": 2 if storage.kind == "packed" else storage.bits + (not storage.signed),
        }
        luts = storage.channels * storage.bits + line_luts(storage, operation.size[0], storage.shape[1])
        process = window_process(numbers, 1, luts)
        settings = {"numbers": numbers, "types": types, "constants": {"all_of": constants}}
        self._append(
            operation, self.names[end.name], "PackedPool", "packed_pool", [operand], result, process, **settings
        )
        if threshold is None or end is threshold:
            self._hand_on(end, self.names[end.name])
        else:
            self.operands[operation.name] = _Placed(self.names[end.name], result)

    def _recurrent(self, operation: Recurrent) -> None:
        """Append a state along a sequence, folded over its neurons as the plan's interval allows."""
        operand = self.operands[operation.inputs[0]]
        storage, result = operand.storage, self._storage(operation)
        channels, steps = len(operation.weight), storage.pixels
        if channels > LARGEST_STATE:
            raise Unsupported(
                f"layer {operation.name}: the packed style has states of at most {LARGEST_STATE} channels, this one "
                f"has {channels:,}; generate RTL instead"
            )
        words = ceil(channels / WORD)
        most = max(1, self.plan.interval // steps - PIPELINE_DEPTH)
        pe = min(ceil(channels / min(most, channels)), max(1, PARTITIONED // (words * WORD)))
        folds = ceil(channels / pe)
        rows, live = folds * pe, operation.weight != 0
        down = operation.direction < 0
        counts = live.sum(axis=1, dtype=np.int64) << operation.shift
        threshold, first = operation.threshold + down, operation.first + down  # x <= t is not (x >= t + 1)
        x = self.network.signals[operation.inputs[0]]
        reach = [x.low - 2 * counts, x.high, threshold - counts, first]
        least, largest = min(int(of.min()) for of in reach), max(int(of.max()) for of in reach)

        def by_fold(values: NDArray[Any]) -> NDArray[Any]:
            return _rows(values, rows).reshape(folds, -1)

        settings: Hls4mlDict = {
            "numbers": {
                "binary": storage.kind == "packed",
                "n_chan": storage.channels,
                "n_elem": storage.elements,
                "n_pixels": steps,
                "n_out": channels,
                "pe": pe,
                "neuron_folds": folds,
                "ternary": not live.all(),
                "shift": operation.shift,
                "last": operation.last,
            },
            "types": {"accum_t": f"ap_int<{bits(min(least, -1), largest) + 1}>"},
            "constants": {
                "weight": by_fold(pack_bits(operation.weight > 0)),
                "mask": by_fold(pack_bits(live)) if not live.all() else np.zeros((1, pe * words), np.uint64),
                "first": _narrow(by_fold(first)),
                "at_least": _narrow(by_fold(threshold - counts)),
                "flip": by_fold(down),
            },
        }
        area = ceil(pe * channels * (1.5 + 0.5 * (not live.all())) + 2 * pe * x.bits + 40)
        node = self.names[operation.name]
        process = recurrent_process(steps, folds, operation.last, area)
        starts = 2 * rows * (bits(min(least, -1), largest) + 1)
        process = replace(process, memory_bits=rows * channels * (2 - bool(live.all())) + starts)
        self._append(operation, node, "PackedRecurrent", "packed_recurrent", [operand], result, process, **settings)
        self._hand_on(operation, node)

    def _add(self, operation: Add) -> None:
        """Append one layer for each operand but the first; the last bears the operation's name."""
        operands = [self.operands[source] for source in operation.inputs]
        terms = [self.network.signals[source] for source in operation.inputs]
        name = self.names[operation.name]
        left, sum_, first = operands[0], terms[0], operation.shifts[0]
        for count, (right, term, shift) in enumerate(
            zip(operands[1:], terms[1:], operation.shifts[1:], strict=True), 2
        ):  # fmt: skip
            sum_ = Add("of", ("first", "second"), shift=(first, shift)).infer(sum_, term)
            node = name if count == len(operands) else f"{name}_of_{count}"
            storage = packed(sum_)
            both = (left.storage, right.storage)
            numbers: dict[str, int] = {"n_out": storage.channels, "shift1": first, "shift2": shift}
            for which, of in enumerate(both, 1):
                numbers[f"binary{which}"] = of.kind == "packed"
                numbers[f"n_chan{which}"] = of.channels
                numbers[f"n_elem{which}"] = of.elements
                numbers[f"n_in{which}"] = of.pixels * of.elements // storage.pixels
            packets = max(numbers[f"n_in{which}"] // of.elements for which, of in enumerate(both, 1))
            process = pixel_process(storage.pixels, packets, 1, storage.channels * storage.bits)
            self._append(operation, node, "PackedAdd", "packed_add", [left, right], storage, process, numbers=numbers)
            left, first = _Placed(node, storage), 0
        self._hand_on(operation, name)

    def _each(self, operation: Threshold | MultiThreshold | Affine) -> None:
        """Append what takes channel by channel."""
        operand = self.operands[operation.inputs[0]]
        storage, result = operand.storage, self._storage(operation)
        packets = storage.pixels // result.pixels
        span = integer(self.network.signals[operation.inputs[0]], margin=1)
        types: dict[str, str] = {"threshold_t": f"ap_int<{span.bits + (not span.signed)}>"} | _sum_type(result)
        extra: dict[str, int] = {}
        second: NDArray[Any]
        if isinstance(operation, Affine):
            kind, first, second = "affine", operation.scale[:, None], operation.offset
            types |= {
                name: f"ap_int<{bits(min(int(values.min()), -1), int(values.max()))}>"
                for name, values in (("scale_t", operation.scale), ("offset_t", operation.offset))
            }
        else:
            down = operation.direction < 0
            kind, second = ("threshold" if isinstance(operation, Threshold) else "multi_threshold"), down
            first = operation.threshold.reshape(result.channels, -1) + down[:, None]  # x <= t is not (x >= t + 1)
            if isinstance(operation, MultiThreshold):
                extra = {"n_levels": operation.levels, "low": operation.low, "step": operation.step}
        levels = first.shape[1]
        pe = ceil(result.channels / ceil(result.channels * levels / PARTITIONED))
        folds = ceil(result.channels / pe)
        rows = folds * pe
        constants = {
            "first": _narrow(_rows(first, rows).reshape(folds, pe * levels)),
            "second": _narrow(_rows(second, rows).reshape(folds, pe)),
        }
        numbers = {
            "binary": storage.kind == "packed",
            "n_chan": storage.channels,
            "n_elem": storage.elements,
            "n_in": packets * storage.elements,
            "n_out": result.channels,
            "thresholds": isinstance(operation, Threshold),
            "pe": pe,
            "neuron_folds": folds,
            **extra,
        }
        types["op"] = f"nnet::packed::{kind}"
        area = pe * (span.bits * levels if kind != "affine" else span.bits * result.bits)
        process = pixel_process(result.pixels, packets, folds, area)
        settings = {"numbers": numbers, "types": types, "constants": constants}
        node = self.names[operation.name]
        self._append(operation, node, "PackedEach", "packed_each", [operand], result, process, **settings)
        self._hand_on(operation, node)


def _sum_type(result: Storage) -> dict[str, str]:
    """Return the type in which results are kept until all of a pixel are there."""
    return {"sum_t": f"ap_{'' if result.signed else 'u'}int<{result.bits}>"} if result.kind == "integer" else {}


def _window(
    storage: Storage,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int, int, int] = (0, 0, 0, 0),
    pad_value: int = 0,
) -> dict[str, int]:
    """Return the numbers of a window that moves over an operand."""
    return {
        "n_chan": storage.channels,
        "n_elem": storage.elements,
        "n_taps": kernel[0] * kernel[1],
        "in_height": storage.shape[0],
        "in_width": storage.shape[1],
        "kernel_height": kernel[0],
        "kernel_width": kernel[1],
        "stride_height": stride[0],
        "stride_width": stride[1],
        **dict(zip(("pad_top", "pad_bottom", "pad_left", "pad_right"), padding, strict=True)),
        "pad_value": pad_value,
    }


def _rows(values: NDArray[Any], count: int) -> NDArray[Any]:
    """Return `values` with rows of zeros behind them: `count` rows."""
    return np.concatenate([values, np.zeros((count - len(values), *values.shape[1:]), values.dtype)])


def _narrow(values: NDArray[Any]) -> NDArray[Any]:
    """Return integers in the narrowest of the machine's signed types that holds them; flags as they are."""
    return values if values.dtype == bool else values.astype(np.min_scalar_type(min(values.min(), -1 - values.max())))


def _folded(
    weight: NDArray[np.int64], thresholds: IntArray | None, storage: Storage, padded: bool, folding: Folding
) -> Hls4mlDict:
    """Settings of folded neurons; `weight` has shape (outputs, taps, channels)."""
    outputs = len(weight)
    live = weight != 0
    ternary = not live.all()
    dtype = np.dtype(f"u{folding.word_bits // 8}")
    counts = live.sum(axis=(1, 2))
    if folding.layer.binary:
        start, fall = counts, 2 * counts  # the sum is the number of terms less two for each that differs
        rise = 0 * counts
        part_counts = _parts(live, folding).sum(axis=-1)
    else:
        largest = 1 << (storage.bits - storage.signed)
        start = (weight < 0).sum(axis=(1, 2))
        rise, fall = counts * largest, counts * (largest + 1)
        part_counts = np.zeros((outputs, 1), np.int64)
    if thresholds is not None:
        start = start - thresholds
    accumulator = bits(int((start - fall).min()), int((start + rise).max()) + 1) + 1
    count = np.zeros((1, 1), np.uint8)
    if padded:
        count = _memory(part_counts, folding).astype(np.uint16) if ternary else (
            part_counts[0].reshape(folding.input_folds, folding.group).astype(np.uint16)
        )  # fmt: skip
    rows = folding.neuron_folds * folding.pe
    return {
        "numbers": {
            "pe": folding.pe,
            "neuron_folds": folding.neuron_folds,
            "group": folding.group,
            "input_folds": folding.input_folds,
            "part_bits": folding.part_bits,
            "parts_per_word": folding.parts_per_word,
            "n_parts": folding.parts,
            "ternary": ternary,
        },
        "types": {"accum_t": f"ap_int<{accumulator}>"},
        "constants": {
            "weight": _memory(_words(_parts(weight > 0, folding), folding), folding).astype(dtype),
            "mask": _memory(_words(_parts(live, folding), folding), folding).astype(dtype)
            if ternary
            else np.zeros((1, folding.pe * folding.words), dtype),
            "count": count,
            "start": _narrow(_rows(start, rows).reshape(folding.neuron_folds, folding.pe)),
        },
    }


def _parts(flags: NDArray[np.bool_], folding: Folding) -> NDArray[np.bool_]:
    """Cut the inputs of each neuron into parts, with zeros up to whole groups: shape (outputs, parts, bits)."""
    outputs, taps, channels = flags.shape
    if not folding.layer.binary:
        parts = flags.reshape(outputs, taps * channels, 1)
    else:
        word, per_word = folding.layer.storage.bits, folding.parts_per_word
        elements = folding.layer.storage.elements
        wide = np.zeros((outputs, taps, elements * word), bool)
        wide[:, :, :channels] = flags
        cut = np.zeros((outputs, taps * elements, per_word * folding.part_bits), bool)
        cut[:, :, :word] = wide.reshape(outputs, taps * elements, word)
        parts = cut.reshape(outputs, -1, folding.part_bits)
    whole = np.zeros((outputs, folding.input_folds * folding.group, parts.shape[2]), bool)
    whole[:, : parts.shape[1]] = parts
    return whole


def _words(parts: NDArray[np.bool_], folding: Folding) -> NDArray[np.uint64]:
    """Pack parts into the words of a memory: one for each part of bits, or up to 64 integers' in one."""
    outputs = len(parts)
    if not folding.layer.binary:
        parts = parts.reshape(outputs, folding.input_folds, folding.group)
    return pack_bits(parts).reshape(outputs, -1)


def _memory(values: NDArray[Any], folding: Folding) -> NDArray[Any]:
    """Arrange what each neuron has per cycle by address, as folds of neurons and, faster, of inputs come."""
    rows = _rows(values, folding.neuron_folds * folding.pe)
    by_fold = rows.reshape(folding.neuron_folds, folding.pe, folding.input_folds, -1)
    return by_fold.transpose(0, 2, 1, 3).reshape(folding.neuron_folds * folding.input_folds, -1)


def _unrolled(weight: NDArray[np.int64], thresholds: IntArray | None, storage: Storage, padded: bool) -> Hls4mlDict:
    """Settings of hard-wired neurons; `weight` has shape (outputs, taps, channels)."""
    return {
        "numbers": {"pe": len(weight), "neuron_folds": 1},
        "types": {},
        "circuit": circuit(weight, thresholds, storage, padded),
    }


def hls_config(network: Network, config: HlsConfig, schedule: Schedule) -> Hls4mlDict:
    """Return hls4ml's model configuration: how the top function overlaps its layers.

    One pipeline of everything unrolled where every layer is; otherwise processes that run side by side (dataflow).
    """
    source = packed(network.signals[network.input.name])
    model = {
        "Precision": f"ap_{'' if source.signed else 'u'}int<{source.bits}>",
        "ReuseFactor": 1,  # of hls4ml's own layers, of which there are none
        "Strategy": "latency",
        "PipelineStyle": "dataflow",
    }
    if config.io_type == "io_parallel" and all(process.steps_per_frame == 1 for process in schedule.processes):
        model |= {"PipelineStyle": "pipeline", "PipelineInterval": 1}
    return {"Model": model}
