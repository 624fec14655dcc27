import copy
from typing import Any

import pytest

from xnorflow.reports.findings import findings
from xnorflow.reports.requirements import KINDS, check


@pytest.fixture
def report(passing: Any) -> Any:
    return {**copy.deepcopy(passing), "vendor": [], "asic": []}


def one(report: Any, what: str, asked: dict[str, Any] | float, **more: str) -> Any:
    (row,) = check(report, {what: asked, **more})
    assert row["what"] == what
    return row


def test_the_best_figure_counts_with_its_provenance(report: Any) -> None:
    row = one(report, "lut", 1250)
    assert (row["status"], row["found"], row["provenance"]) == ("fail", 1300, "placed-and-routed")
    assert row["reason"] == ("at most 1,250 LUTs required, 1,300 found: placed-and-routed, nextpnr 0.11 on ecp5-25k")
    report["synthesis"][0]["placement"] = None
    assert one(report, "lut", 1250)["provenance"] == "synthesised"
    assert one(report, "lut", 1194)["status"] == "pass"
    assert one(report, "lut", 1193.9)["status"] == "fail"


@pytest.mark.parametrize(
    "what, met, unmet",
    [
        ("latency_ns", 140_839, 140_837),  # 12,345 cycles at 87.654 MHz
        ("images_per_second", 129_282, 129_284),
        ("clock_mhz", 87.654, 87.66),
        ("bram", 0, None),
        ("power_mw", 124.71, 124.70),
        ("energy_nj", 124_703, 124_702),
        ("coverage", 0.99998, 0.99999),
        ("accuracy", 0.9722, 0.9723),  # as recorded on MNIST; what was measured is of other images
    ],
)
def test_limits_from_both_sides(report: Any, what: str, met: float, unmet: float | None) -> None:
    assert one(report, what, met)["status"] == "pass"
    if unmet is not None:
        assert one(report, what, unmet)["status"] == "fail"


def test_a_provenance_that_is_demanded(report: Any) -> None:
    asked = {"limit": 1250, "provenance": "synthesised"}
    assert one(report, "lut", asked)["status"] == "pass"
    row = one(report, "clock_mhz", {"limit": 1.0, "provenance": "vendor"})
    assert (row["status"], row["found"]) == ("unknown", None)
    assert row["reason"] == "at least 1 MHz required, and no figure vendor is there"


def test_a_target_leaves_others_out(report: Any) -> None:
    assert one(report, "lut", 5000, target="ecp5")["found"] == 1300
    assert one(report, "clock_mhz", 50, target="ice40")["status"] == "unknown"
    assert one(report, "power_mw", 500, target="ultrascale+")["status"] == "unknown"


def test_cycles_at_the_clock_asked_for_are_better_than_nothing(report: Any) -> None:
    report["synthesis"] = []
    row = one(report, "latency_ns", 123_450)
    assert (row["status"], row["found"], row["provenance"]) == ("pass", 123_450, "simulated")
    report["latency"] = []
    assert one(report, "latency_ns", 123_450)["provenance"] == "estimated"
    assert one(report, "lut", 4321)["provenance"] == "estimated"


def test_nothing_is_known_of_a_network_without_hardware(report: Any) -> None:
    report |= {"synthesis": [], "latency": [], "energy": None, "rtl": None}
    report["accuracy"] = dict.fromkeys(report["accuracy"])
    report["coverage"]["found"] = None
    assert [row["status"] for row in check(report, dict.fromkeys(KINDS, 1.0))] == ["unknown"] * len(KINDS)


def test_unmet_ones_fail_a_report_and_unknown_ones_are_told(report: Any) -> None:
    report["requirements"] = check(report, {"lut": 1, "clock_mhz": {"limit": 1, "provenance": "vendor"}, "bram": 9})
    told = {finding.what: finding.status for finding in findings(report) if "requirement" in finding.what}
    assert told == {"requirement lut": "fail", "requirement clock_mhz": "unknown"}
