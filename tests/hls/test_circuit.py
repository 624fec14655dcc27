"""The C++ of hard-wired neurons, computed in Python statement by statement, gives the sums that numpy gives."""

import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Literal
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.narrowed import there

from xnorflow.hls.circuit import PART, circuit
from xnorflow.hls.storage import Storage


class Bits:
    """A number of some width: ``ap_uint``, or of two's complement ``ap_int``."""

    def __init__(self, width: int, value: int) -> None:
        self.width, self.value = width, value & ((1 << width) - 1)

    def __add__(self, other: "Bits") -> "Bits":
        return Bits(max(self.width, other.width) + 1, self.value + other.value)

    def __xor__(self, other: "Bits") -> "Bits":
        return Bits(1, self.value ^ other.value)

    def __and__(self, other: "Bits") -> "Bits":
        return Bits(1, self.value & other.value)

    def __or__(self, other: "Bits") -> "Bits":
        return Bits(1, self.value | other.value)


def bit(word: Any, place: int) -> Bits:
    value = word.value if isinstance(word, Bits) else int(word)
    assert place < (word.width if isinstance(word, Bits) else 64)
    return Bits(1, value >> place & 1)


WORDS: dict[str, Any] = {
    "bit": bit,
    "no": lambda word, place: Bits(1, 1 - bit(word, place).value),
    "join": lambda high, low: Bits(high.width + low.width, high.value << low.width | low.value),
    "unsigned": lambda width, value: Bits(width, value.value if isinstance(value, Bits) else int(value)),
}


def computed(expression: str, names: dict[str, Any]) -> Any:
    return eval(re.sub(r"ap_uint<(\d+)>\(", r"unsigned(\1, ", expression), {**WORDS, **names})  # noqa: S307


def function(parameters: str, body: list[str], width: int) -> Callable[..., Bits]:
    names = re.findall(r"const ap_uint<1> &(\w+)", parameters)

    def call(*values: Bits) -> Bits:
        assert len(values) == len(names) and all(value.width == 1 for value in values)
        known: dict[str, Any] = dict(zip(names, values, strict=True))
        for line in body:
            if line.startswith("const"):
                name, expression = there(re.fullmatch(r"const ap_uint<1> (\w+) = (.*);", line)).groups()
                known[name] = computed(expression, known)
            elif line.startswith("return"):
                result: Bits = computed(line.removeprefix("return ").rstrip(";"), known)
                assert result.width == width
                return result
        raise AssertionError("no result")

    return call


def outputs(text: str, x: list[int], counts: list[bool]) -> list[int]:
    """Run the circuit on the words of a window."""
    known: dict[str, Any] = {"x": x, "counts": counts}
    heads = re.findall(r"static ap_uint<(\d+)> (count_\w+)\((.*?)\) \{\n(.*?)\n    \}", text, re.S)
    for width, name, parameters, body in heads:
        known[name] = function(parameters, [line.strip() for line in body.splitlines()], int(width))
    y: dict[int, int] = {}
    widths = {name: int(width) for width, name in re.findall(r"^ {8}ap_uint<(\d+)> (s\d+);", text, re.MULTILINE)}
    known["s"] = SimpleNamespace()  # what parts share; all else is known to its own part alone
    for body in re.findall(r"static void part\d+\(.*?\) \{\n(.*?)\n    \}", text, re.DOTALL):
        names = dict(known)
        for line in body.splitlines():
            if found := re.fullmatch(r"\s*const ap_uint<(\d+)> (s\d+) = (.*);", line):
                names[found[2]] = Bits(int(found[1]), computed(found[3], names).value)
            elif found := re.fullmatch(r"\s*s\.(s\d+) = (.*);", line):
                setattr(known["s"], found[1], Bits(widths[found[1]], computed(found[2], names).value))
            elif found := re.fullmatch(r"\s*y\[(\d+)\] = (?:ap_int<(\d+)>\()?(.*?)(\))?;", line):
                expression = found[3] if found[2] else found[3] + (found[4] or "")
                value: Bits = computed(expression, names)
                assert not found[2] or value.width == int(found[2])
                below = found[2] and value.value >> value.width - 1
                y[int(found[1])] = value.value - (1 << value.width if below else 0)
    return [y[j] for j in range(len(y))]


@st.composite
def cases(draw: st.DrawFn) -> tuple[NDArray[np.int64], Storage, bool, bool, int]:
    kind: Literal["packed", "integer"] = draw(st.sampled_from(["packed", "integer"]))
    channels = draw(st.sampled_from([1, 3, 5, 64, 66]) if kind == "packed" else st.integers(1, 6))
    shape = (draw(st.integers(1, 4)), draw(st.sampled_from([1, 2, 4])), channels)
    seed = draw(st.integers(0, 2**32 - 1))
    weight = np.random.default_rng(seed).integers(-1, 2, shape)
    if draw(st.booleans()):
        weight = np.where(weight == 0, 1, weight)
    padded = kind == "packed" and draw(st.booleans())
    bits, signed = (draw(st.integers(1, 5)), draw(st.booleans())) if kind == "integer" else (1, False)
    storage = Storage(kind, (4, 4, channels), min(channels, 64) if kind == "packed" else bits, signed and bits > 1)
    return weight, storage, padded, draw(st.booleans()), seed


@given(cases(), st.sampled_from([1, 5, PART]))
def test_a_circuit_computes_the_sums_or_whether_they_reach_a_threshold(
    case: tuple[NDArray[np.int64], Storage, bool, bool, int], part: int
) -> None:
    weight, storage, padded, compare, seed = case
    _, taps, channels = weight.shape
    random = np.random.default_rng(seed)
    flat = weight.reshape(len(weight), -1)
    limit = int(np.abs(flat).sum(axis=1).max() + 1) << (0 if storage.kind == "packed" else storage.bits)
    thresholds = random.integers(-min(limit, 9), min(limit, 9), len(weight)) if compare else None
    with mock.patch("xnorflow.hls.circuit.PART", part):
        text = circuit(weight, thresholds, storage, padded)
    for _ in range(3):
        counts = [bool(on) for on in random.integers(0, 2, taps)] if padded else [True] * taps
        if storage.kind == "packed":
            values = random.choice([-1, 1], (taps, channels))
            words = [
                sum(1 << c - start for c in range(start, min(start + 64, channels)) if row[c] > 0)
                for row in values
                for start in range(0, channels, 64)
            ]
            values = values * np.array(counts)[:, None]
        else:
            low = -(1 << storage.bits - 1) if storage.signed else 0
            values = random.integers(low, low + (1 << storage.bits), (taps, channels))
            words = [int(v) & ((1 << storage.bits) - 1) for v in values.reshape(-1)]
        sums = flat @ values.reshape(-1)
        got = outputs(text, words, counts)
        assert got == ((sums >= thresholds).astype(int) if thresholds is not None else sums).tolist()


def test_a_circuit_tells_how_large_it_is() -> None:
    text = circuit(np.ones((2, 1, 9), np.int64), None, Storage("packed", (9,), 9, False), padded=False)
    adders = len(re.findall(r"const ap_uint<\d+> s\d+ =", text))  # of one part
    assert adders and re.search(rf"// 2 neurons of 9 inputs: {adders} adders, at most \d+ in a row\.", text)


def test_the_words_compute_as_those_of_the_kernels() -> None:
    assert (bit(5, 0).value, bit(5, 1).value, WORDS["no"](5, 1).value) == (1, 0, 1)
    assert (WORDS["join"](Bits(1, 1), Bits(2, 1)).value, (Bits(2, 3) + Bits(2, 3)).value) == (5, 6)
    with pytest.raises(AssertionError):
        bit(Bits(2, 1), 2)
