"""The steps of a flow; what comes before what, each says itself."""

from collections.abc import Sequence

from xnorflow.flows.graph import Step, ordered
from xnorflow.flows.kind import EngineKind
from xnorflow.flows.steps import (
    compare,
    coverage,
    energy,
    engines,
    fold,
    golden,
    load,
    report,
    rtl,
    synthesis,
    vectors,
    vendor,
)


def steps(
    kinds: Sequence[EngineKind], synthesise: synthesis.Synthesise = synthesis.synthesised, liberty: bool = True
) -> list[Step]:
    """Return the steps of a flow with these engines, for ASICs, too, or not; each after those that it takes."""
    found: list[Step] = [
        load.step(),
        fold.step(),
        rtl.step(),  # which refuses a goal out of reach, so that nothing runs in vain
        vectors.step(),
        golden.step(),
        golden.bench_step(),
        *(engines.run_step(kind) for kind in kinds if not kind.builds),
        *(engines.build_step(kind) for kind in kinds if kind.builds),
        *(engines.run_step(kind) for kind in kinds if kind.builds),
        *(energy.step(kind) for kind in kinds if kind.keeps_waveform),
        synthesis.step(synthesise, liberty),
        *vendor.steps(kinds),
        compare.step(kinds),
        coverage.step(kinds),
    ]
    return ordered([*found, report.step(kinds, ordered(found))])
