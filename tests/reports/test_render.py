import copy
import io
import json
import re
import xml.etree.ElementTree as ET
from base64 import b64decode
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import ValidationError
from matplotlib.image import imread
from numpy.typing import NDArray
from tests.narrowed import there
from tests.reports.sections import SECTIONS

from xnorflow.reports.arrays import pack
from xnorflow.reports.figures import figures, picture, quantity
from xnorflow.reports.hardware import made
from xnorflow.reports.index import index
from xnorflow.reports.index import row as row_of_index
from xnorflow.reports.render import render, validate


class Page(HTMLParser):
    """Collects the ids, tags, links and the text of a page, and checks that tags are closed."""

    VOID = ("meta", "link", "br", "path", "use", "img")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str | None] = []
        self.open: list[str] = []
        self.links: list[str | None] = []
        self.tags: list[Any] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attributes:
            if name == "id":
                self.ids.append(value)
            elif name in ("href", "src", "xlink:href"):
                self.links.append(value)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data


def page(report: Any, folder: Path) -> Page:
    render(report, folder)
    return Page((folder / "report.html").read_text())


def test_the_page_has_every_section_and_number(report: Any, tmp_path: Path) -> None:
    shown = page(report, tmp_path)
    assert set(SECTIONS) <= set(shown.ids)
    assert len(shown.ids) == len(set(shown.ids))
    text = " ".join(shown.text.split())
    for expected in (
        "small", "verdict pass", "1,000", "95.83%", "97.22%", "from the checkpoint: 10,000 images of mnist",
        "no <module>", "skipped", "4.2 s", "proved", "dense1", "2,048", "29.3 times smaller", "12,345",
        "12,346.5", "678", "estimated", "simulated", "3 PE x 7 SIMD", "4,321", "at most 10,000 LUTs",
        "147 k/s at 10.0 ns",
        "in dense1 3 constant neurons and 5 inputs that nobody uses.",
        "build/small/hls4ml_packed", "a" * 64, "3.11",
        "2.46 nJ per inference", "between 820 pJ and 7.38 nJ", "7 of them test images", "count x picojoules_each",
        "a paper", "equal", "-10.0 %",
        "1 PE x 8 SIMD", "config2", "987", "2,222", "at best <40,000> frames/s", "loops one behind another", "a fit",
    ):  # fmt: skip
        assert expected in text, expected
    assert shown.tags.count("svg") == len(figures(report))
    assert shown.tags.count("img") == 4  # two layers of two vectors


def test_the_contents_are_the_headings_in_their_order(failed: dict[str, Any], tmp_path: Path) -> None:
    for report in (
        failed,
        failed | {"engines": {"golden": failed["engines"]["golden"]}, "vendor": [], "synthesis": [], "asic": []},
        failed | {"requirements": []},
    ):
        page(report, tmp_path)
        html = (tmp_path / "report.html").read_text()
        listed = re.findall(r'<li><a href="#(.+?)">(.+?)</a></li>', html)
        headed = re.findall(r'<section id="([^"]+)"[^>]*>\s*<h2>(.+?)</h2>', html.replace("Vendor's", "Vendor&#39;s"))
        assert listed == headed and len(listed) > 10


def test_what_no_tool_was_there_for_is_one_line(report: Any, tmp_path: Path) -> None:
    skipped = {"status": "skipped", "reason": "vitis_hls is not on PATH", "tool": None, "seconds": None, "log": "-"}
    job = report["vendor"][0] | {"steps": [skipped | {"name": name} for name in ("csynth", "cosim")], "problems": []}
    job["figures"] = {key: [] for key in job["figures"]}
    report["vendor"] = [job]
    text = " ".join(page(report, tmp_path).text.split())
    assert "skipped csynth, cosim: vitis_hls is not on PATH Scripts:" in text


def test_accuracy_on_other_images_says_so_first(report: Any, tmp_path: Path) -> None:
    assert "95.83% not on mnist: golden model, 360 images of digits" in " ".join(page(report, tmp_path).text.split())
    report["accuracy"]["golden_dataset"] = "mnist"
    assert "95.83% golden model, 360 images of mnist" in " ".join(page(report, tmp_path).text.split())


def test_the_page_needs_nothing_from_outside_and_escapes_what_it_shows(report: Any, tmp_path: Path) -> None:
    shown = page(report, tmp_path)
    beside = ("bitstream_ecp5.bit", "pins.txt", "report.json", "report.md")  # files of the flow
    assert all(there(link).startswith(("#", "data:")) or link in beside for link in shown.links), shown.links
    assert "It is not for a board: the tool chose the pins at will" in shown.text
    html = (tmp_path / "report.html").read_text()
    assert "a &lt;b&gt;small&lt;/b&gt; network &amp; more" in html
    assert not re.search(r"@import|url\((?!#)", html)
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html


def test_the_first_mismatch_is_shown(failed: dict[str, Any], tmp_path: Path) -> None:
    shown = page(failed, tmp_path)
    assert "mismatch-hls4ml_packed" in shown.ids
    text = " ".join(shown.text.split())
    for expected in ("verdict fail", "at position 2, 5", "17", "-4", "-2", "mismatch_hls4ml_packed.npz", "9 of 1,000"):
        assert expected in text, expected


def test_claims_are_told_apart(report: Any, tmp_path: Path) -> None:
    report["argmax"] = {"of": "class", "claim": "measured", "vectors": 1000, "ambiguous": 3}
    assert "measured on 1,000 vectors" in " ".join(page(report, tmp_path).text.split())
    report["argmax"] = {"of": "score", "claim": "unknown", "vectors": 0, "ambiguous": 3}
    report["samples"] = [sample | {"class": None, "layers": [sample["layers"][0], {"name": "scores",
                         "values": pack(np.array([2**33]))}]} for sample in report["samples"]]  # fmt: skip
    text = " ".join(page(report, tmp_path).text.split())
    assert "The sign of the integer score is the trained model's own: not shown: 3 accumulators" in text
    assert "Vector 0: score 8,589,934,592, label 1" in text
    assert "Sign of the score equal to the framework's: unknown." in (tmp_path / "report.md").read_text()


def test_a_report_without_images_layers_with_weights_or_resources(report: Any, tmp_path: Path) -> None:
    report["accuracy"] = dict.fromkeys(report["accuracy"]) | {"golden_count": 0, "confusion": None}
    report["layers"] = [report["layers"][1] | {"operands": ["input"]}]
    report["engines"].pop("hls4ml_packed")
    report |= {
        "rtl": None,
        "hls": None,
        "latency": [],
        "energy": None,
        "synthesis": [],
        "asic": [],
        "vendor": [],
        "predicted": [],
        "baseline": None,
        "samples": [],
    }
    assert set(SECTIONS) - set(page(report, tmp_path).ids) == {"findings", "asic", "hls"}
    assert "not measured" in (tmp_path / "report.md").read_text()


def test_precision_and_recall_of_two_classes_are_shown_at_thresholds_to_choose_from(
    report: Any, tmp_path: Path
) -> None:
    text = " ".join(page(report, tmp_path).text.split())
    assert "Class 1 where the score of class 1 less that of class 0 is 1 or more" in text
    assert "Average precision 98.76%." in text
    html = (tmp_path / "report.html").read_text()
    table = html[html.index("<th>score of at least</th>") :].partition("</table>")[0]
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in table.split("<tr>")[1:]]
    # The first threshold that finds half of the images, and then those that find more; none twice.
    assert rows == [
        ["30", "100", "55.56%", "0", "100.00%"],
        ["9", "150", "83.33%", "2", "98.68%"],
        ["1", "175", "97.22%", "10", "94.59%"],
        ["-4", "180", "100.00%", "44", "80.36%"],
    ]
    markdown = (tmp_path / "report.md").read_text()
    assert "| recall of class 1 | 97.22% |" in markdown and "| precision of class 1 | 94.59% |" in markdown
    assert html.count('id="precision_recall-figure_1"') == html.count("score ≥ 1<") == 1  # the network's own point
    report["accuracy"]["precision_recall"] = None
    assert "Average precision" not in page(report, tmp_path).text


def test_resources_are_shown_with_their_provenance(report: Any, tmp_path: Path) -> None:
    text = " ".join(page(report, tmp_path).text.split())
    for expected in (
        "synthesised by yosys 0.23", "1,194", "EBR of 18 Kb", "placed-and-routed by nextpnr 0.11 on ecp5-25k: 87.7 MHz",
        "129 k vectors/s", "5.35%", "popcount", "skipped no Yosys here",
    ):  # fmt: skip
        assert expected in text, expected
    report["synthesis"][0]["placement"] |= {"status": "unfit", "reason": "does not fit: LUTs", "fmax_mhz": None}
    assert "unfit does not fit: LUTs" in " ".join(page(report, tmp_path).text.split())
    told = (tmp_path / "report.md").read_text()
    assert "- **place and route for Lattice ECP5: unfit**: does not fit: LUTs" in told


def test_every_place_gives_the_same_number_of_luts(report: Any, tmp_path: Path) -> None:
    """In the tile, the table of resources, side by side with others, for pull requests and in the index."""
    row = report["synthesis"][0]
    for of in (row["total"], *row["layers"]):
        of |= {"lut": 1676, "lutram": 8}
    (tmp_path / "small").mkdir()
    html = page(report, tmp_path / "small").text
    assert re.search(r"LUTs\s*1,676\s*on Lattice ECP5", html)
    assert next(of.lut for of in made(report)) == 1676 == row_of_index(report, "here").luts["Lattice ECP5"]
    told = (tmp_path / "small" / "report.md").read_text()
    assert "| LUTs, Lattice ECP5 | 1,676 |" in told and "yosys 0.23 for Lattice ECP5 | 1,676 |" in told
    for text in (html, told, index(tmp_path)[0].read_text()):
        assert "1,676" in text and "1,668" not in text and "1,684" not in text


def test_figures_of_all_tools_stand_side_by_side(report: Any, tmp_path: Path) -> None:
    placed, cells, ours, vendors = made(report)[1:]
    assert (ours.design, ours.lut, ours.latency, ours.interval) == ("hls4ml_packed", 987, 2345, 2222)
    assert (ours.provenance, ours.ff, ours.fmax_mhz) == ("estimated", None, None)
    assert (cells.lut, cells.ff, cells.fmax_mhz, cells.power_w) == (None, 90, 64.5, 0.00321)
    assert (placed.lut, placed.fmax_mhz, placed.latency, placed.provenance) == (
        1300,
        87.654,
        12345,
        "placed-and-routed",
    )
    assert placed.latency_us == pytest.approx(140.84, abs=0.01) and placed.per_second == pytest.approx(129283, abs=1)
    assert (vendors.bram_kb, vendors.fmax_mhz, vendors.power_w) == (126, 321.04, 0.242)
    shown = page(report, tmp_path)
    for text in (" ".join(shown.text.split()), (tmp_path / "report.md").read_text()):
        for expected in ("yosys 0.23 for Lattice ECP5", "126 Kb", "87.7 MHz", "141 µs", "6,543"):
            assert expected in text, expected
    assert "the dynamic part comes to 372 nJ per inference" in " ".join(shown.text.split())  # 0.137 W x 678 x 4 ns


def test_an_asic_is_shown_with_its_provenance(report: Any, tmp_path: Path) -> None:
    text = " ".join(page(report, tmp_path).text.split())
    for expected in (
        "synthesised by yosys 0.23 for a clock of 20.0 ns", "the area of NAND2", "by opensta 2.0: 64.5 MHz, 4.50 ns",
        "Power, by opensta 2.0: 3.21 mW", "switching of 812 nets in 4 frames", "7,654", "2,040", "unfit needs a macro",
        "2 cells: from u/_1_ (DFF) to u/_2_ (NAND2)",
    ):  # fmt: skip
        assert expected in text, expected
    report["asic"][0]["timing"] |= {"status": "unmet", "reason": "timing not met at 20 ns", "slack_ns": -1.5}
    report["asic"][0]["power"] |= {"status": "skipped", "reason": "no OpenSTA here", "total_w": None, "layers": []}
    text = " ".join(page(report, tmp_path).text.split())
    assert "-1.50 ns left of the clock not met" in text and "Power: skipped no OpenSTA here" in text
    told = (tmp_path / "report.md").read_text()
    assert "| area, cells_tt | 7,654 µm², 2,040 GE | | | synthesised |" in told
    assert "- **timing of the ASIC of cells_tt: unmet**: timing not met at 20 ns" in told
    assert "- cells_tt: no power: no OpenSTA here" in told and "- **ASIC of other: unfit**: needs a macro" in told


def test_json_is_the_report(report: Any, tmp_path: Path) -> None:
    render(report, tmp_path)
    assert json.loads((tmp_path / "report.json").read_text()) == report


def test_markdown_tables_are_whole(report: Any, tmp_path: Path) -> None:
    report["engines"]["pytorch"]["reason"] = "one\ntwo | three"
    render(report, tmp_path)
    blocks = (tmp_path / "report.md").read_text().split("\n\n")
    tables = [block.strip().splitlines() for block in blocks if block.lstrip().startswith("|")]
    assert len(tables) == 8
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
def test_the_schema_refuses(report: Any, breaking: Callable[..., Any]) -> None:
    validate(report)
    broken = copy.deepcopy(report)
    breaking(broken)
    with pytest.raises(ValidationError):
        validate(broken)


def test_figures_are_well_formed_and_take_the_colours_of_the_page(report: Any) -> None:
    drawn = figures(report)
    assert sorted(drawn) == [
        *(
            "build",
            "memory",
            "network",
            "pipeline",
            "precision_recall",
            "resources_ecp5",
            "scores_0",
            "scores_1",
            "speed",
            "weights",
            "work",
        ),
    ]
    for svg in drawn.values():
        ET.fromstring(svg)
        assert re.search(r"var\(--(first|series1)\)", svg)
        assert not re.search(r"#([01])(\d)\1\2\1\2", svg)
    assert "dense1" in drawn["weights"]
    assert drawn == figures(report)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(0, "B", "0 B"), (999, "B", "999 B"), (999.9, "B", "1 kB"), (12345, "B", "12.3 kB"), (2.5e6, "", "2.5 M"),
     (7e12, "", "7e+03 G")],
)  # fmt: skip
def test_quantity(value: float, unit: str, text: str) -> None:
    assert quantity(value, unit) == text


def test_three_channels_of_integers_are_a_picture_in_colour() -> None:
    def pixels(values: NDArray[Any]) -> NDArray[Any]:
        data = re.findall(r"base64,([^\"]+)", picture(pack(values), "x"))[0]
        return imread(io.BytesIO(b64decode(data)), format="png")

    red = np.zeros((4, 5, 3), int)
    red[..., 0] = 200
    np.testing.assert_array_equal(pixels(red), np.broadcast_to([1, 0, 0, 1], (4, 5, 4)))
    assert pixels(np.sign(red - 1)).shape == (9, 11, 4), "bits are tiles"


def test_changes_since_the_baseline_are_named_and_equal_figures_counted(report: Any, tmp_path: Path) -> None:
    text = "".join(page(report, tmp_path).text.split())
    for expected in ("rtl.latency 12,000 12,345 +2.88 %", "1 PE x 7 SIMD 3 PE x 7 SIMD changed", "1 other figures"):
        assert expected.replace(" ", "") in text, expected
    summary = (tmp_path / "report.md").read_text()
    assert "| latency, cycles | 12,345 | 12,000 | +2.88 % | simulated |" in summary
    assert "| interval, cycles | 678 | 678 | = | simulated |" in summary
    assert "| rtl.layers.dense1 | 3 PE x 7 SIMD | 1 PE x 7 SIMD | changed | |" in summary
    report["baseline"]["rows"] = [row | {"before": row["now"]} for row in report["baseline"]["rows"]]
    text = " ".join(page(report, tmp_path).text.split())
    assert "All 3 figures are those of reports/baselines/small.json: rtl (3)." in text


def test_a_mismatch_shows_its_window_and_the_grid_where_it_is(failed: dict[str, Any], tmp_path: Path) -> None:
    failed["engines"]["hls4ml_packed"]["layers"]["dense1"] = {"vectors": 8, "mismatches": 3}
    text = "".join(page(failed, tmp_path).text.split())
    for expected in (
        "popcount 22 of 48 signs equal", "2 × 22 − 48 = -4", "hls4ml_packed's accumulator -2",
        "-4 >= -3 does not hold", "≠ 3 of 8", "= 1,000",
    ):  # fmt: skip
        assert expected.replace(" ", "") in text, expected
    window = failed["engines"]["hls4ml_packed"]["first_mismatch"]["window"]
    window["terms"] = [{"factor": 1 << k, "plus": 5, "minus": k} for k in range(8)]
    text = "".join(page(failed, tmp_path).text.split())
    assert "bitplaneweight+1weight−1adds" in text and "×12857-256" in text
