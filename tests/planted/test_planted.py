"""The table of planted edits is up to date, and its mechanism tells a fault from none; ``__main__`` runs all of it."""

import shutil
from typing import Any

import pytest
from tests.planted.__main__ import planted
from tests.planted.edits import CPP, TABLES, VERILOG
from tests.planted.networks import CASES

from xnorflow.flows.cache import PROJECT

EDITS = [edit for table in TABLES.values() for edit in table]


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: f"{edit.file}: {edit.old}")
def test_the_text_of_an_edit_is_there_once(edit: Any) -> None:
    assert (PROJECT / edit.file).read_text().count(edit.old) == 1 and edit.old != edit.new
    assert edit.network in CASES


def test_every_template_of_verilog_has_edits() -> None:
    templates = {path.name for path in (PROJECT / "hls/rtl/templates").glob("*.v.j2")} - {"ports.v.j2"}
    assert {edit.file.rpartition("/")[2] for edit in VERILOG} >= templates and len(VERILOG) >= 45


def test_every_file_of_cpp_that_computes_or_compares_has_edits() -> None:
    ours = PROJECT / "hls/nnet_utils"
    files = {f"hls/nnet_utils/{path.relative_to(ours)}" for path in ours.rglob("*.h")} - {
        "hls/nnet_utils/lanes/ap_fixed.h"  # as a vendor's, it only names ap_int.h's types
    }
    files |= {f"hls/templates/{name}.j2" for name in ("csim.cpp", "dut.h", "test.cpp")} | {"hls/circuit.py"}
    assert {edit.file for edit in CPP} == files and len(CPP) >= 100


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "why"), [("if adder.carry", "vector"), ("return vectors && !wrong", "expected status")]
)
@pytest.mark.skipif(not shutil.which("g++"), reason="needs g++: apt-get install g++")
def test_an_edit_of_cpp_is_caught(old: str, why: str) -> None:
    edit = next(edit for edit in CPP if old in edit.old)
    assert planted(edit, edit.network).startswith(f"caught: {why}")


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("iverilog"), reason="needs iverilog: apt-get install iverilog")
def test_an_edit_is_caught_and_none_is_equal() -> None:
    edit = next(edit for edit in VERILOG if "threshold" in edit.file)
    assert planted(None, edit.network) == "equal"
    assert planted(edit, edit.network).startswith("caught: vector")
    assert planted(edit._replace(old="no such text"), edit.network) == "text not found once"
    assert planted(edit._replace(new="nonsense {{ '>=' if unit.direction[channel] > 0"), edit.network).startswith(
        "broken"
    )
