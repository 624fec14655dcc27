"""The configuration file: what it changes in the projects, and what is refused."""

import re
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from rich.console import Console
from tests.flows import fakes
from tests.hls.rtl.networks import small_image

from xnorflow.bnn import io
from xnorflow.bnn.errors import UserError
from xnorflow.bnn.frontends.core.fixed import Fixed
from xnorflow.flows import folding, settings, subject
from xnorflow.flows.options import Options, read
from xnorflow.flows.run import run
from xnorflow.hls.rtl.config import Folded, RtlConfig, Unrolled
from xnorflow.reports.requirements import KINDS, PROVENANCES


def written(folder: Path, text: str) -> Any:
    path = folder / "flow.toml"
    path.write_text(text)
    return path


def test_defaults_and_settings(tmp_path: Path) -> None:
    assert read(None, "vivado") == Options("vivado")
    assert read(written(tmp_path, "")) == Options()
    assert read(waves=True) == Options(waves=True)
    settings = read(written(tmp_path, "[hls]\nreuse_factor = 4\n[hls.layers.dense1]\nstrategy = 'resource'\n")).hls
    assert settings == {"reuse_factor": 4, "layers": {"dense1": {"strategy": "resource"}}}


def test_settings_of_the_vendors_tools(tmp_path: Path) -> None:
    options = read(written(tmp_path, "[vendor]\nrun = ['rtl']\nlimit_s = 60\n"))
    assert options == Options(vendor_run=("rtl",), vendor_limit_s=60.0)


def test_requirements(tmp_path: Path) -> None:
    text = """
        [synthesis]
        targets = ["ecp5"]
        [require]
        lut = 5_000
        accuracy = 0.98
        clock_mhz = { limit = 50.5, provenance = "placed-and-routed" }
        target = "ecp5"
    """
    assert read(written(tmp_path, text)).require == {
        "lut": 5000,
        "accuracy": 0.98,
        "clock_mhz": {"limit": 50.5, "provenance": "placed-and-routed"},
        "target": "ecp5",
    }


def test_the_choices_are_those_that_are_checked() -> None:
    assert [*get_type_hints(settings.Require)] == [*KINDS, "target"]
    assert get_args(get_type_hints(settings.Demand)["provenance"]) == PROVENANCES


def test_settings_of_the_rtl(tmp_path: Path) -> None:
    text = """
        [rtl]
        clock_ns = 5
        target_fps = 1000
        [rtl.layers.dense1]
        architecture = "unrolled"
        effort = "high"
        [rtl.layers.dense2]
        pe = 2
    """
    assert read(written(tmp_path, text)) == Options(
        rtl=RtlConfig({"dense1": Unrolled(effort="high"), "dense2": Folded(pe=2)}, clock_ns=5),
        target_fps=1000,
        goal_given=True,
    )


def test_without_a_wish_the_rtl_stays_small(monkeypatch: pytest.MonkeyPatch) -> None:
    network = small_image()
    free = folding.fold_rtl(network, Options(target_fps=1e6))
    monkeypatch.setattr(folding, "LUTS", free.luts - 20)
    small = folding.fold_rtl(network, Options(target_fps=1e6))
    assert small.luts <= free.luts - 20
    assert small.timing.interval > free.timing.interval
    reached = free.timing.frames_per_second(10)
    assert folding.fold_rtl(network, Options(target_fps=reached, goal_given=True)).luts == free.luts, "a goal is kept"
    monkeypatch.setattr(folding, "LUTS", 1)
    assert 1 < folding.fold_rtl(network, Options(target_fps=1e6)).luts <= small.luts


def test_rounding_by_the_file_and_by_the_option(tmp_path: Path) -> None:
    path = written(tmp_path, "[fixed]\nclasses_may_differ = 0.01\n[fixed.layers]\nconv1 = 12")
    assert read(path) == Options(fixed=Fixed(8, {"conv1": 12}), classes_may_differ=0.01)
    assert read(path, fixed=10).fixed == Fixed(10, {"conv1": 12})
    assert (read(None, fixed=9).fixed, read(None).fixed) == (Fixed(9), None)


def test_an_architecture_for_all_layers_leaves_nothing_to_choose(tmp_path: Path) -> None:
    path = written(tmp_path, "[rtl.default]\narchitecture = 'unrolled'")
    options = read(path)
    assert (options.rtl, options.target_fps, options.max_luts) == (RtlConfig(default=Unrolled()), None, None)
    with pytest.raises(UserError, match="max_luts has nothing to choose"):
        read(path, max_luts=10)


def test_a_wish_takes_the_place_of_the_files(tmp_path: Path) -> None:
    path = written(tmp_path, "[rtl]\ntarget_fps = 1000\nclock_ns = 2")
    options = read(path, max_luts=500)
    assert (options.target_fps, options.max_luts, options.rtl.clock_ns, options.goal_given) == (None, 500, 2, True)
    with pytest.raises(UserError, match="not both"):
        read(None, target_fps=3.0, max_luts=500)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[hls\n", "not a TOML file"),
        (
            "[hsl]\n",
            r"setting hsl; there are \[hls\], \[rtl\], \[synthesis\], \[vendor\], \[input\], \[fixed\] and \[require\]",
        ),
        ("[fixed]\nbits = 17\n", "fixed: bits: expected 2 to 16 bits, got 17"),
        ("[fixed]\nbits = 8.5\n", "fixed: bits must be a whole number, got 8.5"),
        ("[fixed.layers]\nconv1 = 1\n", "fixed: conv1: expected 2 to 16 bits, got 1"),
        ("[fixed]\nclasses_may_differ = 2\n", "classes_may_differ must be a share of 0 to 1, got 2"),
        ("[vendor]\nrun = ['quartus']\n", "vendor: run must be a list of hls4ml_stock, hls4ml_packed, rtl, got"),
        ("[vendor]\nlimit_s = 0\n", "vendor: limit_s must be a number of seconds above 0, at most 10,000,000, got 0"),
        ("[vendor]\njobs = []\n", "vendor: unknown setting jobs; there are run, limit_s"),
        ("hls = 3\n", "expected a table"),
        ("[input]\nkind = 'float'\n", "kind 'bipolar', 'unsigned' or 'signed'"),
        ("[input]\nkind = 'signed'\nbits = 99\n", "2 to 16 bits for signed values, got 99"),
        ("[input]\nbits = 1.5\n", "bits must be a whole number, got 1.5"),
        ("[input]\nchannels = 3\n", "unknown setting channels; there are shape, kind, bits, fraction"),
        ("[input]\nshape = 3\n", "shape must be a list of whole numbers above 0, got 3"),
        ("[input]\nshape = [28, 0, 1]\n", "shape must be a list of whole numbers above 0"),
        ("[hls]\nreuse = 3\n", "unknown setting reuse; there are io_type, part"),
        ("[hls]\nbackend = 'vitis'\n", "unknown setting backend"),
        ("[hls]\nio_type = 'serial'\n", "io_type must be one of auto, io_parallel, io_stream"),
        ("[hls]\nreuse_factor = 0\n", "reuse_factor must be a whole number"),
        ("[hls]\nlayers = 3\n", "layers must be tables"),
        ("[hls.layers]\ndense1 = 3\n", "layers must be tables"),
        ("[hls.layers.dense1]\nfactor = 3\n", "layer dense1: unknown setting 'factor'"),
        ("rtl = 3\n", "rtl: expected a table"),
        ("[rtl]\nclock = 3\n", "unknown setting clock; there are layers, default, clock_ns"),
        ("[rtl]\nclock_ns = -3\n", "clock_ns must be a period"),
        ("[rtl]\ntarget_fps = 'fast'\n", "target_fps must be a number above 0"),
        ("[rtl]\nmax_luts = 0\n", "max_luts must be a whole number above 0"),
        ("[rtl]\nmax_luts = 1.5\n", "max_luts must be a whole number above 0"),
        ("[rtl]\nmax_luts = 5\ntarget_fps = 5\n", "not both"),
        ("[rtl]\ntarget_fps = 5\n[rtl.default]\n", "target_fps has nothing to choose"),
        ("[rtl]\ndefault = 5\n", "default must be a table, got 5"),
        ("[rtl]\nlayers = 5\n", "layers must be tables"),
        ("[rtl.layers.dense1]\narchitecture = 'flat'\n", "architecture must be one of folded, unrolled, got 'flat'"),
        ("[rtl.layers.dense1]\neffort = 'high'\n", "unknown setting effort; architecture 'folded' has pe, simd"),
        ("[synthesis]\ntargets = ['xilinx9']\n", "no target 'xilinx9'; there are xilinx7"),
        (
            "[synthesis]\nplace_limit_s = '1'\n",
            "place_limit_s must be a number of seconds above 0, at most 10,000,000, got '1'",
        ),
        ("[synthesis]\ntargets = 'ecp5'\n", "targets must be a list of names"),
        ("[synthesis]\nfor = 'ecp5'\n", "unknown setting for; there are targets"),
        ("[rtl.layers.dense1]\npe = 0\n", "pe must be a whole number"),
        ("[require]\nluts = 5\n", "require: unknown setting luts; there are latency_ns, images_per_second, clock_mhz"),
        ("[require]\nlut = 0\n", "require: lut must be a number above 0, or a table with a limit and a provenance"),
        ("[require]\nlut = nan\n", "require: lut must be a number above 0"),
        ("[require]\nlut = {limit = 5}\n", "lut must be a number above 0, or a table with a limit and a provenance"),
        ("[require]\nlut = {limit = 5, provenance = 'guessed'}\n", "one of vendor, placed-and-routed, measured"),
        ("[require]\naccuracy = 98.2\n", "require: accuracy must be a share above 0, at most 1"),
        ("[require]\ntarget = 'ice40'\n", "target must be one of those synthesised for, xilinx7, ecp5, got 'ice40'"),
    ],
)
def test_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read(written(tmp_path, text))
    assert "flow.toml" in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        Options(hls={"layers": {"dense7": {"reuse_factor": 2}}}, targets=()),
        Options(rtl=RtlConfig({"dense7": Folded()})),
        Options(rtl=RtlConfig({"dense7": Folded()}), target_fps=None),
    ],
)
def test_a_layer_that_is_not_there_is_refused(tmp_path: Path, options: Options) -> None:
    io.save(fakes.network(), tmp_path / "small.safetensors")
    with pytest.raises(UserError, match=r"no layer 'dense7'.*dense1, dense2"):
        run(
            subject.find(str(tmp_path / "small.safetensors")),
            Console(quiet=True),
            options=options,
            build=tmp_path / "build",
            reports=tmp_path / "reports",
        )


@pytest.mark.slow
def test_settings_reach_the_projects_which_stay_exact(tmp_path: Path) -> None:
    io.save(fakes.network(), tmp_path / "small.safetensors")
    found = subject.find(str(tmp_path / "small.safetensors"))
    places: dict[str, Any] = {"build": tmp_path / "build", "reports": tmp_path / "reports"}
    options = Options(hls={"strategy": "resource", "layers": {"dense1": {"reuse_factor": 4}}}, targets=())
    plain = run(found, Console(quiet=True), vectors=64, options=Options(targets=()), **places)
    folded = run(found, Console(quiet=True), vectors=64, options=options, **places)
    assert plain.verdict == folded.verdict == "pass"
    for engine, number in (("hls4ml_stock", "reuse_factor"), ("hls4ml_packed", "n_steps")):
        numbers = [
            re.findall(rf"{number} = (\d+)", "".join(path.read_text() for path in project.rglob("parameters.h")))
            for project in (plain.projects[engine], folded.projects[engine])
        ]
        if engine == "hls4ml_stock":
            assert set(numbers[0]) == {"1"} and "4" in numbers[1]
        else:  # cycles: by the goal many, else at most the reuse factor, and one for the other layer
            assert int(numbers[0][0]) > 4 >= int(numbers[1][0]) and numbers[1][1] == "1"
