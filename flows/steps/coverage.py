"""Step ``coverage``: how much each engine's comparison proves."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from xnorflow.flows.cache import Entry
from xnorflow.flows.facts import COMPARE, COVERAGE, VECTORS
from xnorflow.flows.graph import Advance, Step, View
from xnorflow.flows.kind import EngineKind
from xnorflow.flows.results import inputs, network
from xnorflow.reports.records import CoverageRow, FaultCount, FoundCoverage

if TYPE_CHECKING:
    from xnorflow.cosim.coverage.measure import Count, Coverage

_WEAKEST = 10


def step(kinds: Sequence[EngineKind]) -> Step[CoverageRow]:
    """Return the step; the trained model itself is left out: no hardware is in it."""
    names = tuple(kind.name for kind in kinds if not kind.trained)
    return Step(
        COVERAGE,
        "coverage",
        partial(_coverage, names),
        takes=("vectors", "fold", "compare"),
        packages=("numpy", "numba", "scipy"),
    )


def _coverage(names: Sequence[str], view: View, entry: Entry[CoverageRow], advance: Advance) -> None:
    from xnorflow.cosim.coverage.measure import compared

    search = view[VECTORS].facts["ended"]
    outcomes = view[COMPARE].facts["engines"]
    passed = [name for name in names if name in outcomes and outcomes[name]["status"] == "pass"]
    seen = [{layer: of["vectors"] for layer, of in outcomes[name]["layers"].items()} for name in passed]
    if not passed:
        refusal = "no engine has passed whose comparison could show a fault"
        entry.facts = {"refusal": refusal, "search": search, "found": None}
        entry.summary = f"none: {refusal}"
        return
    found = dict(zip(passed, compared(network(view), inputs(view), seen, advance), strict=True))
    best = max(reversed(passed), key=lambda name: found[name].total.shown)
    vectors = {name: outcomes[name]["vectors"] for name in passed}
    entry.facts = {"refusal": None, "search": search, "found": _row(found, best, vectors)}
    total = found[best].total
    entry.summary = f"{percent(total)} of {total.detectable:,.0f} faults would have shown in {best}"


def _row(found: "dict[str, Coverage]", best: str, vectors: Mapping[str, int]) -> FoundCoverage:
    of, total = found[best], found[best].total
    return {
        "engine": best,
        **_count(total),
        "engines": [{"name": name, "vectors": vectors[name], **_count(other.total)} for name, other in found.items()],
        "layers": [
            {
                "name": layer,
                **_count(count),
                "engines": {name: other.layers[layer].share for name, other in found.items()},
            }
            for layer, count in of.layers.items()
        ],
        "weakest": [
            {"layer": layer, "channel": channel, "missed": missed, "faults": faults}
            for layer, channel, missed, faults in of.weakest[:_WEAKEST]
        ],
    }


def _count(of: "Count") -> FaultCount:
    return {
        "faults": of.faults,
        "redundant": of.redundant,
        "shown": of.shown,
        "share": of.share,
        "interval": None if of.exact else [*of.interval],
    }


def percent(of: "Count") -> str:
    """Return a share, never rounded up to all, with its interval where faults were drawn."""
    text = f"{int(of.share * 1e4) / 100:.2f} %"
    if of.exact:
        return text
    low, high = of.interval
    return f"{text} (sampled; {low:.2%} to {high:.2%} at 95 % confidence)"
