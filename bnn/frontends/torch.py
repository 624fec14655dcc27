"""PyTorch: a trained ``nn.Module`` becomes a Network.

The module is traced by torch.fx (:mod:`xnorflow.bnn.frontends.torch_trace`), down to PyTorch's own operators, so it
makes no difference how it is written: modules, functional calls, custom autograd functions. What an operator is for is
told by what it does, never by what it is called:

- products with constant weights ``alpha * w``, w in {-1, 0, +1}, one alpha per output, are dense layers and
  convolutions, however the weights came about;
- whatever stands between their sums and the next one, element by element, is evaluated by PyTorch itself, in its own
  precision, on every value that the sum can take (:mod:`xnorflow.bnn.folding`): where it gives two values it is a sign,
  where it gives up to 16 evenly spaced ones it is an activation of several thresholds, where it does no more than scale
  all sums alike it costs nothing. ``torch.sign``, which gives 0 at 0, is a sign where 0 cannot occur, else it has three
  values;
- maximum and average pooling, additions of integers, and views.

Sums that float32 may round, as scales and biases make them, are bounded as in :mod:`xnorflow.bnn.frontends.sums`.

Channels stand first in PyTorch and last in a Network, and views may stand anywhere: for each tensor it is kept which of
an operation's values stands at each of its positions.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx, nn

from xnorflow.bnn.errors import NetworkError, UserError
from xnorflow.bnn.folding import fold_affine, fold_multi_threshold, fold_threshold
from xnorflow.bnn.frontends.builder import Builder
from xnorflow.bnn.frontends.core.weights import factor
from xnorflow.bnn.frontends.sums import UNIT, Encoding, FloatArray, add_bias, count, sum_error
from xnorflow.bnn.frontends.torch_trace import ELEMENTWISE, VIEWS, kind_of, place_of, trace_module
from xnorflow.bnn.kernels import dilated, grouped
from xnorflow.bnn.network import (
    Argmax,
    Conv2d,
    Dense,
    Flatten,
    Input,
    IntArray,
    MaxPool2d,
    MultiThreshold,
    Network,
    Operation,
    SumPool2d,
    Threshold,
)

SUPPORTED = (
    "products with binary or ternary weights (linear, conv2d), signs and activations of up to 16 values, batch norm, "
    "scales and offsets, max_pool2d, avg_pool2d, mean over the image, additions of integers, flatten and other views, "
    "softmax or argmax at the end, dropout"
)

_FLOAT32_EXACT = 2**24  # every integer up to here is a float32
_LEVELS = 16
_SAMPLE = 1 << 16  # accumulators that an activation's values are looked for in, before all are evaluated


@dataclass(frozen=True, eq=False)
class Observed:
    """Where PyTorch computes an operation's result.

    Attributes
    ----------
    node : str
        Of :attr:`Conversion.graph`.
    positions : int64 array, of the tensor's shape without its batch axis
        Index into the operation's values, channels last, of each of the tensor's.
    scale, shift : float64 array, shape (channels,)
        PyTorch's value for the integer n is ``scale * n + shift``, but for rounding.
    """

    node: str
    positions: IntArray
    scale: FloatArray
    shift: FloatArray


@dataclass(frozen=True, eq=False)
class Conversion:
    """A converted module.

    Attributes
    ----------
    network : Network
    notes : tuple of str
        What was left out, and where a sign gives 0, a sentence each.
    ambiguous : mapping of str to int
        As :attr:`xnorflow.bnn.frontends.keras.Conversion.ambiguous`.
    observed : mapping of str to Observed
        For operations whose integers PyTorch computes.
    scores : str
        The node of the scores, or of the class where the module itself gives it.
    module : nn.Module
        A copy, in evaluation mode.
    graph : fx.GraphModule
        What was traced, for batches of :data:`xnorflow.bnn.frontends.torch_trace.BATCH`.
    """

    network: Network
    notes: tuple[str, ...]
    ambiguous: Mapping[str, int]
    observed: Mapping[str, Observed]
    scores: str
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


def convert(module: nn.Module, name: str, input: Input) -> Network:
    """Convert a trained module to a Network.

    Parameters
    ----------
    module : nn.Module
        Takes one tensor and gives one. It is not changed, and is taken in evaluation mode.
    name : str
        Name of the Network.
    input : Input
        What the module takes, channels last; the module itself takes float32 (N, features) or (N, C, H, W) of the
        values ``integer / 2**fraction``.

    Returns
    -------
    Network
        Equal to the module for every input, except for what :attr:`Conversion.ambiguous` of :func:`trace` counts.
        Trailing scales, biases and batch norm become an Affine, whose argmax is proved or not as
        :class:`~xnorflow.bnn.network.Affine` says. A vector of scores is followed by an Argmax.

    Raises
    ------
    UserError
        For anything that cannot be converted; the message names the module, the operator and what is supported.
    """
    return trace(module, name, input).network


def trace(module: nn.Module, name: str, input: Input) -> Conversion:
    """Convert as :func:`convert` does, and say what it takes to judge and to compare the Network."""
    return _Converter(module, name, input).conversion


def module_input(values: NDArray[np.integer], input: Input) -> torch.Tensor:
    """Turn Network inputs (N, *shape) into what the module takes: float32 (N, features) or (N, C, H, W)."""
    tensor = torch.from_numpy(np.asarray(values, np.float32) / np.float32(2**input.fraction))
    # contiguous() would leave an image of one channel as it is, whose strides may be taken for channels last
    return tensor.movedim(-1, 1).clone(memory_format=torch.contiguous_format) if tensor.ndim > 2 else tensor


@dataclass(frozen=True, eq=False)
class _Value:
    """What a node's result is made from: an operation's integers, as `encoding` says, and the nodes since `base`.

    Attributes
    ----------
    source : str
        The operation.
    base : fx.Node
        Whose result is `encoding` of its integers.
    positions : int64 array
        Of the result of `base`.
    encoding : Encoding
    delayed : tuple of (pool's operation, node)
        Pools and views since `base`, which wait for the sign that follows; views have no operation.
    padding : (top, bottom, left, right) and value
        That was put around it, and waits for its convolution.
    """

    source: str
    base: fx.Node
    positions: IntArray
    encoding: Encoding
    delayed: tuple[tuple[Callable[[str], Operation] | None, fx.Node], ...] = ()
    padding: tuple[tuple[int, int, int, int], float] | None = None


class _Converter(Builder):
    """Walks the traced nodes. Those that do not depend on the input are constants, evaluated as they are met."""

    def __init__(self, module: nn.Module, name: str, input: Input) -> None:
        super().__init__(f"model {name!r}")
        self.name = name
        example = module_input(np.zeros((1, *input.shape), np.int64), input)
        low, high = int(input.infer().low.min()), int(input.infer().high.max())
        rng = np.random.default_rng(0)
        probe = module_input(low + input.infer().step * rng.integers(
            0, (high - low) // input.infer().step + 1, (8, *input.shape)), input)  # fmt: skip
        self.module, self.graph, taken_off = trace_module(module, example, probe, self.where)
        self.append(input)
        self.constants: dict[fx.Node, Any] = {}
        self.values: dict[fx.Node, _Value] = {}
        self.opaque: set[fx.Node] = set()  # further results, such as the indices of a max pool
        self.flat: dict[str, str] = {}  # the Flatten of an operation
        self.notes = [*taken_off]
        self.ambiguous: dict[str, int] = {}
        self.observed: dict[str, Observed] = {}
        self.ended, self.chosen = "", False  # by a softmax or argmax; whether the module itself chooses the class
        with torch.no_grad():
            for node in self.graph.graph.nodes:
                self.where = f"model {name!r}, {place_of(node)}"
                try:
                    self._convert(node)
                except NetworkError as error:
                    raise UserError(f"{self.where}: {error}") from None
        self.conversion = Conversion(
            self.network(name),
            tuple(self.notes),
            self.ambiguous,
            self.observed,
            self.scores,
            self.module,
            self.graph,
        )

    # Nodes

    def _convert(self, node: fx.Node) -> None:
        kind = kind_of(node)
        if node.op == "placeholder":
            encoding = Encoding.common(self.input.shape[-1], 2.0**-self.input.fraction, 0.0)
            self.values[node] = _Value(self.input.name, node, _canonical(self.input.shape), encoding)
            return
        if node.op == "get_attr":
            self.constants[node] = getattr(self.graph, str(node.target)).detach()
            return
        if node.op == "output":
            self._finish(node)
            return
        operands = [source for source in node.all_input_nodes if source in self.values]
        if not operands:
            self.constants[node] = self._constant(node)
            return
        if self.opaque.intersection(operands):
            raise self.fail("the first of several results alone", "another one (indices of a max pool?)")
        if self.ended and kind != "argmax":
            raise UserError(f"{self.ended}: expected it at the end of the model, got {place_of(node)} after it")
        if kind == "getitem":
            value = self.values[operands[0]]
            self.values[node] = replace(value, base=node) if value.base is operands[0] else value
            if node.args[1] != 0:
                self.opaque.add(node)
        elif kind in ("mm", "addmm", "convolution"):
            self._linear(node, kind, operands)
        elif kind in ELEMENTWISE:
            self._elementwise(node, kind, operands)
        elif kind in VIEWS:
            self._view(node, operands[0])
        elif kind == "max_pool2d_with_indices":
            self._max_pool(node, operands[0])
        elif kind == "avg_pool2d":
            self._avg_pool(node, operands[0])
        elif kind == "mean":
            self._mean(node, operands[0])
        elif kind == "constant_pad_nd":
            self._pad(node, operands[0])
        elif kind in ("_softmax", "_log_softmax"):
            if node.args[1] not in (1, -1):
                raise self.fail("a softmax over the scores, dimension 1", f"dimension {node.args[1]}")
            self.ended = self.where
            self.notes.append(f"{self.where}: the softmax is left out; it does not change the order of the scores")
            self.values[node] = self.values[operands[0]]
        elif kind == "argmax":
            if (node.args[1:] or (None,))[0] not in (1, -1):
                raise self.fail("argmax over the scores, dimension 1", f"{node.args[1:]}")
            self.values[node] = self.values[operands[0]]
            self.ended, self.chosen = self.where, True
        else:
            raise UserError(f"{self.where}: not supported; supported are {SUPPORTED}")

    def _constant(self, node: fx.Node) -> Any:
        assert callable(node.target)
        args, kwargs = self._arguments(node, self.constants.__getitem__)
        return node.target(*args, **kwargs)

    @staticmethod
    def _arguments(node: fx.Node, take: Callable[[fx.Node], Any]) -> Any:
        return fx.map_arg(node.args, take), fx.map_arg(node.kwargs, take)

    # Element by element

    def _elementwise(self, node: fx.Node, kind: str, operands: list[fx.Node]) -> None:
        values = [self.values[operand] for operand in operands]
        first = values[0]
        for value in values:
            if value.padding is not None:
                raise self.fail("a convolution after padding", kind)
        together = all(
            (value.base, value.delayed) == (first.base, first.delayed)  # the same integers at the same positions
            for value in values
        )
        if kind in ("clone", "detach", "alias", "lift_fresh_copy") and first.base is operands[0]:
            self.values[node] = replace(first, base=node)
        elif together:
            shapes = {tuple(operand.meta["val"].shape) for operand in operands}
            if kind == "native_batch_norm":
                self._check_batch_norm(node)
            elif {tuple(node.meta["val"].shape)} != shapes:
                raise self.fail("constants that leave the shape as it is", f"shape {tuple(node.meta['val'].shape[1:])}")
            self.values[node] = first
        elif kind == "add" and len(operands) == 2 and not node.kwargs and len(node.args) == 2:
            self._add(node, operands)
        else:
            raise self.fail("operands from one layer of weights, or an addition of integers", f"{kind} of two")

    def _check_batch_norm(self, node: fx.Node) -> None:
        _, weight, bias, mean, variance, training, _, _ = node.args
        if training:
            raise self.fail("running statistics in evaluation mode", "statistics of the batch")
        for parameter in (weight, bias, mean, variance):
            if isinstance(parameter, fx.Node) and not torch.isfinite(self.constants[parameter]).all():
                raise self.fail("finite parameters and statistics", "NaN or infinity")

    def _between(self, base: fx.Node, end: fx.Node) -> list[fx.Node]:
        """Nodes after `base` that `end` is made from, in order."""
        needed, waiting = set(), [end]
        while waiting:
            node = waiting.pop()
            if node is not base and node in self.values and node not in needed:
                needed.add(node)
                waiting += node.all_input_nodes
        return [node for node in self.graph.graph.nodes if node in needed]

    def _evaluator(self, value: _Value, end: fx.Node) -> Callable[[NDArray[Any]], dict[fx.Node, NDArray[Any]]]:
        """Return what computes the nodes from `value.base` to `end`, from (n, channels) to (n, channels) for each.

        By PyTorch, in the precision of what it is given, on vectors or on images of one pixel.
        """
        chain = self._between(value.base, end)
        spatial = value.positions.ndim == 3
        order = None if spatial else torch.from_numpy(value.positions)
        where = self.where

        def evaluate(floats: NDArray[Any]) -> dict[fx.Node, NDArray[Any]]:
            x = torch.from_numpy(floats)
            results: dict[fx.Node, Any] = {value.base: x[:, :, None, None] if spatial else x[:, order]}
            wide = x.dtype == torch.float64
            for node in chain:
                results[node] = self._compute(node, results, wide)
            found = {}
            for node, result in results.items():
                if isinstance(result, torch.Tensor):
                    if result.numel() != x.numel():
                        raise UserError(f"{where}: expected the same for every position of the image, got constants "
                                        "that differ from one to the next")  # fmt: skip
                    flat = result.reshape(x.shape)
                    back = flat if order is None else torch.empty_like(flat).index_copy_(1, order, flat)
                    found[node] = back.numpy()
            return found

        return evaluate

    def _compute(self, node: fx.Node, results: Mapping[fx.Node, Any], wide: bool) -> Any:
        kind = kind_of(node)
        assert callable(node.target)
        if kind in VIEWS:  # a flatten that waits for a sign
            x = results[node.all_input_nodes[0]]
            return x.reshape(len(x), -1) if node.meta["val"].ndim == 2 else x
        if kind in ("max_pool2d_with_indices", "_softmax", "_log_softmax", "argmax"):
            return (results[node.all_input_nodes[0]],) if kind.startswith("max") else results[node.all_input_nodes[0]]

        def take(source: fx.Node) -> Any:
            if source in results:
                result = results[source]
                return result.clone() if kind.endswith("_") and isinstance(result, torch.Tensor) else result
            constant = self.constants[source]
            if not isinstance(constant, torch.Tensor):
                return constant
            if kind != "native_batch_norm":
                constant = self._narrow(constant, node)
            return constant.double() if wide and constant.is_floating_point() else constant

        args, kwargs = self._arguments(node, take)
        if wide and kwargs.get("dtype") == torch.float32:
            kwargs = {**kwargs, "dtype": torch.float64}
        try:
            return node.target(*args, **kwargs)
        except RuntimeError:
            raise UserError(
                f"model {self.name!r}, {place_of(node)}: expected one constant for all positions of the image, and a "
                "sign between a flatten and a step that treats its results apart"
            ) from None

    def _narrow(self, constant: torch.Tensor, node: fx.Node) -> torch.Tensor:
        """Cut a constant operand down to one vector and one pixel, where it is the same for all of them."""
        shape = node.meta["val"].shape if isinstance(node.meta["val"], torch.Tensor) else node.meta["val"][0].shape
        for axis in range(constant.ndim):
            aligned = axis + len(shape) - constant.ndim
            if aligned != 1 and constant.shape[axis] > 1:
                first = constant.narrow(axis, 0, 1)
                if not torch.equal(constant, first.expand_as(constant)):
                    raise UserError(f"model {self.name!r}, {place_of(node)}: expected the same for every position of "
                                    "the image, got constants that differ from one to the next")  # fmt: skip
                constant = first
        return constant

    def _settle(self, node: fx.Node) -> _Value | None:
        """Return a node's result as integers of an operation; None where it is neither those nor an activation."""
        value = self.values[node]
        if value.base is node or (not value.delayed and not self._between(value.base, node)):
            return value
        value = self._flattened(value)
        signal, encoding = self.signals[value.source], value.encoding
        if value.positions.ndim != len(signal.shape):
            return None
        if value.positions.ndim > 1:
            self._image(value)
        steps = int(((signal.high - signal.low) // signal.step).max())
        sample = np.unique(np.linspace(0, steps, min(steps + 1, _SAMPLE)).astype(np.int64))[:, None]
        integers = np.minimum(signal.low + sample * signal.step, signal.high)
        evaluate = self._evaluator(value, node)
        shown = evaluate(encoding.values(integers, 0))[node]
        if shown.dtype == np.bool_:
            return None
        levels = np.unique(shown)  # -0.0 and 0.0 are one
        if not np.isfinite(levels).all():
            raise self.fail("finite values", "NaN or infinity")
        absorbed = self._absorb(value, node, integers, shown)
        if absorbed and not value.delayed and (signal.bipolar or len(levels) > 2):
            return self._settled(node, absorbed)
        if len(levels) <= _LEVELS:
            return self._activation(value, node, evaluate, levels)
        return None

    def _settled(self, node: fx.Node, value: _Value) -> _Value:
        self.values[node] = value
        return value

    def _absorb(self, value: _Value, node: fx.Node, integers: IntArray, shown: NDArray[Any]) -> _Value | None:
        """Take steps that map an operation's integers to other values evenly apart into their encoding."""
        encoding, signal = value.encoding, self.signals[value.source]
        if not encoding.exact or len(integers) >= _SAMPLE:
            return None
        real, span = shown.astype(np.float64), integers[-1] - integers[0]
        if not span.all():
            return None
        scale = (real[-1] - real[0]) / span
        shift = real[0] - scale * integers[0]
        if not (scale > 0).all() or not np.array_equal(scale * integers + shift, real):
            return None
        if max(abs(int(signal.low.min())), int(signal.high.max())) >= _FLOAT32_EXACT:
            return None
        none = np.zeros_like(scale)
        return replace(value, base=node, encoding=Encoding(scale, shift, none, none))

    def _activation(
        self, value: _Value, node: fx.Node, evaluate: Callable[..., dict[fx.Node, NDArray[Any]]], levels: NDArray[Any]
    ) -> _Value | None:
        """Fold the steps since an operation's integers, which give a few values, into thresholds."""
        encoding, signal = value.encoding, self.signals[value.source]
        if len(levels) == 1:  # a constant: where it is a sign, say so
            levels = np.array([-1.0, 1.0]) if abs(levels[0]) == 1 else np.array([levels[0], levels[0] + 1])
        levels = levels.astype(np.float64)
        low, distance = 0, float(levels[-1] - levels[0]) / (len(levels) - 1)
        exact = np.rint(levels / distance)
        if len(levels) > 2 and np.array_equal(exact * distance, levels):
            low = int(exact[0])
        shift = float(levels[0]) - low * distance
        integers = low + np.arange(len(levels))
        error = float(np.abs(integers * distance + shift - levels).max())
        if error > 2**-20 * distance:
            return None

        def formula(end: Literal[-1, 0, 1]) -> Callable[[IntArray], NDArray[np.floating]]:
            def number(accumulators: IntArray) -> NDArray[np.floating]:
                result = evaluate(encoding.values(accumulators, end))[node].astype(np.float64)
                index = np.searchsorted(levels, result).clip(0, len(levels) - 1)
                known = np.where(levels[index] == result, integers[index].astype(np.float64), np.nan)
                return 2.0 * known - 1 if len(levels) == 2 else known

            return number

        name = self.new_name("threshold")
        operation: Operation
        if len(levels) == 2:
            operation = fold_threshold(name, (value.source,), formula(0), signal)
            result = Encoding.common(signal.channels, distance / 2, float(levels.sum()) / 2)
        else:
            operation = self._several(name, value.source, formula(0), low, len(levels))
            result = Encoding.common(signal.channels, distance, shift, error)
        self._check_zero(value, node, evaluate)
        self._check_pools(value, node, evaluate)
        if not encoding.exact:
            self._count_ambiguous(name, value.source, formula, operation)
        if len(levels) == 3 and levels.tolist() == [-1, 0, 1]:
            self._tell_zeros(value, node, evaluate)
        self.append(operation)
        positions = value.positions
        source = name
        for make, at in value.delayed:
            if make is None:
                positions = self._viewed(at, positions)
            else:
                self.append(make(source))
                source, positions = self.last.name, _canonical(self.signal.shape)
        settled = _Value(source, node, positions, result)
        self._observe(settled, node)
        return self._settled(node, settled)

    def _several(self, name: str, source: str, formula: Any, low: int, levels: int) -> MultiThreshold:
        return fold_multi_threshold(
            name, (source,), formula, self.signals[source], low=low, step=1, levels=levels - 1
        )  # fmt: skip

    def _count_ambiguous(self, name: str, source: str, formula: Any, operation: Operation) -> None:
        """Count the accumulators whose activation depends on how PyTorch rounds its sums."""
        signal = self.signals[source]
        if isinstance(operation, Threshold):
            ends = [count(fold_threshold(name, (source,), formula(end), signal), signal) for end in (-1, 1)]
            ambiguous = int(np.abs(ends[1] - ends[0]).sum())
        else:
            steps = int(((signal.high - signal.low) // signal.step).max())
            grid = np.minimum(signal.low + np.arange(steps + 1)[:, None] * signal.step, signal.high)
            ambiguous = int((formula(-1)(grid) != formula(1)(grid)).sum())
        if ambiguous:
            self.ambiguous[name] = ambiguous

    def _check_zero(self, value: _Value, node: fx.Node, evaluate: Callable[..., Any]) -> None:
        """A sum of zero may be -0.0 in PyTorch, where all its terms are: an activation must not tell them apart."""
        if not value.encoding.exact or value.encoding.shift.any():
            return
        zero = np.zeros((1, self.signals[value.source].channels), np.float32)
        if not np.array_equal(evaluate(zero)[node], evaluate(-zero)[node]):
            raise self.fail("an activation that gives the same for -0.0 as for 0.0", "one that tells them apart")

    def _check_pools(self, value: _Value, node: fx.Node, evaluate: Callable[..., Any]) -> None:
        """A maximum may come after the activation instead of before only if what stands between them never falls."""
        pools = [at.all_input_nodes[0] for make, at in value.delayed if make is not None]
        if not pools:
            return
        signal = self.signals[value.source]
        steps = int(((signal.high - signal.low) // signal.step).max())
        grid = np.minimum(signal.low + np.arange(steps + 1)[:, None] * signal.step, signal.high)
        results = evaluate(value.encoding.values(grid, 0))
        for pool in pools:
            order = np.argsort(results[pool], axis=0, kind="stable")
            if (np.diff(np.take_along_axis(results[node], order, 0), axis=0) < 0).any():
                raise self.fail(
                    "a sign that never falls after a max pool over values that are no sums",
                    "one that does (a negative scale); put the pool right behind the layer of weights",
                )

    def _tell_zeros(self, value: _Value, node: fx.Node, evaluate: Callable[..., Any]) -> None:
        signal = self.signals[value.source]
        steps = (signal.high - signal.low) // signal.step
        row = np.arange(int(steps.max()) + 1)[:, None]
        results = evaluate(value.encoding.values(np.minimum(signal.low + row * signal.step, signal.high), 0))[node]
        zeros = int(((results == 0) & (row <= steps)).sum())
        self.notes.append(
            f"{self._here(node)}: a sign that gives 0 at 0, which {zeros:,} of {int((steps + 1).sum()):,} pairs of "
            "channel and sum reach: it has three values in the network, too"
        )

    def _here(self, node: fx.Node) -> str:
        return f"model {self.name!r}, {place_of(node)}"

    def _need(self, node: fx.Node, reader: fx.Node) -> _Value:
        """Return a node's result as integers, or refuse."""
        value = self._settle(node)
        if value is None:
            waiting = self._between(self.values[node].base, node)
            raise UserError(
                f"{self._here(waiting[0])}: expected a sign after it (before {place_of(reader)}), or the end of "
                "the model; values that are neither bipolar nor integer have no place in a binary network"
            )
        return value

    def _observe(self, value: _Value, node: fx.Node) -> None:
        self.observed[value.source] = Observed(node.name, value.positions, value.encoding.scale, value.encoding.shift)

    # Views

    def _viewed(self, node: fx.Node, positions: IntArray) -> IntArray:
        """Apply a view to positions."""
        batch = node.all_input_nodes[0].meta["val"].shape[0]
        index = torch.from_numpy(positions) + positions.size * torch.arange(batch).reshape(-1, *[1] * positions.ndim)
        assert callable(node.target)
        args, kwargs = self._arguments(node, lambda source: index.contiguous())
        moved = node.target(*args, **kwargs).numpy()
        if moved.shape[:1] != (batch,) or not np.array_equal(
            moved, moved[:1] + positions.size * np.arange(batch).reshape(-1, *[1] * (moved.ndim - 1))
        ):
            raise self.fail("a view that leaves the batch axis in front", f"shape {moved.shape}")
        if sorted(moved[0].ravel()) != list(range(positions.size)):
            raise self.fail("a view that keeps all values, each once", f"shape {moved.shape[1:]}")
        return moved[0]

    def _view(self, node: fx.Node, operand: fx.Node) -> None:
        value = self.values[operand]
        if value.padding is not None:
            raise self.fail("a convolution after padding", "a view")
        settled = self._settle(operand)
        if settled is not None:
            self.values[node] = replace(settled, base=node, positions=self._viewed(node, settled.positions))
            return
        if kind_of(node) in ("view", "_unsafe_view") and node.meta["val"].ndim == 2 and value.positions.ndim == 3:
            self.values[node] = replace(value, delayed=(*value.delayed, (None, node)))
        else:
            self._need(operand, node)

    def _flattened(self, value: _Value) -> _Value:
        """Flatten in the Network what is a vector here and an image there."""
        signal = self.signals[value.source]
        if value.positions.ndim == 1 and len(signal.shape) > 1:
            encoding = value.encoding.tile(signal.size // signal.channels)
            if value.source not in self.flat:
                self.flat[value.source] = self.new_name("flatten")
                self.append(Flatten(self.flat[value.source], (value.source,)))
                self._observe(replace(value, source=self.last.name, encoding=encoding), value.base)
            value = replace(value, source=self.flat[value.source], encoding=encoding)
        return value

    # Pools

    def _image(self, value: _Value) -> _Value:
        """See that a tensor is an image with channels first, whole."""
        shape = self.signals[value.source].shape
        if len(shape) != 3 or not np.array_equal(value.positions, _canonical(shape)):
            raise self.fail("an image (N, C, H, W)", f"a view of {self.signals[value.source].shape}")
        return value

    def _max_pool(self, node: fx.Node, operand: fx.Node) -> None:
        size, stride, padding, dilation, ceil = _defaults(node, [None, [], [0, 0], [1, 1], False])
        if set(padding) != {0} or set(dilation) != {1} or ceil:
            raise self.fail(
                "padding 0, dilation 1 and ceil_mode False", f"{padding}, {dilation} and {bool(ceil)}"
            )  # fmt: skip
        pair, step = _pair(size), _pair(stride or size)

        def make(source: str) -> Operation:
            return MaxPool2d(self.new_name("pool"), (source,), size=pair, stride=step)

        value = self.values[operand]
        if value.padding is not None:
            raise self.fail("a convolution after padding", "a pool")
        settled = self._settle(operand)
        if settled is None:
            if value.positions.ndim != 3:
                raise self.fail("an image", f"shape {value.positions.shape}")
            self.values[node] = replace(value, delayed=(*value.delayed, (make, node)))
            return
        settled = self._image(settled)
        self.append(make(settled.source))
        pooled = _Value(self.last.name, node, _canonical(self.signal.shape), settled.encoding)
        self.values[node] = pooled
        self._observe(pooled, node)

    def _avg_pool(self, node: fx.Node, operand: fx.Node) -> None:
        size, stride, padding, ceil, _, divisor = _defaults(node, [None, [], [0, 0], False, True, None])
        if set(padding) != {0} or ceil:
            raise self.fail("padding 0 and ceil_mode False", f"{padding} and {bool(ceil)}")
        self._sum_pool(node, operand, _pair(size), _pair(stride or size), divisor)

    def _mean(self, node: fx.Node, operand: fx.Node) -> None:
        axes: Any = (*node.args[1:], False)[0]
        keep = bool((*node.args[2:], False)[0])
        value = self._need(operand, node)
        if value.positions.ndim != 3 or sorted(axis % 4 for axis in axes) != [2, 3]:
            raise self.fail(
                "a mean over the image, dimensions 2 and 3 (a mean over channels, as the input scales K of XNOR-Net "
                "take it, has no place in a binary network)",
                f"dimensions {axes}",
            )
        height, width, channels = self.signals[value.source].shape
        self._sum_pool(node, operand, (height, width), (height, width), None)
        if not keep:
            pooled = self.values[node]
            self.values[node] = replace(pooled, positions=pooled.positions.reshape(channels))

    def _sum_pool(
        self, node: fx.Node, operand: fx.Node, size: tuple[int, int], stride: tuple[int, int], divisor: int | None
    ) -> None:
        value = self._image(self._need(operand, node))
        terms, divisor = size[0] * size[1], divisor or size[0] * size[1]
        if not value.encoding.exact:
            raise self.fail(
                "an average of sums that float32 holds exactly", "sums with scales or biases that it rounds"
            )
        self.append(SumPool2d(self.new_name("pool"), (value.source,), size=size, stride=stride))
        old = value.encoding
        scale, shift, none = old.scale / divisor, old.shift * (terms / divisor), np.zeros_like(old.scale)
        largest = np.maximum(*(np.abs(scale * end + shift) for end in (self.signal.low, self.signal.high)))
        rounded = none if divisor & (divisor - 1) == 0 else np.full_like(none, 4 * UNIT * largest.max())
        encoding = Encoding(scale, shift, rounded, none)
        pooled = _Value(self.last.name, node, _canonical(self.signal.shape), encoding)
        self.values[node] = pooled
        self._observe(pooled, node)
        self._check_float32(self.last.name)

    def _pad(self, node: fx.Node, operand: fx.Node) -> None:
        value = self._image(self._need(operand, node))
        sides: Any = node.args[1]
        left, right, top, bottom = (*sides, 0, 0)[:4]
        real = float((*node.args[2:], 0.0)[0])  # type: ignore[arg-type]
        if len(sides) > 4 or min(sides) < 0:
            raise self.fail("padding of rows and columns", f"{sides}")
        if value.padding is not None:
            raise self.fail("one padding before a convolution", "two")
        self.values[node] = replace(value, base=node, padding=((top, bottom, left, right), real))

    # Layers

    def _add(self, node: fx.Node, operands: list[fx.Node]) -> None:
        values = [self._need(operand, node) for operand in operands]
        first, second = values
        if not np.array_equal(first.positions, second.positions):
            raise self.fail("summands of equal shape", f"{first.positions.shape} and {second.positions.shape}")
        encoding = self.add((first.source, second.source), (first.encoding, second.encoding))
        added = _Value(self.last.name, node, first.positions, encoding)
        self.values[node] = added
        self._observe(added, node)
        self._check_float32(self.last.name)

    def _check_float32(self, name: str) -> None:
        signal = self.signals[name]
        largest = max(-int(signal.low.min()), int(signal.high.max()))
        if largest >= _FLOAT32_EXACT:
            raise self.fail(f"sums below {_FLOAT32_EXACT}, which float32 holds exactly", f"sums up to {largest}")

    def _linear(self, node: fx.Node, kind: str, operands: list[fx.Node]) -> None:
        args: list[Any] = list(node.args)
        if kind == "addmm":
            if node.kwargs:
                raise self.fail("addmm with factors of 1", dict(node.kwargs))
            bias, x, weight = args
        elif kind == "mm":
            (x, weight), bias = args, None
        else:
            x, weight, bias = args[:3]
        if operands != [x] or weight in self.values:
            raise self.fail("constant weights as the second operand, and a constant bias", "results of other layers")
        value = self._flattened(self._need(x, node))
        encoding, operand = value.encoding, self.signals[value.source]
        if encoding.relative.any() or not encoding.is_common:
            raise self.fail("a sign between two layers of weights", f"the scaled sums of {value.source!r}")
        kernel = self.constants[weight].float().numpy()
        if not np.isfinite(kernel).all():
            raise self.fail("finite weights", "NaN or infinity")
        magnitude = np.maximum(*(np.abs(encoding.scale * end + encoding.shift) for end in (operand.low, operand.high)))
        source = (value.source,)
        operation: Operation
        if kind == "convolution":
            value = self._image(value)
            rows, alpha, deviation, operation, magnitude = self._convolution(args, kernel, value, magnitude)
        else:
            if value.padding is not None:
                raise self.fail("a convolution after padding", "a dense layer")
            if value.positions.ndim != 1 or len(operand.shape) != 1:
                raise self.fail("an operand (N, features)", f"shape {value.positions.shape}")
            ordered = np.empty_like(kernel)
            ordered[value.positions] = kernel
            weights, alpha, deviation = factor(np.ascontiguousarray(ordered.T), self.where)
            self._tell_masked(weights)
            rows, deviation = weights, deviation
            operation = Dense(self.new_name("dense"), source, weight=weights)
        self.append(operation)
        result = sum_error(rows, alpha, deviation.reshape(rows.shape), encoding, magnitude)
        if bias is not None:
            offset = self.constants[bias].double().numpy()
            if not np.isfinite(offset).all():
                raise self.fail("a finite bias", "NaN or infinity")
            result = add_bias(result, np.broadcast_to(offset, alpha.shape), rows, alpha, magnitude)
        made = _Value(operation.name, node, _canonical(self.signal.shape), result)
        self.values[node] = made
        self._observe(made, node)
        self._check_float32(operation.name)

    def _tell_masked(self, weights: NDArray[np.int8]) -> None:
        zeros = int((weights == 0).sum())
        if zeros:
            self.notes.append(f"{self.where}: {zeros:,} of {weights.size:,} weights are 0 and add nothing")

    def _convolution(self, args: list[Any], kernel: NDArray[np.float32], value: _Value, magnitude: FloatArray) -> Any:
        _, _, _, stride, padding, dilation, transposed, _, groups = args
        if kernel.ndim != 4 or transposed:
            raise self.fail(
                "a 2-D convolution (of a sequence: of height 1)",
                f"weights {kernel.shape}{', transposed' if transposed else ''}",
            )
        encoding, operand = value.encoding, self.signals[value.source]
        weights, alpha, deviation = factor(kernel.transpose(0, 2, 3, 1), self.where)
        self._tell_masked(weights)
        weights, deviation = (dilated(grouped(array, groups), tuple(dilation)) for array in (weights, deviation))
        inner = (padding[0], padding[0], padding[1], padding[1])
        outer, real = value.padding or ((0, 0, 0, 0), 0.0)
        if any(inner) and any(outer) and real:
            raise self.fail("padding of one value", f"{real:g} and 0")
        sides = tuple(a + b for a, b in zip(inner, outer, strict=True))
        pad_value = 0
        if any(sides):
            integer = (real - float(encoding.shift[0])) / float(encoding.scale[0])
            if integer not in (-1, 0, 1) or (integer and not operand.bipolar):
                raise self.fail(
                    "padding with 0 or one of the two values of the activation before it",
                    f"{real:g} where the activation gives other values",
                )
            pad_value = int(integer)
            magnitude = np.maximum(magnitude, abs(real))
        operation = Conv2d(
            self.new_name("conv"),
            (value.source,),
            weight=weights,
            stride=tuple(stride),
            padding=sides,
            pad_value=pad_value,
        )
        rows = weights.reshape(len(weights), -1)
        return rows, alpha, deviation, operation, np.tile(magnitude, weights[0, :, :, 0].size)

    # The end

    def _finish(self, node: fx.Node) -> None:
        (result,) = node.args
        if isinstance(result, tuple | list) and len(result) == 1:
            (result,) = result
        if not isinstance(result, fx.Node) or result not in self.values:
            raise UserError(f"model {self.name!r}: expected a module that gives one tensor made from its input")
        while kind_of(result) in ("_softmax", "_log_softmax", "argmax"):
            (result,) = [source for source in result.all_input_nodes if source in self.values]
        self.scores = result.name
        value = self.values[result]
        self.where = self._here(result)
        settled = self._settle(result)
        if settled is not None and (
            self.signals[settled.source].bipolar or (settled.encoding.exact and settled.encoding.is_common)
        ):
            if settled.positions.ndim == 1:
                settled = self._flattened(settled)
                if not np.array_equal(settled.positions, np.arange(settled.positions.size)) and (
                    not self.signals[settled.source].bipolar
                ):
                    raise self.fail("the scores of a layer of weights", "a view of an image")
            elif not np.array_equal(settled.positions, _canonical(self.signals[settled.source].shape)):
                raise self.fail("a vector or an image (N, C, H, W)", f"a view of shape {settled.positions.shape}")
            if len(self.operations) == 1:
                raise self.fail("at least one layer", "none")
            if self.last.name != settled.source:
                raise self.fail("a result of the last layer", f"that of {settled.source!r}")
        else:
            self._scores(settled or self._flattened(value), result)
        signal = self.signal
        if self.chosen or (not signal.bipolar and len(signal.shape) == 1 and signal.channels > 1):
            self.append(Argmax("argmax", (self.last.name,)))

    def _scores(self, value: _Value, node: fx.Node) -> None:
        """Turn scales, biases and batch norm after the last layer into an Affine."""
        signal, encoding = self.signals[value.source], value.encoding
        if self.last.name != value.source or value.delayed or value.padding:
            raise self.fail("a sign after it, or the scores of a dense layer", f"values of shape {signal.shape}")
        if len(signal.shape) != 1 or not np.array_equal(value.positions, np.arange(signal.size)):
            raise self.fail("the scores of a dense layer", f"values of shape {signal.shape}")
        evaluate = self._evaluator(value, node)
        ends = np.stack([signal.low, (signal.low + signal.high) // 2, signal.high]).astype(np.int64)
        points = np.concatenate(
            [np.zeros((1, signal.channels), np.int64), np.ones((1, signal.channels), np.int64), ends]
        )
        real = evaluate((encoding.scale * points + encoding.shift).astype(np.float64))[node].astype(np.float64)
        intercept, slope = real[0], real[1] - real[0]
        expected = slope * points + intercept
        if not np.allclose(real, expected, rtol=1e-6, atol=1e-9 * float(np.abs(real).max() + 1)):
            raise self.fail("only batch norm, scales and offsets after the last layer of weights", "another function")

        def formula(end: Literal[-1, 0, 1]) -> Callable[[IntArray], NDArray[np.floating]]:
            return lambda accumulators: evaluate(encoding.values(accumulators, end))[node]

        interval = None if encoding.exact else (formula(-1), formula(1))
        self.append(
            fold_affine("affine", (value.source,), formula(0), signal, slope, intercept, interval=interval)
        )  # fmt: skip


def _canonical(shape: tuple[int, ...]) -> IntArray:
    return np.moveaxis(np.arange(int(np.prod(shape))).reshape(shape), -1, 0)


def _defaults(node: fx.Node, defaults: list[Any]) -> Iterator[Any]:
    """Give a node's arguments after the first, defaults where they are left out."""
    given = node.args[1:]
    return iter([*given, *defaults[len(given) :]])


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])
