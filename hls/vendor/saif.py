"""The switching that our simulation has seen, as SAIF 2.0 (IEEE 1801, annex I) for Vivado's ``read_saif``."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.errors import UserError

#: Instance around the top module's. ``read_saif`` strips two levels from a file whose levels it is not told.
_BENCH = "bench"

Counts = list[tuple[int, int, int, int]]
"""Of each bit, lowest first: the time at 0, at 1 and at neither, in units of the simulator, and its changes."""


def instance(top: str) -> str:
    """Return the top module's instance in the file, as ``read_saif -strip_path`` takes it."""
    return f"{_BENCH}/{top}"


def write(waveform: Path, into: Path, top: str, clock: str, clock_ns: float) -> None:
    """Write how long each bit of each net of the design was 0 and 1, and how often it changed.

    The simulator's clock is not the design's: times are scaled so that a clock period has `clock_ns`. A net has its
    name in the RTL and, of more than one bit, its index; the same waveform gives the same file.

    Parameters
    ----------
    waveform : Path
        FST or VCD, of which the top module is the outermost scope.
    into : Path
    top, clock : str
        Names of the top module and its clock.
    clock_ns : float
        Clock period of the design, in nanoseconds.

    Raises
    ------
    UserError
        If the waveform cannot be read, or has no such clock with two rising edges.
    """
    import pywellen  # type: ignore[import-untyped]

    try:
        if not waveform.is_file():
            raise RuntimeError("no such file")
        variables = pywellen.Waveform(str(waveform)).all_vars()
    except RuntimeError as error:
        raise UserError(f"{waveform}: not a waveform in VCD or FST format: {error}") from None
    changes: list[tuple[int, int | str]]
    changes = next((variable.tv for variable in variables if variable.full_name == f"{top}.{clock}"), [])
    rising = [time for time, value in changes if value == 1]
    if len(rising) < 2:
        raise UserError(f"{waveform}: no two rising edges of {top}.{clock}, the clock, in it")
    period = (rising[-1] - rising[0]) / (len(rising) - 1)
    ticks = clock_ns * 1000 / period  # picoseconds for each unit of the simulator's time
    end = changes[-1][0]
    nets: dict[str, dict[str, Counts]] = {}
    counted: dict[str, Counts] = {}  # by signal, which several variables can have in common
    for variable in variables:
        if variable.var_type not in ("Reg", "Wire"):
            continue
        signal = str(variable.signal_id)
        if signal not in counted:
            counted[signal] = _count(variable.tv, variable.bitwidth, end)
        scope, _, name = variable.full_name.rpartition(".")
        nets.setdefault(scope, {})[name] = counted[signal]
    lines = ["(SAIFILE", '(SAIFVERSION "2.0")', '(DIRECTION "backward")', f'(DESIGN "{top}")', '(VENDOR "xnorflow")']
    lines += ["(DIVIDER / )", "(TIMESCALE 1 ps)", f"(DURATION {round(end * ticks)})", f"(INSTANCE {_BENCH}"]
    lines += [*_instance(nets, top, ticks), ")", ")"]
    into.write_text("\n".join(lines) + "\n")


def _instance(nets: dict[str, dict[str, Counts]], scope: str, ticks: float) -> Iterator[str]:
    """Yield the lines of an instance and of those inside it."""
    yield f"(INSTANCE {scope.rpartition('.')[2]}"
    if own := nets.get(scope):
        yield "(NET"
        for name, bits in sorted(own.items()):
            for index, (low, high, unknown, toggles) in enumerate(bits):
                net = name if len(bits) == 1 else rf"{name}\[{index}\]"
                times = f"(T0 {round(low * ticks)}) (T1 {round(high * ticks)}) (TX {round(unknown * ticks)})"
                yield f"({net} {times} (TC {toggles}))"
        yield ")"
    level = scope.count(".") + 1
    inside = {".".join(other.split(".")[: level + 1]) for other in nets if other.startswith(f"{scope}.")}
    for inner in sorted(inside):
        yield from _instance(nets, inner, ticks)
    yield ")"


def _count(changes: list[tuple[int, int | str]], width: int, end: int) -> Counts:
    """Count the time that each bit has each value, in the simulator's units, and its changes between 0 and 1.

    A change from or to a value that is neither is none, as in :mod:`xnorflow.hls.energy`.
    """
    if not changes:
        return [(0, 0, end, 0)] * width
    times = np.array([time for time, _ in changes] + [end], np.int64)
    spent = np.diff(np.minimum(times, end))
    bits = np.stack([_bits(value, width) for _, value in changes])  # time, bit
    before = bits[0]
    toggles = np.zeros(width, np.int64)
    for now in bits[1:]:
        toggles += (now <= 1) & (before <= 1) & (now != before)
        before = np.where(now <= 1, now, before)
    low, high = (spent @ (bits == value) for value in (0, 1))
    unknown = end - low - high
    return list(zip(low.tolist(), high.tolist(), unknown.tolist(), toggles.tolist()))


def _bits(value: int | str | Any, width: int) -> NDArray[np.uint8]:
    """Return the bits of a value, lowest first; 2 for one that is neither 0 nor 1."""
    if isinstance(value, str):
        text = value.lower().rjust(width, value[0].lower() if value[0] not in "01" else "0")
        return np.array([{"0": 0, "1": 1}.get(bit, 2) for bit in reversed(text)], np.uint8)
    packed = np.frombuffer(int(value).to_bytes(-(-width // 8), "little"), np.uint8)
    return np.unpackbits(packed, bitorder="little", count=width)
