"""A small library of standard cells in Liberty format, all that a netlist needs."""

from pathlib import Path
from typing import Any

# Three points a side: ABC takes no fewer.
_GRID = 'index_1 ("0.01, 0.1, 1.0"); index_2 ("0.001, 0.01, 0.1");'


def _table(kind: str, low: float, template: str = "grid") -> str:
    rows = (f'"{low * slow}, {1.5 * low * slow}, {4 * low * slow}"' for slow in (1, 2, 4))
    return f"{kind} ({template}) {{ {_GRID} values ({', '.join(rows)}); }}"


def _input(name: str, more: str = "") -> str:
    return f"pin ({name}) {{ direction : input; capacitance : 0.002; {more} }}"


def _output(name: str, function: str, inputs: str, kind: str = "") -> str:
    delays = " ".join(_table(k, 0.05) for k in ("cell_rise", "cell_fall", "rise_transition", "fall_transition"))
    power = " ".join(_table(k, 0.01) for k in ("rise_power", "fall_power"))
    arcs = "\n".join(
        f'      timing () {{ related_pin : "{pin}"; {kind} {delays} }}\n'
        f'      internal_power () {{ related_pin : "{pin}"; {power} }}'
        for pin in inputs.split()
    )
    return f'pin ("{name}") {{ direction : "output"; function : "{function}"; max_capacitance : 0.5;\n{arcs} }}'


def _cell(name: str, area: float, *parts: str) -> str:
    return (
        f"  cell ({name}) {{\n    area : {area};\n    cell_leakage_power : 0.5;\n    "
        + "\n    ".join(parts)
        + "\n  }\n"
    )


def _gate(name: str, area: float, function: str, inputs: str = "AB", more: str = "") -> str:
    return _cell(name, area, *map(_input, inputs), _output("Y", function, " ".join(inputs)), more)


NAND = 2.0
FLIP_FLOP = 8.0
"""Areas."""


def text(nand: str = "!(A&B)", flip_flop: bool = True, name: str = "small_tt") -> str:
    """Return the library; with another function of its NAND, without a flip-flop."""
    hold = " ".join(
        f"timing () {{ related_pin : CK; timing_type : {kind}_rising; "
        + " ".join(_table(k, 0.02, "edges") for k in ("rise_constraint", "fall_constraint"))
        + " }"
        for kind in ("setup", "hold")
    )
    cells = [
        _gate("INV", 1.0, "!A", "A"),
        _gate("BUF", 1.5, "A", "A"),
        _gate("BUF_ALWAYS", 0.1, "A", "A", "always_on : true;"),
        _gate("NAND2", NAND, nand),
        _gate("NAND2_BIG", 3.0, nand),
        _gate("NOR2", 2.1, "(A+B)'"),
        _gate("XOR2", 4.0, "A^B"),
        _cell(
            "TIE", 0.5, *(f'pin ({n}) {{ direction : output; function : "{v}"; }}' for n, v in (("LO", 0), ("HI", 1)))
        ),
        _gate("AND2_NEVER", 0.1, "A B", more='dont_use : "true";'),
    ]
    if flip_flop:
        cells.append(
            _cell(
                "DFF",
                FLIP_FLOP,
                'ff (IQ, IQN) { next_state : "D"; clocked_on : "CK"; }',
                _input("CK", "clock : true;"),
                _input("D", hold),
                _output("Q", "IQ", "CK", "timing_type : rising_edge;"),
            )
        )
    head = """
  delay_model : table_lookup;  /* a comment, with a } in it */
  time_unit : "1ns"; voltage_unit : "1V"; current_unit : "1mA"; leakage_power_unit : "1nW";
  pulling_resistance_unit : "1kohm"; capacitive_load_unit (1, pf);
  input_threshold_pct_rise : 50; input_threshold_pct_fall : 50;
  output_threshold_pct_rise : 50; output_threshold_pct_fall : 50;
  slew_lower_threshold_pct_rise : 20; slew_lower_threshold_pct_fall : 20;
  slew_upper_threshold_pct_rise : 80; slew_upper_threshold_pct_fall : 80;
  operating_conditions (tt) { process : 1; temperature : 25; voltage : 1.0; }
  default_operating_conditions : tt;
  nom_voltage : 1.0; nom_temperature : 25; nom_process : 1
  lu_table_template (grid) { variable_1 : input_net_transition; variable_2 : total_output_net_capacitance;
    GRID }
  lu_table_template (edges) { variable_1 : related_pin_transition; variable_2 : constrained_pin_transition;
    GRID }
  power_lut_template (grid) { variable_1 : input_transition_time; variable_2 : total_output_net_capacitance;
    GRID }
"""
    return f"library ({name}) {{{head.replace('GRID', _GRID)}{''.join(cells)}}}\n"


def write(folder: Path, **changes: Any) -> Path:
    """Write the library into a folder."""
    path = folder / "small cells.lib"
    path.write_text(text(**changes))
    return path
