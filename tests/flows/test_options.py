"""The configuration file: what it changes in the projects, and what is refused."""

import re

import pytest
from rich.console import Console

from bnn import io
from bnn.errors import UserError
from flows import subject
from flows.options import Options, read
from flows.run import run
from tests.flows import fakes


def written(folder, text):
    path = folder / "flow.toml"
    path.write_text(text)
    return path


def test_defaults_and_settings(tmp_path):
    assert read(None, "vivado") == Options("vivado")
    assert read(written(tmp_path, "")) == Options()
    settings = read(written(tmp_path, "[hls]\nreuse_factor = 4\n[hls.layers.dense1]\nstrategy = 'resource'\n")).hls
    assert settings == {"reuse_factor": 4, "layers": {"dense1": {"strategy": "resource"}}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[hls\n", "not a TOML file"),
        ("[hsl]\n", r"unknown table or setting hsl; there is \[hls\]"),
        ("hls = 3\n", "expected a table"),
        ("[hls]\nreuse = 3\n", "unknown setting reuse; there are io_type, part"),
        ("[hls]\nbackend = 'vitis'\n", "unknown setting backend"),
        ("[hls]\nio_type = 'serial'\n", "io_type must be one of auto, io_parallel, io_stream"),
        ("[hls]\nreuse_factor = 0\n", "reuse_factor must be a whole number"),
        ("[hls]\nlayers = 3\n", "layers must be tables"),
        ("[hls.layers]\ndense1 = 3\n", "layers must be tables"),
        ("[hls.layers.dense1]\nfactor = 3\n", "layer dense1: unknown setting 'factor'"),
    ],
)
def test_refused(tmp_path, text, message):
    with pytest.raises(UserError, match=message) as caught:
        read(written(tmp_path, text))
    assert "flow.toml" in str(caught.value)


def test_a_layer_that_is_not_there_is_refused(tmp_path):
    io.save(fakes.network(), tmp_path / "small.safetensors")
    options = Options(hls={"layers": {"dense7": {"reuse_factor": 2}}})
    with pytest.raises(UserError, match=r"no layer 'dense7'.*dense1, dense2"):
        run(
            subject.find(str(tmp_path / "small.safetensors")),
            Console(quiet=True),
            options=options,
            build=tmp_path / "build",
            reports=tmp_path / "reports",
        )


@pytest.mark.slow
def test_settings_reach_the_projects_which_stay_exact(tmp_path):
    io.save(fakes.network(), tmp_path / "small.safetensors")
    found = subject.find(str(tmp_path / "small.safetensors"))
    places = {"build": tmp_path / "build", "reports": tmp_path / "reports"}
    options = Options(hls={"strategy": "resource", "layers": {"dense1": {"reuse_factor": 4}}})
    plain = run(found, Console(quiet=True), vectors=64, **places)
    folded = run(found, Console(quiet=True), vectors=64, options=options, **places)
    assert plain.verdict == folded.verdict == "pass"
    for engine in ("hls4ml_stock", "hls4ml_packed"):
        factors = [
            set(
                re.findall(r"reuse_factor = (\d+)", "".join(path.read_text() for path in project.rglob("parameters.h")))
            )
            for project in (plain.projects[engine], folded.projects[engine])
        ]
        assert factors[0] == {"1"} and "4" in factors[1], engine
