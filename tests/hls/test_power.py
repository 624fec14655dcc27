import pytest
from tests.narrowed import there

from xnorflow.hls import power
from xnorflow.hls.energy import CONSTANTS, Activity, estimate
from xnorflow.hls.synthesis.targets import TARGETS

TERMS = {term.name: term.picojoules for term in estimate(Activity(1000, 2000, 3000, 4000)).terms}


def test_every_target_and_constant_is_known() -> None:
    assert set(power.PROCESSES) == set(TARGETS)
    assert set(power._CONSTANTS) == set(CONSTANTS)
    for target in TARGETS:
        assert power.at_rate(target, TERMS, 1.0).dynamic_pj > 0


def test_dynamic_energy_goes_with_the_process() -> None:
    clocked = {"clocked_bits": TERMS["clocked_bits"]}
    assert power.at_rate("xilinx7", clocked, 1.0).dynamic_pj == TERMS["clocked_bits"]  # published for 28 nm
    ice40 = power.at_rate("ice40", clocked, 1.0).dynamic_pj
    assert ice40 == pytest.approx(TERMS["clocked_bits"] * 40 / 28 * 1.2**2)


def test_static_power_dominates_low_rates() -> None:
    slow, fast = (power.at_rate("ecp5", TERMS, rate) for rate in (1.0, 1e6))
    assert slow.static_mw == pytest.approx(77 * 1.1 + 16 * 2.5)
    assert slow.energy_nj == pytest.approx(there(slow.static_mw) * 1e6, rel=1e-3)
    assert fast.power_mw == pytest.approx(there(fast.static_mw) + fast.dynamic_pj * 1e-3)
    assert fast.energy_nj == pytest.approx(fast.power_mw)


def test_what_no_data_sheet_tells_is_unknown() -> None:
    made = power.at_rate("ultrascale+", TERMS, 1000.0)
    assert [made.device, made.static_mw, made.power_mw, made.energy_nj] == [None] * 4
