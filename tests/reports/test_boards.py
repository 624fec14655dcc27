"""Will it fit, and what to do next: what the page tells follows from the report's own figures."""

from typing import Any

from xnorflow.reports.advice import advice
from xnorflow.reports.boards import BOARDS, fits


def test_each_board_takes_its_own_family_s_figures_or_says_that_it_does_not(report: Any) -> None:
    row = report["synthesis"][0]
    assert row["target"] == "ecp5"
    found = {fit.board.name: fit for fit in fits(report)}
    assert list(found) == [board.name for board in BOARDS if "ecp5" in board.families]
    assert found["ULX3S 25F"].used["LUT"] == row["total"]["lut"] and not found["ULX3S 25F"].lacking
    assert found["ULX3S 25F"].provenance == "placed-and-routed" and found["ULX3S 85F"].provenance == "synthesised"
    assert found["iCEBreaker"].provenance == found["Tang Nano 9K"].provenance == "estimated"
    share = row["total"]["lut"] / 24288
    assert abs(found["ULX3S 25F"].shares["LUT"] - share) < 1e-9


def test_the_first_resource_that_lacks_is_named(report: Any) -> None:
    report["synthesis"][0] |= {"placement": None}
    report["synthesis"][0]["total"] |= {"lut": 6000, "ff": 100, "bram": 10, "dsp": 0}
    found = {fit.board.name: fit for fit in fits(report)}
    assert found["iCEBreaker"].lacking == "LUT: 6,000 of 5,280" and not found["Tang Nano 9K"].lacking
    report["synthesis"][0]["total"] |= {"lut": 100, "bram": 27}
    found = {fit.board.name: fit for fit in fits(report)}
    assert found["iCEBreaker"].lacking == "BRAM: 122 of 30", "27 blocks of 18 Kb are 121.5 of 4 Kb"
    assert found["Tang Nano 9K"].lacking == "BRAM: 27 of 26" and not found["Tang Nano 20K"].lacking
    report["synthesis"] = []
    assert fits(report) == []


def test_what_is_wrong_comes_first_among_what_to_do(failed: Any) -> None:
    told = advice(failed, fits(failed))
    assert told[0].section == "mismatch-hls4ml_packed" and "hls4ml_packed is wrong" in told[0].text


def test_more_vectors_are_advised_where_they_prove_little(report: Any) -> None:
    assert not [one for one in advice(report, []) if one.section == "coverage"]
    report["coverage"]["found"]["share"] = 0.6
    assert [one.text for one in advice(report, []) if one.section == "coverage"] == [
        "Run more vectors: of hls4ml_packed's faults only 60.0% would have shown."
    ]
