"""How a value of the Network is stored in a project: the width of integers, and bits single or packed."""

from dataclasses import dataclass
from typing import Literal

from xnorflow.bnn.network import Signal
from xnorflow.bnn.packing import WORD, words


@dataclass(frozen=True)
class Storage:
    """How a signal is stored, channels last.

    Attributes
    ----------
    kind : {"integer", "sign", "packed"}
        Integers; bipolar values as one bit each; bipolar values as bits of words of up to 64 channels.
    shape : tuple of int
        Shape of the signal.
    bits : int
        Width of an element.
    signed : bool
    """

    kind: Literal["integer", "sign", "packed"]
    shape: tuple[int, ...]
    bits: int
    signed: bool

    @property
    def channels(self) -> int:
        """Values per pixel."""
        return self.shape[-1]

    @property
    def elements(self) -> int:
        """Elements per pixel: values, or words of packed values."""
        return words(self.channels) if self.kind == "packed" else self.channels

    @property
    def pixels(self) -> int:
        """Number of pixels, 1 for a vector."""
        count = 1
        for length in self.shape[:-1]:
            count *= length
        return count

    @property
    def codec(self) -> str:
        """The C++ type that converts to and from plain integers (plain_integers.h)."""
        return f"plain::{self.kind}<{self.channels}>"


def packed(signal: Signal) -> Storage:
    """Bipolar values in words, integers as narrow as their range."""
    if signal.bipolar:
        return Storage("packed", signal.shape, min(signal.channels, WORD), False)
    return integer(signal)


def integer(signal: Signal, margin: int = 0) -> Storage:
    """Integers of the signal's range widened by `margin` at both ends."""
    low, high = int(signal.low.min()) - margin, int(signal.high.max()) + margin
    return Storage("integer", signal.shape, bits(low, high), low < 0)


def bits(low: int, high: int) -> int:
    """Width of an integer that holds low to high: two's complement if low is negative, else unsigned."""
    if low < 0:
        return max(high.bit_length() if high > 0 else 0, (-low - 1).bit_length()) + 1
    return max(1, high.bit_length())
