"""Operators of TensorFlow outside layers, as ``x + y`` and ``tf.pad`` leave them in a model.

A file tells each by its public name alone. Those here are known to compute and to do nothing else.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.errors import UserError

KINDS = ("TFOpLambda", "SlicingOpLambda")

SUMS: Mapping[str, int] = {"__operators__.add": 1, "math.add": 1, "math.subtract": -1}
"""Of two operands: the sign of the second."""

MEANS: Mapping[str, int | None] = {"math.reduce_mean": None, "math.reduce_sum": 1}
"""Over an image: by what the sum is divided, if not by the number of values."""

ELEMENTWISE = frozenset(
    (
        *("math.multiply", "math.truediv", "math.divide", "math.negative", "math.abs", "math.sign", "math.square"),
        *("math.maximum", "math.minimum", "math.round", "math.floor", "math.ceil", "math.tanh", "math.sigmoid"),
        *("math.softplus", "clip_by_value", "nn.relu", "nn.relu6", "nn.leaky_relu", "nn.elu", "nn.selu"),
        *SUMS,
    )
)
SAME = ("stop_gradient", "identity")
JOINED, PADDED, SLICED = "concat", "compat.v1.pad", "__operators__.getitem"
TAKEN = frozenset((*ELEMENTWISE, *MEANS, *SAME, JOINED, PADDED, SLICED))


def name_of(layer: Any) -> str:
    """Return the public name of a layer's operator."""
    return str(layer.get_config()["function"])


def arguments(layer: Any, node: Any) -> dict[str, Any]:
    """Return what an operator is called with, by the names of its parameters; a tensor that is not constant as itself.

    Raises
    ------
    ValueError
        If they are none of its.
    """
    import inspect

    try:
        bound = inspect.signature(layer.function).bind(*node.call_args, **node.call_kwargs)
    except TypeError as error:
        raise ValueError(str(error)) from None
    return dict(bound.arguments)


def computing(layer: Any, node: Any, where: str) -> Callable[[Any], Any]:
    """Return what computes an element-wise operator of one tensor, its constants single numbers."""
    import tensorflow

    taken = node.keras_inputs[0]
    for of in (*node.call_args, *node.call_kwargs.values()):
        if of is not taken and not isinstance(of, str | None) and np.size(np.asarray(of)) != 1:
            raise UserError(f"{where}: expected one number as each constant, got one of shape {np.shape(of)}")

    def compute(values: Any) -> Any:
        args, kwargs = tensorflow.nest.map_structure(
            lambda of: tensorflow.constant(values) if of is taken else of, (node.call_args, node.call_kwargs)
        )
        return layer.function(*args, **kwargs)

    compute.__name__ = name_of(layer)
    return compute


def sliced(node: Any, last: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return what a subscript takes of positions, channels last and without their batch axis."""
    given = node.call_kwargs.get("slice_spec", node.call_args[1:])
    (spec,) = given if isinstance(given, tuple) and len(given) == 1 else (given,)

    def index(of: Any) -> Any:
        return slice(of["start"], of["stop"], of["step"]) if isinstance(of, dict) else of

    first, *rest = [index(of) for of in (spec if isinstance(spec, tuple | list) else (spec,))]
    if first is not Ellipsis and first != slice(None):
        raise ValueError("a subscript that leaves the batch axis as it is")
    return np.asarray(last[(Ellipsis, *rest) if first is Ellipsis else tuple(rest)])
