"""PyTorch: an ``nn.Sequential`` of binary layers becomes a Network.

What is recognised, by behaviour rather than by class name wherever that is possible:

- a binary layer is an ``nn.Linear`` or ``nn.Conv2d`` with a method ``binary_weight()`` that returns its weights in
  {-1, 0, +1}, and whose ``forward`` is the plain product with them (checked by running it);
- a sign is a module without parameters that maps negative values to -1 and positive ones to +1 (checked likewise);
- ``BatchNorm1d``, ``BatchNorm2d``, ``Hardtanh``, ``MaxPool2d``, ``Flatten``, and ``Dropout`` and ``Identity``, which do
  nothing in evaluation.

Everything between an accumulator and its sign is evaluated by PyTorch itself, in its own precision, on every value that
the accumulator can take (:mod:`bnn.folding`).
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bnn.errors import UserError
from bnn.folding import Formula, fold_affine, fold_threshold
from bnn.network import Argmax, Conv2d, Dense, Flatten, Input, IntArray, MaxPool2d, Network, Operation, Signal

SUPPORTED = (
    "binary Linear and Conv2d (with binary_weight(), without bias), a sign, BatchNorm1d, BatchNorm2d, Hardtanh, "
    "MaxPool2d, Flatten, Dropout, Identity"
)

_BATCH_NORM = (nn.BatchNorm1d, nn.BatchNorm2d)
_NO_EFFECT = (nn.Dropout, nn.Identity)
_FLOAT32_EXACT = 2**24  # every integer up to here is a float32


@dataclass(frozen=True, eq=False)
class Conversion:
    """A converted module.

    Attributes
    ----------
    network : Network
    modules : tuple of nn.Module
        The flat sequence of leaf modules, in evaluation mode, which computes what `network` does.
    observed : mapping of str to int
        For operations whose integers PyTorch computes as such: the position in `modules` whose output they are.
    units : mapping of str to float
        For observed results of a fixed-point input: the value of the integer 1 in PyTorch, ``2**-fraction``.
    orders : mapping of str to int64 array
        For observed flattened results: position in PyTorch's order (channels first) of each of the operation's values.
    """

    network: Network
    modules: tuple[nn.Module, ...]
    observed: Mapping[str, int]
    units: Mapping[str, float]
    orders: Mapping[str, IntArray]


def convert(module: nn.Module, name: str, input: Input) -> Network:
    """Convert a trained module to a Network.

    Parameters
    ----------
    module : nn.Sequential
        Nested ones are flattened. It is not changed, and is taken in evaluation mode.
    name : str
        Name of the Network.
    input : Input
        What the module takes, channels last; the module itself takes float32 (N, features) or (N, C, H, W) of the
        values ``integer / 2**fraction``.

    Returns
    -------
    Network
        Exactly equal to the module, for every input. A trailing batch norm becomes an Affine, whose argmax is proved or
        not as :class:`~bnn.network.Affine` says. A vector of scores is followed by an Argmax.

    Raises
    ------
    UserError
        For anything that cannot be converted exactly; the message names the module, its position, what it is and
        what is supported.
    """
    return trace(module, name, input).network


def trace(module: nn.Module, name: str, input: Input) -> Conversion:
    """Convert as :func:`convert` does, and keep what it takes to compare the module with the Network layer by layer."""
    return _Converter(module, name, input).conversion


def module_input(values: NDArray[np.integer], input: Input) -> torch.Tensor:
    """Turn Network inputs (N, *shape) into what the module takes: float32 (N, features) or (N, C, H, W)."""
    tensor = torch.from_numpy(np.asarray(values, np.float32) / np.float32(2**input.fraction))
    return tensor.movedim(-1, 1).contiguous() if tensor.ndim > 2 else tensor


def _leaves(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    for name, child in module.named_children():
        if isinstance(child, nn.Sequential):
            yield from _leaves(child, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", child


def _is_binary_layer(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear | nn.Conv2d) and callable(getattr(module, "binary_weight", None))


def _is_sign(module: nn.Module) -> bool:
    if next(module.parameters(), None) is not None or isinstance(module, (*_NO_EFFECT, nn.Flatten, nn.MaxPool2d)):
        return False
    probe = torch.tensor([[-3.0, -1.0, -0.25, -1e-30, 1e-30, 0.25, 1.0, 3.0]])
    try:
        result = module(probe)
    except (RuntimeError, ValueError, TypeError, IndexError):  # takes no such probe: not an element-wise sign
        return False
    return isinstance(result, torch.Tensor) and torch.equal(result, torch.where(probe > 0, 1.0, -1.0))


class _Converter:
    """Walks the modules, keeping the last operation and the floating-point modules that wait to be folded onto it."""

    def __init__(self, module: nn.Module, name: str, input: Input) -> None:
        if not isinstance(module, nn.Sequential):
            raise UserError(f"model {name!r}: expected an nn.Sequential, got {type(module).__name__}")
        leaves = list(_leaves(copy.deepcopy(module).eval()))
        if not leaves:
            raise UserError(f"model {name!r}: expected at least one layer, got an empty nn.Sequential")
        self.name = name
        self.operations: list[Operation] = [input]
        self.signals: dict[str, Signal] = {input.name: input.infer()}
        self.unit = 2.0**-input.fraction  # value of the integer 1 in PyTorch, until the first threshold
        self.order: IntArray | None = None  # after Flatten: PyTorch's position of each of our values
        self.pending: list[nn.Module] = []
        self.pending_where = ""
        self.counts: dict[str, int] = {}
        self.observed: dict[str, int] = {}
        self.units: dict[str, float] = {}
        self.orders: dict[str, IntArray] = {}
        self.signs_of_moved_pools: dict[int, int] = {}
        self.positions = {id(leaf): position for position, (_, leaf) in enumerate(leaves)}
        with torch.inference_mode():
            for where, leaf in self._pools_behind_signs(leaves):
                self.where = f"model {name!r}, module {self.positions[id(leaf)]} ({where!r}, {type(leaf).__name__})"
                self._convert(leaf)
            self._finish()
        self.conversion = Conversion(
            Network(name, tuple(self.operations)),
            tuple(leaf for _, leaf in leaves),
            self.observed,
            self.units,
            self.orders,
        )

    def _fail(self, expected: str, came: object) -> UserError:
        return UserError(f"{self.where}: expected {expected}, got {came}")

    def _pools_behind_signs(self, leaves: list[tuple[str, nn.Module]]) -> list[tuple[str, nn.Module]]:
        """Move each pool that follows a batch norm behind the sign that follows it.

        Exact, because a maximum commutes with the non-decreasing functions in between (Hardtanh and sign), and then the
        batch norm is next to its accumulator. What PyTorch's sign then gives is the result of our pool.
        """
        moved = list(leaves)
        for index in reversed(range(1, len(moved))):
            if isinstance(moved[index][1], nn.MaxPool2d) and isinstance(
                moved[index - 1][1], (*_BATCH_NORM, nn.Hardtanh)
            ):
                end = index + 1
                while end < len(moved) and isinstance(moved[end][1], (nn.Hardtanh, *_NO_EFFECT)):
                    end += 1
                if end < len(moved) and _is_sign(moved[end][1]):
                    self.signs_of_moved_pools[id(moved[index][1])] = id(moved[end][1])
                    moved.insert(end, moved.pop(index))
        return moved

    @property
    def last(self) -> Operation:
        return self.operations[-1]

    @property
    def signal(self) -> Signal:
        return self.signals[self.last.name]

    def _append(self, operation: Operation, leaf: nn.Module | None = None) -> None:
        """Add an operation; `leaf` is the module whose output its result is, if there is one."""
        try:
            self.signals[operation.name] = operation.infer(*(self.signals[source] for source in operation.inputs))
        except UserError as error:
            raise UserError(f"{self.where}: {error}") from None
        self.operations.append(operation)
        if leaf is not None:
            self.observed[operation.name] = self.positions[self.signs_of_moved_pools.get(id(leaf), id(leaf))]
            self.units[operation.name] = self.unit
            if self.order is not None:
                self.orders[operation.name] = self.order

    def _new_name(self, kind: str) -> str:
        self.counts[kind] = self.counts.get(kind, 0) + 1
        return f"{kind}{self.counts[kind]}"

    def _convert(self, leaf: nn.Module) -> None:
        if _is_binary_layer(leaf):
            self._binary_layer(leaf)
        elif isinstance(leaf, (*_BATCH_NORM, nn.Hardtanh)):
            self._wait(leaf)
        elif isinstance(leaf, nn.MaxPool2d):
            self._max_pool(leaf)
        elif isinstance(leaf, nn.Flatten):
            self._flatten(leaf)
        elif isinstance(leaf, _NO_EFFECT):
            pass
        elif _is_sign(leaf):
            self._sign(leaf)
        else:
            raise UserError(f"{self.where}: not supported; supported are {SUPPORTED}")

    def _wait(self, leaf: nn.Module) -> None:
        if isinstance(leaf, _BATCH_NORM):
            if leaf.running_mean is None:
                raise self._fail("running statistics", "track_running_stats=False")
            for tensor in leaf.state_dict().values():
                if not torch.isfinite(tensor).all():
                    raise self._fail("finite parameters and statistics", "NaN or infinity")
            if isinstance(leaf, nn.BatchNorm2d) != (len(self.signal.shape) == 3):
                raise self._fail(
                    "BatchNorm2d for (C, H, W) and BatchNorm1d for (features,)", f"shape {self.signal.shape}"
                )
            if leaf.num_features != self.signal.channels:
                raise self._fail(f"num_features={self.signal.channels}", leaf.num_features)
        if not self.pending:
            self.pending_where = self.where
        self.pending.append(leaf)

    def _nothing_pending(self) -> None:
        if self.pending:
            raise UserError(
                f"{self.pending_where}: expected a sign after it (before {self.where.partition(', ')[2]}), or "
                "the end of the model; values that are neither bipolar nor integer have no place in a binary network"
            )

    def _formula(self, *modules: nn.Module) -> Formula:
        """PyTorch's own computation of the pending modules and `modules`, per channel, in our order of channels."""
        chain = nn.Sequential(*self.pending, *modules)
        spatial = len(self.signal.shape) == 3
        order, unit = self.order, self.unit
        dtype = next((t.dtype for t in chain.state_dict().values() if t.is_floating_point()), torch.float32)

        def formula(accumulators: IntArray) -> NDArray[np.floating]:
            x = torch.from_numpy(accumulators * unit).to(dtype)
            if order is not None:
                x = torch.empty_like(x).index_copy_(1, torch.from_numpy(order), x)
            y = chain(x[:, :, None, None] if spatial else x).reshape(x.shape)
            return (y if order is None else y[:, torch.from_numpy(order)]).numpy()

        return formula

    def _sign(self, leaf: nn.Module) -> None:
        source = self.last.name
        try:
            threshold = fold_threshold(self._new_name("threshold"), (source,), self._formula(leaf), self.signal)
        except UserError as error:
            raise UserError(f"{self.where}: {error}") from None
        self.pending, self.unit = [], 1.0
        self._append(threshold, None if id(leaf) in self.signs_of_moved_pools.values() else leaf)

    def _binary_layer(self, leaf: nn.Module) -> None:
        self._nothing_pending()
        assert isinstance(leaf, nn.Linear | nn.Conv2d)
        if leaf.bias is not None:
            raise self._fail("bias=False (batch norm has its own offset)", "a bias")
        weight = leaf.binary_weight().detach()  # type: ignore[operator]
        if not torch.isin(weight, torch.tensor([-1.0, 0.0, 1.0])).all():
            raise self._fail("binary_weight() in {-1, 0, +1}", weight.unique()[:8].tolist())
        values = weight.to(torch.int8).numpy()
        source = (self.last.name,)
        operation: Operation
        if isinstance(leaf, nn.Linear):
            if values.shape[1] != self.signal.size or len(self.signal.shape) != 1:
                raise self._fail(f"an operand of {values.shape[1]} features", f"shape {self.signal.shape}")
            ordered = values if self.order is None else values[:, self.order]
            operation = Dense(self._new_name("dense"), source, weight=ordered)
            self.order = None
        else:
            if leaf.dilation != (1, 1) or leaf.groups != 1:
                raise self._fail("dilation 1 and groups 1", f"dilation {leaf.dilation}, groups {leaf.groups}")
            if leaf.padding_mode != "zeros" and any(leaf._reversed_padding_repeated_twice):
                raise self._fail("padding_mode 'zeros'", repr(leaf.padding_mode))
            left, right, top, bottom = leaf._reversed_padding_repeated_twice
            operation = Conv2d(
                self._new_name("conv"),
                source,
                weight=values.transpose(0, 2, 3, 1),
                stride=leaf.stride,  # type: ignore[arg-type]
                padding=(top, bottom, left, right),
            )
        operand = self.signal
        self._append(operation, leaf)
        self._check_forward(leaf, weight, operand)
        largest = max(-int(self.signal.low.min()), int(self.signal.high.max()))
        if largest >= _FLOAT32_EXACT:
            raise self._fail(f"sums below {_FLOAT32_EXACT}, which float32 holds exactly", f"sums up to {largest}")

    def _check_forward(self, leaf: nn.Module, weight: torch.Tensor, operand: Signal) -> None:
        """Run the layer on a random operand: its forward must be the plain product with `binary_weight()`."""
        rng = np.random.default_rng(0)
        steps = (operand.high - operand.low) // operand.step
        values = operand.low + operand.step * rng.integers(0, steps + 1, (2, *operand.shape))
        x = module_input(values, Input("probe", (), shape=operand.shape))
        if isinstance(leaf, nn.Conv2d):
            expected = nn.functional.conv2d(x, weight, None, leaf.stride, leaf.padding)
        else:
            expected = nn.functional.linear(x, weight)
        if not torch.equal(leaf(x), expected):
            raise self._fail(
                "forward(x) to be the product of x and binary_weight()", "other values (a scale, perhaps?)"
            )

    def _max_pool(self, leaf: nn.MaxPool2d) -> None:
        self._nothing_pending()
        if _pair(leaf.padding) != (0, 0) or _pair(leaf.dilation) != (1, 1) or leaf.ceil_mode:
            raise self._fail("padding 0, dilation 1 and ceil_mode False", leaf.extra_repr())
        self._append(
            MaxPool2d(
                self._new_name("pool"), (self.last.name,), size=_pair(leaf.kernel_size), stride=_pair(leaf.stride)
            ),
            leaf,
        )

    def _flatten(self, leaf: nn.Flatten) -> None:
        self._nothing_pending()
        if leaf.start_dim != 1 or leaf.end_dim not in (-1, len(self.signal.shape)):
            raise self._fail("Flatten from axis 1 to the last", leaf.extra_repr())
        if len(self.signal.shape) == 1:
            return
        height, width, channels = self.signal.shape
        self.order = np.arange(self.signal.size).reshape(channels, height, width).transpose(1, 2, 0).ravel()
        self._append(Flatten(self._new_name("flatten"), (self.last.name,)), leaf)

    def _finish(self) -> None:
        last = self.last
        if self.pending:
            if not all(isinstance(module, _BATCH_NORM) for module in self.pending):
                raise UserError(f"{self.pending_where}: expected only batch norm after the last layer, got Hardtanh")
            if len(self.signal.shape) != 1 or self.order is not None:
                raise UserError(f"{self.pending_where}: expected the scores of a dense layer before it")
            self.where = self.pending_where
            formula = self._formula()
            self.pending = [copy.deepcopy(module).double() for module in self.pending]
            real = self._formula()
            intercept = real(np.zeros((1, self.signal.channels), np.int64))[0].astype(np.float64)
            slope = real(np.ones((1, self.signal.channels), np.int64))[0].astype(np.float64) - intercept
            self._append(fold_affine("affine", (last.name,), formula, self.signal, slope, intercept))
        if not self.signal.bipolar and len(self.signal.shape) == 1 and self.signal.channels > 1:
            self._append(Argmax("argmax", (self.last.name,)))


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])
