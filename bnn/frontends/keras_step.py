"""Element-wise layers of Keras, QKeras and Larq as TensorFlow computes them, on one number per channel."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.frontends.core.levels import Levels, find_levels, grouped

Array = NDArray[Any]
#: An element-wise function on TensorFlow tensors, float32 to float32.
Function = Callable[[Any], Any]

_NOISE = 2.0**-10  # how far from its values a result may lie, relative to their distance
_LANES = 2.0**-20  # how far a sigmoid may differ with its place in a tensor, where the processor takes many at once
_PROBE = np.unique(np.concatenate([np.linspace(-(2.0**e), 2.0**e, 257) for e in range(-8, 11)])).astype(np.float32)
_FEW = np.array([-2.5, -1, -0.5, -0.25, 0, 0.25, 0.5, 1, 2.5], np.float32)


class Activation:
    """An element-wise function: a sign, a quantizer, a ReLU.

    QKeras computes many as ``x + (q - x)``, which in float32 is not quite q, and not at all where x is very large.
    TensorFlow may rearrange it, so that results there depend on how it runs the model: they are refused.

    Parameters
    ----------
    function : callable
    where : str
        Names the layer, for error messages.

    Raises
    ------
    UserError
        If it cannot be evaluated, is random, or does not look at one value at a time.
    """

    def __init__(self, function: Function, where: str) -> None:
        self._function, self._where, self._largest = function, where, 0.0
        self.name = name_of(function)
        self._check()
        self._results = self._evaluate(_PROBE[:, None])[:, 0]
        self._levels = _levels(self._results.astype(np.float64))

    def _evaluate(self, values: Array) -> Array:
        return np.asarray(self._function(values))

    def _check(self) -> None:
        """Refuse what no integer can stand for."""
        near_zero = np.linspace(-0.01, 0.01, 64, dtype=np.float32).reshape(8, 8)
        try:
            together = self._evaluate(_FEW.reshape(3, 3)).ravel()
            alone = np.array([self._evaluate(value.reshape(1, 1)).item() for value in _FEW], np.float32)
            once, twice = (self._evaluate(near_zero) for _ in range(2))
        except Exception as error:  # whatever the framework raises
            raise UserError(
                f"{self._where}: expected an activation that can be evaluated, got {self.name}: "
                f"{str(error).splitlines()[0]}"
            ) from None
        if not np.array_equal(once, twice):
            raise UserError(
                f"{self._where}: expected an activation that gives the same every time, got {self.name}, which is "
                "random; stochastic_binary and stochastic_ternary are not, in inference"
            )
        if not np.allclose(together, alone, rtol=_LANES, atol=0):
            raise UserError(
                f"{self._where}: expected an activation that looks at one value at a time, got {self.name}; a scale "
                "made from the magnitudes of what it gets (alpha 'auto' of QKeras, the input scale K of XNOR-Net) "
                "differs from input to input, and no integer stands for it: use alpha=1 or a plain sign here, and "
                "keep the scale for the kernel, where it is exact"
            )

    def __call__(self, values: Array) -> Array:
        """Compute it in float32; of float64, give the values that rounding would spread."""
        real = values.astype(np.float32)
        results = self._evaluate(real)
        self._largest = max(self._largest, float(np.abs(real).max(initial=0)))
        if self._levels is None:
            return results.astype(values.dtype)
        kept = self._evaluate(np.clip(real, _PROBE[0], _PROBE[-1])).astype(np.float64)
        scale, shift = self._levels.scale, self._levels.shift
        clear = scale * np.rint((kept - shift) / scale) + shift
        wrong = ~(np.abs(results - clear) <= _NOISE * scale)
        if wrong.any():
            row, channel = (int(i) for i in np.argwhere(wrong)[0])
            raise UserError(
                f"{self._where}: expected {self.name} to give {clear[row, channel]:g} for {real[row, channel]:g} "
                f"(channel {channel}), got {results[row, channel]:g}; QKeras computes x + (q - x), which is not q "
                "where x is very large, unless alpha is None"
            )
        return clear if values.dtype == np.float64 else results

    @property
    def hidden(self) -> float:
        """Largest magnitude of the x in ``x + (q - x)`` that it has computed so far, 0 if it computes no such sum."""
        if not type(self._function).__module__.startswith("qkeras"):
            return 0.0
        huge, ends = (self._evaluate(np.array([[-of], [of]], np.float32)) for of in (2.0**100, _PROBE[-1]))
        if np.array_equal(huge, ends):  # x is cut to the range of q first
            return 2 * float(np.abs(self._results).max())
        return self._largest


def _levels(results: Array) -> Levels | None:
    """Return the values of a function that has a lowest and a highest one within _PROBE, if they are few and even."""
    ends = (_PROBE[0] / 2 >= _PROBE, _PROBE[-1] / 2 <= _PROBE)
    if not np.isfinite(results).all() or max(np.ptp(results[end]) for end in ends) > _NOISE:
        return None
    reals, first = np.unique(results, return_index=True)
    if (levels := find_levels(reals)) or len(reals) == 1 or (group := grouped(reals)) is None:
        return levels
    clear = []
    for number in range(group[-1] + 1):
        members = np.flatnonzero(group == number)
        near = np.abs(results[first[members]] - _PROBE[first[members]])  # where it is small, x + (q - x) is q
        clear.append(reals[members[np.argmin(near)]])
    return find_levels(np.array(clear))


def batch_norm(layer: Any, axes: int) -> Callable[[Array], Array]:
    """Return what computes a batch norm, of tensors with `axes` axes but for the batch.

    That of images is another kernel than that of vectors, and rounds differently.
    """
    import tensorflow

    gamma, beta, mean, variance = (
        _parameter(layer, what, variable)
        for what, variable in (
            ("gamma", layer.gamma),
            ("beta", layer.beta),
            ("mean", layer.moving_mean),
            ("variance", layer.moving_variance),
        )
    )

    def compute(values: Array) -> Array:
        if values.dtype == np.float64:
            return np.asarray((values - mean) * (gamma / np.sqrt(variance + layer.epsilon)) + beta)
        image = tensorflow.constant(values.reshape(len(values), *[1] * (axes - 1), -1))
        return np.asarray(layer(image, training=False)).reshape(values.shape)

    return compute


def _parameter(layer: Any, what: str, variable: Any) -> NDArray[np.float64]:
    """Give a parameter of batch norm as the layer uses it: 1 and 0 where it has none, quantized where QKeras does."""
    if variable is None:
        return np.asarray(1.0 if what == "gamma" else 0.0)
    quantizer = getattr(layer, f"{what}_quantizer_internal", None)
    return np.asarray(variable if quantizer is None else quantizer(variable)).astype(np.float64)


def name_of(function: Any) -> str:
    """Name an activation as its author would."""
    kind: Any = type(function)
    if kind.__str__ is not object.__str__ and kind.__module__.startswith("qkeras"):
        return str(function)
    return str(getattr(function, "name", None) or getattr(function, "__name__", kind.__name__))
