"""Every format in several versions, every figure; and whatever else comes, an error that says where."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.hls.vendor import samples

from xnorflow.hls.vendor import hls_reports, vivado_reports
from xnorflow.hls.vendor.text import ReportError, Resources

SIZE = Resources(lut=4321, ff=1234, bram=1.5, uram=0, dsp=5)
PARSERS = {
    "csim": (hls_reports.csim, samples.csim, samples.HLS_VERSIONS),
    "csynth_xml": (hls_reports.csynth_xml, samples.csynth_xml, samples.HLS_VERSIONS),
    "csynth_text": (hls_reports.csynth_text, samples.csynth_text, samples.HLS_VERSIONS),
    "cosim": (hls_reports.cosim, samples.cosim, samples.HLS_VERSIONS),
    "utilisation": (vivado_reports.utilisation, samples.utilization, samples.VIVADO_VERSIONS),
    "timing": (vivado_reports.timing, samples.timing, samples.VIVADO_VERSIONS),
    "power": (vivado_reports.power, samples.power, samples.VIVADO_VERSIONS),
}


@pytest.mark.parametrize("version", samples.HLS_VERSIONS)
@pytest.mark.parametrize("kind", ["csynth_xml", "csynth_text"])
def test_c_synthesis(kind, version):
    parse, sample, _ = PARSERS[kind]
    got = parse(sample(version))
    assert got == hls_reports.CSynthesis(
        "tiny_top", version, "xc7z020-clg400-1", 5.0, 3.125, 7, 7, 2, 3, SIZE, Resources(53200, 106400, 140, 0, 220)
    )
    assert got.fmax_mhz == 320


@pytest.mark.parametrize(("kind", "unknown"), [("csynth_xml", "undef"), ("csynth_xml", "?"), ("csynth_text", "?")])
def test_a_latency_that_the_tool_cannot_tell_is_none(kind, unknown):
    parse, sample, _ = PARSERS[kind]
    got = parse(sample("2022.2", latency=unknown))
    assert (got.latency_min, got.latency_max, got.interval_min, got.interval_max) == (None, None, 2, 3)


def test_c_synthesis_without_units_and_times_as_before_2019_2():
    text = (
        samples.csynth_text("2019.2")
        .replace("+ Timing: ", "+ Timing (ns): ")
        .replace("| 5.00 ns | 3.125 ns |", "|5.00|3.125|")
    )
    text = text.replace("|   min   |   max   |    min    |    max    | min | max |", "| min | max | min | max |")
    got = hls_reports.csynth_text(text.replace("| 35.000 ns | 35.000 ns |", "|"))
    assert (got.clock_target_ns, got.clock_estimated_ns, got.latency_max, got.interval_max) == (5.0, 3.125, 7, 3)


@pytest.mark.parametrize("version", samples.HLS_VERSIONS)
def test_c_simulation(version):
    assert hls_reports.csim(samples.csim(version)) == hls_reports.CSimulation(0, 100, 0)
    assert hls_reports.csim(samples.csim(version, wrong=3)) == hls_reports.CSimulation(1, 100, 3)
    other = re.sub("PASS: .*\n", "", samples.csim(version))
    assert hls_reports.csim(other) == hls_reports.CSimulation(0, None, None)


@pytest.mark.parametrize("version", samples.HLS_VERSIONS)
def test_co_simulation(version):
    assert hls_reports.cosim(samples.cosim(version)) == hls_reports.CoSimulation("Verilog", True, 7, 8, 9, 7, 8, 9)
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
def test_utilisation(version, state, stage):
    got = vivado_reports.utilisation(samples.utilization(version, state))
    uram, part = (1, "xczu7ev-ffvc1156-2-e") if version >= "2025" else (None, "xc7z020clg400-1")
    assert got.resources == Resources(lut=5432, ff=2345, bram=2.5, uram=uram, dsp=6, carry=321)
    assert got.design == vivado_reports.Design("tiny", part, version, stage)


@pytest.mark.parametrize("version", samples.VIVADO_VERSIONS)
def test_timing(version):
    got = vivado_reports.timing(samples.timing(version))
    assert (got.wns_ns, got.whs_ns, got.clock_ns, got.design.version) == (0.213, 0.024, 5.0, version)
    assert got.fmax_mhz == 1000 / (5.0 - 0.213)
    late = vivado_reports.timing(samples.timing(version, wns="-0.089"))
    assert late.fmax_mhz == 1000 / 5.089


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
def test_without_one_clock_and_a_path_there_is_no_fmax(version, wns, clocks):
    assert vivado_reports.timing(samples.timing(version, wns, clocks)).fmax_mhz is None


@pytest.mark.parametrize("version", samples.VIVADO_VERSIONS)
def test_power(version):
    got = vivado_reports.power(samples.power(version))
    assert (got.total_w, got.dynamic_w, got.static_w, got.confidence) == (0.242, 0.137, 0.105, "Medium")
    assert got.activity is None and got.design.stage == "routed"
    hot = vivado_reports.power(samples.power(version, total="26.469 (Junction temp exceeded!)"))
    assert hot.total_w == 26.469
    simulated = samples.power(version).replace("File | ---", "File | run.saif")
    assert vivado_reports.power(simulated).activity == "run.saif"


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
        ("cosim", "|              7|", "|              x|", r"r:LINE: expected the minimal latency"),
        ("utilisation", "Slice LUTs", "Splice LUTs", "expected a row Slice LUTs or CLB LUTs, but the report ends here"),
        ("utilisation", "  5432 ", "  -432 ", "r:LINE: expected LUTs"),
        ("utilisation", "Vivado v.2019.2", "Vivado", "r:LINE: expected 'Vivado v.' and its version"),
        ("timing", "0.213", "0.2.13", r"r:LINE: expected WNS\(ns\) \(a number\)"),
        ("timing", "| Design Timing Summary", "|", r"expected '\| Design Timing Summary'"),
        ("timing", "5.000           200", "x.000           200", "r:LINE: expected the clock's period"),
        ("power", "| Medium ", "| Middle ", "r:LINE: expected a confidence level"),
        ("power", "| 0.137 ", "| much  ", r"r:LINE: expected Dynamic \(W\) \(a number\)"),
    ],
)
def test_an_error_names_file_line_and_what_was_expected(kind, old, new, message):
    parse, sample, _ = PARSERS[kind]
    text = sample("2019.2")
    line = text[: text.index(old)].count("\n") + 1
    with pytest.raises(ReportError, match=message.replace("LINE", str(line))):
        parse(text.replace(old, new), "r")


@pytest.mark.parametrize("kind", PARSERS)
def test_a_report_cut_short_is_no_report(kind):
    """Wherever it is cut, it is an error, or nothing that was read is missing."""
    parse, sample, versions = PARSERS[kind]
    for version in versions:
        text = sample(version)
        whole, accepted = parse(text), 0
        for end in range(0, len(text), 7):
            try:
                assert parse(text[:end]) == whole
                accepted += 1
            except ReportError:
                assert not accepted, f"{end}: longer is not worse"
        assert accepted < len(text) / 7 / 2


@pytest.mark.parametrize("kind", PARSERS)
@settings(max_examples=60)
@given(data=st.data())
def test_garbage_is_an_error_with_a_line(kind, data):
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
def test_what_is_no_report_at_all(kind, text):
    with pytest.raises(ReportError, match=r"r:\d+: expected "):
        PARSERS[kind][0](text, "r")
