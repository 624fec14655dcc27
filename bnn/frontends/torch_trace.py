"""Tracing of PyTorch modules by torch.fx, down to PyTorch's own operators.

The trace is what one run does: conditions on shapes and settings are taken as they come, one on values is refused.
Custom autograd functions are seen from within. Whatever Python does beside the tensors is invisible, so the trace is
held against the module itself on random inputs, bit for bit.
"""

import copy
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import fx, nn
from torch.fx import traceback
from torch.fx.experimental.proxy_tensor import make_fx

from xnorflow.bnn.errors import UserError

BATCH = 64
"""Vectors of a batch: a trace has its size built in."""

ELEMENTWISE = frozenset(
    (
        *("add", "sub", "rsub", "mul", "div", "neg", "abs", "pow", "square", "sqrt", "reciprocal", "exp"),
        *("sign", "sgn", "copysign", "signbit", "heaviside", "tanh", "sigmoid", "relu", "leaky_relu", "hardtanh"),
        *("clamp", "clamp_min", "clamp_max", "minimum", "maximum", "floor", "ceil", "round", "trunc"),
        *("where", "masked_fill", "ge", "gt", "le", "lt", "eq", "ne", "logical_not", "logical_and", "logical_or"),
        *("bitwise_not", "bitwise_and", "bitwise_or", "zeros_like", "ones_like", "full_like"),
        *("_to_copy", "clone", "detach", "alias", "lift_fresh_copy", "native_batch_norm"),
        *("add_", "sub_", "mul_", "div_", "neg_", "sign_", "relu_", "hardtanh_", "clamp_"),
    )
)
"""Operators that treat every value by itself, given constants."""

VIEWS = frozenset(("view", "_unsafe_view", "reshape", "permute", "transpose", "t", "unsqueeze", "squeeze", "flatten"))
"""Operators that move values."""


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
) -> tuple[nn.Module, fx.GraphModule]:
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

    Raises
    ------
    UserError
        If PyTorch cannot trace it, or the trace computes something else; the message starts with `where`.
    """
    if not isinstance(module, nn.Module):
        raise UserError(f"{where}: expected an nn.Module, got {type(module).__name__}")
    whole = [probe[i % len(probe)] for i in range(BATCH)]
    for name, tensor in module.state_dict().items():
        if isinstance(tensor, torch.Tensor) and tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise UserError(f"{where}: expected finite parameters and statistics, got NaN or infinity in {name!r}")
    try:
        ready = copy.deepcopy(module).cpu().eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        with torch.no_grad(), traceback.preserve_node_meta(), _named(ready):
            graph = make_fx(ready)(example.repeat(BATCH, *[1] * (example.ndim - 1)))
            _check_mutation(graph, where)
            inputs = torch.stack(whole)
            expected = ready(inputs.clone())
            got = graph(inputs.clone())
    except UserError:
        raise
    except Exception as error:  # whatever the module's own code raises
        raise UserError(f"{where}: it cannot be traced{_reason(error)}") from None
    if not isinstance(expected, torch.Tensor) or not isinstance(got, torch.Tensor):
        raise UserError(f"{where}: expected a module that gives one tensor, got {type(expected).__name__}")
    if not torch.equal(expected.nan_to_num(), got.nan_to_num()):
        raise UserError(
            f"{where}: its trace computes something else than the module: does it depend on values or on chance, or "
            "change tensors by .data?"
        )
    return ready, graph


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if "data-dependent" in str(error):
        return ": its control flow depends on values (an if or a loop over a tensor), write it with torch.where"
    return f": {type(error).__name__}: {lines[0][:300]}" if lines else f": {type(error).__name__}"


@contextmanager
def _named(module: nn.Module) -> Iterator[None]:
    """Note at every node which module it comes from."""
    with ExitStack() as hooks:
        stack: list[Any] = []
        for name, child in module.named_modules():
            title = f"{name!r} ({type(child).__name__})" if name else f"({type(child).__name__})"

            def enter(_: nn.Module, __: Any, title: str = title) -> None:
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


def _check_mutation(graph: fx.GraphModule, where: str) -> None:
    """Refuse operators that change a tensor which another one reads, too."""
    for node in graph.graph.nodes:
        schema = getattr(node.target, "_schema", None)
        if schema is None or not schema.is_mutable or kind_of(node) == "native_batch_norm":
            continue
        (first, *_) = node.all_input_nodes or (None,)
        if (
            kind_of(node) not in ELEMENTWISE
            or first is None
            or first.op != "call_function"
            or kind_of(first) in VIEWS
            or len(first.users) > 1
        ):
            raise UserError(
                f"{where}, {place_of(node)}: expected operators that change no tensor in place; write it without"
            )
