"""The page of a sweep: rate and latency against area, and every point with its figures."""

from collections.abc import Mapping, Sequence
from typing import Any


def page(rows: Sequence[Mapping[str, Any]], name: str) -> str:
    """Return the page of a sweep, HTML.

    Parameters
    ----------
    rows : sequence of mapping
        As :func:`xnorflow.flows.sweep.sweep` returns them.
    name : str
        Of the sweep.
    """
    from xnorflow.reports.figures import scatter
    from xnorflow.reports.render import template

    known = [row for row in rows if row["status"] == "estimated"]
    run = [row for row in known if row["verdict"] == "pass"]
    figures = {
        "rate": scatter(known, "luts", "fps", ("LUTs, estimated", "vectors a second, exact")),
        "latency": scatter(known, "luts", "latency_us", ("LUTs, estimated", "latency in µs, exact")),
    }
    if run:
        figures |= {
            "estimate": scatter(run, "synthesised_luts", "luts", ("LUTs, synthesised", "LUTs, estimated")),
            "energy": scatter(run, "fps", "energy_nj", ("vectors a second, exact", "nJ per inference, estimated")),
        }
    if run and len({row["model"] for row in rows}) > 1:
        sound = [row | {"percent": 100 * row["accuracy"]} for row in map(dict, run) if row["accuracy"] is not None]
        figures["accuracy"] = scatter(sound, "luts", "percent", ("LUTs, estimated", "accuracy in %"))
    return str(template("sweep.html.j2").render(rows=rows, name=name, figures=figures))
