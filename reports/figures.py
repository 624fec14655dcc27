"""The report's figures as inline SVG that takes its colours from the page, so that it follows light and dark."""

import io
import re
from collections.abc import Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Placeholders that matplotlib draws with, and the page's colours that take their place.
_TEXT, _FIRST, _SECOND, _LINE = "#010101", "#020202", "#030303", "#040404"
_COLOURS = {_TEXT: "currentColor", _FIRST: "var(--first)", _SECOND: "var(--second)", _LINE: "var(--line)"}

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "xnorflow",  # equal figures are equal bytes
    "font.size": 9,
    "text.color": _TEXT,
    "axes.labelcolor": _TEXT,
    "xtick.color": _TEXT,
    "ytick.color": _TEXT,
    "axes.edgecolor": _LINE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.spines.bottom": False,
    "ytick.major.size": 0,
    "xtick.major.size": 0,
}
_WIDTH = 4.3  # inches: as wide as a phone, so that the text there is as large as the page's
_BAR = 0.34  # inches per bar


def figures(report: dict[str, Any]) -> dict[str, str]:
    """Draw all figures of a report.

    Returns
    -------
    dict of str
        SVG elements by name: ``memory``, ``weights``, ``work``, ``speed``, ``build`` where a project was compiled,
        and ``luts_<target>`` for what was synthesised.
    """
    layers = [layer for layer in report["layers"] if layer["weight_bits"]]
    names = [layer["name"] for layer in layers]
    memory = report["memory"]
    run = {name: e for name, e in report["engines"].items() if e["seconds"] and e["vectors"]}
    built = {name: engine["build_seconds"] for name, engine in report["engines"].items() if engine["build_seconds"]}
    drawn = {
        "memory": _bars(
            ["32-bit floats", "binary"],
            [memory["float32_bits"] / 8, memory["binary_bits"] / 8],
            [quantity(memory["float32_bits"] / 8, "B"), quantity(memory["binary_bits"] / 8, "B")],
            emphasis=1,
        ),
        "weights": _bars(
            names, [x["weight_bits"] for x in layers], [quantity(x["weight_bits"] / 8, "B") for x in layers]
        ),
        "work": _bars(names, [x["xnor_ops"] for x in layers], [quantity(x["xnor_ops"], "") for x in layers]),
        "speed": _bars(
            list(run),
            [e["vectors"] / e["seconds"] for e in run.values()],
            [f"{quantity(e['vectors'] / e['seconds'], '')}/s" for e in run.values()],
            logarithmic=True,
        ),
    }
    if built:
        drawn["build"] = _bars(list(built), list(built.values()), [f"{seconds:.1f} s" for seconds in built.values()])
    for row in report["synthesis"]:
        if row["total"]:
            luts = [layer["lut"] for layer in row["layers"]]
            names = [layer["name"] for layer in row["layers"]]
            drawn[f"luts_{row['target']}"] = _bars(names, luts, [f"{value:,}" for value in luts])
    return {name: _svg(figure, name) for name, figure in drawn.items()}


def front(rows: Sequence[dict[str, Any]], cost: str) -> list[dict[str, Any]]:
    """Return the rows, by rising cost, of which each is more accurate than every cheaper one."""
    ordered = sorted(_known(rows, cost), key=lambda row: (row[cost], -row["accuracy"]))
    return [row for i, row in enumerate(ordered) if all(row["accuracy"] > other["accuracy"] for other in ordered[:i])]


def _known(rows: Sequence[dict[str, Any]], cost: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["accuracy"] is not None and row[cost]]


def pareto(rows: Sequence[dict[str, Any]], cost: str, label: str) -> str:
    """Draw accuracy against a cost (logarithmic) as SVG; a line joins the rows of the `front`."""
    known, best = _known(rows, cost), front(rows, cost)
    with rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, 3), layout="constrained")
        axes: Axes = figure.add_subplot(xlabel=label, ylabel="accuracy in %")
        axes.grid(color=_LINE, linewidth=0.5)
        axes.plot([r[cost] for r in best], [100 * r["accuracy"] for r in best], color=_SECOND, linewidth=1)
        axes.scatter([r[cost] for r in known], [100 * r["accuracy"] for r in known], color=_FIRST, zorder=3)
        for r in known:
            axes.annotate(r["model"], (r[cost], 100 * r["accuracy"]), (5, 5), textcoords="offset points")
        if known:
            axes.set_xscale("log")
            axes.margins(0.25, 0.15)
    return _svg(figure, f"pareto-{cost}")


def quantity(value: float, unit: str) -> str:
    """Write a quantity with three digits and a decimal prefix: 12345 B as 12.3 kB."""
    for prefix in ("", "k", "M", "G"):
        if abs(value) < 999.5 or prefix == "G":
            break
        value /= 1000
    return f"{value:.3g} {prefix}{unit}".rstrip()


def _bars(
    names: Sequence[str],
    values: Sequence[float],
    labels: Sequence[str],
    emphasis: int | None = None,
    logarithmic: bool = False,
) -> Figure:
    """Draw one labelled horizontal bar per name, from the top down."""
    with rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, _BAR * max(len(names), 1) + 0.1), layout="constrained")
        axes: Axes = figure.add_subplot()
        colours = [_SECOND if i == emphasis else _FIRST for i in range(len(names))]
        drawn = axes.barh(range(len(names)), values, height=0.55, color=colours)
        axes.bar_label(drawn, labels, padding=4)
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.set_xticks([])
        largest = max(values, default=1) or 1
        if logarithmic:  # from a decade below the smallest, so that no bar vanishes
            smallest = min(values, default=1)
            axes.set_xscale("log")
            axes.set_xlim(smallest / 10, (largest * 10 / smallest) ** 1.3 * smallest / 10)
            axes.set_xticks([])
            axes.minorticks_off()
        else:
            axes.set_xlim(0, largest * 1.3)  # room for the labels
    return figure


def _svg(figure: Figure, name: str) -> str:
    buffer = io.StringIO()
    with rc_context(_STYLE):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{name}-", svg)  # several figures share the page
    svg = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", svg)  # the page's font
    for placeholder, colour in _COLOURS.items():
        svg = svg.replace(placeholder, colour)
    return re.sub(r'<svg height="[^"]*"', f'<svg role="img" aria-label="{name}"', svg).replace("\n", " ")
