"""Loops over time: the steps that a framework's loop leaves one by one, found again as one operation.

A loop that runs over a sequence comes as copies of its body: sums of a step's input and of the state before it, by the
same weights in every step, and the same thresholds. The first step has no state, or a constant one, which its
thresholds hold. All of it is one convolution of 1 x 1 and one :class:`~xnorflow.bnn.network.Recurrent`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.network import (
    MAX_SHIFT,
    MAX_WEIGHT,
    Add,
    Conv2d,
    Dense,
    Flatten,
    IntArray,
    Operation,
    Recurrent,
    Signal,
    Threshold,
)

Known = Mapping[str, Operation]


@dataclass(frozen=True, eq=False)
class Term:
    """A part of a sum: ``weight @ source``; weight int64, shape (channels, source's values)."""

    source: str
    weight: IntArray


@dataclass(frozen=True, eq=False)
class Loop:
    """A loop over all steps of a sequence.

    Attributes
    ----------
    states : tuple of str
        The thresholds that give the state of each step.
    image : str or Loop
        What is multiplied in each step: the pixels of an image, or the states of a loop before.
    weight : int64 array, shape (channels, inputs)
    state_weight : int8 array, shape (channels, channels)
    shift : int
        Binary places by which the state's part counts more.
    threshold : Threshold
        Of all steps but the first.
    first : int64 array, shape (channels,)
        The thresholds of the first.
    """

    states: tuple[str, ...]
    image: "str | Loop"
    weight: IntArray
    state_weight: NDArray[np.int8]
    shift: int
    threshold: Threshold
    first: IntArray

    def operations(self, source: str, sums: str, name: str, last: bool) -> tuple[Conv2d, Recurrent]:
        """Return the operations under their names; `source` is the image."""
        product = Conv2d(sums, (source,), weight=self.weight[:, None, None, :])
        settings = self.threshold.threshold, self.first, self.threshold.direction, self.shift, last
        return product, Recurrent(name, (sums,), self.state_weight, *settings)


def distinct(operations: Iterable[Operation]) -> Known:
    """Return operations by name, where one stands for all thresholds that compare the same sum in the same way.

    A state that is read in several places has been compared in each.
    """
    known: dict[str, Operation] = {}
    thresholds: dict[tuple[str, ...], list[Threshold]] = {}
    for operation in operations:
        inputs = tuple(known[name].name for name in operation.inputs)
        made = operation if inputs == operation.inputs else replace(operation, inputs=inputs)
        if isinstance(made, Threshold):
            equal = (other for other in thresholds.setdefault(inputs, []) if _equal(other, made))
            if (before := next(equal, None)) is not None:
                known[operation.name] = before
                continue
            thresholds[inputs].append(made)
        known[operation.name] = made
    return known


def loop_of(states: Sequence[str], known: Known, signals: Mapping[str, Signal]) -> Loop | None:
    """Return the loop whose steps give `states`, if they are all the steps of one over a whole sequence.

    Parameters
    ----------
    states : sequence of str
    known : mapping of str to Operation
        As :func:`distinct` gives them.
    signals : mapping of str to Signal
    """
    loop = _ending(known[states[-1]].name, known, signals)
    return loop if loop and loop.states == tuple(known[state].name for state in states) else None


def loops(known: Known, signals: Mapping[str, Signal]) -> dict[str, Loop]:
    """Return every loop over a whole sequence, by its last state, under all its names."""
    found = {name: _ending(operation.name, known, signals) for name, operation in known.items()}
    return {name: loop for name, loop in found.items() if loop is not None}


def term_of(name: str, known: Known) -> Term | None:
    """Follow layers without anything between them back to what they multiply; None where `name` is no such layer."""
    weight: IntArray | None = None
    while isinstance(operation := known[name], Dense):
        mine = operation.weight.astype(np.int64)
        weight = mine if weight is None else weight @ mine
        (name,) = operation.inputs
    return None if weight is None else Term(operation.name, weight)


def _terms(threshold: Operation, known: Known) -> list[Term]:
    """Return the terms of the sum that a threshold compares; none where it is no sum of one or two layers."""
    if not isinstance(threshold, Threshold):
        return []
    source = known[threshold.inputs[0]]
    names, shifts = (source.inputs, source.shifts) if isinstance(source, Add) else ((source.name,), (0,))
    terms = [term_of(name, known) for name in names]
    found = [Term(term.source, term.weight << shift) for term, shift in zip(terms, shifts, strict=True) if term]
    return found if len(found) == len(names) <= 2 else []


def _ending(last: str, known: Known, signals: Mapping[str, Signal]) -> Loop | None:
    """Return the loop whose last state is `last`, if there is one."""
    terms = _terms(known[last], known)
    if len(terms) == 2:
        for state, given in (terms, terms[::-1]):
            loop = _followed(last, state.weight, given.weight, known, signals)
            if loop is not None:
                return loop
    return None


def _followed(
    last: str, state_weight: IntArray, weight: IntArray, known: Known, signals: Mapping[str, Signal]
) -> Loop | None:
    """Follow a loop from its last step back to the first, `state_weight` being what its state is multiplied by."""
    threshold = known[last]
    assert isinstance(threshold, Threshold)
    states, given = [last], list[Term]()
    while len(terms := _terms(known[states[-1]], known)) == 2:
        if not _equal(known[states[-1]], threshold):
            return None
        of_state = [term for term in terms if np.array_equal(term.weight, state_weight)]
        others = [term for term in terms if term.weight.shape == weight.shape and term not in of_state[:1]]
        if not of_state or not others or not isinstance(known[of_state[0].source], Threshold):
            return None
        given.append(others[0])
        states.append(of_state[0].source)
    first = known[states[-1]]
    if len(terms) != 1 or not isinstance(first, Threshold) or len(first.direction) != len(threshold.direction):
        return None
    bounds = _turned(first, threshold.direction, signals[first.inputs[0]])
    states, given = states[::-1], [terms[0], *given[::-1]]
    found = _image(given, known, signals)
    shifted = _powers(state_weight)
    if found is None or shifted is None or bounds is None or np.abs(found[1]).max() > MAX_WEIGHT:
        return None
    return Loop(tuple(states), *found, *shifted, threshold, bounds)


def _turned(first: Threshold, direction: NDArray[np.int8], x: Signal) -> IntArray | None:
    """Return thresholds of the first step in the directions of the others: what always or never holds has any."""
    up, other = first.direction > 0, first.direction != direction
    always = np.where(up, first.threshold <= x.low, first.threshold >= x.high)
    never = np.where(up, first.threshold > x.high, first.threshold < x.low)
    if (other & ~always & ~never).any():
        return None
    ends = np.where(direction > 0, np.where(always, x.low, x.high + 1), np.where(always, x.high, x.low - 1))
    return np.where(other, ends, first.threshold)


def _equal(operation: Operation, threshold: Threshold) -> bool:
    return (
        isinstance(operation, Threshold)
        and np.array_equal(operation.threshold, threshold.threshold)
        and np.array_equal(operation.direction, threshold.direction)
    )


def _image(given: list[Term], known: Known, signals: Mapping[str, Signal]) -> tuple["str | Loop", IntArray] | None:
    """Return what the steps' terms are of, a pixel each and all of them in order, and the weights that they share."""
    sources = [term.source for term in given]
    if len(set(sources)) == len(sources) and all(np.array_equal(term.weight, given[0].weight) for term in given):
        before = loop_of(sources, known, signals)
        return None if before is None else (before, given[0].weight)
    flat = known[sources[0]]
    if set(sources) != {flat.name} or not isinstance(flat, Flatten):
        return None
    (image,) = flat.inputs
    shape = signals[image].shape
    pixels = [term.weight.reshape(len(term.weight), -1, shape[-1]) for term in given]
    if len(shape) != 3 or pixels[0].shape[1] != len(given):
        return None
    weight: IntArray = pixels[0][:, 0]
    for step, by_pixel in enumerate(pixels):
        if not np.array_equal(by_pixel[:, step], weight) or np.delete(by_pixel, step, axis=1).any():
            return None
    return image, weight


def _powers(weight: IntArray) -> tuple[NDArray[np.int8], int] | None:
    """Return weights of -1, 0 and +1, and the shift that makes `weight` of them, if there is one."""
    largest = int(np.abs(weight).max())
    shift = max(0, largest.bit_length() - 1)
    if shift > MAX_SHIFT or not np.isin(weight, (-(1 << shift), 0, 1 << shift)).all():
        return None
    return (weight >> shift).astype(np.int8), shift
