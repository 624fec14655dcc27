"""The page of a sweep: rate and latency against area, and every point with its figures."""

from collections.abc import Sequence

from xnorflow.reports.points import SweptPoint


def page(points: Sequence[SweptPoint], name: str) -> str:
    """Return the page of a sweep of this name, HTML."""
    from xnorflow.reports.figures import scatter
    from xnorflow.reports.render import template

    known = [point for point in points if point.status == "estimated"]
    run = [point for point in known if point.verdict == "pass"]
    figures = {
        "rate": scatter(known, "luts", "fps", ("LUTs, estimated", "vectors a second, exact")),
        "latency": scatter(known, "luts", "latency_us", ("LUTs, estimated", "latency in µs, exact")),
    }
    if run:
        figures |= {
            "estimate": scatter(run, "synthesised_luts", "luts", ("LUTs, synthesised", "LUTs, estimated")),
            "energy": scatter(run, "fps", "energy_nj", ("vectors a second, exact", "nJ per inference, estimated")),
        }
    if run and len({point.model for point in points}) > 1:
        figures["accuracy"] = scatter(run, "luts", "percent", ("LUTs, estimated", "accuracy in %"))
    return str(template("sweep.html.j2").render(rows=points, name=name, figures=figures))
