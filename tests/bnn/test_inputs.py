"""Vectors of the user's own become the integers of an input, or are refused with the first that do not."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.inputs import integers
from xnorflow.bnn.network import Input

BIPOLAR = Input("input", (), (3,), "bipolar")
PIXELS = Input("input", (), (3,), "unsigned", 8)
FIXED = Input("input", (), (3,), "signed", 8, 4)
INPUTS = [BIPOLAR, PIXELS, FIXED, Input("input", (), (3,), "unsigned", 16, 16)]


def of_kind(taken: Input) -> NDArray[np.int64]:
    """Return vectors with every value that the input takes."""
    signal = taken.infer()
    every = np.arange(int(signal.low[0]), int(signal.high[0]) + 1)
    every = every[(every != 0) | (not signal.bipolar)]
    return np.resize(every, (-(-len(every) // 3), 3))


@pytest.mark.parametrize("taken", INPUTS, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
def test_every_value_comes_through_as_an_integer_and_as_the_trained_models_number(taken: Input, dtype: Any) -> None:
    expected = of_kind(taken)
    numbers = (expected / 2**taken.fraction).astype(dtype)
    for given in (expected, numbers, numbers.tolist()):
        assert np.array_equal(integers(given, taken), expected)


@pytest.mark.parametrize(
    ("taken", "x", "message"),
    [
        (PIXELS, [[1.0, 2.5, 0.25]], r"x: expected integers, .* got 2\.5 at \(0, 1\)"),
        (PIXELS, [[1.0, 2.0, 256.0]], r"expected 0 to 255, .* got 256\.0 at \(0, 2\)"),
        (PIXELS, [[1, 2, 256]], r"expected 0 to 255, .* got 256 at \(0, 2\)"),
        (PIXELS, [[1.0, -1e300, np.nan]], "got nan at"),
        (PIXELS, [[1.0, 2.0, np.inf]], "expected 0 to 255, .* got inf at"),
        (PIXELS, np.array([[0, 0, 1 + np.finfo(np.longdouble).eps]], np.longdouble), "expected integers"),
        (FIXED, [[0.0625, 0.03125, 0.0]], r"multiples of 1/16, .* got 0\.03125 at \(0, 1\)"),
        (FIXED, [[0.0625, 0.0, 8.0]], r"expected -8 to 7\.9375, .* got 8\.0 at \(0, 2\)"),
        (FIXED, [[1, 2, 128]], "expected -128 to 127"),
        (BIPOLAR, [[1.0, 0.0, -1.0]], r"expected -1 or \+1, .* got 0\.0 at \(0, 1\)"),
        (BIPOLAR, [[1.0, 0.5, -1.0]], r"expected -1 or \+1, .* got 0\.5 at \(0, 1\)"),
        (BIPOLAR, [[True, True, False]], "expected integers or floating-point numbers, got bool"),
        (BIPOLAR, [[1j, 1, 1]], "got complex128"),
        (BIPOLAR, [1.0, 1.0, 1.0], r"expected shape \(vectors, 3\), got \(3,\)"),
        (BIPOLAR, 1.0, r"got \(\)"),
    ],
)
def test_the_first_value_that_the_input_cannot_take_is_named(taken: Input, x: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        integers(x, taken)
