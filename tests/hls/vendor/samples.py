"""Reports in the formats of several versions of the vendor's tools, written for the tests; the figures are made up."""

from typing import Any

HLS_VERSIONS = ("2019.2", "2020.1", "2022.2", "2025.2")
VIVADO_VERSIONS = ("2019.2", "2021.2", "2025.2")


def csynth_xml(
    version: str, function: str = "tiny_top", latency: str = "7", lut: int = 4321, part: str = "xc7z020-clg400-1"
) -> str:
    dsp = "DSP48E" if version < "2020.2" else "DSP"
    text = f"""<profile>

<ReportVersion>
<Version>{version}</Version>
</ReportVersion>

<UserAssignments>
<unit>ns</unit>
<ProductFamily>zynq</ProductFamily>
<Part>{part}</Part>
<TopModelName>{function}</TopModelName>
<TargetClockPeriod>5.00</TargetClockPeriod>
<ClockUncertainty>1.35</ClockUncertainty>
</UserAssignments>

<PerformanceEstimates>
<PipelineType>dataflow</PipelineType>
<SummaryOfTimingAnalysis>
<unit>ns</unit>
<EstimatedClockPeriod>3.125</EstimatedClockPeriod>
</SummaryOfTimingAnalysis>
<SummaryOfOverallLatency>
<unit>clock cycles</unit>
<Best-caseLatency>{latency}</Best-caseLatency>
<Average-caseLatency>{latency}</Average-caseLatency>
<Worst-caseLatency>{latency}</Worst-caseLatency>
<Best-caseRealTimeLatency>35.000 ns</Best-caseRealTimeLatency>
<Interval-min>2</Interval-min>
<Interval-max>3</Interval-max>
</SummaryOfOverallLatency>
<SummaryOfLoopLatency>
<Loop1><Latency>9</Latency></Loop1>
</SummaryOfLoopLatency>
</PerformanceEstimates>

<AreaEstimates>
<Resources>
<BRAM_18K>3</BRAM_18K>
<{dsp}>5</{dsp}>
<FF>1234</FF>
<LUT>{lut}</LUT>
<URAM>0</URAM>
</Resources>
<AvailableResources>
<BRAM_18K>280</BRAM_18K>
<{dsp}>220</{dsp}>
<FF>106400</FF>
<LUT>53200</LUT>
<URAM>0</URAM>
</AvailableResources>
</AreaEstimates>

<InterfaceSummary>
<RtlPorts>
<name>x</name>
<Object>f&lt;ap_int&lt;3&gt; &gt;</Object>
<Dir>in</Dir>
</RtlPorts>
</InterfaceSummary>

</profile>
"""
    if version < "2022":
        return text
    lines = [f"    {line}" if line and "profile>" not in line else line for line in text.splitlines()]
    return "\n".join(line for line in lines if line) + "\n"  # later versions indent


def csynth_text(version: str, function: str = "tiny_top", latency: str = "7") -> str:
    tool, dsp = ("Vivado", "DSP48E") if version < "2020.2" else ("Vitis", "DSP")
    periods = "| 5.00 ns | 3.125 ns |   1.35 ns  |" if tool == "Vivado" else "|   5.00 ns|  3.125 ns|     1.35 ns|"
    line = "=" * 64
    return f"""

{line}
== {tool} HLS Report for '{function}'
{line}
* Date:           Mon Nov  2 10:11:12 2020

* Version:        {version} (Build 1234567 on Thu Oct 24 19:15:34 MDT 2019)
* Project:        tiny_top_prj
* Solution:       solution1
* Product family: zynq
* Target device:  xc7z020-clg400-1


{line}
== Performance Estimates
{line}
+ Timing:
    * Summary:
    +--------+---------+----------+------------+
    |  Clock |  Target | Estimated| Uncertainty|
    +--------+---------+----------+------------+
    |ap_clk  {periods}
    +--------+---------+----------+------------+

+ Latency:
    * Summary:
    +---------+---------+-----------+-----------+-----+-----+----------+
    |  Latency (cycles) |   Latency (absolute)  |  Interval | Pipeline |
    |   min   |   max   |    min    |    max    | min | max |   Type   |
    +---------+---------+-----------+-----------+-----+-----+----------+
    |        {latency}|        {latency}| 35.000 ns | 35.000 ns |    2|    3| dataflow |
    +---------+---------+-----------+-----------+-----+-----+----------+

    + Detail:
        * Instance:
        +------------+----------+---------+---------+-----+-----+---------+
        |            |          |  Latency (cycles) |  Interval | Pipeline|
        |  Instance  |  Module  |   min   |   max   | min | max |   Type  |
        +------------+----------+---------+---------+-----+-----+---------+
        |fc1_U0      |fc1       |        1|        1|    1|    1| function|
        +------------+----------+---------+---------+-----+-----+---------+

        * Loop:
        N/A



{line}
== Utilization Estimates
{line}
* Summary:
+-----------------+---------+-------+--------+-------+-----+
|       Name      | BRAM_18K| {dsp:6}|   FF   |  LUT  | URAM|
+-----------------+---------+-------+--------+-------+-----+
|DSP              |        -|      -|       -|      -|    -|
|Expression       |        -|      -|       0|   4000|    -|
|Instance         |        3|      5|     234|    300|    -|
|Register         |        -|      -|    1000|      -|    -|
+-----------------+---------+-------+--------+-------+-----+
|Total            |        3|      5|    1234|   4321|    0|
+-----------------+---------+-------+--------+-------+-----+
|Available        |      280|    220|  106400|  53200|    0|
+-----------------+---------+-------+--------+-------+-----+
|Utilization (%)  |        1|      2|       1|      8|    0|
+-----------------+---------+-------+--------+-------+-----+

+ Detail:
    * Instance:
    +--------+-------+---------+-------+----+----+-----+
    |Instance| Module| BRAM_18K| {dsp:6}| FF | LUT| URAM|
    +--------+-------+---------+-------+----+----+-----+
    |fc1_U0  |fc1    |        3|      5| 234| 300|    0|
    +--------+-------+---------+-------+----+----+-----+
    |Total   |       |        3|      5| 234| 300|    0|
    +--------+-------+---------+-------+----+----+-----+
"""


def csim(version: str, wrong: int = 0, ends: str = "done") -> str:
    """One that ends so: "done", "failed", "not compiled", "only set up" or "interrupted"."""
    code = "SIM" if version < "2022" else "SIM 211"
    dash = " " if version < "2022" else "-"
    error = "ERR" if version < "2022" else "ERROR"
    counted = f"{'FAIL' if wrong else 'PASS'}: 100 vectors, {wrong} wrong\n"
    ended = {
        "done": f"{counted}INFO: [{code}{dash}1] CSim done with {1 if wrong else 0} errors.\n",
        "failed": f"{error}: [{code}{dash}100] CSim failed with errors.\n",
        "not compiled": "tiny_top_test.cpp:3:1: error: expected a type\nmake: *** [obj/test.o] Error 1\n"
        f"{error}: [{code}{dash}100] 'csim_design' failed: compilation error(s).\n",
        "only set up": "",
        "interrupted": "vector 17\n",
    }[ends]
    finish = "" if ends == "interrupted" else f"INFO: [{code}{dash}3] *************** CSIM finish ***************\n"
    return f"""INFO: [{code}{dash}2] *************** CSIM start ***************
INFO: [{code}{dash}4] CSIM will launch GCC as the compiler.
   Compiling ../../../../tiny_top_test.cpp in debug mode
   Generating csim.exe
{ended}{finish}"""


def export(version: str, met: bool = True, part: str = "xc7z020-clg400-1") -> str:
    """``<top>_export.rpt``; versions before 2022 have fewer rows, and count no implementation here."""
    stage = "Post-Synthesis" if version < "2022" else "Post-Implementation"
    rows = {"SLICE": 0, "LUT": 5455, "FF": 9809, "DSP": 30, "BRAM": 5}
    rows |= {"SRL": 476} if version < "2022" else {"URAM": 0, "LATCH": 0, "SRL": 476, "CLB": 1314}
    periods = {"required": "5.000", "achieved post-synthesis": "4.755"}
    if version >= "2022":
        periods["achieved post-implementation"] = "4.420" if met else "5.020"
    return "\n".join(
        [
            "",
            "",
            f"Implementation tool: Xilinx Vivado v.{version}",
            "Project:             tiny_top_prj",
            "Solution:            solution1",
            f"Device target:       {part}",
            "Report date:         Mon Nov 02 10:11:12 UTC 2020",
            "",
            f"#=== {stage} Resource usage ===",
            *(f"{name + ':':<10} {count:>8}" for name, count in rows.items()),
            "",
            "#=== Final timing ===",
            *(f"{'CP ' + name + ':':<32} {period}" for name, period in periods.items()),
            "Timing met" if met else "Timing not met",
            "",
        ]
    )


def export_table(version: str, met: bool = True) -> str:
    """``export_syn.rpt`` and ``export_impl.rpt``, which newer versions leave beside the other."""
    routed = version >= "2025"
    what, title = ("Place & Route", "Place & Route") if routed else ("RTL Synthesis", "RTL Synthesis")
    rule = "=" * 64
    rows = [("Target", "5.000"), *([("Post-Synthesis", "4.755")] if routed else []), ("Post-Route", "4.420")]
    return "\n".join(
        [
            rule,
            f"== Vivado {title} Results",
            rule,
            "+ General Information:",
            f"    * Version:         {version} (Build 6135595 on May 19 2025)",
            "    * Project:         tiny_top_prj",
            "    * Target device:   xc7z020-clg400-1",
            "",
            rule,
            f"== {what} Resource Summary",
            rule,
            "LUT:              5455",
            "FF:               9809",
            "DSP:              30",
            "BRAM:             5",
            "URAM:             0",
            "SRL:              476",
            "",
            rule,
            f"== {what} Timing Summary",
            rule,
            f"* Timing was {'' if met else 'not '}met",
            "+----------------+-------------+",
            "| Timing         | Period (ns) |",
            "+----------------+-------------+",
            *(f"| {name:<14} | {period:<11} |" for name, period in rows),
            "+----------------+-------------+",
            "",
            "",
            rule,
            f"== {what} Fail Fast",
            rule,
            "",
        ]
    )


def cosim(version: str, status: str = "Pass", measured: str = "7") -> str:
    dash = "-" * 47
    more = (
        "+----------------------",
        "| Total Execution Time ",
        "    (Clock Cycles)    ",
        f"|{'NA':>22}",
        f"|{707:>22}",
    )
    if version < "2022":
        more = ("", "", "", "", "")
        latency, interval = "Latency", "Interval"
    else:
        latency, interval = "Latency(Clock Cycles)", "Interval(Clock Cycles)"
    told = (measured, "8", "9", "4", "5", "6") if measured != "NA" else ("NA",) * 6
    cells = "".join(f"|{cell:>15}" for cell in told)
    return f"""Report time       : Mon Nov  2 10:11:12 2020.
Solution          : solution1.
Simulation tool   : xsim.

+----------+----------+{dash}+{dash}{more[0]}+
|          |          |{latency:^47}|{interval:^47}{more[1]}|
+   RTL    +  Status  +{dash}+{dash}+{more[2]}+
|          |          |      min      |      avg      |      max      |      min      |      avg      |      max      |
+----------+----------+{dash}+{dash}{more[0]}+
|      VHDL|        NA|{"|".join(f"{'NA':>15}" for _ in range(6))}{more[3]}|
|   Verilog|{status:>10}{cells}{more[4]}|
+----------+----------+{dash}+{dash}{more[0]}+
"""


def _header(version: str, command: str, more: dict[str, str], part: str, design: str) -> str:
    wide = max(len(key) for key in ("Tool Version", *more))
    facts = {
        "Tool Version": f"Vivado v.{version} (lin64) Build 2708876 Wed Nov  6 21:39:14 MST 2019",
        "Date": "Mon Nov  2 10:11:12 2020",
        "Host": "somewhere running 64-bit Ubuntu",
        "Command": command,
        "Design": design,
        "Device": part,
        **more,
    }
    copyright = f"Copyright 1986-{version[:4]} Xilinx, Inc. All Rights Reserved."
    line = "-" * 80
    return "\n".join([copyright, line, *(f"| {key:{wide}} : {value}" for key, value in facts.items()), line, ""])


def utilization(
    version: str, state: str = "Routed", lut: int = 5432, part: str | None = None, design: str = "tiny"
) -> str:
    ultrascale = version >= "2025"
    logic, carry, usual = (
        ("CLB", "CARRY8", "xczu7ev-ffvc1156-2-e") if ultrascale else ("Slice", "CARRY4", "7z020clg400-1")
    )
    sections = (
        ["1. CLB Logic", "2. BLOCKRAM", "3. ARITHMETIC"] if ultrascale else ["1. Slice Logic", "3. Memory", "4. DSP"]
    )
    extra = " Prohibited |" if version >= "2021" else ""
    gap = "          0 |" if extra else ""

    def row(name: str, used: object) -> str:
        return f"| {name:<26} | {used:>5} |     0 |{gap}     53200 | 10.21 |"

    head = f"|         Site Type          |  Used | Fixed |{extra} Available | Util% |"
    rule = "+" + "-" * (len(head) - 2) + "+"
    uram = [row("URAM", 1)] if ultrascale else []
    carries = [row(carry, 321)] if ultrascale else []
    contents = [*sections, "8. Primitives", "9. Black Boxes", "10. Instantiated Netlists"]
    return "\n".join(
        [
            _header(version, "report_utilization -file u.rpt", {"Design State": state}, part or usual, design),
            "Utilization Design Information",
            "",
            "Table of Contents",
            "-----------------",
            *contents,
            "",
            sections[0],
            "-" * 14,
            "",
            rule,
            head,
            rule,
            row(f"{logic} LUTs{'*' if state == 'Synthesized' else ''}", lut),
            row("  LUT as Logic", lut - 10),
            row("  LUT as Memory", 10),
            row(f"{logic} Registers", 2345),
            row("  Register as Flip Flop", 2345),
            *carries,
            row("F7 Muxes", "7"),
            rule,
            "* Warning! The Final LUT count is typically lower.",
            "",
            sections[1],
            "",
            rule,
            head,
            rule,
            row("Block RAM Tile", 2.5),
            row("  RAMB36/FIFO*", 2),
            row("  RAMB18", 1),
            *uram,
            rule,
            "",
            sections[2],
            "",
            rule,
            head,
            rule,
            row("DSPs", 6),
            rule,
            "",
            "8. Primitives",
            "-------------",
            "",
            "+----------+------+---------------------+",
            "| Ref Name | Used | Functional Category |",
            "+----------+------+---------------------+",
            "| LUT6     | 4000 |                 LUT |",
            f"| {carry}   |  321 |          CarryLogic |",
            "+----------+------+---------------------+",
            "",
            "9. Black Boxes",
            "--------------",
            "",
            "10. Instantiated Netlists",
            "",
        ]
    )


def versal(state: str = "Physopt postRoute", lut: int = 5432) -> str:
    """``report_utilization`` for Versal, whose rows have other names."""
    head = "|         Site Type         |  Used | Fixed | Prohibited | Available | Util% |"
    rule = "+" + "-" * (len(head) - 2) + "+"

    def table(title: str, **rows: object) -> list[str]:
        cells = [
            f"| {name.replace('_', ' '):<26} | {used:>5} |     0 |          0 |    899840 |  0.60 |"
            for name, used in rows.items()
        ]
        return ["", title, "-" * len(title), "", rule, head, rule, *cells, rule]

    return "\n".join(
        [
            _header(
                "2025.1", "report_utilization -file u.rpt", {"Design State": state}, "xcvc1902-vsva2197-2MP-e-S", "tiny"
            ),
            "Utilization Design Information",
            "",
            "Table of Contents",
            "-----------------",
            "1. Netlist Logic",
            "2. CLB Distribution",
            "3. BLOCKRAM",
            "4. ARITHMETIC",
            "9. Primitives",
            "10. Black Boxes",
            "11. Instantiated Netlists",
            *table("1. Netlist Logic", Registers=2345, Register_as_Flip_Flop=2345, CLB_LUTs=lut, LOOKAHEAD8=21),
            *table("3. BLOCKRAM", Block_RAM_Tile=2.5, URAM=1),
            *table("4. ARITHMETIC", DSP_Slices=6),
            "",
            "9. Primitives",
            "",
            "10. Black Boxes",
            "",
            "11. Instantiated Netlists",
            "",
        ]
    )


def hierarchy(
    version: str,
    state: Any = "Routed",
    part: Any = "xc7z020clg400-1",
    design: str = "tiny",
    instances: dict[str, int] | None = None,
) -> str:
    """``report_utilization -hierarchical``: the top module, instances of so many LUTs, and one inside the first."""
    instances = instances or {"U_fc1": 300, "U_fc2": 40}
    uram = ["URAM"] if version >= "2025" else []
    dsp = "DSP48 Blocks" if version < "2020" else "DSP Blocks"
    columns = [
        "Instance",
        "Module",
        "Total LUTs",
        "Logic LUTs",
        "LUTRAMs",
        "SRLs",
        "FFs",
        "RAMB36",
        "RAMB18",
        *uram,
        dsp,
    ]

    def row(indent: int, name: str, module: str, lut: int) -> str:
        counts = [lut, lut, 0, 0, 2 * lut, 1, 1, *[0 for _ in uram], 0]
        return "| " + " | ".join([f"{' ' * indent + name:<30}", f"{module:>20}", *(f"{n:>10}" for n in counts)]) + " |"

    first = next(iter(instances))
    rule = "+" + "+".join("-" * 22 for _ in columns) + "+"
    return "\n".join(
        [
            _header(version, "report_utilization -hierarchical -file h.rpt", {"Design State": state}, part, design),
            "Utilization Design Information",
            "",
            "Table of Contents",
            "-----------------",
            "1. Utilization by Hierarchy",
            "",
            "1. Utilization by Hierarchy",
            "---------------------------",
            "",
            rule,
            "| " + " | ".join(f"{column:^20}" for column in columns) + " |",
            rule,
            row(0, design, "(top)", sum(instances.values()) + 2),
            row(2, f"({design})", "(top)", 2),
            row(2, first, "folded", instances[first]),
            row(4, f"({first})", "folded", 11),
            row(4, "inner", "adder", instances[first] - 11),
            *(row(2, name, "other", lut) for name, lut in list(instances.items())[1:]),
            rule,
            "",
            "",
        ]
    )


def paths(version: str, slacks: Any = ("0.213", "0.301"), part: str = "xc7z020-clg400", design: str = "tiny") -> str:
    """``report_timing``."""

    def path(number: int, slack: str) -> list[str]:
        verdict = "VIOLATED" if slack.startswith("-") else "MET"
        met = f"Slack ({verdict}) :             {slack}ns  (required time - arrival time)"
        met = "Slack:                    inf" if slack == "inf" else met
        table = "  -------------------------------------------------------------------    -------------------"
        return [
            met,
            f"  Source:                 U_fc1/sum_reg[{number}]/C",
            "                            (rising edge-triggered cell FDRE clocked by clock)",
            f"  Destination:            U_fc2/in_reg[{number}]/D",
            "  Path Group:             clock",
            "  Path Type:              Setup (Max at Slow Process Corner)",
            "  Data Path Delay:        4.687ns  (logic 1.1ns (23%)  route 3.5ns (77%))",
            "  Logic Levels:           5  (CARRY4=1 LUT3=1 LUT6=3)",
            "",
            "    Location             Delay type                Incr(ns)  Path(ns)    Netlist Resource(s)",
            table,
            "                         FDRE (Prop_fdre_C_Q)         0.456     0.456 r  U_fc1/sum_reg[0]/Q",
            table,
            *(
                []
                if slack == "inf"
                else [f"                         slack                                  {slack}    "]
            ),
            "",
        ]

    more = {} if version < "2021" else {"Speed File": "-1  PRODUCTION 1.12 2019-11-22"}
    return "\n".join(
        [
            _header(version, "report_timing -max_paths 10 -file p.rpt", more, part, design),
            "Timing Report",
            "",
            *(line for number, slack in enumerate(slacks) for line in path(number, slack)),
            "",
        ]
    )


def timing(
    version: str,
    wns: Any = "0.213",
    clocks: Any = (("clock", "5.000"),),
    part: str | None = None,
    design: str = "tiny",
    whs: str = "0.024",
    wpws: str = "1.250",
    command: str = "report_timing_summary -file t.rpt",
) -> str:
    line = "-" * 96
    head = (
        "    WNS(ns)      TNS(ns)  TNS Failing Endpoints  TNS Total Endpoints      WHS(ns)      THS(ns)  "
        "THS Failing Endpoints  THS Total Endpoints     WPWS(ns)     TPWS(ns)  TPWS Failing Endpoints  "
        "TPWS Total Endpoints  "
    )
    whs, wpws = (whs, wpws) if wns not in ("inf", "NA") else (wns, "NA")
    more = {} if version < "2021" else {"Speed File": "-1  PRODUCTION 1.29 08-03-2020", "Temperature Grade": "E"}
    state = {} if version < "2025" else {"Design State": "Routed"}
    usual = "7z020-clg400" if version < "2021" else "xczu3eg-sbva484"
    rows = [f"{name}  {{0.000 2.500}}        {period}           200.000         " for name, period in clocks]
    return "\n".join(
        [
            _header(version, command, {**more, **state}, part or usual, design),
            "Timing Summary Report",
            "",
            line,
            "| Timer Settings",
            "| --------------",
            line,
            "",
            "  Corner  Analyze    Analyze    ",
            "  Name    Max Paths  Min Paths  ",
            "",
            "check_timing report",
            "",
            "1. checking no_clock",
            " There are 0 register/latch pins with no clock.",
            "",
            line,
            "| Design Timing Summary",
            "| ---------------------",
            line,
            "",
            head,
            "    -------      -------  ---------------------",
            f"      {wns}       -0.500                      2                49004        {whs}        0.000"
            f"                      0                49004        {wpws}        0.000                       0"
            "                 23567  ",
            "",
            "",
            "All user specified timing constraints are met.",
            "",
            line,
            "| Clock Summary",
            "| -------------",
            line,
            "",
            "Clock  Waveform(ns)         Period(ns)      Frequency(MHz)",
            "-----  ------------         ----------      --------------",
            *rows,
            "",
            line,
            "| Intra Clock Table",
            "| -----------------",
            line,
            "",
            "Clock             WNS(ns)      TNS(ns)  TNS Failing Endpoints",
            "",
        ]
    )


def power(
    version: str,
    state: str = "routed",
    total: Any = "0.242",
    confidence: str = "Medium",
    part: str = "xc7z020clg400-1",
    design: str = "tiny",
    activity: str = "---",
) -> str:
    facts = {"Design State": state, "Grade": "commercial", "Process": "typical", "Characterization": "Production"}
    rows = {
        "Total On-Chip Power (W)": total,
        **({} if version < "2020" else {"Design Power Budget (W)": "Unspecified*", "Power Budget Margin (W)": "NA"}),
        "Dynamic (W)": "0.137",
        "Device Static (W)": "0.105",
        "Effective TJA (C/W)": "11.5",
        "Max Ambient (C)": "82.2",
        "Junction Temperature (C)": "27.8",
        "Confidence Level": confidence,
        "Setting File": "---",
        "Simulation Activity File": activity,
        "Design Nets Matched": "NA" if activity == "---" else "56% (6906/12380)",
    }
    return "\n".join(
        [
            _header(version, "report_power -file p.rpt", facts, part, design),
            "Power Report",
            "",
            "Table of Contents",
            "-----------------",
            "1. Summary",
            "1.1 On-Chip Components",
            "",
            "1. Summary",
            "----------",
            "",
            "+--------------------------+--------------+",
            *(f"| {name:<24} | {value:<12} |" for name, value in rows.items()),
            "+--------------------------+--------------+",
            "",
            "1.1 On-Chip Components",
            "----------------------",
            "",
            "+----------------+-----------+------+-----------+-----------------+",
            "| On-Chip        | Power (W) | Used | Available | Utilization (%) |",
            "+----------------+-----------+------+-----------+-----------------+",
            "| Clocks         |     0.044 |    3 |       --- |             --- |",
            "| Static Power   |     0.105 |      |           |                 |",
            "+----------------+-----------+------+-----------+-----------------+",
            "",
        ]
    )
