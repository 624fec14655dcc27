import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.digest import digest


def test_names_shapes_and_values_count_and_types_do_not() -> None:
    small, large = (np.array([[1, -2], [3, 4]], of) for of in (np.int8, ">i8"))
    assert digest([("a", small)]) == digest([("a", large)]) == digest([("a", np.asfortranarray(small))])
    others: list[list[tuple[str, NDArray[Any]]]] = [
        [("b", small)], [("a", small.ravel())], [("a", small.T)], [("a", small), ("a", small)], [],
    ]  # fmt: skip
    assert len({digest([("a", small)]), *(digest(arrays) for arrays in others)}) == 1 + len(others)


def test_it_is_the_digest_of_these_bytes() -> None:
    assert digest([("x", np.array([1, -1]))]) == hashlib.sha256(b"x(2,)\1" + bytes(7) + b"\xff" * 8).hexdigest()
