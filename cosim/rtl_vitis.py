"""The RTL that Vitis HLS writes for a bit-packed hls4ml project, behind the AXI4-Stream ports of our own.

With ``io_parallel`` the top module has the block-level handshake ``ap_ctrl_hs`` (``ap_start``, ``ap_ready``,
``ap_done``), the whole input as one port with ``<port>_ap_vld``, and one port per result with ``<port>_ap_vld``: no
result can wait. The adapter therefore lets one frame at a time in, and a simulation tells the latency, with a register
on either side, but not the interval that the module could keep. Of ``io_stream`` it knows nothing.

The names of the ports are those of the tool's documentation (UG1399, "Block-Level Control Protocols" and "Port-Level
I/O Protocols") and of projects that others have published. No output of the tool itself has been through here yet.
"""

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn import packing
from xnorflow.bnn.network import Argmax, Network, Signal
from xnorflow.cosim.engine import EngineError, EngineUnavailable, Results
from xnorflow.cosim.rtl import Bytes, StreamProbe
from xnorflow.hls.project import hardware, top_name
from xnorflow.hls.rtl.cycles import CycleModel
from xnorflow.hls.storage import packed
from xnorflow.hls.vendor.steps import solution

_PORT = re.compile(
    r"^\s*(input|output)\s+(?:(?:wire|reg|signed)\s+)*(?:\[\s*(\d+)\s*:\s*0\s*\]\s*)?(\w+)\s*[,;)]", re.M
)
_CONTROL = {"ap_clk", "ap_rst", "ap_start", "ap_done", "ap_idle", "ap_ready"}
_ADAPTER = "vitis_axis"


@dataclass(frozen=True)
class VitisProject:
    """A project as :class:`.rtl.Project` describes it: a frame is one beat each way, results in whole bytes."""

    network: Network
    folder: Path
    sources: tuple[Path, ...]
    in_width: int
    result_bits: int
    top: str = _ADAPTER
    in_beats: int = 1
    out_beats: int = 1
    probes: Mapping[str, StreamProbe] = field(default_factory=dict)
    timing: CycleModel | None = None

    @property
    def out_width(self) -> int:
        return self._scores.size * _bytes(self.result_bits) * 8

    @property
    def _scores(self) -> Signal:
        return self.network.signals[hardware(self.network).output.name]

    def pack(self, inputs: NDArray[np.integer[Any]]) -> Bytes:
        storage = packed(self.network.signals[self.network.input.name])
        values = inputs.reshape(len(inputs), -1, storage.channels)
        elements = packing.pack(values.astype(np.int8)) if storage.kind == "packed" else values.astype(np.int64)
        bits = (elements[..., np.newaxis] >> np.arange(storage.bits, dtype=elements.dtype)) & elements.dtype.type(1)
        return np.packbits(bits.reshape(len(inputs), 1, -1).astype(np.uint8), axis=-1, bitorder="little")

    def unpack(self, beats: Bytes) -> Results:
        scores, size = self._scores, _bytes(self.result_bits)
        whole = np.zeros((len(beats), scores.size, 8), np.uint8)
        whole[..., :size] = beats.reshape(len(beats), scores.size, size)
        unused = np.int64(64 - self.result_bits)
        values = whole.view("<i8")[..., 0] << unused  # the sign's place, from which it is spread again
        if scores.signed:
            values >>= unused
        else:
            values = (values.view(np.uint64) >> np.uint64(unused)).astype(np.int64)
        results: dict[str, NDArray[np.integer[Any]]] = {}
        last = hardware(self.network).output.name
        for operation in self.network.operations:
            if operation.name == last:
                results[last] = values.reshape(-1, *scores.shape)
            elif operation.inputs and operation.inputs[0] in results:
                operand = results[operation.inputs[0]].reshape(len(beats), -1)
                if isinstance(operation, Argmax):
                    operand = operand.argmax(axis=1)[:, np.newaxis]
                results[operation.name] = operand
        return results


def adapt(network: Network, project: Path, folder: Path) -> VitisProject:
    """Copy what Vitis HLS has written into `folder`, beside an adapter to AXI4-Stream ports.

    Parameters
    ----------
    network : Network
    project : Path
        hls4ml project of bit-packed layers, ``io_parallel``.
    folder : Path
        Made if it is not there; else it must be what this function has made from the same files.

    Raises
    ------
    EngineUnavailable
        If the project has not been synthesised, or its interface is not the one of this adapter.
    EngineError
        If the ports are not as wide as the network's values.
    """
    top = top_name(network)
    made = verilog(network, project)
    if not (made / f"{top}.v").is_file():
        where = (made / f"{top}.v").relative_to(project)
        raise EngineUnavailable(f"Vitis HLS has not synthesised the hls4ml project: it has no {where}")
    ports = _ports(top, (made / f"{top}.v").read_text())
    taken = [name for name, (way, _) in ports.items() if way == "input" and f"{name}_ap_vld" in ports]
    given = sorted(
        (name for name, (way, _) in ports.items() if way == "output" and f"{name}_ap_vld" in ports),
        key=lambda name: int(name.rpartition("_")[2]) if name[-1].isdigit() else 0,
    )
    known = _CONTROL | {port for name in (*taken, *given) for port in (name, f"{name}_ap_vld")}
    if not ports.keys() >= _CONTROL or ports.keys() - known or len(taken) != 1:
        raise EngineUnavailable(
            f"{top}.v: expected the ports of io_parallel with ap_ctrl_hs and ap_vld, got {', '.join(sorted(ports))}"
        )
    scores = network.signals[hardware(network).output.name]
    if scores.bipolar:
        raise EngineUnavailable(f"{top}: the adapter knows integer results, not packed bits")
    storage = packed(network.signals[network.input.name])
    in_width, widths = ports[taken[0]][1], {ports[name][1] for name in given}
    if in_width != storage.pixels * storage.elements * storage.bits or len(given) != scores.size or len(widths) != 1:
        raise EngineError(
            f"{top}.v: expected {storage.pixels * storage.elements * storage.bits} bits in and {scores.size} results of"
            f" one width, got {in_width} bits and {len(given)} results of {', '.join(map(str, sorted(widths)))} bits"
        )
    sources = tuple(folder / path.name for path in sorted(made.glob("*.v")))
    adapted = VitisProject(network, folder, (*sources, folder / f"{_ADAPTER}.v"), in_width, widths.pop())
    if not folder.is_dir():
        shutil.copytree(made, folder)
        (folder / f"{_ADAPTER}.v").write_text(_adapter(top, taken[0], given, adapted))
    return adapted


def verilog(network: Network, project: Path) -> Path:
    """Return the folder in which Vitis HLS leaves the Verilog of an hls4ml project, and the memories that it reads."""
    return project / solution(top_name(network)) / "syn" / "verilog"


def _ports(top: str, text: str) -> dict[str, tuple[str, int]]:
    """Return direction and width of each port of the module `top`."""
    header = re.search(rf"^module\s+{top}\s*\((.*?)\);", text, re.S | re.M)
    names = set(re.findall(r"\w+", header[1])) if header else set()
    return {name: (way, int(high or 0) + 1) for way, high, name in _PORT.findall(text) if name in names}


def _bytes(bits: int) -> int:
    return (bits + 7) // 8


def _adapter(top: str, taken: str, given: list[str], project: VitisProject) -> str:
    """Return the Verilog that lets one frame at a time into the top module, and keeps its results until taken."""
    size, width = 8 * _bytes(project.result_bits), project.result_bits
    wires = "\n".join(f"    wire [{width - 1}:0] {name};\n    wire {name}_ap_vld;" for name in given)
    results = "\n".join(f"        .{name}({name}), .{name}_ap_vld({name}_ap_vld)," for name in given)
    kept = "\n".join(
        f"            if ({name}_ap_vld) m_axis_tdata[{k * size} +: {width}] <= {name};" for k, name in enumerate(given)
    )
    return f"""\
// {top}, as Vitis HLS has written it, between AXI4-Stream ports; one frame at a time.
module {_ADAPTER} (
    input  wire aclk,
    input  wire aresetn,
    input  wire [{project.in_width - 1}:0] s_axis_tdata,
    input  wire s_axis_tvalid,
    output wire s_axis_tready,
    input  wire s_axis_tlast,
    output reg  [{project.out_width - 1}:0] m_axis_tdata,
    output reg  m_axis_tvalid,
    input  wire m_axis_tready,
    output wire m_axis_tlast
);
    reg [{project.in_width - 1}:0] frame;
    reg start, busy;
    wire ready, done;
{wires}
    assign s_axis_tready = !busy && (!m_axis_tvalid || m_axis_tready);
    assign m_axis_tlast = 1'b1;
    wire take = s_axis_tvalid && s_axis_tready;

    always @(posedge aclk)
        if (take) frame <= s_axis_tdata;

    always @(posedge aclk)
        if (!aresetn) begin
            start <= 1'b0;
            busy <= 1'b0;
            m_axis_tvalid <= 1'b0;
            m_axis_tdata <= 0;
        end else begin
            if (m_axis_tready) m_axis_tvalid <= 1'b0;
            if (take) {{start, busy}} <= 2'b11;
            else if (ready) start <= 1'b0;
            if (busy && done) begin
                busy <= 1'b0;
                m_axis_tvalid <= 1'b1;
            end
{kept}
        end

    {top} kernel (
        .ap_clk(aclk), .ap_rst(!aresetn),
        .ap_start(start), .ap_ready(ready), .ap_done(done), .ap_idle(),
{results}
        .{taken}(frame), .{taken}_ap_vld(start)
    );
endmodule
"""
