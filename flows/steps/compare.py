"""Step ``compare``: every engine with the golden model."""

from collections.abc import Iterable, Sequence
from functools import partial

from xnorflow.cosim.engine import EngineError
from xnorflow.flows.cache import Entry
from xnorflow.flows.facts import COMPARE, GOLDEN, CompareFacts
from xnorflow.flows.graph import Advance, Step, View
from xnorflow.flows.kind import EngineKind
from xnorflow.flows.mismatch import locate
from xnorflow.flows.results import LAYERS, IntArray, golden, inputs, network, read_results
from xnorflow.flows.rounding import by_rounding, deviation, different_signs, judged
from xnorflow.flows.steps.engines import keep_waveform
from xnorflow.flows.steps.golden import layers
from xnorflow.reports.records import Compared

_NOTHING: Compared = {
    "status": "fail", "vectors": 0, "mismatches": 0, "reason": None, "layers": {}, "first_mismatch": None,
}  # fmt: skip


def step(kinds: Sequence[EngineKind]) -> Step[CompareFacts]:
    """Return the step; an engine that differs is run again, for which the step sees what the engine is made from."""
    made_from: list[str] = []
    for kind in kinds:
        made_from += [kind.run_step, kind.build_step, *kind.takes, *kind.may_take]
    always = ("vectors", "fold", "golden")
    return Step(
        COMPARE,
        "compare",
        partial(_compare, tuple(kinds)),
        takes=always,
        may_take=tuple(step for step in dict.fromkeys(made_from) if step not in always),
        options=tuple(dict.fromkeys(("classes_may_differ", *(option for kind in kinds for option in kind.options)))),
        packages=("numpy",),
    )


def _reference(view: View, names: Iterable[str], count: int) -> dict[str, IntArray]:
    """Return what the golden model makes of the first `count` vectors, in the layers of these names among others.

    What it has kept is enough for most engines. A framework whose last sums are no integers, for a bias is added to
    them, has other layers in common with it.
    """
    from xnorflow.cosim.golden import Golden

    results = {name: result[:count] for name, result in golden(view).items()}
    if lacking := [name for name in names if name not in results and name in network(view).signals]:
        engine = Golden()
        engine.prepare(network(view))
        results |= layers(engine, inputs(view)[:count], lacking)
    return results


def _compare(kinds: Sequence[EngineKind], view: View, entry: Entry[CompareFacts], advance: Advance) -> None:
    from xnorflow.cosim.compare import compare

    outcomes: dict[str, Compared] = {}
    deviating = deviation(view)
    for kind in kinds:
        run = view.entry(kind.run_step)
        if run is None:
            continue
        try:
            count, few = run.facts["vectors"], run.facts["layerwise"]
            got = read_results(run)
            comparison = compare(network(view), _reference(view, got, count), got)
            kept = {name: result[:few] for name, result in read_results(view[GOLDEN], LAYERS).items()}
            of_layers = read_results(run, LAYERS)
            layerwise = compare(network(view), kept, of_layers)
        except EngineError as error:
            outcomes[kind.name] = {**_NOTHING, "reason": str(error)}
            continue
        outcome: Compared = {
            **_NOTHING,
            "status": "pass",
            "vectors": comparison.vectors,
            "mismatches": len({*comparison.wrong, *layerwise.wrong}),
            "layers": {
                layer: {"vectors": of.vectors, "mismatches": of.layers[layer]}
                for of in (layerwise, comparison)
                for layer in of.layers
            },
        }
        outcomes[kind.name] = outcome
        if kind.trained and deviating:
            found = judged(view, got, count)
            outcome |= {"status": found.status, "reason": found.reason, "mismatches": found.different}
            signs = different_signs(network(view), kept, of_layers)
            deviating |= {"by": kind.name, "signs": signs, "classes": found.classes, "accuracy": found.accuracy}
        elif differing := next((of for of in (comparison, layerwise) if of.first), None):
            replay = entry.folder / f"mismatch_{kind.name}.npz"
            first, reason = locate(view, kind, differing, replay)
            reason += keep_waveform(kind, kind.engine(view), entry)
            if kind.trained:
                reason += by_rounding(view, replay, first["layer"])
            outcome |= {"status": "fail", "reason": reason, "first_mismatch": first}
    entry.facts = {"engines": outcomes, "deviation": deviating}
    entry.failed = any(outcome["status"] == "fail" for outcome in outcomes.values())
    wrong = [f"{name}: {outcome['reason']}" for name, outcome in outcomes.items() if outcome["status"] == "fail"]
    equal = [name for name, outcome in outcomes.items() if outcome["status"] == "pass"]
    entry.summary = "; ".join(wrong) or f"{', '.join(equal) or 'nothing to compare:'} equal to golden on every vector"
    entry.summary += "".join(
        f"; {name}: {of['reason']}" for name, of in outcomes.items() if of["status"] in ("agrees", "skipped")
    )
