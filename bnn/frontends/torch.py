"""PyTorch: a trained ``nn.Module`` becomes a Network.

The module is traced by torch.fx (:mod:`xnorflow.bnn.frontends.torch_trace`), down to PyTorch's own operators, so it
makes no difference how it is written: modules, functional calls, custom autograd functions. This is a reader for the
core (:mod:`xnorflow.bnn.frontends.core`): it tells constants from what depends on the input, and the core what each
operator does. Element-wise ones are computed by PyTorch itself, in its own precision, on every value that the integers
before them can take. ``torch.sign`` gives 0 at 0, which makes three values where 0 is reached.

Sums that float32 may round, as scales and biases make them, are bounded for any order of summation
(:mod:`xnorflow.bnn.frontends.core.sums`).
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx, nn

from xnorflow.bnn.errors import NetworkError, UserError
from xnorflow.bnn.frontends.core.assembler import Assembler, Conversion, Geometry, Value, Window
from xnorflow.bnn.frontends.core.check import Survey
from xnorflow.bnn.frontends.core.fixed import Fixed
from xnorflow.bnn.frontends.core.layout import canonical
from xnorflow.bnn.frontends.torch_sequence import as_image
from xnorflow.bnn.frontends.torch_step import computing
from xnorflow.bnn.frontends.torch_trace import BATCH, ELEMENTWISE, PARTS, VIEWS, kind_of, place_of, trace_module
from xnorflow.bnn.network import Input, IntArray, Network

SUPPORTED = (
    "products with weights of up to 8 bits (linear, convolutions, transposed ones), whatever treats each value by "
    "itself (batch norm, scales, signs, quantisers of up to 8 bits), max and average pools, means over the image, "
    "additions and concatenations, padding, views, softmax or argmax at the end, dropout"
)

_FLOAT32_EXACT = 2**24  # every integer up to here is a float32
_SCORES = ("sigmoid", "tanh", "exp", "softplus", "log_sigmoid_forward")  # of which none changes an order
WHOLE: Mapping[str, Literal["mean", "sum", "maximum"]] = {"mean": "mean", "sum": "sum", "amax": "maximum"}
"""Operators that take one value of all rows or columns of an image."""
_SAME = ("clone", "detach", "alias", "lift_fresh", "lift_fresh_copy")

Made = Value | tuple[Value | None, ...] | None  # several results: those that may be used


@dataclass(frozen=True, eq=False)
class TorchConversion(Conversion):
    """A converted module; places are names of nodes of its trace.

    Attributes
    ----------
    module : nn.Module
        A copy, in evaluation mode.
    graph : fx.GraphModule
        What was traced, for batches of :data:`xnorflow.bnn.frontends.torch_trace.BATCH`.
    """

    module: nn.Module
    graph: fx.GraphModule

    @property
    def digest(self) -> str:
        """SHA-256 of everything that the module computes by."""
        sha = hashlib.sha256(str(self.graph.graph).encode())
        for node in self.graph.graph.find_nodes(op="get_attr"):
            value = getattr(self.graph, node.target).detach()
            sha.update(f"{node.name} {value.dtype} {tuple(value.shape)}".encode())
            sha.update(value.contiguous().numpy().tobytes())
        return sha.hexdigest()


def convert(module: nn.Module, name: str, input: Input, fixed: Fixed | None = None) -> Network:
    """Convert a trained module to a Network.

    Parameters
    ----------
    module : nn.Module
        Takes one tensor and gives one. It is not changed, and is taken in evaluation mode.
    name : str
        Name of the Network.
    input : Input
        What the module takes, channels last; the module itself takes float32 (N, features) or (N, C, H, W) of the
        values ``integer / 2**fraction``. A sequence (length, channels), which the Network has as an image of one row,
        goes in as (N, channels, length), or as (N, length, channels) where the module takes only that.
    fixed : Fixed, optional
        To how many bits real weights are rounded, which are refused without it.

    Returns
    -------
    Network
        Equal to the module for every input where nothing is rounded, except for what :attr:`Conversion.ambiguous` of
        :func:`trace` counts.
        Trailing scales, biases and batch norm become an Affine, whose argmax is proved or not as
        :class:`~xnorflow.bnn.network.Affine` says. A vector of scores is followed by an Argmax.

    Raises
    ------
    UserError
        For anything that cannot be converted; the message names the module, the operator and what is supported.
    """
    return trace(module, name, input, fixed).network


def trace(module: nn.Module, name: str, input: Input, fixed: Fixed | None = None) -> TorchConversion:
    """Convert as :func:`convert` does, and say what it takes to judge and to compare the Network."""
    reader = _TorchReader(module, name, input, fixed)
    reader.walk()
    return reader.conversion()


def check(module: nn.Module, name: str, input: Input, fixed: Fixed | None = None) -> Survey:
    """Say of every operator of a module whether :func:`convert` takes it, and if not, why.

    Raises
    ------
    UserError
        If the module cannot be traced.
    """
    reader = _TorchReader(module, name, input, fixed, Survey())
    reader.walk()
    assert reader.survey is not None
    return reader.survey


def module_input(values: NDArray[np.integer[Any]], input: Input) -> torch.Tensor:
    """Turn Network inputs (N, *shape) into what the module takes: float32 (N, features) or (N, C, H, W)."""
    tensor = torch.from_numpy(np.asarray(values, np.float32) / np.float32(2**input.fraction))
    # contiguous() would leave an image of one channel as it is, whose strides may be taken for channels last
    return tensor.movedim(-1, 1).clone(memory_format=torch.contiguous_format) if tensor.ndim > 2 else tensor


class _TorchReader:
    """Walks the traced nodes. Those that do not depend on the input are constants, evaluated as they are met."""

    def __init__(
        self, module: nn.Module, name: str, input: Input, fixed: Fixed | None, survey: Survey | None = None
    ) -> None:
        self.core = Assembler(f"model {name!r}", tell_zeros=True, survey=survey, fixed=fixed)
        module, input, swapped = as_image(module, input)
        self.name, self.input, self.survey = name, input, survey
        example = module_input(np.zeros((1, *input.shape), np.int64), input)
        signal, rng = input.infer(), np.random.default_rng(0)
        steps = (int(signal.high.max()) - int(signal.low.min())) // signal.step
        some = int(signal.low.min()) + signal.step * rng.integers(0, steps + 1, (8, *input.shape))
        self.module, self.graph, notes = trace_module(module, example, module_input(some, input), self.core.where)
        self.core.notes += [f"{self.core.where}: {swapped}", *notes] if swapped else notes
        self.constants: dict[fx.Node, Any] = {}
        self.values: dict[fx.Node, Made] = {}
        self.chosen = False  # whether the module itself chooses the class
        self.result: Value | None = None

    def walk(self) -> None:
        for node in self.graph.graph.nodes:
            self.core.at(f"model {self.name!r}, {place_of(node)}", node.name)
            self.core.taking(lambda: self._take(node), lambda: self._stand_in(node))  # noqa: B023 (called at once)

    def _stand_in(self, node: fx.Node) -> None:
        shown, made = node.meta.get("val"), self.core.stand_in
        if isinstance(shown, torch.Tensor):
            self.values[node] = made(tuple(shown.shape[1:]) or (1,))
        elif isinstance(shown, tuple | list):
            self.values[node] = tuple(made(tuple(of.shape[1:]) or (1,)) for of in shown)

    def _take(self, node: fx.Node) -> None:
        if node.op == "placeholder":
            positions = canonical(self.input.shape)
            self.values[node] = self.core.start(self.input, positions, 2.0**-self.input.fraction)
        elif node.op == "get_attr":
            self.constants[node] = getattr(self.graph, str(node.target)).detach()
        elif node.op == "output":
            self.result = self._end(node)
        elif not any(source in self.values for source in node.all_input_nodes):
            assert callable(node.target)
            with torch.no_grad():
                self.constants[node] = node.target(*self._given(node.args), **self._given(node.kwargs))
        else:
            if self.survey is not None and kind_of(node) != "getitem":
                self.survey.take(self.core.where)
            self.values[node] = made = self._convert(node)
            if isinstance(made, Value):
                self._check_float32(made)

    def _check_float32(self, value: Value) -> None:
        """Refuse sums that PyTorch itself would round: it has them as float32. What is rounded here is none of its."""
        if self.core.is_rounded(value):
            return
        for name in value.sources:
            signal = self.core.signals[name]
            largest = max(-int(signal.low.min()), int(signal.high.max()))
            if largest >= _FLOAT32_EXACT:
                raise self.core.fail(f"sums below {_FLOAT32_EXACT}, which float32 holds exactly", f"up to {largest}")

    def _given(self, of: Any) -> Any:
        return fx.map_arg(of, self.constants.__getitem__)

    # Nodes

    def _convert(self, node: fx.Node) -> Made:
        kind, core = kind_of(node), self.core
        if kind == "getitem":
            several = self.values[node.all_input_nodes[0]]
            index = node.args[1]
            if not isinstance(several, tuple) or not isinstance(index, int) or several[index] is None:
                raise core.fail("the first of several results alone", "another one (indices of a max pool?)")
            return several[index]
        operands = [source for source in node.all_input_nodes if source in self.values]
        values = [self._value(operand) for operand in operands]
        value = values[0]
        if value.ended and kind not in (*_SAME, "argmax"):
            raise UserError(f"{value.ended}: expected it at the end of the model, got {place_of(node)} after it")
        if kind in _SAME:
            return core.view(value, value.positions)
        if kind in ("add", "sub") and len(values) == 2 and not values[0].same_integers(values[1]):
            return self._sum(node, values)
        if kind in ELEMENTWISE:
            return self._elementwise(node, operands, values)
        if kind in ("cat", "stack"):
            return self._concatenated(node)
        if len(values) != 1:
            raise core.fail("one operand that is not constant", f"{kind} of {len(values)}")
        if kind in VIEWS:
            return core.view(value, self._moved(node, value.positions)[0])
        if kind in PARTS:
            return tuple(core.view(value, positions) for positions in self._moved(node, value.positions))
        handler: Callable[[fx.Node, Value], Made] | None = {
            "mm": self._dense,
            "addmm": self._dense,
            "convolution": self._convolution,
            "max_pool2d_with_indices": self._max_pool,
            "avg_pool2d": self._avg_pool,
            "_adaptive_avg_pool2d": self._adaptive,
            "adaptive_max_pool2d": self._adaptive,
            **dict.fromkeys(WHOLE, self._whole),
            "constant_pad_nd": self._pad,
            "_softmax": self._softmax,
            "_log_softmax": self._softmax,
            "argmax": self._argmax,
            "max": self._argmax,
        }.get(kind)
        if handler is None:
            raise UserError(f"{core.where}: not supported; supported are {SUPPORTED}")
        return handler(node, value)

    def _value(self, node: fx.Node) -> Value:
        value = self.values[node]
        if not isinstance(value, Value):
            raise self.core.fail("one result of the operator before it", "several")
        return value

    def _constant(self, node: Any, what: str) -> NDArray[np.float64] | None:
        """Return a constant operand, if there is one."""
        if node is None:
            return None
        if node not in self.constants:
            raise self.core.fail(f"constant {what}", "results of other layers")
        return np.asarray(self.constants[node].double().numpy())

    # Element by element

    def _elementwise(self, node: fx.Node, operands: list[fx.Node], values: list[Value]) -> Value:
        kind, shape = kind_of(node), values[0].positions.shape
        shown = node.meta["val"][0] if isinstance(node.meta["val"], tuple) else node.meta["val"]
        if kind == "native_batch_norm":
            self._check_batch_norm(node)
        elif tuple(shown.shape[1:]) != shape:
            raise self.core.fail("constants that leave the shape as it is", f"shape {tuple(shown.shape[1:])}")
        fixed, columns = {}, {}
        for source in node.all_input_nodes:
            if source in self.constants:
                constant = self.constants[source]
                if kind == "native_batch_norm":
                    columns[source] = constant.numpy().reshape(-1, *[1] * (len(shape) - 1))
                elif constant.numel() == 1:
                    fixed[source] = constant.reshape([1] * bool(constant.ndim))
                else:
                    columns[source] = self._for_each_vector(constant, (BATCH, *shape))
        values, found = self.core.by_channel(values, list(columns.values()))
        fixed |= {source: torch.from_numpy(column) for source, column in zip(columns, found, strict=True)}
        kinds: dict[str, Literal["sign", "scores"]] = {
            "sign": "sign",
            "sgn": "sign",
            **dict.fromkeys(_SCORES, "scores"),
        }
        compute = computing(node, operands, fixed, len(shape) + 1, f"model {self.name!r}")
        result = self.core.step(values, compute, kinds.get(kind, ""))
        return (result, None, None) if kind == "native_batch_norm" else result  # type: ignore[return-value]

    def _check_batch_norm(self, node: fx.Node) -> None:
        _, weight, bias, mean, variance, training, _, _ = node.args
        if training:
            raise self.core.fail("running statistics in evaluation mode", "statistics of the batch")
        for parameter in (weight, bias, mean, variance):
            if isinstance(parameter, fx.Node) and not torch.isfinite(self.constants[parameter]).all():
                raise self.core.fail("finite parameters and statistics", "NaN or infinity")

    def _for_each_vector(self, constant: torch.Tensor, whole: tuple[int, ...]) -> NDArray[Any]:
        """Return a constant as it meets one vector of a batch."""
        spread = constant.expand(whole)
        if not torch.equal(spread, spread[:1].expand(whole)):
            raise self.core.fail("the same constants for every vector", "others")
        return np.ascontiguousarray(spread[0].numpy())

    def _sum(self, node: fx.Node, values: list[Value]) -> Value:
        first, second = values
        alpha: Any = node.kwargs.get("alpha", 1)
        times = alpha * (-1 if kind_of(node) == "sub" else 1)
        if set(node.kwargs) - {"alpha"} or times not in (-1, 1):
            raise self.core.fail("a sum or a difference", f"{dict(node.kwargs)}")
        return self.core.difference_of(first, second) if times < 0 else self.core.sum_of([first, second])

    # Views

    def _moved(self, node: fx.Node, positions: IntArray) -> list[IntArray]:
        """Return the positions after operators that move, drop or repeat elements: by executing it on them."""
        size = int(positions.max(initial=0)) + 1
        batch = size * torch.arange(BATCH, dtype=torch.float64)
        index = torch.from_numpy(positions).double() + batch.reshape(-1, *[1] * positions.ndim)

        def take(source: fx.Node) -> Any:
            return self.constants[source] if source in self.constants else index.contiguous()

        assert callable(node.target)
        made = node.target(*fx.map_arg(node.args, take), **fx.map_arg(node.kwargs, take))
        results = []
        for moved in made if isinstance(made, tuple | list) else (made,):
            offset = batch.reshape(-1, *[1] * (moved.ndim - 1))
            if moved.shape[:1] != (BATCH,) or moved.ndim < 2 or not torch.equal(moved, moved[:1] + offset):
                raise self.core.fail("a view that leaves the batch axis in front", f"shape {tuple(moved.shape)}")
            results.append(moved[0].long().contiguous().numpy())
        return results

    def _concatenated(self, node: fx.Node) -> Value:
        tensors: Any = node.args[0]
        known = [self._value(tensor) for tensor in tensors if tensor in self.values]
        given: Any = (*node.args[1:], 0)[0]
        stacked = kind_of(node) == "stack"  # a new axis, along which they are concatenated
        axis = given % (known[0].positions.ndim + 1 + stacked)
        if axis == 0:
            raise self.core.fail("a concatenation that leaves the batch axis alone", "dimension 0")
        both = [self._of_either(tensor) for tensor in tensors]
        if stacked:
            both = [
                replace(of, positions=np.expand_dims(of.positions, axis - 1))
                if isinstance(of, Value)
                else np.expand_dims(of, axis - 1)
                for of in both
            ]
        return self.core.concatenate(both, axis - 1)

    def _of_either(self, node: fx.Node) -> Value | NDArray[np.float64]:
        """Return the value of a tensor, or the constants that it holds for each vector."""
        if node in self.values:
            return self._value(node)
        constant = self.constants[node]
        return self._for_each_vector(constant, tuple(constant.shape)).astype(np.float64)

    # Layers

    def _dense(self, node: fx.Node, value: Value) -> Value:
        args: list[Any] = [None, *node.args] if kind_of(node) == "mm" else list(node.args)
        if node.kwargs:
            raise self.core.fail("addmm with factors of 1", dict(node.kwargs))
        bias, x, weight = args
        if x not in self.values:
            raise self.core.fail("constant weights as the second operand", "as the first")
        kernel, offset = self.constants[weight].float().numpy(), self._bias(bias)
        return self.core.dense(value, np.ascontiguousarray(kernel.T), offset)

    def _bias(self, node: Any) -> NDArray[np.float64] | None:
        bias = self._constant(node, "biases")
        if bias is not None and not np.isfinite(bias).all():
            raise self.core.fail("a finite bias", "NaN or infinity")
        return bias

    def _convolution(self, node: fx.Node, value: Value) -> Value:
        args: list[Any] = list(node.args)
        _, weight, bias, stride, padding, dilation, transposed, extra, groups = args
        if weight not in self.constants:
            raise self.core.fail("constant weights", "results of other layers")
        kernel, axes = self.constants[weight].float().numpy(), value.positions.ndim - 1
        if kernel.ndim != axes + 2 or axes not in (1, 2):
            raise self.core.fail(
                "an image and a 2-D convolution, or a sequence and a 1-D one", f"weights {kernel.shape}"
            )  # fmt: skip
        if axes == 1:
            kernel = kernel[:, :, None]
        (top, left), more = ((0, *of)[-2:] for of in (padding, extra))
        geometry = Geometry(_pair(stride), (top, top, left, left), _pair(dilation), groups)
        moved = np.ascontiguousarray(kernel.transpose(0, 2, 3, 1))
        if transposed:
            return self.core.transposed(value, moved, geometry, (int(more[0]), int(more[1])), self._bias(bias))
        return self.core.convolution(value, moved, geometry, self._bias(bias))

    def _pad(self, node: fx.Node, value: Value) -> Value:
        sides: Any = list(node.args[1])  # type: ignore[arg-type]
        real = float((*node.args[2:], 0.0)[0])  # type: ignore[arg-type]
        if any(sides[2 * value.positions.ndim :]):
            raise self.core.fail("padding of channels, rows and columns", f"{sides}")
        pairs = [*zip(sides[::2], sides[1::2], strict=True), *[(0, 0)] * value.positions.ndim]
        return self.core.padded(value, pairs[: value.positions.ndim][::-1], real)

    # Pools

    def _max_pool(self, node: fx.Node, value: Value) -> Made:
        given: list[Any] = list(node.args[1:5])
        defaults: list[Any] = [None, [], [0, 0], [1, 1]]
        size, stride, padding, dilation = (*given, *defaults[len(given) :])
        if set(_pair(dilation)) != {1}:
            raise self.core.fail("dilation 1", f"{dilation}")
        pair, step, (top, left) = _pair(size), _pair(stride or size), _pair(padding)
        lacking = []  # rows and columns that the last window lacks, whoever asks for it
        for axis, before in enumerate((top, left)):
            made, length = node.meta["val"][0].shape[2 + axis], value.positions.shape[1 + axis]
            lacking.append(max(0, (made - 1) * step[axis] + pair[axis] - length - before))
        window = Window(pair, step, (top, lacking[0], left, lacking[1]))
        return self.core.max_pool(value, window), None

    def _avg_pool(self, node: fx.Node, value: Value) -> Value:
        given: list[Any] = list(node.args[1:])
        defaults: list[Any] = [None, [], [0, 0], False, True, None]
        size, stride, padding, _, count, divisor = (*given, *defaults[len(given) :])
        pair, step, (top, left) = _pair(size), _pair(stride or size), _pair(padding)
        made, shape = node.meta["val"].shape[2:], value.positions.shape[1:]
        floor = [(shape[axis] + 2 * (top, left)[axis] - pair[axis]) // step[axis] + 1 for axis in range(2)]
        if list(made) != floor:
            raise self.core.fail("an average pool without windows that reach out (ceil_mode False)", "ceil_mode True")
        if (top or left) and not count and divisor is None:
            raise self.core.fail("count_include_pad=True where it pads: all means of as many values", "False")
        return self.core.average(value, pair, step, (top, top, left, left), divisor)

    def _adaptive(self, node: fx.Node, value: Value) -> Made:
        shape = value.positions.shape
        made = (node.meta["val"][0] if kind_of(node) == "adaptive_max_pool2d" else node.meta["val"]).shape[2:]
        if len(shape) != 3 or shape[1] % made[0] or shape[2] % made[1]:
            raise self.core.fail("an adaptive pool whose windows are all of one size", f"{shape[1:]} to {tuple(made)}")
        size = (shape[1] // made[0], shape[2] // made[1])
        if kind_of(node) == "adaptive_max_pool2d":
            return self.core.max_pool(value, Window(size, size)), None
        return self.core.average(value, size, size)

    def _whole(self, node: fx.Node, value: Value) -> Value:
        """Take the mean, the sum or the maximum over rows, columns or both of an image."""
        what: Literal["mean", "sum", "maximum"] = WHOLE[kind_of(node)]
        axes: Any = (*node.args[1:], ())[0]
        return self.core.over_image(value, axes, what, keep=bool((*node.args[2:], False)[0]))

    # The end

    def _softmax(self, node: fx.Node, value: Value) -> Value:
        self._check_scores(node, "a softmax", value)
        return self.core.end(value, "the softmax is left out; it does not change the order of the scores")

    def _argmax(self, node: fx.Node, value: Value) -> Made:
        axis: Any = (*node.args[1:], 1)[0]
        if kind_of(node) == "max" and axis % (value.positions.ndim + 1) > 1:  # the largest value of rows or columns
            keep = bool((*node.args[2:], False)[0])
            return self.core.over_image(value, [axis], "maximum", keep), None
        self._check_scores(node, "argmax", value)
        self.chosen = True
        ended = self.core.end(value)
        return (None, ended) if kind_of(node) == "max" else ended

    def _check_scores(self, node: fx.Node, what: str, value: Value) -> None:
        axis: Any = (*node.args[1:], None)[0]
        if axis is None or axis % (value.positions.ndim + 1) != 1:
            raise self.core.fail(f"{what} over the scores, dimension 1", f"dimension {axis}")

    def _end(self, node: fx.Node) -> Value:
        (result,) = node.args
        if isinstance(result, tuple | list) and len(result) == 1:
            (result,) = result
        if not isinstance(result, fx.Node) or not isinstance(value := self.values.get(result), Value):
            raise UserError(f"model {self.name!r}: expected a module that gives one tensor made from its input")
        self.core.at(f"model {self.name!r}, {place_of(result)}", result.name)
        if self.survey is not None:
            self.core.check_end(value, self.name, self.chosen)
        return value

    def conversion(self) -> TorchConversion:
        """End with the module's result."""
        assert self.result is not None
        try:
            network, scores = self.core.finish(self.result, self.name, self.chosen)
        except NetworkError as error:
            raise UserError(f"{self.core.where}: {error}") from None
        core = self.core
        return TorchConversion(
            network, tuple(core.notes), core.ambiguous, core.observed, scores, core.rounded, self.module, self.graph
        )  # fmt: skip


def _pair(value: Any) -> tuple[int, int]:
    lengths = (1, value[0]) if not isinstance(value, int) and len(value) == 1 else value
    return (value, value) if isinstance(value, int) else (int(lengths[0]), int(lengths[1]))
