"""Names for what is added to a network."""

from collections.abc import Container


def fresh(name: str, *taken: Container[str]) -> str:
    """Return `name`, lengthened until it is in none of `taken`."""
    while any(name in names for names in taken):
        name += "_"
    return name
