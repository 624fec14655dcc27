"""Values checked against their types: what is read back, and what is made of others' values."""

from collections.abc import Callable
from dataclasses import asdict
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import TypeAdapter

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_T = TypeVar("_T")
_adapter: Callable[[Any], TypeAdapter[Any]] = lru_cache(TypeAdapter)


def typed(value: object, of: type[_T]) -> _T:
    """Return a value as it is typed.

    Raises
    ------
    pydantic.ValidationError
        If it does not fit; a ValueError.
    """
    made: _T = _adapter(of).validate_python(value)
    return made


def record(of: type[_T], value: "DataclassInstance", **further: Any) -> _T:
    """Return a typed dictionary of the attributes of a dataclass, and of further values, which go before those.

    Raises
    ------
    pydantic.ValidationError
        If that is none; a fault of the caller's.
    """
    return typed({**asdict(value), **further}, of)
