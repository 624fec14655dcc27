"""Operators of TensorFlow outside layers, as ``x + y`` and ``tf.pad`` leave them in a model.

A file tells each by its public name alone. Those here are known to compute and to do nothing else.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

KINDS = ("TFOpLambda", "SlicingOpLambda")

SUMS: Mapping[str, int] = {"__operators__.add": 1, "math.add": 1, "math.subtract": -1}
"""Of two operands: the sign of the second."""

WHOLE: Mapping[str, Literal["mean", "sum", "maximum"]] = {
    "math.reduce_mean": "mean",
    "math.reduce_sum": "sum",
    "math.reduce_max": "maximum",
}
"""Operators that take one value of all rows or columns of an image."""

SCORES = ("math.sigmoid", "math.tanh", "math.softplus", "math.exp")  # of which none changes an order
ELEMENTWISE = frozenset(
    (
        *("math.multiply", "math.truediv", "math.divide", "math.negative", "math.abs", "math.sign", "math.square"),
        *("math.maximum", "math.minimum", "math.round", "math.floor", "math.ceil", "math.pow", "math.sqrt", *SCORES),
        *("clip_by_value", "nn.relu", "nn.relu6", "nn.leaky_relu", "nn.elu", "nn.selu", "nn.bias_add", "cast"),
        *("where", "math.greater", "math.greater_equal", "math.less", "math.less_equal", "math.equal"),
        *("math.not_equal", "__operators__.eq", "__operators__.ne"),
        *("math.logical_not", "math.logical_and", "math.logical_or"),
        *SUMS,
    )
)
"""Operators that treat every value by itself, given constants."""

VIEWS = frozenset(
    (
        *("reshape", "compat.v1.transpose", "compat.v1.squeeze", "expand_dims", "tile", "repeat", "reverse", "roll"),
        *("compat.v1.gather", "split", "unstack", "nn.depth_to_space", "nn.space_to_depth", "__operators__.getitem"),
    )
)
"""Operators that move, repeat or drop values."""

SAME = ("stop_gradient", "identity")
SOFTMAX = ("nn.softmax", "nn.log_softmax")
JOINED, PADDED, CHOSEN = "concat", "compat.v1.pad", "math.argmax"
TAKEN = frozenset((*ELEMENTWISE, *VIEWS, *WHOLE, *SAME, *SOFTMAX, JOINED, PADDED, CHOSEN))

_BATCH = 3  # vectors on which a view is executed


def name_of(layer: Any) -> str:
    """Return the public name of a layer's operator."""
    return str(layer.get_config()["function"])


Arguments = dict[str, Any]
"""What an operator is called with, by the names of its parameters; a tensor that is not constant as itself."""


def arguments(layer: Any, node: Any) -> Arguments:
    """Return what an operator is called with.

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


def constants(node: Any) -> list[NDArray[Any]]:
    """Return the constants of several values that an operator is called with, as they are given."""
    given = (*node.call_args, *node.call_kwargs.values())
    return [np.asarray(of) for of in given if _is_constant(of) and np.size(np.asarray(of)) != 1]


def _is_constant(given: Any) -> bool:
    """Whether an argument is a tensor, or numbers for one."""
    if isinstance(given, list | tuple):
        return all(_is_constant(of) or isinstance(of, int | float) for of in given)
    return isinstance(given, np.ndarray | np.generic) or (
        hasattr(given, "numpy") and not hasattr(given, "_keras_history")
    )


def computing(layer: Any, node: Any, columns: Sequence[NDArray[Any]]) -> Callable[..., Any]:
    """Return what computes an element-wise operator from its operands, each (n, channels).

    Parameters
    ----------
    layer, node
        The operator and its call.
    columns : sequence of array, shape (channels,)
        In place of :func:`constants`.

    Returns
    -------
    callable
        It computes in the type of what it is given; where that is float64, in float64 throughout.
    """
    import tensorflow

    tensors = list({id(tensor): tensor for tensor in node.keras_inputs}.values())

    def compute(*operands: NDArray[Any]) -> NDArray[Any]:
        wide = any(of.dtype == np.float64 for of in operands)
        values = {id(tensor): of for tensor, of in zip(tensors, operands, strict=True)}
        left = iter(columns)

        def argument(given: Any) -> Any:
            if id(given) in values:
                return tensorflow.constant(values[id(given)])
            if isinstance(given, str | tensorflow.DType) and wide and given in ("float32", tensorflow.float32):
                return "float64"
            if not _is_constant(given):
                return given
            constant = np.asarray(given)
            constant = next(left) if constant.size != 1 else constant.ravel()[0]
            return constant.astype(np.float64 if wide else np.float32) if constant.dtype.kind == "f" else constant

        args = [argument(of) for of in node.call_args]
        return np.asarray(layer.function(*args, **{key: argument(of) for key, of in node.call_kwargs.items()}))

    return compute


def moved(layer: Any, node: Any, last: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return positions after an operator that moves, drops or repeats elements: by executing it on them.

    Parameters
    ----------
    layer, node
        The operator and its call.
    last : int64 array
        Positions, channels last and without the batch axis.

    Raises
    ------
    ValueError
        If the batch axis does not stay in front.
    """
    import tensorflow

    size = int(last.max(initial=0)) + 1
    batch = size * np.arange(_BATCH)
    index = tensorflow.constant(last + batch.reshape(-1, *[1] * last.ndim))
    (taken,) = node.keras_inputs

    def argument(given: Any) -> Any:
        if isinstance(given, dict):  # a slice, as files have it
            return slice(given["start"], given["stop"], given["step"])
        if isinstance(given, list | tuple):
            return type(given)(argument(of) for of in given)
        return index if given is taken else given

    args = [argument(of) for of in node.call_args]
    made = layer.function(*args, **{key: argument(of) for key, of in node.call_kwargs.items()})
    results = [np.asarray(of) for of in (made if isinstance(made, list | tuple) else [made])]
    for of in results:
        offset = batch.reshape(-1, *[1] * (of.ndim - 1))
        if of.shape[:1] != (_BATCH,) or of.ndim < 2 or not np.array_equal(of, of[:1] + offset):
            raise ValueError(f"one that leaves the batch axis in front, got shape {of.shape} of {index.shape}")
    return [of[0] for of in results]
