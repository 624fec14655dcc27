"""What one process has compiled, another takes up without compiling anything, and only if it is of the same files."""

import shutil
from pathlib import Path

import pytest
from tests import strategies
from tests.cosim.rtl_by_hand import NETWORK, totals

from xnorflow.cosim.compare import compare
from xnorflow.cosim.engine import EngineError
from xnorflow.cosim.rtl_cxxrtl import RtlCxxrtl
from xnorflow.cosim.rtl_icarus import RtlIcarus


@pytest.mark.parametrize(("kind", "program"), [(RtlIcarus, "iverilog"), (RtlCxxrtl, "g++")])
def test_attach_compiles_nothing(tmp_path: Path, kind: type[RtlIcarus | RtlCxxrtl], program: str) -> None:
    if not shutil.which(program):
        pytest.skip(f"needs {program}: apt-get install {program}")
    inputs = strategies.inputs_for(NETWORK, 2)
    prepared, attached = (kind(totals(tmp_path / "rtl")) for _ in range(2))
    with pytest.raises(EngineError, match="no compiled simulation of the RTL in "):
        attached.attach(NETWORK, tmp_path)
    prepared.prepare(NETWORK, tmp_path)
    expected = prepared.run(inputs)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    attached.attach(NETWORK, tmp_path)
    assert compare(NETWORK, expected, attached.run(inputs)).first is None
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before
    totals(tmp_path / "rtl", "wrong sign")
    with pytest.raises(EngineError, match="no compiled simulation"):
        attached.attach(NETWORK, tmp_path)
