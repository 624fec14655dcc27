"""Power at a given rate: what an inference switches, for each target, and what its device takes at rest.

Dynamic energy goes with capacitance times voltage squared, and capacitance with the size of the process: constants of
:mod:`xnorflow.hls.energy` are scaled from the process that they were published for to the target's. Static power is the
typical supply current at rest, from the data sheet of one device: others of a family take more or less. Which figures
were read in the data sheet itself, and which as others quote it, each source says.
"""

from collections.abc import Mapping
from dataclasses import dataclass

FORMULA = (
    "dynamic: each term x nanometres / its constant's x (volts / its constant's)^2; "
    "power = static + dynamic x images per second; energy = power / images per second"
)


@dataclass(frozen=True)
class Technology:
    """What a target's logic is made in.

    Attributes
    ----------
    nanometres, volts : float
        Of the process, and of the core's supply.
    source : str
    """

    nanometres: float
    volts: float
    source: str


@dataclass(frozen=True)
class Static:
    """Power of a device at rest.

    Attributes
    ----------
    device : str
    milliwatts : float
    source : str
        The data sheet, and what was computed from what stands there; "as quoted" where the figures were read in others'
        copies of its tables, not in the data sheet itself.
    """

    device: str
    milliwatts: float
    source: str


#: By target.
PROCESSES: Mapping[str, Technology] = {
    "xilinx7": Technology(28, 1.0, "AMD DS180, 7 Series FPGAs Data Sheet: Overview (as quoted)"),
    "ultrascale+": Technology(16, 0.85, "AMD DS890, UltraScale Architecture and Product Data Sheet (as quoted)"),
    "ecp5": Technology(40, 1.1, "Lattice FPGA-DS-02012, ECP5 and ECP5-5G Family Data Sheet (as quoted)"),
    "ice40": Technology(40, 1.2, "Lattice FPGA-DS-02008-1.9, iCE40 UltraPlus Family Data Sheet, 2.1 and table 4.6"),
}

#: By target; one that is not here is unknown.
STATIC: Mapping[str, Static] = {
    "xilinx7": Static(
        "XC7A35T",
        95 * 1.0,
        "AMD DS181, Artix-7 FPGAs Data Sheet, table 7: ICCINTQ 95 mA at 85 °C x 1.0 V, core alone (as quoted)",
    ),
    "ecp5": Static(
        "LFE5U-25F",
        77 * 1.1 + 16 * 2.5,
        "Lattice FPGA-DS-02012, 3.10, supply current (static): ICC 77 mA x 1.1 V and ICCAUX 16 mA x 2.5 V (as quoted)",
    ),
    "ice40": Static("iCE40UP5K", 0.075 * 1.2, "Lattice FPGA-DS-02008-1.9, table 4.6: ICCSTDBY 75 uA x 1.2 V"),
}

_HOROWITZ, _ZYNQ = Technology(45, 0.9, "M. Horowitz, ISSCC 2014"), Technology(28, 1.0, "an xc7z020")
#: The process that each constant of an estimate was published for.
_CONSTANTS = {
    "register_toggles": _HOROWITZ,
    "wire_toggles": _HOROWITZ,
    "memory_bits": _HOROWITZ,
    "clocked_bits": _ZYNQ,
}


@dataclass(frozen=True)
class PowerAtRate:
    """Power and energy of a design that is given images at a rate, by :data:`FORMULA`.

    Attributes
    ----------
    target : str
    device : str or None
        None, as all that follows from its static power, where that is unknown.
    static_mw : float or None
    dynamic_pj : float
        Of an inference.
    images_per_second : float
    power_mw, energy_nj : float or None
        The energy is of an inference.
    sources : tuple of str
    """

    target: str
    device: str | None
    static_mw: float | None
    dynamic_pj: float
    images_per_second: float
    power_mw: float | None
    energy_nj: float | None
    sources: tuple[str, ...]


def at_rate(target: str, picojoules: Mapping[str, float], images_per_second: float) -> PowerAtRate:
    """Estimate power and energy of a design that is given images at a rate.

    Parameters
    ----------
    target : str
        One of :data:`xnorflow.hls.synthesis.targets.TARGETS`.
    picojoules : mapping of str to float
        Of each term of the estimate, by its name, see :class:`xnorflow.hls.energy.EnergyShare`.
    images_per_second : float
        Above 0.
    """
    process, static = PROCESSES[target], STATIC.get(target)
    dynamic = sum(of * _factor(_CONSTANTS[name], process) for name, of in picojoules.items())
    power = static.milliwatts + dynamic * 1e-9 * images_per_second if static else None
    return PowerAtRate(
        target,
        static.device if static else None,
        static.milliwatts if static else None,
        dynamic,
        images_per_second,
        power,
        None if power is None else power * 1e6 / images_per_second,
        (process.source, *([static.source] if static else [])),
    )


def _factor(published: Technology, target: Technology) -> float:
    return target.nanometres / published.nanometres * (target.volts / published.volts) ** 2
