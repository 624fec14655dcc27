import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.flows import fakes
from tests.flows.place import Place

from xnorflow.bnn.canonical import canonicalise
from xnorflow.bnn.errors import UserError
from xnorflow.bnn.io import save
from xnorflow.cosim.golden import Golden
from xnorflow.flows.cache import PROJECT
from xnorflow.flows.options import Options
from xnorflow.flows.steps import synthesis
from xnorflow.hls.rtl.config import Folded, RtlConfig, Unrolled
from xnorflow.hls.synthesis import nextpnr, yosys
from xnorflow.hls.synthesis.targets import Resources, target
from xnorflow.hls.synthesis.tools import Tool

ALL = [
    *("load", "fold", "rtl", "vectors", "golden", "bench", "plain", "project first", "project second"),
    *("csim first", "csim second", "synthesis", "vendor rtl", "compare", "coverage"),
]


@pytest.fixture
def place(tmp_path: Path) -> Any:
    return Place(tmp_path)


def test_a_flow_of_equal_engines_passes(place: Place) -> None:
    report = place.flow()
    assert report["verdict"] == place.outcome.verdict == "pass"
    assert list(report["engines"]) == ["golden", "plain", "first", "second"]
    for engine in report["engines"].values():
        assert (engine["status"], engine["vectors"], engine["mismatches"]) == ("pass", 300, 0)
    assert [step["name"] for step in report["steps"]] == ALL
    directed = report["inputs"]["directed"]
    assert report["inputs"] | {"digest": None} == {
        "dataset": "random", "count": 300, "digest": None, "images": 0, "random": 300 - directed, "directed": directed,
        "note": "a Network file brings no data set", "dataset_digest": None,
    }  # fmt: skip
    assert report["accuracy"]["golden"] is None
    assert place.reused() == []


def test_the_golden_results_are_those_of_the_file_and_not_of_the_canonical_form_alone(place: Place) -> None:
    place.flow()
    (results,) = (place.folder / "build" / "small" / "golden").glob("*/results.npz")
    (vectors,) = (place.folder / "build" / "small" / "vectors").glob("*/vectors.npz")
    golden = Golden()
    golden.prepare(fakes.network())
    np.testing.assert_array_equal(
        np.load(results)["dense2"], golden.run(np.load(vectors)["inputs"])["dense2"], strict=False
    )


def test_what_the_models_predict_stands_beside_what_synthesis_found(place: Place) -> None:
    report = place.flow()
    six, four = report["synthesis"]
    assert (six["lut_inputs"], four["lut_inputs"]) == (6, 4), "the estimate is of LUTs with six inputs"
    assert not [row for row in report["predicted"] if row["by"] == four["title"]]
    rows = [row for row in report["predicted"] if row["by"] == six["title"]]
    assert [(row["what"], row["predicted"], row["measured"]) for row in rows] == [
        ("LUTs of dense1", sum(unit["luts"] for unit in report["rtl"]["units"] if unit["layer"] == "dense1"), 17),
        ("LUTs of all", report["rtl"]["luts"], 17),
    ]


def test_a_requirement_that_is_not_met_fails_the_flow(place: Place) -> None:
    kept = place.flow(options=Options(require={"lut": 17, "accuracy": 0.9}))
    assert kept["verdict"] == place.outcome.verdict == "pass"
    assert [(row["what"], row["status"]) for row in kept["requirements"]] == [("lut", "pass"), ("accuracy", "unknown")]
    assert [(finding.what, finding.status) for finding in place.outcome.findings] == [
        ("requirement accuracy", "unknown")
    ]
    broken = place.flow(options=Options(require={"lut": 16.9}))
    assert broken["verdict"] == place.outcome.verdict == "fail"
    assert broken["requirements"][0]["reason"].startswith("at most 16.9 LUTs required, 17 found: synthesised, ")
    assert place.reused() == ALL, "only the report is made anew"


def test_a_second_flow_reuses_everything_and_says_so(place: Place) -> None:
    first = place.flow()
    assert place.flow() == first
    assert place.reused() == [*ALL, "report"]
    assert place.built() == ["first", "second"]


def test_force_redoes_everything(place: Place) -> None:
    place.flow()
    place.flow(force=True)
    assert place.reused() == []
    assert place.built() == ["first", "second"] * 2


def test_force_redoes_the_synthesis_of_every_module(place: Place) -> None:
    place.flow()
    module = place.folder / "build" / "small" / "synthesised" / "a module"
    module.mkdir(parents=True)
    place.flow(vectors=17)
    assert module.exists()
    place.flow(force=True)
    assert not module.exists()


def test_other_vectors_reuse_the_projects(place: Place) -> None:
    place.flow()
    assert place.flow(vectors=301)["engines"]["first"]["vectors"] == 301
    assert place.reused() == ["fold", "rtl", "project first", "project second", "synthesis", "vendor rtl"]
    assert place.built() == ["first", "second"]


def test_another_network_of_the_same_name_reuses_nothing(place: Place) -> None:
    place.flow()
    changed = fakes.network()
    weight = changed["dense1"].weight.copy()
    weight[3, 3] *= -1
    operations = list(changed.operations)
    operations[1] = type(operations[1])("dense1", ("input",), weight)
    save(type(changed)("small", tuple(operations)), place.model)
    place.flow()
    assert place.reused() == []


def test_an_edited_project_is_made_again(place: Place) -> None:
    place.flow()
    (place.outcome.projects["first"] / "program").write_text("edited by hand")
    assert place.flow()["verdict"] == "pass"
    assert place.built() == ["first", "second", "first"]
    assert "project first" not in place.reused()


def test_a_report_that_was_changed_or_removed_is_published_again(place: Place) -> None:
    place.flow()
    folder = place.outcome.report
    content = {path.name: path.read_bytes() for path in folder.glob("report.*")}
    assert sorted(content) == ["report.html", "report.json", "report.md"]
    (folder / "report.md").write_text("changed")
    (folder / "report.html").unlink()
    place.flow()
    assert {path.name: path.read_bytes() for path in folder.glob("report.*")} == content


def test_synthesis_without_its_tool_is_skipped_and_one_that_fails_fails_the_flow(place: Place) -> None:
    report = place.flow({"ecp5": "missing"})
    assert report["verdict"] == "pass"
    assert [(row["target"], row["status"], row["reason"]) for row in report["synthesis"]] == [
        ("xilinx7", "pass", None),
        ("ecp5", "skipped", "no Yosys here; install it"),
    ]
    report = place.flow({"ecp5": "crashes"}, force=True)
    assert (report["verdict"], report["synthesis"][1]["reason"]) == ("fail", "Yosys was killed")


def test_a_design_that_is_not_routed_in_time_neither_fails_the_flow_nor_is_kept(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool, given = Tool("nextpnr-ecp5", "0.99", (), False), {}
    unrouted = nextpnr.Unrouted("ecp5-25k", tool, ("placer heap, seed 1: not finished after 7 s",))
    part = yosys.Synthesised("net", None, Resources(), 0.0, True, Path("nowhere"))
    monkeypatch.setattr(nextpnr, "place", lambda *_, **settings: given.update(settings) or unrouted)
    monkeypatch.setattr(yosys, "synthesise", lambda *_: yosys.Synthesis(target("ecp5"), tool, (part,)))
    place.parts = {"synthesise": synthesis.synthesised}
    for _ in range(2):
        report = place.flow(options=Options(targets=("ecp5",), place_limit_s=7.0))
        placement = report["synthesis"][0]["placement"]
        assert (report["verdict"], placement["status"]) == ("pass", "unrouted")
        assert "ecp5-25k: placer heap, seed 1: not finished after 7 s; a smaller folding" in placement["reason"]
        assert given["limit_s"] == 7.0 and "synthesis" not in place.reused()


def test_a_synthesis_that_failed_is_tried_again_by_the_next_flow(place: Place) -> None:
    place.flow({"ecp5": "crashes"})
    assert place.flow()["verdict"] == "pass"
    assert "synthesis" not in place.reused()


def test_a_mismatch_fails_and_is_located_and_can_be_replayed(place: Place) -> None:
    report = place.flow({"second": "wrong"})
    assert report["verdict"] == place.outcome.verdict == "fail"
    engine = report["engines"]["second"]
    assert (engine["status"], engine["vectors"]) == ("fail", 300)
    assert 0 < engine["mismatches"] < 300
    first = engine["first_mismatch"]
    assert (first["layer"], first["channel"], first["got"] - first["expected"]) == ("dense2", 1, 2)
    assert f"vector {first['vector']}, layer dense2, channel 1" in engine["reason"]
    assert engine["reason"] in place.printed
    assert [report["engines"][name]["status"] for name in ("golden", "plain", "first")] == ["pass"] * 3

    replay = np.load(place.outcome.report / first["replay"])
    golden = Golden()
    golden.prepare(canonicalise(fakes.network()))
    again = golden.run(replay["inputs"])["dense2"]
    position = replay["vectors"].tolist().index(first["vector"])
    assert again[position, 1] == first["expected"] == replay["expected.dense2"][position, 1]
    assert replay["got.dense2"][position, 1] == first["got"]
    assert (replay["inputs"][:, 5] > 0).all()
    assert {"got.dense1", "got.threshold1"} <= set(replay)


def test_a_mismatch_is_still_one_when_it_is_reused_and_gone_when_it_is_mended(place: Place) -> None:
    place.flow({"second": "wrong"})
    folder = place.outcome.report
    assert place.flow({"second": "wrong"})["verdict"] == "fail"
    assert "report" in place.reused()
    assert (folder / "mismatch_second.npz").exists()
    assert place.flow(force=True)["verdict"] == "pass"
    assert not (folder / "mismatch_second.npz").exists()


def test_a_mismatch_that_does_not_come_again_is_a_mismatch(place: Place) -> None:
    engine = place.flow({"plain": "flaky"})["engines"]["plain"]
    assert engine["status"] == "fail"
    assert engine["first_mismatch"]["layer"] == "dense2"
    assert "no difference when it is run again" in engine["first_mismatch"]["how"]


@pytest.mark.parametrize("name", ["first", "plain"])
def test_an_unavailable_engine_is_skipped_with_the_reason_and_never_passed(place: Place, name: str) -> None:
    report = place.flow({name: "unavailable"})
    engine = report["engines"][name]
    assert (engine["status"], engine["vectors"]) == ("skipped", 0)
    assert engine["reason"] == "no such tool here; install it"
    assert f"skipped: {engine['reason']}" in place.printed
    assert report["verdict"] == "pass"
    assert place.flow()["engines"][name]["status"] == "pass"  # once it is there, it is used


@pytest.mark.parametrize("fault", ["does not compile", "crashes", "no results", "too few results"])
def test_an_engine_that_breaks_fails_the_flow_but_not_the_other_engines(place: Place, fault: str) -> None:
    report = place.flow({"first": fault})
    assert report["verdict"] == "fail"
    assert report["engines"]["first"]["status"] == "fail"
    assert report["engines"]["first"]["reason"]
    assert report["engines"]["second"]["status"] == "pass"
    if fault == "does not compile":
        folder = report["engines"]["first"]["reason"].split("lies in ")[1]
        assert Path(folder).is_dir()
    assert place.flow()["verdict"] == "pass"


def test_a_flow_in_which_nothing_was_compared_does_not_pass(place: Place) -> None:
    report = place.flow(dict.fromkeys(("plain", "first", "second"), "unavailable"))
    assert report["verdict"] == "fail"


def test_the_old_report_does_not_outlive_a_flow_that_breaks(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.flow()
    monkeypatch.setattr("xnorflow.reports.render.render", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        place.flow(vectors=17)
    assert not (place.folder / "reports" / "small" / "report.json").exists()


def test_out_gets_the_report_and_the_projects(place: Place) -> None:
    out = place.folder / "out"
    place.flow(out=out)
    assert place.report(out)["verdict"] == "pass"
    assert (out / "first" / "program").is_file()
    assert not (place.folder / "reports").exists()
    (out / "first" / "notes").write_text("mine")
    place.flow(out=out)
    assert (out / "first" / "notes").exists()  # the same project: left as it is
    place.flow(out=out, force=True)
    assert sorted(path.name for path in out.iterdir() if path.name[0] != ".") == [
        "first", "report.html", "report.json", "report.md", "second", "vendor_rtl",
    ]  # fmt: skip


def test_out_does_not_touch_a_folder_that_no_flow_has_made(place: Place) -> None:
    (place.folder / "out" / "first").mkdir(parents=True)
    (place.folder / "out" / "first" / "precious").write_text("")
    with pytest.raises(UserError, match="files that no flow has put there"):
        place.flow(out=place.folder / "out")
    assert (place.folder / "out" / "first" / "precious").exists()
    assert not (place.folder / "build").exists()  # it was said before anything was done


def test_a_network_has_no_test_images(place: Place) -> None:
    with pytest.raises(UserError, match="not 'all'"):
        place.flow(vectors=None)


def test_a_network_on_pixels_is_run_over_their_whole_range(place: Place) -> None:
    save(fakes.image_network(), place.folder / "images.safetensors")
    report = place.flow(model=place.folder / "images.safetensors")
    assert report["verdict"] == "pass"
    (vectors,) = (place.folder / "build" / "images" / "vectors").glob("*/vectors.npz")
    inputs = np.load(vectors)["inputs"]
    assert (inputs.min(), inputs.max(), inputs.shape) == (0, 255, (300, 6, 6, 1))


def test_a_model_of_the_zoo_runs_on_its_images_and_then_on_random_vectors(place: Place) -> None:
    report = place.flow(model="digits_bnn", vectors=800)
    assert report["inputs"]["dataset"] == "digits"
    made = report["inputs"]["directed"]
    assert made and (report["inputs"]["images"], report["inputs"]["random"] + made) == (360, 440)
    assert report["accuracy"]["golden_count"] == report["accuracy"]["recorded_count"] == 360
    assert report["accuracy"]["golden"] == pytest.approx(report["accuracy"]["recorded"], abs=1e-9)
    every = place.flow(model="digits_bnn", vectors=None)["inputs"]
    assert every["images"] == 360 and every["count"] == 360 + every["directed"]


def command(folder: Path, *arguments: Any, **environment: Any) -> Any:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.flows.fakes", str(folder), *arguments],
        cwd=PROJECT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("every", [56, pytest.param(14, marks=pytest.mark.exhaustive)])
def test_a_flow_killed_at_any_file_operation_leaves_nothing_that_the_next_mistakes(place: Place, every: int) -> None:
    clean = place.flow()
    killed = 0
    for count in range(0, 400, every):
        folder = place.folder / f"killed{count}"
        folder.mkdir()
        process = command(folder, "run", str(place.model), "--vectors", "300", KILL_AFTER=str(count))
        output, _ = process.communicate(timeout=120)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, output
        killed += 1
        published = folder / "reports" / "small" / "report.json"
        if published.exists():  # then it is the whole one
            assert place.report(published.parent)["verdict"] == "pass"
            assert (published.parent / "report.html").stat().st_size > 10_000
        after = Place(folder).flow(model=place.model)
        assert after["engines"].keys() == clean["engines"].keys()
        for key in ("verdict", "inputs", "network_digest", "layers", "memory"):
            assert after[key] == clean[key]
        for results in (folder / "build" / "small").glob("*/*/results.npz"):
            (reference,) = (place.folder / "build" / "small" / results.parts[-3]).glob("*/results.npz")
            if (results.parent / "entry.json").exists():
                for name, array in np.load(reference).items():
                    np.testing.assert_array_equal(array, np.load(results)[name])
    assert killed > 112 // every


@pytest.mark.slow
def test_two_flows_at_once_on_one_model_do_the_work_once(place: Place) -> None:
    place.folder.joinpath("both").mkdir()
    both = [
        command(place.folder / "both", "run", str(place.model), "--vectors", vectors)
        for vectors in ("300", "300", "200")
    ]
    outputs = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0, 0], outputs
    assert sorted((place.folder / "both" / "built.log").read_text().split()) == ["first", "second"]
    assert any("waiting for another flow" in output for output in outputs)
    assert place.report(place.folder / "both" / "reports" / "small")["verdict"] == "pass"


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        (Options(), "--max-luts 900"),
        (Options(rtl=RtlConfig(default=Unrolled()), target_fps=None), "in a configuration file without [rtl.default]"),
        (Options(rtl=RtlConfig(layers={"dense1": Folded(1, 1)})), "without [rtl.default] and [rtl.layers]"),
    ],
)
def test_the_folding_that_would_fit_can_be_asked_for_as_the_hint_says(options: Options, hint: str) -> None:
    assert hint in synthesis._smaller(900, options)
    assert "no folding" in synthesis._smaller(None, options)
