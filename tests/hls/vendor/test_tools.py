"""Tools are found on PATH or where the user says, and a missing one is told with what to do."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.hls.vendor.fakes import Fakes

from xnorflow.hls.vendor import tools
from xnorflow.hls.vendor.tools import VendorError, VendorTool, VendorToolMissing


@pytest.mark.parametrize(
    ("backend", "installed", "name", "version"),
    [
        ("vitis", {"vitis_hls": "2022.2"}, "vitis_hls", "2022.2"),
        ("vitis", {"vitis_run": "2025.1.1"}, "vitis-run", "2025.1.1"),
        ("vitis", {"vitis_run": "2024.2", "vitis_hls": "2024.2", "vivado_hls": "2019.2"}, "vitis-run", "2024.2"),
        ("vivado", {"vivado_hls": "2019.2", "vitis_hls": "2022.2"}, "vivado_hls", "2019.2"),
    ],
)
def test_hls_on_path(tmp_path: Path, backend: str, installed: dict[str, str], name: str, version: str) -> None:
    fakes = Fakes(tmp_path, **installed)
    assert tools.find_hls(backend, fakes.environ) == VendorTool(name, fakes.bin / name, version)


def test_vivado_on_path(tmp_path: Path) -> None:
    fakes = Fakes(tmp_path, vivado="2023.1")
    assert tools.find_vivado(fakes.environ) == VendorTool("vivado", fakes.bin / "vivado", "2023.1")


def test_an_installation_that_the_user_names_comes_first(tmp_path: Path) -> None:
    old, new = (
        Fakes(tmp_path / "old", vivado="2019.2", vivado_hls="2019.2"),
        Fakes(tmp_path / "new", vitis_run="2025.1"),
    )
    environ = {"PATH": str(old.bin), "XNORFLOW_VITIS": str(new.folder)}
    assert tools.find_hls("vitis", environ).version == "2025.1"
    assert tools.find_vivado(environ).version == "2019.2"
    environ = {"PATH": str(new.bin), "XNORFLOW_VIVADO": str(old.folder)}
    assert tools.find_hls("vivado", environ).path == old.bin / "vivado_hls"
    assert tools.find_vivado(environ).path == old.bin / "vivado"


def test_a_tool_that_is_not_where_the_user_says_is_not_taken_from_elsewhere(tmp_path: Path) -> None:
    fakes = Fakes(tmp_path / "here", vivado="2022.2")
    environ = {**fakes.environ, "XNORFLOW_VIVADO": str(tmp_path / "there")}
    message = rf"Vivado is not here: no vivado in {tmp_path}/there/bin, because XNORFLOW_VIVADO is {tmp_path}/there\. "
    with pytest.raises(VendorToolMissing, match=message):
        tools.find_vivado(environ)


@pytest.mark.parametrize(
    ("find", "message"),
    [
        (
            lambda e: tools.find_hls("vitis", e),
            r"Vitis HLS is not here: no vitis-run or vitis_hls on PATH\..*set XNORFLOW_VITIS to",
        ),
        (
            lambda e: tools.find_hls("vivado", e),
            r"Vivado HLS is not here: no vivado_hls on PATH\..*set XNORFLOW_VIVADO to",
        ),
        (tools.find_vivado, r"Vivado is not here: no vivado on PATH\..*settings64\.sh.*set XNORFLOW_VIVADO to"),
    ],
)
def test_a_missing_tool(tmp_path: Path, find: Callable[..., Any], message: str) -> None:
    with pytest.raises(VendorToolMissing, match=message):
        find({"PATH": str(tmp_path)})


def test_a_tool_that_does_not_say_its_version_is_one_of_an_unknown_version(tmp_path: Path) -> None:
    fakes = Fakes(tmp_path, vivado="")
    assert tools.find_vivado(fakes.environ) == VendorTool("vivado", fakes.bin / "vivado", tools.UNKNOWN)
    (fakes.bin / "vivado").write_text("no program")
    with pytest.raises(VendorError, match=r"vivado -version: .*Exec format error"):
        tools.find_vivado(fakes.environ)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vitis-run", ["--mode", "hls", "--tcl", "vendor/csim.tcl"]),
        ("vitis_hls", ["-f", "vendor/csim.tcl"]),
        ("vivado_hls", ["-f", "vendor/csim.tcl"]),
        ("vivado", ["-mode", "batch", "-nolog", "-nojournal", "-notrace", "-source", "vendor/csim.tcl"]),
    ],
)
def test_commands(tmp_path: Path, name: str, expected: list[str]) -> None:
    assert VendorTool(name, tmp_path / name, "2022.2").command("vendor/csim.tcl") == [str(tmp_path / name), *expected]


def test_the_environment(tmp_path: Path) -> None:
    given = {
        "PATH": "/usr/bin",
        "HOME": "/h",
        "LC_ALL": "de_DE",
        "XNORFLOW_VITIS": "/x/Vitis",
        "XNORFLOW_VIVADO": "/x/Vivado",
    }
    made = tools.environment(given)
    assert made["PATH"] == os.pathsep.join(["/x/Vitis/bin", "/x/Vivado/bin", "/usr/bin"])
    assert (made["XILINX_VIVADO"], made["LC_ALL"], made["HOME"]) == ("/x/Vivado", "C", "/h")
    assert "XILINX_VIVADO" not in tools.environment({"PATH": "/usr/bin"})
