"""The RTL that Vitis HLS has written, in Icarus Verilog."""

from pathlib import Path

from xnorflow.cosim.engine import Engine, EngineUnavailable
from xnorflow.flows.graph import View
from xnorflow.flows.kind import EngineKind
from xnorflow.flows.results import network
from xnorflow.flows.steps.vendor import folder as job_folder
from xnorflow.flows.steps.vendor import step_of
from xnorflow.hls.folders import file_digest

_JOB = step_of("hls4ml_packed")


def _make(view: View, folder: Path) -> Engine:
    from xnorflow.cosim.rtl_icarus import RtlIcarus
    from xnorflow.cosim.rtl_vitis import adapt

    job = view.entry(_JOB)
    if job is None:
        raise EngineUnavailable("there is no hls4ml project of bit-packed layers")
    engine = RtlIcarus(adapt(network(view), job_folder(job), folder / "rtl"))
    engine.name = "rtl_vitis"
    return engine


def _verilog(view: View) -> dict[str, str]:
    """Return the digests of what Vitis HLS has written, here or on another machine."""
    from xnorflow.cosim.rtl_vitis import verilog

    job = view.entry(_JOB)
    if job is None:
        return {}
    made = verilog(network(view), job_folder(job))
    return {path.name: file_digest(path) for path in sorted(made.glob("*")) if path.is_file()}


VITIS = EngineKind(
    "rtl_vitis",
    "RTL that Vitis HLS wrote for the hls4ml project of bit-packed layers, simulated by Icarus Verilog",
    builds=True,
    stage="cosim",
    make=_make,
    packages=("numpy", "cocotb", "cocotbext-axi"),
    commands=("iverilog -V",),
    may_take=(_JOB,),
    outside=_verilog,
    counts_cycles=True,
    vendor_made=True,
    sees_layers=False,
    waits=True,
)
