import copy
import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest
from jsonschema import ValidationError

from reports.figures import figures, quantity
from reports.render import render, validate

SECTIONS = (
    *("summary", "engines", "layers", "memory", "rtl", "latency", "energy", "synthesis", "predicted"),
    "provenance",
)


def engine(**given):
    return {
        "title": "an engine", "status": "pass", "vectors": 1000, "mismatches": 0, "seconds": 2.0, "build_seconds": None,
        "reason": None, "project": None, "first_mismatch": None,
    } | given  # fmt: skip


@pytest.fixture
def report():
    return {
        "schema_version": 1,
        "created": "2026-01-01T00:00:00+00:00",
        "model": "small",
        "description": "a <b>small</b> network & more",
        "network_digest": "a" * 64,
        "source": {"kind": "checkpoint", "path": "models/small.safetensors", "digest": "b" * 64},
        "verdict": "pass",
        "inputs": {
            "dataset": "digits", "count": 1000, "digest": "c" * 64, "images": 360, "random": 640, "note": "bundled",
            "dataset_digest": "d" * 64,
        },
        "accuracy": {
            "golden": 0.9583, "golden_count": 360, "golden_dataset": "digits",
            "recorded": 0.9722, "recorded_count": 10000, "recorded_dataset": "mnist",
        },
        "argmax": {"claim": "proved", "vectors": 0, "undecided": 0},
        "conversion": {"notes": ["the softmax <x> is left out"], "undecided": {"threshold1": 7}},
        "engines": {
            "golden": engine(reason="the reference"),
            "pytorch": engine(status="skipped", vectors=0, seconds=None, reason="no <module>"),
            "hls4ml_packed": engine(build_seconds=4.2, project="build/small/hls4ml_packed"),
        },
        "layers": [
            {"name": "dense1", "kind": "Dense", "inputs": [64], "outputs": [32], "weight_bits": 2048,
             "xnor_ops": 2048, "accumulator_bits": 8},
            {"name": "threshold1", "kind": "Threshold", "inputs": [32], "outputs": [32], "weight_bits": 0,
             "xnor_ops": 0, "accumulator_bits": None},
        ],
        "memory": {"binary_bits": 2304, "float32_bits": 67584, "ratio": 29.3, "formula": "weights"},
        "rtl": {
            "wish": "at most 10,000 LUTs", "clock_ns": 10.0, "latency": 12345, "interval": 678,
            "units": [{"name": "dense1", "interval": 678}], "luts": 4321,
            "pruned": {"dense1": {"neurons": 3, "inputs": 5}},
            "layers": [
                {"name": "dense1", "neurons": 32, "inputs": 64, "vectors": 1, "architecture": "3 PE x 7 SIMD",
                 "cycles": 678, "luts": 432, "memory_bits": 16000}
            ],
        },
        "latency": [
            {"source": "rtl_cxxrtl", "frames": 1000, "latency": {"minimum": 12345, "median": 12346.5, "maximum": 12400},
             "interval": {"minimum": 600, "median": 678, "maximum": 679}, "clock_ns": 10.0, "provenance": "simulated"}
        ],
        "synthesis": [
            {"target": "ecp5", "title": "Lattice ECP5", "bram_unit": "EBR of 18 Kb", "status": "pass", "reason": None,
             "tool": "yosys 0.23",
             "total": {"lut": 1194, "ff": 90, "carry": 3, "lutram": 0, "bram": 7, "dsp": 0},
             "layers": [{"name": "dense1", "lut": 1194, "ff": 90, "carry": 3, "lutram": 0, "bram": 7, "dsp": 0}],
             "placement": {
                 "status": "pass", "reason": None, "tool": "nextpnr 0.11", "device": "ecp5-25k",
                 "usage": [{"name": "LUTs", "used": 1300, "available": 24288}], "fmax_mhz": 87.654,
                 "latency_ns": 140839.7, "images_per_second": 129283.2,
                 "critical_path": [{"layer": "dense1", "signal": "popcount", "logic_ns": 1.5, "routing_ns": 2.5}],
                 "bitstream": "made"}},
            {"target": "ice40", "title": "Lattice iCE40", "bram_unit": "EBR of 4 Kb", "status": "skipped",
             "reason": "no Yosys here", "tool": None, "total": None, "layers": [], "placement": None},
        ],
        "energy": {
            "source": "waveform of rtl_icarus", "frames": 8, "images": 7, "picojoules": 2460.0, "low": 820.0,
            "high": 7380.0,
            "parts": [{"name": "wire_toggles", "count": 60000.5, "picojoules_each": 0.041, "picojoules": 2460.0,
                       "source": "a paper"}],
            "formula": "count x picojoules_each", "uncertainty": 3.0, "provenance": "estimated",
        },
        "predicted": [
            {"what": "latency, cycles", "predicted": 700, "measured": 700.0, "by": "rtl_cxxrtl",
             "provenance": "simulated"},
            {"what": "LUTs of dense1", "predicted": 432, "measured": 480, "by": "Lattice ECP5",
             "provenance": "synthesised"},
        ],
        "steps": [{"name": "load", "seconds": 0.01, "says": "1,000 vectors"}],
        "tools": {"python": "3.11"},
    }  # fmt: skip


MISMATCH = {
    "vector": 17, "layer": "dense1", "channel": 3, "index": [2, 5, 3], "expected": -4, "got": -2, "how": "every layer",
    "replay": "mismatch_hls4ml_packed.npz",
}  # fmt: skip


class Page(HTMLParser):
    """Collects the ids, tags, links and the text of a page, and checks that tags are closed."""

    VOID = ("meta", "link", "br", "path", "use")

    def __init__(self, text):
        super().__init__()
        self.ids, self.open, self.links, self.text, self.tags = [], [], [], "", []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            if name == "id":
                self.ids.append(value)
            elif name in ("href", "src", "xlink:href"):
                self.links.append(value)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text += data


def page(report, folder):
    render(report, folder)
    return Page((folder / "report.html").read_text())


def test_the_page_has_every_section_and_number(report, tmp_path):
    shown = page(report, tmp_path)
    assert set(SECTIONS) <= set(shown.ids)
    assert len(shown.ids) == len(set(shown.ids))
    text = " ".join(shown.text.split())
    for expected in (
        "small", "verdict pass", "1,000", "95.83%", "97.22%", "quoted from the checkpoint: 10,000 images of mnist",
        "no <module>", "skipped", "4.2 s", "proved", "dense1", "2,048", "29.3 times smaller", "12,345",
        "12,346.5", "678", "estimated", "simulated", "3 PE x 7 SIMD", "4,321", "at most 10,000 LUTs",
        "147 k/s at 10.0 ns",
        "in dense1 3 constant neurons and 5 inputs that nobody uses.",
        "build/small/hls4ml_packed", "a" * 64, "3.11",
        "2.46 nJ per inference", "between 0.82 nJ and 7.38 nJ", "7 of them test images", "count x picojoules_each",
        "a paper", "equal", "-10.0 %",
    ):  # fmt: skip
        assert expected in text, expected
    assert shown.tags.count("svg") == 6


def test_the_page_needs_nothing_from_outside_and_escapes_what_it_shows(report, tmp_path):
    shown = page(report, tmp_path)
    assert all(link.startswith(("#", "data:")) for link in shown.links), shown.links
    html = (tmp_path / "report.html").read_text()
    assert "a &lt;b&gt;small&lt;/b&gt; network &amp; more" in html
    assert not re.search(r"@import|url\((?!#)", html)
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html


def test_the_first_mismatch_is_shown(report, tmp_path):
    report["verdict"] = "fail"
    report["engines"]["hls4ml_packed"] |= {
        "status": "fail", "mismatches": 9, "reason": "vector 17 differs", "first_mismatch": MISMATCH
    }  # fmt: skip
    shown = page(report, tmp_path)
    assert "mismatch-hls4ml_packed" in shown.ids
    text = " ".join(shown.text.split())
    for expected in ("verdict fail", "at position 2, 5", "17", "-4", "-2", "mismatch_hls4ml_packed.npz", "9 of 1,000"):
        assert expected in text, expected


def test_claims_are_told_apart(report, tmp_path):
    report["argmax"] = {"claim": "measured", "vectors": 1000, "undecided": 3}
    assert "measured on 1,000 vectors" in " ".join(page(report, tmp_path).text.split())
    report["argmax"] = {"claim": "unknown", "vectors": 0, "undecided": 3}
    assert "not shown" in page(report, tmp_path).text


def test_a_report_without_images_layers_with_weights_or_resources(report, tmp_path):
    report["accuracy"] = dict.fromkeys(report["accuracy"]) | {"golden_count": 0}
    report["layers"] = report["layers"][1:]
    report["engines"].pop("hls4ml_packed")
    report |= {"rtl": None, "latency": [], "energy": None, "synthesis": [], "predicted": []}
    assert set(SECTIONS) <= set(page(report, tmp_path).ids)
    assert "not measured" in (tmp_path / "report.md").read_text()


def test_resources_are_shown_with_their_provenance(report, tmp_path):
    text = " ".join(page(report, tmp_path).text.split())
    for expected in (
        "synthesised by yosys 0.23", "1,194", "EBR of 18 Kb", "placed-and-routed by nextpnr 0.11 on ecp5-25k: 87.7 MHz",
        "129 k vectors/s", "5.35%", "popcount", "skipped no Yosys here",
    ):  # fmt: skip
        assert expected in text, expected
    report["synthesis"][0]["placement"] |= {"status": "unfit", "reason": "does not fit: LUTs", "fmax_mhz": None}
    assert "unfit does not fit: LUTs" in " ".join(page(report, tmp_path).text.split())


def test_json_is_the_report(report, tmp_path):
    render(report, tmp_path)
    assert json.loads((tmp_path / "report.json").read_text()) == report


def test_markdown_tables_are_whole(report, tmp_path):
    report["engines"]["pytorch"]["reason"] = "one\ntwo | three"
    render(report, tmp_path)
    blocks = (tmp_path / "report.md").read_text().split("\n\n")
    tables = [block.strip().splitlines() for block in blocks if block.lstrip().startswith("|")]
    assert len(tables) == 6
    for table in tables:
        columns = {len(re.findall(r"(?<!\\)\|", line)) for line in table}
        assert len(columns) == 1, table


@pytest.mark.parametrize(
    "breaking",
    [
        lambda report: report.pop("model"),
        lambda report: report.update(schema_version=2),
        lambda report: report.update(verdict="maybe"),
        lambda report: report.update(surprise=1),
        lambda report: report["inputs"].update(digest="short"),
        lambda report: report["accuracy"].update(golden=95.8),
        lambda report: report["engines"]["golden"].update(status="ok"),
        lambda report: report["engines"]["golden"].update(mismatches=1),  # pass with a mismatch
        lambda report: report["engines"]["golden"].update(vectors=0),  # pass of nothing
        lambda report: report["engines"]["pytorch"].update(reason=None),  # skipped without a reason
        lambda report: report["layers"][0].pop("xnor_ops"),
        lambda report: report["latency"][0].update(provenance="guessed"),
        lambda report: report["latency"][0]["latency"].pop("minimum"),
        lambda report: report["rtl"].pop("interval"),
        lambda report: report["synthesis"][1].update(reason=None),  # skipped without a reason
        lambda report: report["synthesis"][0].update(total=None),  # pass of nothing
    ],
)
def test_the_schema_refuses(report, breaking):
    validate(report)
    broken = copy.deepcopy(report)
    breaking(broken)
    with pytest.raises(ValidationError):
        validate(broken)


def test_figures_are_well_formed_and_take_the_colours_of_the_page(report):
    drawn = figures(report)
    assert sorted(drawn) == ["build", "luts_ecp5", "memory", "speed", "weights", "work"]
    for svg in drawn.values():
        ET.fromstring(svg)
        assert "var(--first)" in svg
        assert not re.search(r"#0[1-4]0", svg)
    assert "dense1" in drawn["weights"]
    assert drawn == figures(report)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(0, "B", "0 B"), (999, "B", "999 B"), (999.9, "B", "1 kB"), (12345, "B", "12.3 kB"), (2.5e6, "", "2.5 M"),
     (7e12, "", "7e+03 G")],
)  # fmt: skip
def test_quantity(value, unit, text):
    assert quantity(value, unit) == text
