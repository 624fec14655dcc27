"""Pipeline stages follow from the clock."""

import pytest
from tests.hls.rtl.networks import small_dense

from xnorflow.hls.delays import DELAYS, levels_per_stage
from xnorflow.hls.rtl.config import Folded, RtlConfig, Unrolled
from xnorflow.hls.rtl.cycles import cycles
from xnorflow.hls.rtl.project import plan


@pytest.mark.parametrize("clock_ns, levels", [(100, 3), (10, 3), (5, 2), (4, 1), (0.1, 1)])
def test_a_shorter_period_has_fewer_adders_in_a_row(clock_ns: float, levels: int) -> None:
    assert levels_per_stage(clock_ns) == levels


@pytest.mark.parametrize("clock_ns", [3.0, 4.5, 5.0, 6.3, 8.0])
def test_a_stage_of_several_adders_fits_into_the_period_of_every_family(clock_ns: float) -> None:
    levels = levels_per_stage(clock_ns)
    for delays in DELAYS.values():
        assert levels == 1 or delays.clock_to_q + levels * delays.adder + delays.setup <= clock_ns


@pytest.mark.parametrize("architecture", [Folded(2, 64), Unrolled()])
def test_the_clock_changes_the_latency_and_not_the_interval(architecture: Folded | Unrolled) -> None:
    network = small_dense(sizes=(300, 16, 4))
    slow, fast = (cycles(plan(network, RtlConfig(default=architecture, clock_ns=clock))) for clock in (10.0, 4.0))
    assert slow.latency < fast.latency and slow.interval == fast.interval


def test_what_is_set_stays() -> None:
    config = RtlConfig(layers={"dense1": Folded(1, 8, levels_per_stage=7)}, clock_ns=1)
    assert config.clocked("dense1") == Folded(1, 8, levels_per_stage=7)
    assert config.clocked("dense2") == Folded(levels_per_stage=1)
    assert config.of("dense2") == Folded()
