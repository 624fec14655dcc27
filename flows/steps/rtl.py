"""Step ``rtl``: the architecture of every layer, and the Verilog."""

from xnorflow.flows.cache import Entry
from xnorflow.flows.facts import RTL, RtlFacts
from xnorflow.flows.folding import READS, fold_rtl
from xnorflow.flows.graph import Advance, Step, View
from xnorflow.flows.options import LUTS, TARGET_FPS, Options
from xnorflow.flows.results import network
from xnorflow.flows.typed import record
from xnorflow.reports.records import RtlLayer, RtlRow


def step() -> Step[RtlFacts]:
    """Return the step."""
    return Step(RTL, "rtl", _rtl, takes=("fold",), options=READS, packages=("numpy", "jinja2"))


def _rtl(view: View, entry: Entry[RtlFacts], advance: Advance) -> None:
    from xnorflow.hls.errors import Unsupported
    from xnorflow.hls.rtl import project
    from xnorflow.hls.rtl.area import luts
    from xnorflow.hls.rtl.cycles import occupancy

    options, computed = view.options, network(view)
    try:
        choice = fold_rtl(computed, options)
        written = project.write(computed, entry.folder / "project", choice.config)
    except Unsupported as error:
        entry.facts = {"unsupported": str(error), "made": None}
        entry.summary = f"none: {error}"
        return
    timing, clock_ns = choice.timing, choice.config.clock_ns
    made: RtlRow = {
        "goal": _goal(options),
        "clock_ns": clock_ns,
        "latency": timing.latency,
        "interval": timing.interval,
        "units": [
            {
                "name": unit.name,
                "layer": unit.layer,
                "interval": unit.interval,
                "luts": luts(unit),
                "frames": [[frame.first_in, frame.last_out] for frame in frames],
            }
            for unit, frames in occupancy(project.plan(computed, choice.config))
        ],
        "luts": choice.luts,
        "pruned": {
            layer: {"neurons": neurons, "inputs": inputs}
            for layer, (neurons, inputs) in written.pruned.items()
            if neurons or inputs
        },
        "layers": [record(RtlLayer, layer, architecture=str(layer.architecture)) for layer in choice.layers],
    }
    entry.facts = {"unsupported": None, "made": made}
    entry.summary = (
        f"latency {timing.latency:,} and interval {timing.interval:,} cycles, estimated {choice.luts:,} LUTs"
    )


def _goal(options: Options) -> str:
    if not options.goal_given:
        return f"{TARGET_FPS:,.0f} vectors/s at {1e3 / options.rtl.clock_ns:g} MHz, or what {LUTS:,} LUTs allow"
    if options.target_fps is not None:
        return f"{options.target_fps:,.0f} vectors/s at {1e3 / options.rtl.clock_ns:g} MHz"
    return f"at most {options.max_luts:,} LUTs" if options.max_luts is not None else "the configuration file's"
