"""What a test knows of a value beyond its declared type: checked here, so that the type checker knows it, too."""

from typing import TypeVar

_T = TypeVar("_T")


def there(value: _T | None) -> _T:
    """Return a value that is not None."""
    assert value is not None
    return value


def a(kind: type[_T], value: object) -> _T:
    """Return a value of a class."""
    assert isinstance(value, kind), f"expected {kind.__name__}, got {type(value).__name__}"
    return value
