"""Every format in several versions, every figure; and whatever else comes, an error that says where."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.hls.vendor import samples

from xnorflow.hls.vendor import hls_reports, vivado_reports
from xnorflow.hls.vendor.text import DeviceResources, ReportError

SIZE = DeviceResources(lut=4321, ff=1234, bram=1.5, uram=0, dsp=5)
PARSERS: dict[str, tuple[Callable[..., Any], Callable[..., str], tuple[str, ...]]] = {
    "csim": (hls_reports.csim, samples.csim, samples.HLS_VERSIONS),
    "csynth_xml": (hls_reports.csynth_xml, samples.csynth_xml, samples.HLS_VERSIONS),
    "csynth_text": (hls_reports.csynth_text, samples.csynth_text, samples.HLS_VERSIONS),
    "cosim": (hls_reports.cosim, samples.cosim, samples.HLS_VERSIONS),
    "export": (hls_reports.export, samples.export, samples.HLS_VERSIONS),
    "export_table": (hls_reports.export, samples.export_table, ("2022.2", "2025.1")),
    "utilisation": (vivado_reports.utilisation, samples.utilization, samples.VIVADO_VERSIONS),
    "hierarchy": (vivado_reports.hierarchy, samples.hierarchy, samples.VIVADO_VERSIONS),
    "timing": (vivado_reports.timing, samples.timing, samples.VIVADO_VERSIONS),
    "paths": (vivado_reports.paths, samples.paths, samples.VIVADO_VERSIONS),
    "power": (vivado_reports.power, samples.power, samples.VIVADO_VERSIONS),
}


@pytest.mark.parametrize("version", samples.HLS_VERSIONS)
@pytest.mark.parametrize("kind", ["csynth_xml", "csynth_text"])
def test_c_synthesis(kind: str, version: str) -> None:
    parse, sample, _ = PARSERS[kind]
    got = parse(sample(version))
    unsure = kind == "csynth_xml" and version == "2020.1"  # both tools had this version; the text names its tool
    tool = hls_reports.EITHER if unsure else "Vivado HLS" if version < "2020.2" else "Vitis HLS"
    assert got == hls_reports.CSynthesis(
        "tiny_top",
        tool,
        version,
        "xc7z020-clg400-1",
        5.0,
        3.125,
        7,
        7,
        2,
        3,
        SIZE,
        DeviceResources(53200, 106400, 140, 0, 220),
    )
    assert got.fmax_mhz == 320


@pytest.mark.parametrize(("kind", "unknown"), [("csynth_xml", "undef"), ("csynth_xml", "?"), ("csynth_text", "?")])
def test_a_latency_that_the_tool_cannot_tell_is_none(kind: str, unknown: str) -> None:
    parse, sample, _ = PARSERS[kind]
    got = parse(sample("2022.2", latency=unknown))
    assert (got.latency_min, got.latency_max, got.interval_min, got.interval_max) == (None, None, 2, 3)


def test_c_synthesis_without_units_and_times_as_before_2019_2() -> None:
    text = (
        samples.csynth_text("2019.2")
        .replace("+ Timing: ", "+ Timing (ns): ")
        .replace("| 5.00 ns | 3.125 ns |", "|5.00|3.125|")
    )
    text = text.replace("|   min   |   max   |    min    |    max    | min | max |", "| min | max | min | max |")
    got = hls_reports.csynth_text(text.replace("| 35.000 ns | 35.000 ns |", "|"))
    assert (got.clock_target_ns, got.clock_estimated_ns, got.latency_max, got.interval_max) == (5.0, 3.125, 7, 3)


@pytest.mark.parametrize(
    ("version", "tool"),
    [("2020.1.1", hls_reports.EITHER), ("2019.2.1", "Vivado HLS"), ("2020.2", "Vitis HLS"), ("2021.1", "Vitis HLS")],
)
def test_the_tool_by_its_version(version: str, tool: str) -> None:
    assert hls_reports.csynth_xml(samples.csynth_xml(version)).tool == tool


@pytest.mark.parametrize("version", samples.HLS_VERSIONS)
def test_c_simulation(version: str) -> None:
    assert hls_reports.csim(samples.csim(version)) == hls_reports.CSimulation("passed", 0, 100, 0)
    assert hls_reports.csim(samples.csim(version, wrong=3)) == hls_reports.CSimulation("failed", 1, 100, 3)
    other = re.sub("PASS: .*\n", "", samples.csim(version))
    assert hls_reports.csim(other) == hls_reports.CSimulation("passed", 0, None, None)


@pytest.mark.parametrize("version", samples.HLS_VERSIONS)
@pytest.mark.parametrize(
    ("ends", "passed"), [("failed", False), ("not compiled", False), ("interrupted", False), ("only set up", None)]
)
def test_how_c_simulations_end(version: str, ends: str, passed: bool | None) -> None:
    got = hls_reports.csim(samples.csim(version, ends=ends))
    assert got == hls_reports.CSimulation(ends, None, None, None)  # type: ignore[arg-type]
    assert got.passed is passed


GOOD, BAD = samples.csim("2022.2"), samples.csim("2022.2", wrong=3)


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        (GOOD + BAD, ("failed", 1, 100, 3)),
        (BAD + GOOD, ("failed", 1, 100, 3)),
        (GOOD + GOOD.replace("100 vectors", "7 vectors"), ("passed", 0, 7, 0)),
        (GOOD.replace("PASS: 100 vectors, 0 wrong", "FAIL: 50 vectors, 3 wrong"), ("failed", 0, 50, 3)),
        (GOOD.replace("0 wrong", "1 wrong"), ("failed", 0, 100, 1)),
        (GOOD.replace("0 errors", "0 errors.\nINFO: [SIM 211-1] CSim done with 3 errors"), ("failed", 3, 100, 0)),
        (GOOD + samples.csim("2022.2", ends="failed"), ("failed", 0, 100, 0)),
        (GOOD.replace("INFO: [SIM 211-1]", "@E Simulation failed: SIGSEGV.\nINFO: [SIM 211-1]"), ("failed", 0, 100, 0)),
        (GOOD.replace("   Compiling", "ERROR: a word of the test bench\n   Compiling"), ("passed", 0, 100, 0)),
    ],
)
def test_of_several_results_any_failure_fails(log: str, expected: tuple[str, int, int, int]) -> None:
    assert hls_reports.csim(log) == hls_reports.CSimulation(*expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("version", samples.HLS_VERSIONS)
def test_export(version: str) -> None:
    got = hls_reports.export(samples.export(version))
    routed = version >= "2022"
    size = DeviceResources(lut=5455, ff=9809, bram=2.5, uram=0 if routed else None, dsp=30)
    stage, achieved = ("routed", 4.42) if routed else ("synthesised", 4.755)
    assert got == hls_reports.Export(version, "xc7z020-clg400-1", stage, size, 5.0, achieved, True)  # type: ignore[arg-type]
    assert got.fmax_mhz == round(1000 / achieved, 2)
    late = hls_reports.export(samples.export(version, met=False))
    assert late.met is False and late.fmax_mhz is None


@pytest.mark.parametrize(("version", "stage"), [("2022.2", "synthesised"), ("2025.1", "routed")])
def test_export_as_a_table(version: str, stage: str) -> None:
    got = hls_reports.export(samples.export_table(version))
    size = DeviceResources(lut=5455, ff=9809, bram=2.5, uram=0, dsp=30)
    assert got == hls_reports.Export(version, "xc7z020-clg400-1", stage, size, 5.0, 4.42, True)  # type: ignore[arg-type]
    assert hls_reports.export(samples.export_table(version, met=False)).met is False


@pytest.mark.parametrize("version", samples.HLS_VERSIONS)
def test_co_simulation(version: str) -> None:
    assert hls_reports.cosim(samples.cosim(version)) == hls_reports.CoSimulation("Verilog", True, 7, 8, 9, 4, 5, 6)
    assert not hls_reports.cosim(samples.cosim(version, "Fail", "NA")).passed
    passed = hls_reports.cosim(samples.cosim(version, "Pass", "NA"))
    assert passed.passed and passed.latency_max is None and passed.interval_avg is None
    with pytest.raises(ReportError, match=r"expected Pass, Fail or NA, got .*Dunno"):
        hls_reports.cosim(samples.cosim(version, "Dunno"))
    with pytest.raises(ReportError, match="expected a row of Verilog or VHDL"):
        hls_reports.cosim(samples.cosim(version, "NA", "NA"))


@pytest.mark.parametrize("version", samples.VIVADO_VERSIONS)
@pytest.mark.parametrize(
    ("state", "stage"),
    [
        ("Synthesized", "synthesised"),
        ("Optimized", "synthesised"),
        ("Fully Placed", "placed"),
        ("Routed", "routed"),
        ("Other", None),
    ],
)
def test_utilisation(version: str, state: str, stage: str | None) -> None:
    got = vivado_reports.utilisation(samples.utilization(version, state))
    uram, part = (1, "xczu7ev-ffvc1156-2-e") if version >= "2025" else (None, "xc7z020clg400-1")
    assert got.resources == DeviceResources(lut=5432, ff=2345, bram=2.5, uram=uram, dsp=6, carry=321)
    assert got.design == vivado_reports.ReportedDesign("tiny", part, version, stage)  # type: ignore[arg-type]


def test_utilisation_of_versal() -> None:
    got = vivado_reports.utilisation(samples.versal())
    assert got.resources == DeviceResources(lut=5432, ff=2345, bram=2.5, uram=1, dsp=6, carry=None), (
        "no CARRY8 to count"
    )
    assert got.design == vivado_reports.ReportedDesign("tiny", "xcvc1902-vsva2197-2MP-e-S", "2025.1", "routed")


@pytest.mark.parametrize("version", samples.VIVADO_VERSIONS)
def test_hierarchy(version: str) -> None:
    got = vivado_reports.hierarchy(samples.hierarchy(version))
    uram = 0 if version >= "2025" else None

    def size(lut: Any) -> Any:
        return DeviceResources(lut, 2 * lut, 1.5, uram, 0)

    assert [(of.path, of.module, of.resources) for of in got.instances] == [
        ((), "(top)", size(342)),
        (("U_fc1",), "folded", size(300)),
        (("U_fc1", "inner"), "adder", size(289)),
        (("U_fc2",), "other", size(40)),
    ]
    assert got.design.stage == "routed"
    shares = re.sub(r"(?m)^(\| +U_fc2.*?\| +other \| +)40 ", r"\g<1>40(0.08%) ", samples.hierarchy(version))
    assert "40(0.08%)" in shares and vivado_reports.hierarchy(shares) == got
    without = samples.hierarchy(version).replace(" RAMB18 ", " RAM    ")
    assert {of.resources.bram for of in vivado_reports.hierarchy(without).instances} == {None}, "missing is not 0"


@pytest.mark.parametrize("version", samples.VIVADO_VERSIONS)
def test_paths(version: str) -> None:
    got = vivado_reports.paths(samples.paths(version, ("-0.100", "0.301", "inf")))
    assert got.paths == tuple(
        vivado_reports.TimingPath(slack, f"U_fc1/sum_reg[{n}]/C", f"U_fc2/in_reg[{n}]/D", 5, 4.687)
        for n, slack in enumerate((-0.1, 0.301))
    )


@pytest.mark.parametrize("version", samples.VIVADO_VERSIONS)
def test_timing(version: str) -> None:
    got = vivado_reports.timing(samples.timing(version))
    assert (got.wns_ns, got.whs_ns, got.wpws_ns, got.clock_ns) == (0.213, 0.024, 1.25, 5.0)
    assert got.design.version == version
    assert got.met and got.fmax_mhz == 208.9


@pytest.mark.parametrize("version", samples.VIVADO_VERSIONS)
@pytest.mark.parametrize("slack", [{"wns": "-0.089"}, {"whs": "-0.001"}, {"wpws": "-0.345"}])
def test_a_negative_slack_is_timing_that_is_not_met_and_no_fmax(version: str, slack: dict[str, str]) -> None:
    got = vivado_reports.timing(samples.timing(version, **slack))
    assert got.met is False and got.fmax_mhz is None


@pytest.mark.parametrize(
    ("words", "stage"),
    [
        ("top_timing_summary_routed.rpt", "routed"),
        ("post_route_util.rpt", "routed"),
        ("physopt postroute", "routed"),
        ("impl_timing.rpt", "routed"),
        ("top_utilization_placed.rpt", "placed"),
        ("postplace_timing.txt", "placed"),
        ("impl_1_placed.rpt", "placed"),
        ("synth_timing.rpt", "synthesised"),
        ("post_opt_timing.rpt", "synthesised"),
        ("timing.rpt", None),
        ("router_top.rpt", None),
    ],
)
def test_the_stage_by_a_name(words: str, stage: str | None) -> None:
    assert vivado_reports.stage_in(words) == stage


def test_the_stage_by_the_command() -> None:
    command = "report_timing_summary -max_paths 10 -file /a/impl_1/top_timing_summary_placed.rpt -pb x_routed.pb"
    assert vivado_reports.timing(samples.timing("2019.2", command=command)).design.stage == "placed"
    assert vivado_reports.timing(samples.timing("2019.2")).design.stage is None


@pytest.mark.parametrize("version", samples.VIVADO_VERSIONS)
@pytest.mark.parametrize(
    ("wns", "clocks"),
    [
        ("inf", ()),
        ("NA", ()),
        ("inf", (("clock", "5.000"),)),
        ("1.000", (("a", "5.000"), ("  b", "2.500"))),
        ("5.000", (("clock", "5.000"),)),
    ],
)
def test_without_one_clock_and_a_path_there_is_no_fmax(
    version: str, wns: str, clocks: tuple[tuple[str, ...], ...]
) -> None:
    assert vivado_reports.timing(samples.timing(version, wns, clocks)).fmax_mhz is None


@pytest.mark.parametrize("version", samples.VIVADO_VERSIONS)
def test_power(version: str) -> None:
    got = vivado_reports.power(samples.power(version))
    assert (got.total_w, got.dynamic_w, got.static_w, got.confidence) == (0.242, 0.137, 0.105, "Medium")
    assert got.activity is None and got.design.stage == "routed"
    hot = vivado_reports.power(samples.power(version, total="26.469 (Junction temp exceeded!)"))
    assert hot.total_w == 26.469
    assert got.matched_percent is None
    simulated = vivado_reports.power(samples.power(version, activity="run.saif"))
    assert (simulated.activity, simulated.matched_percent) == ("run.saif", 56.0)


@pytest.mark.parametrize(
    ("kind", "old", "new", "message"),
    [
        ("csynth_xml", "<LUT>4321<", "<LUT>many<", r"r:LINE: expected <LUT> \(a whole number\), got '<LUT>many</LUT>'"),
        ("csynth_xml", "<LUT>4321<", f"<LUT>{'9' * 5000}<", "r:LINE: expected <LUT>"),
        ("csynth_xml", "<LUT>4321<", "<LUT>٣<", "r:LINE: expected <LUT>"),
        ("csynth_xml", "<LUT>4321</LUT>\n", "", "expected <AreaEstimates> with <Resources> with <LUT> somewhere"),
        ("csynth_xml", "</Version>", "</Worsion>", r"r:LINE: expected well-formed XML \(mismatched tag\)"),
        ("csynth_xml", "profile>", "report>", "r:LINE: expected <profile>, got '<report>'"),
        ("csynth_xml", "<profile>", '<!DOCTYPE p [<!ENTITY a "a">]><profile>', "r:LINE: expected no document type"),
        ("csynth_text", "3.125 ns", "3,125 ns", r"r:LINE: expected the Estimated period \(a number\), got '\|ap_clk"),
        ("csynth_text", "|Total            |        3|", "|Total            |        ?|", r"r:LINE: expected BRAM_18K"),
        ("csim", "0 errors", "some errors", "r:LINE: expected the number of errors"),
        ("csynth_xml", "<Version>2019.2<", "<Version>new<", r"r:LINE: expected <Version>"),
        ("cosim", "|              7|", "|              x|", r"r:LINE: expected the minimal latency"),
        ("export", "    5455", "    5,455", r"r:LINE: expected LUT \(a whole number\)"),
        ("export", "FF: ", "FG: ", r"r:\d+: expected a row FF"),
        ("export", "4.755", "fast", r"r:LINE: expected achieved post-synthesis \(ns\) \(a number\)"),
        ("hierarchy", "       300 ", "      -300 ", r"r:LINE: expected Total LUTs"),
        ("hierarchy", "Total LUTs", "All LUTs  ", r"r:LINE: expected a table with Instance, Module, Total LUTs"),
        ("paths", " 0.213ns ", " 0.2.3ns ", r"r:LINE: expected the slack \(ns\) \(a number\)"),
        ("paths", "Logic Levels", "Logic Labels", r"r:\d+: expected 'Logic Levels:'"),
        ("utilisation", "Slice LUTs", "Splice LUTs", "expected a row Slice LUTs or CLB LUTs, but the report ends here"),
        ("utilisation", "  5432 ", "  -432 ", "r:LINE: expected LUTs"),
        ("utilisation", "Vivado v.2019.2", "Vivado", "r:LINE: expected 'Vivado v.' and its version"),
        ("timing", "0.213", "0.2.13", r"r:LINE: expected WNS\(ns\) \(a number\)"),
        ("timing", "| Design Timing Summary", "|", r"expected '\| Design Timing Summary'"),
        ("timing", "5.000           200", "x.000           200", "r:LINE: expected the clock's period"),
        ("power", "| Medium ", "| Middle ", "r:LINE: expected a confidence level of Low, Medium or High, got"),
        ("power", "| 0.137 ", "| much  ", r"r:LINE: expected Dynamic \(W\) \(a number\)"),
    ],
)
def test_an_error_names_file_line_and_what_was_expected(kind: str, old: str, new: str, message: str) -> None:
    parse, sample, _ = PARSERS[kind]
    text = sample("2019.2")
    line = text[: text.index(old)].count("\n") + 1
    with pytest.raises(ReportError, match=message.replace("LINE", str(line))):
        parse(text.replace(old, new), "r")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("csim", "csim.log"), ("csynth_xml", "csynth.xml"), ("csynth_text", "csynth.rpt"), ("cosim", "cosim.rpt"),
        ("export", "export.rpt"), ("utilisation", "utilization.rpt"), ("hierarchy", "hierarchy.rpt"),
        ("timing", "timing_summary.rpt"), ("paths", "timing.rpt"), ("power", "power.rpt"),
    ],
)  # fmt: skip
def test_a_report_of_no_name_is_called_as_its_tool_calls_it(kind: str, name: str) -> None:
    with pytest.raises(ReportError, match=f"^{name}:1: expected "):
        PARSERS[kind][0]("")


@pytest.mark.parametrize("kind", PARSERS)
def test_a_report_cut_short_is_no_report(kind: str) -> None:
    """Wherever it is cut, it is an error, or nothing that was read is missing."""
    parse, sample, versions = PARSERS[kind]
    for version in versions:
        text = sample(version)
        whole, accepted = parse(text), 0
        for end in range(0, len(text), 7):
            try:
                got = parse(text[:end])
            except ReportError:
                assert not accepted, f"{end}: longer is not worse"
                continue
            if kind == "csim" and got.outcome == "interrupted":
                continue
            if kind == "paths":  # nothing in it says how many there are
                assert got.paths == whole.paths[: len(got.paths)] and got.paths
                break
            assert got == whole
            accepted += 1
        assert accepted < len(text) / 7 / 2


@pytest.mark.parametrize("kind", PARSERS)
@settings(max_examples=60)
@given(data=st.data())
def test_garbage_is_an_error_with_a_line(kind: str, data: st.DataObject) -> None:
    parse, sample, versions = PARSERS[kind]
    text = sample(data.draw(st.sampled_from(versions)))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(start + 60, len(text))))
        piece = data.draw(
            st.one_of(st.text(max_size=12), st.sampled_from(["|", "\n", "9" * 5000, "<", "\0", "| | |", "٣"]))
        )
        text = text[:start] + piece + text[end:]
    try:
        parse(text, "r.rpt")
    except ReportError as error:
        assert re.match(r"r\.rpt:\d+: expected ", str(error))


@pytest.mark.parametrize("kind", PARSERS)
@pytest.mark.parametrize("text", ["", "\n", "<", "|", "<profile/>", "Power Report", "\0", "<profile>" * 3000])
def test_what_is_no_report_at_all(kind: str, text: str) -> None:
    with pytest.raises(ReportError, match=r"r:\d+: expected "):
        PARSERS[kind][0](text, "r")
