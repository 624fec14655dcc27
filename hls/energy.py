"""Energy per inference, estimated from the switching that a simulation has seen.

``energy = toggles * E_toggle + clocked register bits * E_clock + memory bits read * E_memory``, dynamic energy only.
The constants (:data:`CONSTANTS`) are published figures, none of them measured on the FPGA at hand: an estimate may be
off by :data:`UNCERTAINTY` either way. It is good for comparing designs with each other, not for sizing a battery.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from xnorflow.bnn.errors import UserError
from xnorflow.hls.rtl.lowering import Pipeline
from xnorflow.hls.rtl.units import Mvtu, Recurrence


@dataclass(frozen=True)
class Constant:
    """Energy of one event.

    Attributes
    ----------
    picojoules : float
    source : str
        Where it is from, and how it was computed from what stands there.
    """

    picojoules: float
    source: str


_HOROWITZ = "M. Horowitz, Computing's energy problem (and what we can do about it), ISSCC 2014, 45 nm at 0.9 V"
_ADDER = f"{_HOROWITZ}: 32-bit integer addition 0.1 pJ"
_FPGA = "I. Kuon and J. Rose, Measuring the gap between FPGAs and ASICs, IEEE TCAD 26(2), 2007: dynamic power x 14"

CONSTANTS = {
    "register_toggles": Constant(0.1 / 32 * 14, f"as a LUT's output: {_ADDER}; {_FPGA}"),
    "wire_toggles": Constant(0.1 / 32 * 14, f"one bit of an adder: {_ADDER}; {_FPGA}"),
    "clocked_bits": Constant(
        0.044e12 / (100e6 * 23_097),
        "Vivado 2019.2, power report of a routed design on an xc7z020 (28 nm): clocks 0.044 W at 100 MHz with 23,097"
        " registers; github.com/Liu-Zhiheng/hls4ml-pynqz2-vivado2019-2-results, vivado_reports/vivado_power_routed.rpt",
    ),
    "memory_bits": Constant(
        10 / 64,
        f"{_HOROWITZ}: 64 bits from 8 KiB of SRAM 10 pJ",
    ),
}
"""What each count of :class:`Activity` costs."""

UNCERTAINTY = 3.0
"""Factor by which an estimate may be wrong either way.

The same power report gives another figure for a toggle: 0.016 W of LUTs on 20,365 LUTs and 0.027 W of signals on 35,602
nets at 100 MHz are 0.14 pJ for both, if all toggle at Vivado's default rate of 12.5 % of the cycles (UG835,
``set_switching_activity``), three times the constant used here.
"""

FORMULA = (
    "sum over the terms of count x picojoules_each; dynamic energy, without leakage, inputs and outputs, and glitches"
)


#: The toggles of a bit, and a hash of its values over time.
_History = tuple[int, int]


@dataclass(frozen=True)
class Activity:
    """What happens in a design during one inference, on average.

    Attributes
    ----------
    register_toggles, wire_toggles : float
        Changes of single bits between 0 and 1, of registers and of all other nets.
    clocked_bits : float
        Register bits times clock cycles.
    memory_bits : float
        Bits read from memories.
    """

    register_toggles: float
    wire_toggles: float
    clocked_bits: float
    memory_bits: float


def activity(waveform: Path, clock: str, frames: int, memory_bits: float) -> Activity:
    """Count what a waveform shows.

    A waveform has a net once per module that it passes, and perhaps under several names. Bits in different modules that
    have the same values at all times are taken for one net; in one module there are as many nets of a history as
    registers or as wires, whichever are more. All clock cycles of the waveform count, so that one of few frames takes
    reset and filling of the pipeline for work. A waveform of the RTL has nets that end up inside LUTs; one of a
    synthesised netlist is closer to the truth.

    Parameters
    ----------
    waveform : Path
        FST or VCD.
    clock : str
        Name of the clock signal.
    frames : int
        Inferences in the waveform.
    memory_bits : float
        Bits read from memories per inference, which waveforms do not show; see :func:`memory_bits`.

    Raises
    ------
    UserError
        If the waveform cannot be read, has no such clock, or `frames` is not 1 or more.
    """
    if frames < 1:
        raise UserError(f"energy: a waveform of {frames} frames has no activity per frame")
    variables, edges = _read(waveform, clock)
    histories: dict[str, list[_History]] = {}  # by signal, which several variables can have in common
    register_bits: dict[str, int] = {}
    modules: dict[str, dict[str, Counter[_History]]] = defaultdict(lambda: {"Reg": Counter(), "Wire": Counter()})
    for variable in variables:
        if variable.var_type not in ("Reg", "Wire") or variable.name == clock:
            continue
        signal = str(variable.signal_id)  # the object itself is equal to no other
        if signal not in histories:
            histories[signal] = [history for history in _histories(variable.tv, variable.bitwidth) if history[0]]
        if variable.var_type == "Reg":
            register_bits[signal] = variable.bitwidth
        modules[variable.full_name.rpartition(".")[0]][variable.var_type].update(histories[signal])

    registers: Counter[_History] = Counter()
    nets: Counter[_History] = Counter()
    for kinds in modules.values():
        registers |= kinds["Reg"]  # the larger count of each history
        nets |= kinds["Reg"] | kinds["Wire"]
    register_toggles = sum(count * toggles for (toggles, _), count in registers.items())
    toggles = sum(count * toggles for (toggles, _), count in nets.items())
    return Activity(
        register_toggles / frames,
        (toggles - register_toggles) / frames,
        sum(register_bits.values()) * edges / frames,
        memory_bits,
    )


def toggles(waveform: Path, clock: str) -> tuple[int, dict[str, int]]:
    """Count how often every net changes.

    Parameters
    ----------
    waveform, clock
        As for :func:`activity`.

    Returns
    -------
    int
        Clock cycles in the waveform.
    dict
        Net -> changes between 0 and 1. A net is ``instance/instance/name``, without the top module, and ``name[i]`` for
        bit i of a vector.

    Raises
    ------
    UserError
        If the waveform cannot be read, or has no such clock.
    """
    variables, edges = _read(waveform, clock)
    found: dict[str, int] = {}
    counted: dict[str, list[int]] = {}  # by signal, which several variables can have in common
    for variable in variables:
        if variable.var_type not in ("Reg", "Wire") or variable.name == clock:
            continue
        signal = str(variable.signal_id)
        if signal not in counted:
            counted[signal] = [changes for changes, _ in _histories(variable.tv, variable.bitwidth)]
        scope = variable.full_name[: -len(variable.name)].strip(".").split(".")[1:]
        name = "/".join([*scope, variable.name.removeprefix("\\")])  # an escaped name of Verilog
        if len(counted[signal]) == 1:
            found[name] = counted[signal][0]
        else:
            found |= {f"{name}[{bit}]": count for bit, count in enumerate(counted[signal])}
    return edges, found


def _read(waveform: Path, clock: str) -> tuple[list[Any], int]:
    """Return a waveform's variables, and the rising edges of the clock."""
    import pywellen  # type: ignore[import-untyped]

    try:
        if not waveform.is_file():
            raise RuntimeError("no such file")
        variables = list(pywellen.Waveform(str(waveform)).all_vars())
    except RuntimeError as error:
        raise UserError(f"{waveform}: not a waveform in VCD or FST format: {error}") from None
    clocks = [variable for variable in variables if variable.name == clock]
    if not clocks:
        raise UserError(f"{waveform}: no signal {clock}, the clock, in it")
    return variables, sum(value == 1 for _, value in clocks[0].tv)


def _histories(changes: list[tuple[int, int | str]], width: int) -> list[_History]:
    """Return the history of each bit; one that is neither 0 nor 1 keeps its value."""
    toggles, history = [0] * width, [0] * width
    value = known = 0
    for time, change in changes:
        if isinstance(change, str):
            text = change.lower().rjust(width, change[0].lower() if change[0] not in "01" else "0")
            new = int("".join("1" if bit == "1" else "0" for bit in text), 2)
            defined = int("".join("1" if bit in "01" else "0" for bit in text), 2)
        else:
            new, defined = change, (1 << width) - 1
        changed = ((value ^ new) & known | ~known) & defined
        toggled = changed & known
        value = value & ~defined | new & defined
        known |= defined
        while changed:
            lowest = changed & -changed
            bit = lowest.bit_length() - 1
            toggles[bit] += bool(toggled & lowest)
            history[bit] = hash((history[bit], time, bool(value & lowest)))
            changed ^= lowest
    return list(zip(toggles, history))


def memory_bits(pipeline: Pipeline) -> int:
    """Return the bits of weights, and of vectors in memory, that the folded layers read per inference.

    An upper bound: small memories are made of LUTs, whose outputs count as wires already.
    """
    total = 0
    for unit in pipeline.units:
        matrix = unit.feedback if isinstance(unit, Recurrence) else unit
        if isinstance(matrix, Mvtu):
            word = ceil(matrix.weights.shape[0] / matrix.folds[0]) * matrix.simd * (1 + matrix.masked)
            steps = unit.source.vectors if isinstance(unit, Recurrence) else 1
            total += steps * matrix.interval * (word + matrix.source.width * matrix.in_words)
    return total


@dataclass(frozen=True)
class EnergyShare:
    """A term of an estimate.

    Attributes
    ----------
    name : str
        Of the attribute of :class:`Activity`.
    count : float
        Per inference.
    picojoules_each, picojoules : float
    source : str
        Of the constant.
    """

    name: str
    count: float
    picojoules_each: float
    picojoules: float
    source: str


@dataclass(frozen=True)
class EstimatedSwitching:
    """The dynamic energy of one inference, by :data:`FORMULA`.

    Attributes
    ----------
    picojoules : float
    low, high : float
        The same divided and multiplied by :data:`UNCERTAINTY`.
    terms : tuple of EnergyShare
    """

    picojoules: float
    low: float
    high: float
    terms: tuple[EnergyShare, ...]


def estimate(activity: Activity) -> EstimatedSwitching:
    """Estimate the dynamic energy of one inference."""
    terms = tuple(
        EnergyShare(name, count, constant.picojoules, count * constant.picojoules, constant.source)
        for name, constant in CONSTANTS.items()
        for count in [getattr(activity, name)]
    )
    total = sum(term.picojoules for term in terms)
    return EstimatedSwitching(total, total / UNCERTAINTY, total * UNCERTAINTY, terms)
