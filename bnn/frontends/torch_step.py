"""Element-wise operators of a trace as PyTorch computes them, on one number per channel."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.frontends.torch_trace import kind_of, place_of

Array = NDArray[Any]


def computing(
    node: fx.Node, data: Sequence[fx.Node], constants: Mapping[fx.Node, torch.Tensor], axes: int, where: str
) -> Callable[..., Array]:
    """Return what computes a node from its operands that are not constant, each (n, channels).

    Parameters
    ----------
    node : fx.Node
    data : sequence of fx.Node
        Its operands that are not constant, in the order in which their values are given.
    constants : mapping of fx.Node to tensor
        The others: shape (channels,), or of one value.
    axes : int
        Of the node's tensors: a batch norm of images is another kernel than that of vectors, and may round differently.
    where : str
        Names the model in messages.

    Returns
    -------
    callable
        It computes in the type of what it is given; where that is float64, in float64 throughout.
    """
    spatial = [1] * (axes - 2) if kind_of(node) == "native_batch_norm" else []

    def compute(*operands: Array) -> Array:
        wide = any(operand.dtype == np.float64 for operand in operands)
        given = {
            source: torch.from_numpy(np.require(x, requirements=("C", "W")))
            for source, x in zip(data, operands, strict=True)
        }

        def take(source: fx.Node) -> torch.Tensor:
            if source in given:
                return given[source].reshape(*given[source].shape, *spatial)
            constant = constants[source]
            return constant.double() if wide and constant.is_floating_point() else constant

        kwargs = dict(fx.map_arg(node.kwargs, take))
        if wide and kwargs.get("dtype") == torch.float32:
            kwargs["dtype"] = torch.float64
        assert callable(node.target)
        try:
            with torch.no_grad():
                result = node.target(*fx.map_arg(node.args, take), **kwargs)
        except RuntimeError as error:
            raise UserError(f"{where}, {place_of(node)}: it cannot be computed: {str(error).splitlines()[0]}") from None
        result = result[0] if isinstance(result, tuple) else result
        return np.broadcast_to(result.reshape(len(operands[0]), -1).numpy(), operands[0].shape)

    return compute
