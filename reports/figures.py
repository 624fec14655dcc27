"""The report's figures as inline SVG that takes its colours from the page, so that it follows light and dark."""

import io
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import cycle
from math import ceil, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.image import imsave
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import LogLocator, MaxNLocator
from numpy.typing import NDArray

from xnorflow.reports.arrays import unpack

if TYPE_CHECKING:
    from xnorflow.reports.points import SweptPoint
    from xnorflow.reports.records import (
        Accuracy,
        LayerRow,
        NetworkInput,
        PackedArray,
        ReportRow,
        Resource,
        RtlRow,
        RtlUnit,
        SynthesisRow,
    )

# Placeholders that matplotlib draws with, and the page's colours that take their place.
_TEXT, _FIRST, _SECOND, _LINE, _SOFT, _CARD, _TINT = (f"#0{n}0{n}0{n}" for n in range(1, 8))
_SERIES = [f"#1{n}1{n}1{n}" for n in range(8)]  # the first for all that has no colour of its own
_COLOURS = {
    _TEXT: "currentColor",
    _FIRST: "var(--first)",
    _SECOND: "var(--second)",
    _LINE: "var(--line)",
    _SOFT: "var(--soft)",
    _CARD: "var(--card)",
    _TINT: "var(--first-tint)",
    **{placeholder: f"var(--series{n})" for n, placeholder in enumerate(_SERIES)},
}

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
_LEGEND: dict[str, float] = {"frameon": False, "fontsize": 8, "handlelength": 0.9, "columnspacing": 1}
_BAR = 0.34  # inches per bar


def figures(report: "ReportRow") -> dict[str, str]:
    """Draw all figures of a report.

    Returns
    -------
    dict of str
        SVG elements by name: ``network``, ``memory``, ``weights``, ``work``, ``speed``, ``build`` where a project was
        compiled, ``precision_recall`` of two classes, ``pipeline`` where there is RTL, ``resources_<target>`` for what
        was synthesised, and ``scores_<n>`` for each sample where the results are scores.
    """
    layers = [layer for layer in report["layers"] if layer["weight_bits"]]
    names = [layer["name"] for layer in layers]
    memory = report["memory"]
    speeds = {
        name: e["vectors"] / e["seconds"] for name, e in report["engines"].items() if e["seconds"] and e["vectors"]
    }
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
            list(speeds),
            list(speeds.values()),
            [f"{quantity(speed, '')}/s" for speed in speeds.values()],
            logarithmic=True,
        ),
    }
    if built:
        drawn["build"] = _bars(list(built), list(built.values()), [f"{seconds:.1f} s" for seconds in built.values()])
    drawn["network"] = _network(report["input"], report["layers"])
    if report["rtl"]:
        drawn["pipeline"] = _pipeline(report["rtl"])
    for row in report["synthesis"]:
        if row["total"]:
            drawn[f"resources_{row['target']}"] = _resources(row, _layer_colours(report["synthesis"]))
    if report["accuracy"]["precision_recall"]:
        drawn["precision_recall"] = _precision_recall(report["accuracy"])
    for n, sample in enumerate(report["samples"] if report["argmax"]["of"] != "values" else ()):
        drawn[f"scores_{n}"] = _scores(
            unpack(sample["layers"][-1]["values"]), sample["class"] if report["argmax"]["of"] == "class" else None
        )
    return {name: _svg(figure, name) for name, figure in drawn.items()}


Images = tuple[str, str | None]
"""What an accuracy was measured on: in words, and by the data set's digest."""


@dataclass(frozen=True)
class Contender:
    """A model by its accuracy and by what it costs.

    Attributes
    ----------
    model : str
    accuracy : float
    cost : float
        Above 0.
    images : Images
        Accuracies compare only where these are equal.
    """

    model: str
    accuracy: float
    cost: float
    images: Images


def front(contenders: Sequence[Contender]) -> list[Contender]:
    """Return those, by rising cost, of which each is more accurate than every cheaper one."""
    ordered = sorted(contenders, key=lambda one: (one.cost, -one.accuracy))
    return [one for i, one in enumerate(ordered) if all(one.accuracy > other.accuracy for other in ordered[:i])]


def pareto(known: Sequence[Contender], label: str) -> str:
    """Draw accuracy against a cost (logarithmic) as SVG; a line joins the `front` of each set of images."""
    sets = list(dict.fromkeys(one.images for one in known))
    with rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, 3), layout="constrained")
        axes: Axes = figure.add_subplot(xlabel=label, ylabel="accuracy in %")
        axes.grid(color=_LINE, linewidth=0.5)
        for n, images in enumerate(sets):
            of_set = [one for one in known if one.images == images]
            best, colour = front(of_set), _SERIES[1 + n % (len(_SERIES) - 1)]
            axes.plot([one.cost for one in best], [100 * one.accuracy for one in best], color=colour, linewidth=1)
            accuracies = [100 * one.accuracy for one in of_set]
            axes.scatter([one.cost for one in of_set], accuracies, color=colour, zorder=3, label=_named(images, sets))
        if len(sets) > 1:
            figure.legend(loc="outside lower left", **_LEGEND)
        # below and above in turn, so that the names of two that are near each other can both be read
        for one, offset in zip(sorted(known, key=lambda one: one.accuracy), cycle(((5, -12), (5, 5)))):
            axes.annotate(one.model, (one.cost, 100 * one.accuracy), offset, textcoords="offset points")
        if known:
            axes.set_xscale("log")
            axes.margins(0.25, 0.15)
            axes.set_ylim(top=min(100.5, axes.get_ylim()[1]))
            _ticks(axes.xaxis)
            axes.minorticks_off()
    return _svg(figure, "pareto-" + re.sub(r"\W+", "-", label))


def scatter(points: Sequence["SweptPoint"], x: str, y: str, labels: tuple[str, str]) -> str:
    """Draw two figures of points against each other (logarithmic) as SVG; lines join the `pareto` ones of a model.

    What the figures are is told by the names of the points' attributes, `x` and `y`.
    """
    known = [(point, at) for point in points if all(at := (getattr(point, x), getattr(point, y)))]
    models = list(dict.fromkeys(point.model for point, _ in known))
    with rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, 3), layout="constrained")
        axes: Axes = figure.add_subplot(xlabel=labels[0], ylabel=labels[1])
        axes.grid(color=_LINE, linewidth=0.5)
        for n, model in enumerate(models):
            colour = _SERIES[1 + n % (len(_SERIES) - 1)]
            of_model = [at for point, at in known if point.model == model]
            best = sorted(at for point, at in known if point.model == model and point.pareto)
            axes.plot([at[0] for at in best], [at[1] for at in best], color=colour, linewidth=1)
            places = [at[0] for at in of_model], [at[1] for at in of_model]
            axes.scatter(*places, color=colour, zorder=3, s=12, label=model)
        if len(models) > 1:
            figure.legend(loc="outside lower left", **_LEGEND)
        for axis, name in ((axes.xaxis, x), (axes.yaxis, y)):
            if known and name != "percent":
                axis.axes.set_xscale("log") if axis is axes.xaxis else axis.axes.set_yscale("log")
                _ticks(axis)
        axes.minorticks_off()
    return _svg(figure, f"scatter-{x}-{y}")


def _ticks(axis: Axis) -> None:
    """Label a logarithmic axis at few round numbers, of which there are at least two in sight."""
    first, last = axis.get_view_interval()
    wide = last / first
    locator = MaxNLocator(4) if wide < 8 else LogLocator(subs=(1, 2, 5) if wide <= 300 else (1,), numticks=6)
    axis.set_major_locator(locator)
    axis.set_major_formatter(lambda value, _: quantity(value, ""))


def _named(images: Images, sets: Sequence[Images]) -> str:
    """Name a set of images; with what it is known by where another one is called the same."""
    name, digest = images
    alike = sum(other == name for other, _ in sets) > 1
    return f"{name} ({(digest or 'unknown')[:8]})" if alike else name


def quantity(value: float, unit: str) -> str:
    """Write a quantity with three digits and a decimal prefix: 12345 B as 12.3 kB."""
    for prefix in ("", "k", "M", "G"):
        if abs(value) < 999.5 or prefix == "G":
            break
        value /= 1000
    return f"{value:.3g} {prefix}{unit}".rstrip()


def small(value: float, unit: str) -> str:
    """Write a quantity below one with three digits and a decimal prefix: 5.42e-05 s as 54.2 µs."""
    for prefix in ("p", "n", "µ", "m", ""):
        scaled = value / {"p": 1e-12, "n": 1e-9, "µ": 1e-6, "m": 1e-3, "": 1}[prefix]
        if abs(scaled) < 999.5:
            break
    return f"{scaled:.3g} {prefix}{unit}"


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


def _precision_recall(accuracy: "Accuracy") -> Figure:
    """Draw precision against recall over all thresholds, and the point of the network's own one."""
    curve = accuracy["precision_recall"]
    assert curve and accuracy["confusion"]
    hits, alarms = (np.array([point[n] for point in curve["points"]]) for n in (1, 2))
    (_, alarmed), (_, found) = accuracy["confusion"]
    with rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, 3), layout="constrained")
        axes: Axes = figure.add_subplot(xlabel="recall in %", ylabel="precision in %")
        axes.grid(color=_LINE, linewidth=0.5)
        axes.plot(100 * hits / curve["positives"], 100 * hits / (hits + alarms), color=_FIRST, linewidth=1.3)
        if found:
            own = 100 * found / curve["positives"], 100 * found / (found + alarmed)
            axes.scatter(*own, color=_SECOND, zorder=3)
            axes.annotate(f"score ≥ {curve['threshold']}", own, (-6, -12), textcoords="offset points", ha="right")
        axes.set_xlim(-2, 102)
        axes.set_ylim(-2, 102)
    return figure


_STEP = 0.5  # inches from one layer to the next
_BOX = (-0.95, 0.95)


def _network(given: "NetworkInput", layers: Sequence["LayerRow"]) -> Figure:
    """Draw the layers from the top down, shapes at their edges; an edge that skips layers goes round them."""
    names = [given["name"], *(layer["name"] for layer in layers)]
    shapes = dict(zip(names, [given["shape"], *(layer["outputs"] for layer in layers)]))
    height = {name: -i * _STEP for i, name in enumerate(names)}
    used: dict[float, float] = {}  # how far down each lane beside the layers is taken
    with rc_context(_STYLE):
        figure = Figure(figsize=(2.7, _STEP * len(names)), layout="constrained")
        axes: Axes = figure.add_subplot()
        arrow = {"arrowstyle": "-|>", "color": _SOFT, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 7}
        for layer in layers:
            for operand in layer["operands"]:
                start, end = height[operand] - 0.15, height[layer["name"]] + 0.15
                if start - end < _STEP:
                    axes.annotate("", (0, end), (0, start), arrowprops=arrow)
                    label = "×".join(map(str, shapes[operand]))
                    axes.text(0.08, (start + end) / 2, label, va="center", fontsize=7.5, color=_SOFT)
                    continue
                lane = next(x for x in (1.15 + 0.18 * n for n in range(99)) if used.get(x, 9) >= start)
                used[lane] = end
                edge = [(_BOX[1], start + 0.15), (lane, start + 0.15), (lane, end - 0.07)]
                axes.plot(*zip(*edge), color=_SOFT, linewidth=1, solid_joinstyle="round")
                axes.annotate("", (_BOX[1], end - 0.07), (lane, end - 0.07), arrowprops=arrow)
        for name, kind, weights in [
            (given["name"], f"{given['bits']} bit" + "s" * (given["bits"] > 1), 0),
            *((layer["name"], layer["kind"], layer["weight_bits"]) for layer in layers),
        ]:
            box = FancyBboxPatch(
                (_BOX[0], height[name] - 0.13), _BOX[1] - _BOX[0], 0.26, "round,pad=0.02,rounding_size=0.07",
                facecolor=_TINT if weights else _CARD, edgecolor=_FIRST if weights else _SOFT, linewidth=1,
            )  # fmt: skip
            axes.add_patch(box)
            axes.text(_BOX[0] + 0.06, height[name], name, va="center", fontsize=8.5, fontweight="bold")
            axes.text(_BOX[1] - 0.06, height[name], kind, va="center", ha="right", fontsize=7.5)
        axes.set_xlim(-1.05, max([1.05, *used]) + 0.08)
        axes.set_ylim(min(height.values()) - 0.2, 0.2)
        axes.set_aspect("equal")
        axes.set_xticks([])
        axes.set_yticks([])
    return figure


def bottleneck(rtl: "RtlRow") -> "RtlUnit":
    """Return the unit of the RTL that takes longest for a frame, the first of several."""
    return max(rtl["units"], key=lambda unit: unit["interval"])


def _pipeline(rtl: "RtlRow") -> Figure:
    """Draw which frame is in which unit in which cycle."""
    units, slowest = rtl["units"], bottleneck(rtl)
    with rc_context(_STYLE):
        figure = Figure(figsize=(2 * _WIDTH, 0.27 * len(units) + 0.7), layout="constrained")
        axes: Axes = figure.add_subplot(xlabel="clock cycle")
        axes.grid(axis="x", color=_LINE, linewidth=0.5)
        axes.set_axisbelow(True)
        last = max(end for unit in units for _, end in unit["frames"])
        for i, unit in enumerate(units):
            if unit is slowest:
                axes.axhspan(i - 0.47, i + 0.47, color=_TINT, linewidth=0)
            for n, (start, end) in enumerate(unit["frames"]):
                # Two halves of a row, for one frame leaves a unit while the next one comes in.
                low = i - 0.4 + 0.42 * (n % 2)
                width = max(end - start, last / 500)
                axes.broken_barh(
                    [(start, width)],
                    (low, 0.38),
                    color=_SERIES[1 + n % 7],
                    linewidth=0,
                    label="" if i else f"frame {n + 1}",
                )
        axes.axvline(rtl["latency"], color=_TEXT, linewidth=0.8, linestyle=(0, (3, 2)))
        axes.annotate(
            f"first result: {rtl['latency']:,}",
            (rtl["latency"], -0.55),
            (3, 1),
            textcoords="offset points",
            fontsize=7.5,
        )
        axes.set_yticks(range(len(units)), [unit["name"] for unit in units])
        for label, unit in zip(axes.get_yticklabels(), units):
            label.set_fontweight("bold" if unit is slowest else "normal")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.set_xlim(0, last * 1.01)
        axes.set_ylim(len(units) - 0.45, -1.1)
        figure.legend(loc="outside lower left", ncols=len(units[0]["frames"]), **_LEGEND)
    return figure


RESOURCES: Mapping["Resource", str] = {
    "lut": "LUT",
    "lutram": "as RAM",
    "ff": "FF",
    "carry": "carry",
    "bram": "BRAM",
    "dsp": "DSP",
}


def _layer_colours(synthesis: Sequence["SynthesisRow"]) -> dict[str, str]:
    """Give the layers of most LUTs a colour each, the same for all targets."""
    layers: dict[str, int] = {}
    for row in synthesis:
        for layer in row["layers"]:
            layers[layer["name"]] = layers.get(layer["name"], 0) + layer["lut"]
    largest = sorted(layers, key=lambda name: -layers[name])[: len(_SERIES) - 1]
    return dict(zip((name for name in layers if name in largest), _SERIES[1:]))


def _resources(row: "SynthesisRow", colours: dict[str, str]) -> Figure:
    """Draw each resource's total as one bar, stacked by layer; those layers in `colours` have one of their own."""
    layers, total = row["layers"], row["total"]
    assert total
    kinds = [kind for kind in RESOURCES if total[kind]]
    with rc_context(_STYLE):
        columns = 3
        rows = ceil((len(colours) + 1) / columns)
        figure = Figure(figsize=(_WIDTH, 0.3 * max(len(kinds), 1) + 0.2 * rows + 0.25), layout="constrained")
        axes: Axes = figure.add_subplot()
        left = [0.0] * len(kinds)
        groups = {layer["name"]: [layer] for layer in layers if layer["name"] in colours}
        groups["other layers"] = [layer for layer in layers if layer["name"] not in colours]
        for name, members in groups.items():
            share = [sum(layer[kind] for layer in members) / total[kind] for kind in kinds]
            if not any(share):
                continue
            colour = colours.get(name, _SERIES[0])
            axes.barh(range(len(kinds)), share, 0.62, left, color=colour, label=name, edgecolor=_CARD, linewidth=0.5)
            left = [a + b for a, b in zip(left, share)]
        for i, kind in enumerate(kinds):
            axes.text(1.02, i, f"{total[kind]:,}", va="center")
        axes.set_yticks(range(len(kinds)), [RESOURCES[kind] for kind in kinds])
        axes.invert_yaxis()
        axes.set_xticks([])
        axes.set_xlim(0, 1.2)
        if kinds:
            figure.legend(loc="outside lower left", ncols=columns, **_LEGEND)
    return figure


def _scores(scores: NDArray[np.integer[Any]], best: int | None) -> Figure:
    """Draw each score as a bar from zero, that of the class emphasised."""
    values = scores.ravel()
    with rc_context(_STYLE):
        figure = Figure(figsize=(1.7, 1.3), layout="constrained")
        axes: Axes = figure.add_subplot()
        colours = [_SECOND if i == best else _FIRST for i in range(len(values))]
        axes.bar(range(len(values)), values, 0.75, color=colours)
        axes.axhline(0, color=_LINE, linewidth=0.8)
        axes.set_xticks(range(len(values)) if len(values) <= 12 else [])
        axes.tick_params(labelsize=7)
        axes.set_yticks([])
    return figure


def picture(packed: "PackedArray", name: str, other: "PackedArray | None" = None) -> str:
    """Draw a layer's values as a picture: an ``img`` element.

    One pixel per value: full for the largest, nothing for the smallest. Vectors become squares, as far as they can;
    each channel of an image is a tile, but three channels of integers are a picture in colour. With `other`, of as many
    values, it is the products: green where they are positive, red where they are negative.
    """
    values = unpack(packed).astype(float)
    values = values * unpack(other) if other else values
    coloured = not other and packed["type"] != "bits" and values.shape[2:] == (3,)
    tiles = values if coloured else _tiles(values)
    # A gap is not a number.
    if other:
        largest = np.nanmax(np.abs(tiles)) or 1
        opacity = np.abs(tiles) / largest
        colour = np.where((tiles > 0)[..., None], (31, 140, 84), (205, 60, 52))
    else:
        low, high = np.nanmin(tiles), np.nanmax(tiles)
        if packed["type"] == "bits":
            low, high = -1, 1
        opacity = (tiles - low) / ((high - low) or 1)
        colour = np.full((*tiles.shape[:2], 3), (66, 122, 196))
    if coloured:
        colour, opacity = opacity * 255, np.ones(tiles.shape[:2])
    pixels = np.dstack([colour, np.nan_to_num(opacity) * 255]).astype(np.uint8)
    buffer = io.BytesIO()
    imsave(buffer, pixels, format="png")
    data = b64encode(buffer.getvalue()).decode()
    scale = max(1, round(104 / max(tiles.shape[:2])))
    height, width = (scale * length for length in tiles.shape[:2])
    return f'<img src="data:image/png;base64,{data}" alt="{escape(name)}" width="{width}" height="{height}">'


def _tiles(values: NDArray[Any]) -> NDArray[np.floating[Any]]:
    """Return values, (length,) or (height, width, channels), as one matrix with gaps (NaN) between channels."""
    if values.ndim != 3:
        flat = values.ravel()
        side = ceil(sqrt(flat.size))
        return np.append(flat, np.full(side * ceil(flat.size / side) - flat.size, np.nan)).reshape(-1, side)
    height, width, channels = values.shape
    columns = ceil(sqrt(channels))
    rows = ceil(channels / columns)
    tiles = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), np.nan)
    for channel in range(channels):
        y, x = (channel // columns) * (height + 1), (channel % columns) * (width + 1)
        tiles[y : y + height, x : x + width] = values[..., channel]
    return tiles


def _svg(figure: Figure, name: str) -> str:
    buffer = io.StringIO()
    with rc_context(_STYLE):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{name}-", svg)  # several figures share the page
    svg = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", svg)  # the page's font
    svg = re.sub(r" font-family: [^;\"]*;?", "", svg)
    for placeholder, colour in _COLOURS.items():
        svg = svg.replace(placeholder, colour)
    tag = svg[: svg.index(">")]
    view = re.search(r'viewBox="[^"]*"', tag)
    assert view
    links = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    label = re.sub(r"[_-]+", " ", name)
    opened = f'<svg role="img" aria-label="{escape(label)}" {links} {view[0]}'  # as wide as its place on the page
    return (opened + svg[len(tag) :]).replace("\n", " ")
