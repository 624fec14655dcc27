import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.flows import fakes
from tests.hls.vendor import samples

from xnorflow.bnn import io
from xnorflow.flows.cache import PROJECT
from xnorflow.models.zoo import ZOO


def flows(*arguments: Any, folder: Path = PROJECT) -> Any:
    return subprocess.run(
        [sys.executable, "-m", "xnorflow", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_list_shows_every_model() -> None:
    done = flows("list")
    assert done.returncode == 0
    lines = [line.split() for line in done.stdout.splitlines()[1:]]  # one a model: nothing is wrapped on a pipe
    assert [line[0] for line in lines] == list(ZOO)
    for line, definition in zip(lines, ZOO.values(), strict=True):
        assert line[-1] == definition.description.split()[-1]


def test_help_names_the_tables_of_the_configuration_file() -> None:
    shown = flows("run", "--help").stdout
    for table in ("[hls]", "[rtl]", "[synthesis]", "[input]", "[default: "):  # not taken for markup
        assert table in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "mnist_bnm"], "unknown model 'mnist_bnm'"),
        (["run", "pyproject.toml"], "pyproject.toml"),
        (["run", "digits_bnn", "--vectors", "0"], "expected a number of at least 1, or 'all'"),
        (["run", "digits_bnn", "--vectors", "many"], "expected a number of at least 1, or 'all'"),
        (["run", "digits_bnn", "--backend", "quartus"], "quartus"),
        (["run", "digits_bnn", "--config", "no/such.toml"], "no/such.toml: cannot be read"),
        (["run", "digits_bnn", "--target-fps", "-5"], "target_fps must be a number above 0"),
        (["run"], "Missing argument"),
        (["rum"], "rum"),
        (["import-reports", "no/such"], "no/such: no such folder"),
    ],
)
def test_what_the_user_can_mend_is_told_without_a_traceback_and_exits_with_2(
    arguments: list[str], message: str
) -> None:
    done = flows(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_data_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    done = flows("run", "mnist_bnn", "--data", "no/such/folder", "--out", str(tmp_path))
    assert (done.returncode, "no/such/folder" in done.stderr, "Traceback" in done.stderr) == (2, True, False)


@pytest.mark.parametrize(
    ("goal", "message", "status"),
    [
        (["--target-fps", "3000000"], "folding by 3,000,000 vectors/s at 100 MHz: 24 cycles per vector", 0),
        (["--max-luts", "300"], "folding by at most 300 LUTs", 0),
        (["--max-luts", "3"], "does not fit into 3 LUTs", 2),
    ],
)
def test_a_goal_shows_the_table_that_the_foldings_were_chosen_from(
    tmp_path: Path, goal: list[str], message: str, status: int
) -> None:
    io.save(fakes.network(), tmp_path / "small.safetensors")
    command = ["-m", "tests.flows.fakes", str(tmp_path), "run", str(tmp_path / "small.safetensors"), *goal]
    done = subprocess.run(
        [sys.executable, *command], cwd=PROJECT, capture_output=True, text=True, check=False, timeout=120
    )
    text = " ".join((done.stdout + done.stderr).split())
    assert (done.returncode, message in text) == (status, True), text
    assert (" PE x " in text and "est. LUTs" in text) == (status == 0)
    assert status or any(message in line and line.endswith(" LUTs") for line in done.stdout.splitlines())


def test_vendor_reports_are_brought_home(tmp_path: Path) -> None:
    (tmp_path / "csynth.xml").write_text(samples.csynth_xml("2022.2", lut=4321))
    done = flows("import-reports", "--json", str(tmp_path))
    assert done.returncode == 0, done.stderr
    (resources,) = json.loads(done.stdout)["resources"]
    assert (resources["lut"], resources["provenance"], resources["source"]) == (4321, "vendor", "csynth.xml")
    (tmp_path / "tiny_cosim.rpt").write_text(samples.cosim("2022.2", "Fail", "NA"))
    done = flows("import-reports", str(tmp_path))
    text = " ".join(done.stdout.split())
    assert done.returncode == 1 and "csynth.xml" in text and "lut 4321" in text and "passed False" in text, text


def test_the_command_line_starts_without_heavy_imports() -> None:
    heavy = ("torch", "tensorflow", "hls4ml", "numba", "matplotlib", "scipy", "sklearn")
    code = (
        f"import sys, xnorflow.flows.cli, xnorflow.flows.run; print(*(name for name in {heavy} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")
