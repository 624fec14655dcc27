"""The pages as people see them: in Debian's Chromium, wide and on a phone, light, dark and on paper.

What was seen is kept in ``build/screenshots``.
"""

import copy
import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.reports.sections import SECTIONS

from xnorflow.flows import run, subject
from xnorflow.flows.cache import PROJECT
from xnorflow.flows.options import Options
from xnorflow.reports.index import index
from xnorflow.reports.render import render
from xnorflow.reports.requirements import KINDS

SHOTS = PROJECT / "build" / "screenshots"
SCREENS = {"wide": (1400, 900), "phone": (390, 844)}
# As root in a container, and silent: no telemetry, no updates.
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]

# Contrast of each text with what is painted behind it, by WCAG's formula; returns the texts below the limit.
POOR_CONTRAST = """() => {
  const parse = colour => {
    const numbers = (colour.match(/[\\d.]+/g) || []).map(Number);
    return colour.startsWith("color(") ? numbers.map((c, i) => i < 3 ? 255 * c : c) : numbers;
  };
  const over = (top, bottom) => top.slice(0, 3).map((c, i) => c * (top[3] ?? 1) + bottom[i] * (1 - (top[3] ?? 1)));
  const behind = element => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) layers.unshift(parse(getComputedStyle(e).backgroundColor));
    return layers.reduce((below, colour) => over(colour, below), [255, 255, 255]);
  };
  const luminance = rgb => rgb.map(c => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const poor = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement, text = walker.currentNode.data.trim();
    if (!text || !element.getClientRects().length || ["SCRIPT", "STYLE"].includes(element.tagName)) continue;
    const style = getComputedStyle(element), ground = behind(element);
    if (style.visibility === "hidden") continue;
    const ink = over(parse(element.closest("svg") ? style.fill : style.color), ground);
    const [high, low] = [luminance(ink), luminance(ground)].sort((a, b) => b - a);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < 4.5) poor.push(`${ratio.toFixed(2)} ${element.tagName}.${element.getAttribute("class")}: ${text}`);
  }
  return poor;
}"""
# Charts that take no room, or in which nothing is drawn but a ground, axes and a legend.
EMPTY_CHARTS = """() => [...document.querySelectorAll("figure")].filter(figure => {
  const drawn = [...figure.querySelectorAll("svg path, svg use, img")].filter(e => {
    const style = getComputedStyle(e), box = e.getBoundingClientRect();
    const inked = e.tagName === "IMG" || (style.fill !== "none" && Number(style.opacity) > 0);
    return inked && !e.closest("[id*='matplotlib.axis'], [id*='legend']") && box.width > 2 && box.height > 2;
  });
  return !drawn.length;
}).map(figure => figure.innerText)"""
BEYOND_THE_EDGE = """paper => [...document.querySelectorAll("body *")].filter(e =>
  (paper || !e.closest(".scroll")) && e.getBoundingClientRect().right > document.documentElement.clientWidth + 1
).map(e => `${e.tagName}.${e.getAttribute("class")}`)"""


# Cards whose content leaves them, and numbers of tiles that are broken inside a word.
OUTSIDE_ITS_CARD = """() => [...document.querySelectorAll("section, section table, section .scroll")].flatMap(e => {
  const card = e.closest("section").getBoundingClientRect(), own = e.getBoundingClientRect();
  return own.right > card.right + 1 ? [`${e.closest("section").id} ${e.tagName}.${e.getAttribute("class")}`] : [];
})"""
BROKEN_WORDS = """() => [...document.querySelectorAll(".facts dd:not(.about)")].filter(e => {
  const range = document.createRange(), node = e.firstChild, tops = [];
  for (const word of node.data.matchAll(/\\S+/g)) {
    range.setStart(node, word.index); range.setEnd(node, word.index + word[0].length);
    if (range.getClientRects().length > 1) tops.push(word[0]);
  }
  return tops.length;
}).map(e => e.innerText)"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    program = shutil.which("chromium")
    if not program:
        pytest.skip("no chromium on PATH; on Debian: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield opened
        opened.close()


class Shown:
    """A page in the browser, and what went wrong while it was shown."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.problems: list[str] = []
        page.on("console", lambda message: self.problems.append(message.text))
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("request", lambda request: self._offline(request.url))

    def _offline(self, url: str) -> None:
        if not url.startswith(("file:", "data:")):
            self.problems.append(f"asked for {url}")

    def keep(self, name: str) -> None:
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{name}.png", full_page=True)


@pytest.fixture
def show(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open a file as on a screen of `SCREENS`, light or dark, unfolded; nothing may have gone wrong in the end."""
    contexts, shown = [], []

    def show(path: Path, screen: str = "wide", scheme: str = "light", folded: bool = False) -> Shown:
        width, height = SCREENS[screen]
        phone = {"has_touch": True, "is_mobile": True} if screen == "phone" else {}
        contexts.append(browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, **phone))
        shown.append(Shown(contexts[-1].new_page()))
        shown[-1].page.goto(path.as_uri())
        if not folded and (button := shown[-1].page.locator("#unfold")).count():
            button.click()
        return shown[-1]

    yield show
    problems = [problem for page in shown for problem in page.problems]
    for context in contexts:
        context.close()
    assert problems == []


@pytest.fixture(scope="module", params=["passing", "failing"])
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The page of a flow, and its name among the screenshots."""
    folder = tmp_path_factory.mktemp(request.param)
    render(request.getfixturevalue(request.param), folder)
    return request.param, folder / "report.html"


def test_a_chart_without_bars_is_found_to_be_empty(show: Callable[..., Any], report: Any, tmp_path: Path) -> None:
    report["memory"] |= {"binary_bits": 0, "float32_bits": 0}
    report["synthesis"][0]["total"] = dict.fromkeys(report["synthesis"][0]["total"], 0)
    render(report, tmp_path)
    empty = show(tmp_path / "report.html").page.evaluate(EMPTY_CHARTS)
    assert len(empty) == 2 and any("what each layer takes" in chart for chart in empty), empty


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
def test_a_report_is_whole_and_legible(
    show: Callable[..., Any], page: tuple[str, Path], screen: str, scheme: str
) -> None:
    name, path = page
    shown = show(path, screen, scheme)
    shown.keep(f"{name}-{screen}-{scheme}")
    empty = "() => [...document.querySelectorAll('main > section')].filter(s => s.innerText.length < 10).map(s => s.id)"
    sections = shown.page.eval_on_selector_all("main > section", "sections => sections.map(s => s.id)")
    assert [section for section in sections if not section.startswith("mismatch")] == list(SECTIONS)
    assert ("mismatch-hls4ml_packed" in sections) == (name == "failing")
    assert shown.page.evaluate(empty) == []
    assert shown.page.locator("figure").count() > 4
    assert shown.page.evaluate(EMPTY_CHARTS) == []
    assert shown.page.evaluate(POOR_CONTRAST) == []
    assert shown.page.evaluate("document.documentElement.scrollWidth") <= SCREENS[screen][0]
    assert shown.page.evaluate(BEYOND_THE_EDGE, False) == []


def test_the_overview_fits_two_screens_and_links_unfold(show: Callable[..., Any], page: tuple[str, Path]) -> None:
    name, path = page
    shown = show(path, folded=True)
    shown.keep(f"{name}-folded")
    bottom = "document.querySelector('#fit').getBoundingClientRect().bottom"
    assert shown.page.evaluate(bottom) <= 2 * SCREENS["wide"][1]
    table = shown.page.locator("#coverage table").first
    assert not table.is_visible()
    shown.page.locator("nav a[href='#coverage']").click()
    assert table.is_visible() and not shown.page.locator("#memory figure").first.is_visible()
    heading = shown.page.locator("#coverage h2 button")
    heading.click()
    assert not table.is_visible() and heading.get_attribute("aria-expanded") == "false"


def test_the_overview_of_every_requirement_and_every_board_fits_two_screens(
    show: Callable[..., Any], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    report = copy.deepcopy(request.getfixturevalue("failing"))
    report["requirements"] = [
        {**report["requirements"][0], "what": what, "reason": f"at most 5,280 of {what} required, 1,300 found"}
        for what in KINDS
    ]
    (row,) = (row for row in report["synthesis"] if row["target"] == "ecp5")
    report["synthesis"].append({**row, "target": "xilinx7"})
    render(report, tmp_path)
    for screen, scheme in (("wide", "light"), ("wide", "dark"), ("phone", "light")):
        shown = show(tmp_path / "report.html", screen, scheme, folded=True)
        shown.keep(f"required-{screen}-{scheme}")
        assert shown.page.locator("#requirements tbody tr").count() == 9
        assert shown.page.locator("#fit tbody tr").count() == 9
        bottom = shown.page.evaluate("document.querySelector('#fit').getBoundingClientRect().bottom")
        assert screen == "phone" or bottom <= 2 * SCREENS["wide"][1]
        assert shown.page.evaluate(BEYOND_THE_EDGE, False) == []


@pytest.mark.parametrize("folded", [True, False])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_that_keeps_anybody_out(
    show: Callable[..., Any], page: tuple[str, Path], scheme: str, folded: bool
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    found = axe.Axe().run(show(page[1], scheme=scheme, folded=folded).page)
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("screen", SCREENS)
def test_a_touch_shows_where_a_number_comes_from(show: Callable[..., Any], page: tuple[str, Path], screen: str) -> None:
    shown = show(page[1], screen)
    box = shown.page.locator("#source")
    assert box.is_hidden()
    tile = shown.page.locator("#summary .facts > div", has_text="latency")
    tile.tap() if screen == "phone" else tile.hover()
    assert "simulated" in box.inner_text() and "rtl_cxxrtl" in box.inner_text()
    x, width = shown.page.evaluate("[document.querySelector('#source').getBoundingClientRect().right, innerWidth]")
    assert x <= width
    shown.page.keyboard.press("Escape")
    assert box.is_hidden()
    cell = shown.page.locator("#synthesis td").first
    cell.scroll_into_view_if_needed()
    cell.tap() if screen == "phone" else cell.hover()
    assert "synthesised" in box.inner_text() and "yosys 0.23" in box.inner_text()


def test_every_table_and_chart_says_where_it_comes_from(show: Callable[..., Any], page: tuple[str, Path]) -> None:
    silent = """() => [...document.querySelectorAll("main table, main figure")]
      .filter(e => !e.closest("#provenance, .mismatch, .network"))
      .filter(e => !e.closest("[data-source]") && !e.querySelector("[data-source]"))
      .map(e => e.closest("section").id)"""
    assert show(page[1]).page.evaluate(silent) == []


def test_a_report_on_paper(show: Callable[..., Any], page: tuple[str, Path]) -> None:
    name, path = page
    shown = show(path, scheme="dark")  # paper is white, whatever the screen is
    shown.page.emulate_media(media="print")
    shown.page.set_viewport_size({"width": 720, "height": 1000})  # A4 within its margins
    shown.keep(f"{name}-print")
    assert shown.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert shown.page.evaluate(POOR_CONTRAST) == []
    assert shown.page.evaluate(BEYOND_THE_EDGE, True) == []  # paper does not scroll
    assert shown.page.pdf(format="A4").startswith(b"%PDF")


@pytest.fixture(scope="module")
def full_page(passing: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a flow with as many engines as there are, and a baseline in which nothing has changed."""
    report = copy.deepcopy(passing)
    one = report["engines"]["hls4ml_packed"]
    names = ("qonnx", "hls4ml_stock", "rtl_icarus", "rtl_cxxrtl", "netlist", "rtl_vitis")
    report["engines"] |= {name: copy.deepcopy(one) for name in names}
    report["layers"][0]["name"] = "a_layer_of_a_long_name"
    for engine in report["engines"].values():
        engine["layers"] = {("a_layer_of_a_long_name" if k == "dense1" else k): v for k, v in engine["layers"].items()}
    for layer in report["layers"]:
        layer["operands"] = ["a_layer_of_a_long_name" if name == "dense1" else name for name in layer["operands"]]
    report["baseline"]["rows"] = [{"what": "rtl.latency", "before": 5, "now": 5}]
    folder = tmp_path_factory.mktemp("full")
    render(report, folder)
    return folder / "report.html"


@pytest.mark.parametrize("medium", ["paper", "phone", "narrow phone"])
def test_many_engines_stay_in_their_card_and_words_stay_whole(
    show: Callable[..., Any], full_page: Path, medium: str
) -> None:
    shown = show(full_page, "wide" if medium == "paper" else "phone")
    if medium == "paper":
        shown.page.emulate_media(media="print")
        shown.page.set_viewport_size({"width": 720, "height": 1000})
        assert shown.page.evaluate(OUTSIDE_ITS_CARD) == []
    if medium == "narrow phone":
        shown.page.set_viewport_size({"width": 360, "height": 740})
    shown.keep(f"full-{medium}")
    assert "unchanged" in shown.page.locator("#summary").inner_text()
    assert shown.page.evaluate(BROKEN_WORDS) == []


def test_the_index_of_all_targets_shows_every_column(show: Callable[..., Any], passing: Any, tmp_path: Path) -> None:
    report = copy.deepcopy(passing)
    (row, *_) = report["synthesis"]
    titles = ("AMD 7 series", "AMD UltraScale+", "Lattice ECP5", "Lattice iCE40 UltraPlus")
    report["synthesis"] = [row | {"target": title.lower(), "title": title} for title in titles]
    for name in ("mnist_resnet_bnn", "another_folder_of_it"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").write_text(json.dumps(report | {"model": "mnist_resnet_bnn"}))
    shown = show(index(tmp_path)[0])
    shown.page.set_viewport_size({"width": 1400, "height": 900})
    shown.keep("index-all-targets")
    assert shown.page.evaluate("(e => e.scrollWidth - e.clientWidth)(document.querySelector('.scroll'))") <= 0


@pytest.mark.slow
def test_the_report_of_a_real_flow_is_whole_and_legible(show: Callable[..., Any], tmp_path: Path) -> None:
    outcome = run.run(
        subject.find("digits_bnn"), Console(file=io.StringIO()), vectors=20, options=Options(targets=("xilinx7",)),
        reports=tmp_path,
    )  # fmt: skip
    assert outcome.verdict == "pass"
    for screen, scheme in (("wide", "light"), ("phone", "dark")):
        shown = show(outcome.report / "report.html", screen, scheme)
        shown.keep(f"digits_bnn-{screen}-{scheme}")
        sections = shown.page.eval_on_selector_all("main > section", "sections => sections.map(s => s.id)")
        assert sections == [section for section in SECTIONS if section not in ("findings", "requirements", "asic")]
        assert shown.page.evaluate(EMPTY_CHARTS) == [] and shown.page.evaluate(POOR_CONTRAST) == []
        assert shown.page.evaluate(BEYOND_THE_EDGE, False) == []


@pytest.fixture(scope="module")
def flows(passing: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The index over three flows, of which one has no accuracy and no latency."""
    folder = tmp_path_factory.mktemp("flows")
    for model, accuracy, luts, latency in (("b", 0.9, 900, 30), ("a", 0.98, 11000, 200), ("c", None, 1000, None)):
        made = copy.deepcopy(passing) | {"model": model}
        made["accuracy"]["golden"] = accuracy
        made["synthesis"][0]["total"]["lut"] = luts
        if latency:
            made["latency"][0]["latency"]["minimum"] = latency
        else:
            made["latency"] = []
        (folder / model).mkdir()
        render(made, folder / model)
    return index(folder)[0]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
def test_the_index_is_whole_and_legible(show: Callable[..., Any], flows: Path, screen: str, scheme: str) -> None:
    shown = show(flows, screen, scheme)
    shown.keep(f"index-{screen}-{scheme}")
    assert shown.page.evaluate(EMPTY_CHARTS) == []
    assert shown.page.evaluate(POOR_CONTRAST) == []
    assert shown.page.evaluate("document.documentElement.scrollWidth") <= SCREENS[screen][0]
    assert shown.page.evaluate("(e => e.scrollWidth - e.clientWidth)(document.querySelector('.scroll'))") <= 0


@pytest.mark.parametrize(
    ("column", "rising", "falling"),
    [
        ("model", "abc", "cba"),
        ("accuracy", "bac", "abc"),
        ("LUTs, Lattice ECP5", "bca", "acb"),
        ("latency", "bac", "abc"),
    ],
)
def test_a_click_sorts_the_index_and_another_one_the_other_way_round(
    show: Callable[..., Any], flows: Path, column: str, rising: str, falling: str
) -> None:
    shown = show(flows)
    head = shown.page.locator("thead th", has_text=column)
    models = shown.page.locator("tbody th[scope=row]")
    for order, direction in ((rising, "ascending"), (falling, "descending")):
        head.locator("button").click()
        assert "".join(models.all_inner_texts()) == order  # what is not known comes last, either way
        assert head.get_attribute("aria-sort") == direction
