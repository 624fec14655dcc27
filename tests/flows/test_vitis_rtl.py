"""A flow simulates the RTL that Vitis HLS wrote where a synthesised project lies in the job's folder, else skips it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.cosim.vitis import NETWORK, needs_icarus, sample

from xnorflow.bnn import io
from xnorflow.flows import run, subject
from xnorflow.flows.engines import ENGINES
from xnorflow.flows.options import Options

pytestmark = [needs_icarus, pytest.mark.slow]


def test_the_engine_is_skipped_then_passes_then_fails(tmp_path: Path) -> None:
    kinds = tuple(kind for kind in ENGINES if kind.name in ("hls4ml_packed", "rtl_vitis"))
    io.save(NETWORK, tmp_path / "sample.safetensors")

    def engine() -> dict[str, Any]:
        outcome = run.run(
            subject.find(str(tmp_path / "sample.safetensors")),
            Console(quiet=True),
            vectors=300,
            options=Options(targets=()),
            build=tmp_path / "build",
            reports=tmp_path / "reports",
            engines=kinds,
        )
        found: dict[str, Any] = json.loads((outcome.report / "report.json").read_text())["engines"]["rtl_vitis"]
        return found

    skipped = engine()
    assert skipped["status"] == "skipped" and "Vitis HLS has not synthesised" in skipped["reason"]

    sample(tmp_path / "made")
    (job,) = (tmp_path / "build" / "sample" / "vendor_hls4ml_packed").glob("*/project")
    shutil.copytree(tmp_path / "made" / "project", job, dirs_exist_ok=True)
    for _ in range(2):  # the second time all is reused
        passed = engine()
        assert (passed["status"], passed["vectors"], passed["mismatches"]) == ("pass", 200, 0)
        assert "slow: took the first 200" in passed["reason"] and "resets" in passed["reason"]

    (rom,) = job.rglob("sample_top_weights.dat")
    first, *rest = rom.read_text().split()
    rom.write_text("\n".join([f"{int(first, 16) ^ 4:03x}", *rest]))
    failed = engine()
    assert failed["status"] == "fail" and failed["mismatches"] > 0
    assert (failed["first_mismatch"]["layer"], failed["first_mismatch"]["channel"]) == ("scores", 0)
    assert failed["waveform"] == "waveform_rtl_vitis.fst"
