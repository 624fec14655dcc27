"""Tracing of PyTorch modules by torch.fx, down to PyTorch's own operators.

The trace is what one run does: conditions on shapes and settings are taken as they come, one on values is refused.
Custom autograd functions are seen from within. What changes tensors in place is rewritten to what makes new ones, and
assignments to ``Tensor.data``, which PyTorch hides from a trace, are followed. Whatever else Python does beside the
tensors is invisible, so the trace is held against the module itself on random inputs, bit for bit.
"""

import copy
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import fx, nn
from torch.func import functionalize
from torch.fx import traceback
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map
from torch.utils.weak import WeakIdKeyDictionary

from xnorflow.bnn.errors import UserError

BATCH = 64
"""Vectors of a batch: a trace has its size built in."""

_RECURRENT = nn.RNNBase | nn.RNNCellBase

_CALLS = 4  # until results must repeat

ELEMENTWISE = frozenset(
    (
        *(
            "add",
            "sub",
            "rsub",
            "mul",
            "div",
            "neg",
            "abs",
            "pow",
            "square",
            "sqrt",
            "rsqrt",
            "reciprocal",
            "exp",
            "log",
        ),
        *("sign", "sgn", "copysign", "signbit", "heaviside", "tanh", "sigmoid", "relu", "relu6", "leaky_relu", "prelu"),
        *("_prelu_kernel", "hardtanh", "hardsigmoid", "hardswish", "elu", "celu", "selu", "gelu", "silu", "mish"),
        *("softplus", "log_sigmoid_forward", "atan", "erf", "threshold", "fmod", "remainder"),
        *("clamp", "clamp_min", "clamp_max", "minimum", "maximum", "floor", "ceil", "round", "trunc"),
        *("where", "masked_fill", "ge", "gt", "le", "lt", "eq", "ne", "logical_not", "logical_and", "logical_or"),
        *("bitwise_not", "bitwise_and", "bitwise_or", "_to_copy", "native_batch_norm"),
        *("clone", "detach", "alias", "lift_fresh", "lift_fresh_copy"),
    )
)
"""Operators that treat every value by itself, given constants."""

VIEWS = frozenset(
    (
        *("view", "_unsafe_view", "reshape", "_reshape_alias", "permute", "transpose", "t", "unsqueeze", "squeeze"),
        *("flatten", "expand", "repeat", "slice", "select", "index_select", "index", "flip", "roll", "pixel_shuffle"),
        *("pixel_unshuffle", "channel_shuffle", "upsample_nearest1d", "upsample_nearest2d"),
    )
)
"""Operators that move, repeat or drop values."""

PARTS = frozenset(("split", "split_with_sizes", "chunk", "unbind"))
"""Those that give several tensors."""

_FILLED: dict[str, float | str] = {
    **dict.fromkeys(("zeros_like", "new_zeros", "empty_like", "new_empty", "new_empty_strided"), 0.0),
    **dict.fromkeys(("ones_like", "new_ones"), 1.0),
    **dict.fromkeys(("full_like", "new_full"), "given"),
}
"""What operators that make a tensor of another one's shape fill it with."""


def kind_of(node: fx.Node) -> str:
    """Return the operator's name, without PyTorch's overload."""
    if node.op != "call_function":
        return node.op
    packet = getattr(node.target, "overloadpacket", None)
    return str(getattr(packet or node.target, "__name__", node.target))


def place_of(node: fx.Node) -> str:
    """Say where a node is, for people: its module, and the operator."""
    module = node.meta.get("custom", {}).get("module")
    kind = kind_of(node).removeprefix("native_").removesuffix("_with_indices")
    return f"module {module}: {kind}" if module else kind


def trace_module(
    module: nn.Module, example: torch.Tensor, probe: torch.Tensor, where: str
) -> tuple[nn.Module, fx.GraphModule, tuple[str, ...]]:
    """Trace a module for batches of :data:`BATCH`.

    Parameters
    ----------
    module : nn.Module
        It is not changed.
    example, probe : float32 tensor, shapes (1, ...) and (N, ...)
        One input that the module takes, and several to compare the trace with it.

    Returns
    -------
    nn.Module
        A copy of the module, in evaluation mode.
    fx.GraphModule
        Of operators that change nothing in place, all of which its result depends on.
    tuple of str
        What was taken out of the copy, a sentence each.

    Raises
    ------
    UserError
        If PyTorch cannot trace it, or the trace computes something else; the message starts with `where`.
    """
    if not isinstance(module, nn.Module):
        raise UserError(f"{where}: expected an nn.Module, got {type(module).__name__}")
    for name, tensor in module.state_dict().items():
        if isinstance(tensor, torch.Tensor) and tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise UserError(f"{where}: expected finite parameters and statistics, got NaN or infinity in {name!r}")
    inputs = torch.stack([probe[i % len(probe)] for i in range(BATCH)])
    ready, expected, changes = _settled(module, inputs, where)
    try:
        traced = _ready(module)
        with torch.no_grad():
            for _ in range(len(changes)):
                traced(inputs.clone())
            graph = _functional(_traced(traced, example), example)
            got = graph(inputs.clone())
    except Exception as error:  # whatever the module's own code raises
        raise UserError(f"{where}: it cannot be traced{_reason(error)}") from None
    if not torch.equal(expected.nan_to_num(), got.nan_to_num()):
        raise UserError(
            f"{where}: its trace computes something else than the module: does it depend on values, or change tensors "
            "in a way that PyTorch does not show?"
        )
    real = {_title(name, child) for name, child in module.named_modules() if isinstance(child, _RECURRENT)}
    for node in graph.graph.nodes:
        if (title := node.meta.get("custom", {}).get("module")) in real:
            raise UserError(
                f"{where}, module {title}: its state is real-valued; expected a binary one, h = sign(BN(W x + U h)) in "
                "a loop over time of your own, or BinaryRNN of xnorflow.models.layers"
            )
        schema = getattr(node.target, "_schema", None)
        if schema is not None and schema.is_mutable and kind_of(node) != "native_batch_norm":
            raise UserError(
                f"{where}, {place_of(node)}: expected operators that change no tensor in place; write it without"
            )
    notes = []
    if parallel := [name or "itself" for name, child in module.named_modules() if isinstance(child, nn.DataParallel)]:
        notes.append(f"{where}: nn.DataParallel is taken off ({', '.join(parallel)}); it does not change results")
    if changes:
        notes.append(
            f"{where}: it changes its own parameters when it is called, and with them its results, by up to "
            f"{changes[0]:g} after the first call: it is taken as it is after {len(changes)}, from where on they stay"
        )
    return ready, graph, tuple(notes)


def _settled(module: nn.Module, inputs: torch.Tensor, where: str) -> tuple[nn.Module, torch.Tensor, list[float]]:
    """Call a copy of a module until its results repeat: code may change parameters that it then reads.

    Returns
    -------
    nn.Module
        The copy.
    tensor
        Its results for `inputs`.
    list of float
        By how much results changed from one call to the next before.
    """
    ready = _ready(module)
    changes: list[float] = []
    last: torch.Tensor | None = None
    for _ in range(_CALLS):
        try:
            with torch.no_grad():
                result = ready(inputs.clone())
        except Exception as error:  # whatever the module's own code raises
            given = f"float32 {tuple(inputs.shape)}"
            raise UserError(
                f"{where}: it fails when it is called, in evaluation mode, on {given}{_reason(error)}"
            ) from None
        if isinstance(result, tuple | list) and len(result) == 1:
            (result,) = result
        if not isinstance(result, torch.Tensor):
            raise UserError(f"{where}: expected a module that gives one tensor, got {type(result).__name__}")
        if last is not None:
            if torch.equal(result.nan_to_num(), last.nan_to_num()):
                return ready, result, changes
            changes.append(float((result.double() - last.double()).abs().max()))
        last = result.clone()
    raise UserError(
        f"{where}: it gives another result with every call: does it depend on chance, or change its own parameters?"
    )


def _ready(module: nn.Module) -> nn.Module:
    """Copy a module for evaluation on the CPU; what would spread it over several devices is taken out."""
    copied = copy.deepcopy(module).cpu().eval()
    for name, child in [*copied.named_modules()]:
        if name and isinstance(child, nn.DataParallel):
            copied.set_submodule(name, child.module)
    copied = copied.module if isinstance(copied, nn.DataParallel) else copied
    contiguous: nn.Module = copied.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return contiguous


def _traced(module: nn.Module, example: torch.Tensor) -> fx.GraphModule:
    """Trace a module, which may be changed by it; the constants of the trace are as they were before."""
    before = {id(tensor): tensor.detach().clone() for tensor in (*module.parameters(), *module.buffers())}

    def forward(x: torch.Tensor) -> Any:
        with _Data() as data:
            result = module(x)
        if isinstance(result, tuple | list) and len(result) == 1:
            (result,) = result
        return data.current(result)

    with traceback.preserve_node_meta(), _named(module):
        graph = make_fx(forward)(example.repeat(BATCH, *[1] * (example.ndim - 1)))
    for target in {str(node.target) for node in graph.graph.find_nodes(op="get_attr")}:
        held = getattr(graph, target)
        if isinstance(held, torch.Tensor):
            delattr(graph, target)
            graph.register_buffer(target, before.get(id(held), held.detach()))
    return graph


class _Data(TorchFunctionMode):
    """Follows ``Tensor.data``: reading it is an alias, assigning to it makes the tensor stand for another one.

    The tensor itself is left alone; whoever takes it is given what it stands for.
    """

    def __init__(self) -> None:
        super().__init__()
        self._stands_for: Any = WeakIdKeyDictionary()

    def current(self, values: Any) -> Any:
        """Return values with the tensors that are meant."""
        return tree_map(
            lambda value: self._stands_for.get(value, value) if isinstance(value, torch.Tensor) else value,
            values,
            is_leaf=lambda value: isinstance(value, torch.Size),  # which would become a tuple, and mean something else
        )

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func == torch.Tensor.data.__set__:  # type: ignore[attr-defined]
            tensor, value = args
            self._stands_for[tensor] = self.current(value).detach()
            return None
        args, kwargs = self.current((args, kwargs or {}))
        if func == torch.Tensor.data.__get__:  # type: ignore[attr-defined]
            return args[0].detach()
        if func == torch.Tensor.new and len(args) > 1 and all(isinstance(n, int | torch.Size) for n in args[1:]):
            return args[0].new_empty(*args[1:], **kwargs)  # which a trace sees
        return func(*args, **kwargs)


def _functional(graph: fx.GraphModule, example: torch.Tensor) -> fx.GraphModule:
    """Rewrite a trace to one that changes no tensor in place, and leave out what its result does not depend on."""
    held = {str(node.target): getattr(graph, node.target) for node in graph.graph.find_nodes(op="get_attr")}
    constants = {id(tensor): tensor for tensor in held.values()}

    class Lifted(fx.Interpreter):
        """Takes the constants as operands: those may be changed, too."""

        def get_attr(self, target: Any, args: Any, kwargs: Any) -> Any:
            return lifted[id(held[target])]

    lifted: dict[int, torch.Tensor] = {}

    def run(x: torch.Tensor, *values: torch.Tensor) -> Any:
        lifted.update(zip(constants, values, strict=True))
        return Lifted(graph).run(x)

    with traceback.preserve_node_meta():
        made: fx.GraphModule = make_fx(functionalize(run))(
            example.repeat(BATCH, *[1] * (example.ndim - 1)), *(tensor.clone() for tensor in constants.values())
        )
    _, *operands = made.graph.find_nodes(op="placeholder")
    for node in made.graph.find_nodes(op="call_function", target=torch.ops.aten.copy_.default):
        if node.args[0] in operands or node.args[0].op == "placeholder":  # written back at the end
            made.graph.erase_node(node)
    for number, (node, tensor) in enumerate(zip(operands, constants.values(), strict=True)):
        name = f"constant{number}"
        made.register_buffer(name, tensor)
        with made.graph.inserting_before(node):
            constant = made.graph.create_node("get_attr", name)
        constant.meta = dict(node.meta)
        node.replace_all_uses_with(constant)
        made.graph.erase_node(node)
    _simplify(made.graph)
    made.graph.eliminate_dead_code()
    made.graph.lint()
    made.recompile()
    return made


def _simplify(graph: fx.Graph) -> None:
    """Say with the operators of arithmetic what functional forms of assignments say, and what is constant."""
    aten = torch.ops.aten
    for node in [*graph.nodes]:
        kind, value = kind_of(node), node.meta.get("val")
        if (filled := _FILLED.get(kind)) is not None:  # of a tensor, they take its shape alone
            number = node.args[1 if kind == "full_like" else 2] if filled == "given" else filled
            with graph.inserting_before(node):
                full = graph.call_function(aten.full.default, (list(value.shape), number), {"dtype": value.dtype})
            full.meta = dict(node.meta)
            node.replace_all_uses_with(full)
        elif (
            kind == "copy" and (source := node.args[1].meta["val"]).shape == value.shape and source.dtype == value.dtype
        ):
            node.replace_all_uses_with(node.args[1])
        elif kind == "index_put" and len(node.args) == 3 and len(node.args[1]) == 1:  # x[mask] = constant
            x, (mask,), new = node.args
            if (
                (seen := mask.meta["val"]).dtype == torch.bool
                and seen.shape == value.shape
                and not new.meta["val"].ndim
            ):
                with graph.inserting_before(node):
                    where = graph.call_function(aten.where.self, (mask, new, x))
                where.meta = dict(node.meta)
                node.replace_all_uses_with(where)


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if "data-dependent" in str(error):
        return ": its control flow depends on values (an if or a loop over a tensor), write it with torch.where"
    return f": {type(error).__name__}: {lines[0][:300]}" if lines else f": {type(error).__name__}"


def _title(name: str, module: nn.Module) -> str:
    return f"{name!r} ({type(module).__name__})" if name else f"({type(module).__name__})"


@contextmanager
def _named(module: nn.Module) -> Iterator[None]:
    """Note at every node which module it comes from."""
    with ExitStack() as hooks:
        stack: list[Any] = []
        for name, child in module.named_modules():

            def enter(_: nn.Module, __: Any, title: str = _title(name, child)) -> None:
                context = traceback.annotate({"module": title})
                context.__enter__()
                stack.append(context)

            def leave(_: nn.Module, __: Any, ___: Any) -> None:
                stack.pop().__exit__(None, None, None)

            hooks.callback(child.register_forward_pre_hook(enter).remove)
            hooks.callback(child.register_forward_hook(leave).remove)
        try:
            yield
        finally:
            while stack:
                stack.pop().__exit__(None, None, None)
