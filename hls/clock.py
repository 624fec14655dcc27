"""The clock periods that hardware can be asked for."""

from xnorflow.bnn.errors import UserError

SHORTEST_NS, LONGEST_NS = 0.01, 1e6
"""No FPGA or ASIC is clocked at 100 GHz, nor at 1 kHz for its speed."""

LIMITS = f"in nanoseconds, {SHORTEST_NS} to {LONGEST_NS:,.0f}"


def check(clock_ns: object, where: str) -> None:
    """Raise a UserError that begins with `where` if a period cannot be one."""
    number = isinstance(clock_ns, int | float) and not isinstance(clock_ns, bool)
    if not number or not SHORTEST_NS <= clock_ns <= LONGEST_NS:  # type: ignore[operator]
        raise UserError(f"{where}: clock_ns must be a period {LIMITS}, got {clock_ns!r}")
