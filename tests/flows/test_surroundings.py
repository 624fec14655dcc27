"""The whole flow with its real tools where names and settings are hostile, and several flows at once."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cocotb
import pytest
from tests.flows import fakes

from xnorflow.bnn.io import save
from xnorflow.flows.cache import PROJECT

HOSTILE = """it's "my" größe $x;,#% `id` \\n"""
SOURCES = ("bnn", "models", "hls", "cosim", "flows", "reports", "src")


def started(checkout: Path, folder: Path, *words: Any) -> Any:
    """Start a flow from a checkout on an ASCII terminal, without HOME and nearly all else."""
    folder.mkdir(exist_ok=True)
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    return subprocess.Popen(
        [sys.executable, "-m", "xnorflow", "run", *words, "--vectors", "4", "--config", checkout / "quick.toml"],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(checkout / "src")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def ended(flow: Any, report: Any) -> Any:
    """Wait for a flow; return the report, and what it said, without the engines that are skipped."""
    said, complaints = (text.decode("ascii") for text in flow.communicate(timeout=600))
    assert (flow.returncode, complaints) == (0, ""), said + complaints
    assert "verdict: pass" in said
    engines = json.loads((report / "report.json").read_text())["engines"]
    statuses = {name: engine["status"] for name, engine in engines.items() if engine["status"] != "skipped"}
    return statuses, [line for line in said.splitlines() if line.startswith("+ ")]


@pytest.fixture
def checkout(tmp_path: Path) -> Any:
    """Give a checkout in a folder with a hostile name."""
    folder = tmp_path / HOSTILE
    for name in SOURCES:
        ignored = shutil.ignore_patterns("__pycache__", "checkpoints")
        shutil.copytree(PROJECT / name, folder / name, symlinks=True, ignore=ignored)
    shutil.copytree(Path(cocotb.__file__).parent, folder / "src" / "cocotb")  # as if it were installed in the checkout
    (folder / "quick.toml").write_text('[synthesis]\ntargets = ["xilinx7"]\n')
    return folder


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("iverilog"), reason="needs iverilog: apt-get install iverilog")
def test_a_flow_passes_whatever_the_places_are_called(tmp_path: Path, checkout: Path) -> None:
    model, out = tmp_path / "größe '8'.safetensors", tmp_path / f"out {HOSTILE}"
    save(fakes.network(), model)
    work = checkout / "my runs"
    statuses, _ = ended(started(checkout, work, model, "--out", out), out)
    assert set(statuses.values()) == {"pass"}
    assert {"hls4ml_packed", "rtl_icarus", "rtl_cxxrtl", "netlist"} <= set(statuses)

    # The same checkout by a link is the same: what is there is reused.
    link = tmp_path / "link"
    link.symlink_to(checkout)
    again, lines = ended(started(link, link / "my runs", model, "--out", out), out)
    assert again == statuses
    assert [line for line in lines if "reused" not in line] == []


@pytest.mark.slow
def test_flows_at_once_on_two_models_both_pass(tmp_path: Path) -> None:
    flows = {}
    for name in ("one", "two"):
        save(fakes.network(name), tmp_path / f"{name}.safetensors")
        command: list[str | Path] = [
            sys.executable,
            "-m",
            "tests.flows.fakes",
            tmp_path,
            "run",
            tmp_path / f"{name}.safetensors",
        ]
        flows[name] = subprocess.Popen(
            [*command, "--vectors", "300"],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    for name, flow in flows.items():
        said, _ = flow.communicate(timeout=120)
        assert flow.returncode == 0, said
        report = json.loads((tmp_path / "reports" / name / "report.json").read_text())
        assert (report["verdict"], report["model"]) == ("pass", name)
        assert "waiting for another flow" not in said
