import json
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from xnorflow.reports.arrays import pack, unpack


@given(
    arrays(
        np.int64,
        array_shapes(max_dims=3, max_side=5),
        elements=st.sampled_from([-1, 1, -(2**31), 2**31, 2**40]) | st.integers(-999, 999),
    )
)
def test_what_was_packed_comes_back(values: NDArray[Any]) -> None:
    np.testing.assert_array_equal(unpack(json.loads(json.dumps(pack(values)))), values, strict=True)


def test_bits_are_packed() -> None:
    packed = pack(np.array([[1, -1, -1, 1, 1, 1, 1, 1, -1]]))
    assert packed == {"shape": [1, 9], "type": "bits", "data": "+QA="}
    assert pack(np.array([1, 0]))["type"] == "int32"
    assert pack(np.array([2**31, 0]))["type"] == "int64"  # a score of more than 32 bits
