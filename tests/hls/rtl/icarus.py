"""A small test bench in plain Verilog on Icarus: frames in, frames out, and the cycle of every beat."""

import shutil
import subprocess
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

needs_icarus = pytest.mark.skipif(shutil.which("iverilog") is None, reason="no iverilog: apt-get install iverilog")

_BENCH = """
module bench;
    reg aclk = 0, aresetn = 0;
    reg [{in_width}-1:0] beats [0:{total_in}-1];
    reg [{in_width}-1:0] in_data = 0;
    reg in_valid = 0, in_last = 0, out_ready = 0;
    wire in_ready, out_valid, out_last;
    wire [{out_width}-1:0] out_data;
    reg [{out_width}-1:0] held;
    reg waiting = 0;
    integer sent = 0, presented = -1, got = 0, cycle = 0, quiet = 0, seed, stall, timeout, reset_at;
    {top} dut (.aclk(aclk), .aresetn(aresetn), .s_axis_tdata(in_data), .s_axis_tvalid(in_valid),
        .s_axis_tready(in_ready), .s_axis_tlast(in_last), .m_axis_tdata(out_data), .m_axis_tvalid(out_valid),
        .m_axis_tready(out_ready), .m_axis_tlast(out_last));
    always #5 aclk = !aclk;
    initial begin
        $readmemh("beats.mem", beats);
        if (!$value$plusargs("seed=%d", seed) || !$value$plusargs("stall=%d", stall)
            || !$value$plusargs("timeout=%d", timeout) || !$value$plusargs("reset_at=%d", reset_at)) $finish;
    end
    always @(posedge aclk) begin
        cycle <= cycle + 1;
        if (aresetn && in_valid && in_ready) begin
            $display("in %0d", cycle);
            sent = sent + 1;
        end
        if (aresetn && out_valid && out_ready) begin
            $display("out %0d %b %h", cycle, out_last, out_data);
            got = got + 1;
            quiet = 0;
        end
        if (waiting && aresetn && (!out_valid || out_data !== held)) $display("unstable %0d", cycle);
        waiting = out_valid && !out_ready && aresetn;
        held = out_data;
        quiet = quiet + 1;
        if (cycle == reset_at) begin
            $display("reset");
            sent = 0;
            got = 0;
        end
        if (got == {total_out} || quiet > timeout) $finish;
    end
    always @(negedge aclk) begin
        aresetn <= cycle >= 4 && cycle != reset_at;
        if (!in_valid || sent != presented || cycle == reset_at + 1)
            in_valid <= cycle > {start} && sent < {total_in} && $unsigned($random(seed)) % 100 >= stall;
        presented = sent;
        in_data <= beats[sent < {total_in} ? sent : 0];
        in_last <= sent % {in_beats} == {in_beats} - 1;
        out_ready <= $unsigned($random(seed)) % 100 >= stall;
    end
    {extra}
endmodule
"""

_START = 60  # first beat; until then the padding in front of the first pixel passes


@dataclass(frozen=True)
class Run:
    """What came out: results by layer, the cycle of each beat in and out, and all that was printed."""

    results: dict[str, Any]
    entered: list[Any]
    left: list[Any]
    lines: list[Any]


def build(project: Any, frames: Any, extra: str = "") -> None:
    """Compile `project` and the bench for a number of frames; `extra` is Verilog for the bench."""
    bench = _BENCH.format(
        top=project.top,
        in_width=project.in_width,
        out_width=project.out_width,
        in_beats=project.in_beats,
        total_in=frames * project.in_beats,
        total_out=frames * project.out_beats,
        start=_START,
        extra=extra,
    )
    (project.folder / "bench.v").write_text(bench)
    sources = [path.name for path in project.sources]
    command = ["iverilog", "-g2012", "-Wall", "-Wno-timescale", "-o", "bench.vvp", "-s", "bench", "bench.v", *sources]
    built = subprocess.run(command, cwd=project.folder, capture_output=True, text=True)
    warnings = [line for line in built.stderr.splitlines() if line and "bench.v" not in line]
    assert built.returncode == 0 and not warnings, built.stderr


def run(
    project: Any, inputs: NDArray[Any], *, stall: int = 0, seed: int = 1, reset_at: Any = None, timeout: int = 20_000
) -> Any:
    """Run what :func:`build` compiled.

    `stall` is the chance in percent that either side holds back in a cycle. With `reset_at`, the design is reset in
    that cycle after the first beat and all frames are sent again from the first; only what comes out after it counts.
    """
    beats = project.pack(inputs)
    flat = beats.reshape(-1, beats.shape[-1])
    (project.folder / "beats.mem").write_text("".join(row[::-1].tobytes().hex() + "\n" for row in flat))
    reset_cycle = -1 if reset_at is None else _START + 2 + reset_at
    options = [f"+stall={stall}", f"+seed={seed}", f"+timeout={timeout}", f"+reset_at={reset_cycle}"]
    ran = subprocess.run(["vvp", "bench.vvp", *options], cwd=project.folder, capture_output=True, text=True, check=True)
    lines = [line.split() for line in ran.stdout.splitlines()]
    assert not [line for line in lines if line[0] == "unstable"], "data changed while it waited"
    if reset_at is not None:
        lines = lines[lines.index(["reset"]) :]
    entered = [int(line[1]) for line in lines if line[0] == "in"]
    out = [line for line in lines if line[0] == "out"]
    assert len(out) == len(inputs) * project.out_beats, f"{len(out)} beats of {len(inputs) * project.out_beats}"
    assert "x" not in "".join(line[3] for line in out), "undefined bits"
    last = [line[2] == "1" for line in out]
    assert last == [beat % project.out_beats == project.out_beats - 1 for beat in range(len(out))], "tlast"
    words = np.stack([np.frombuffer(bytes.fromhex(line[3])[::-1], np.uint8) for line in out])
    results = project.unpack(words.reshape(len(inputs), project.out_beats, -1))
    return Run(results, entered, [int(line[1]) for line in out], lines)


def simulate(project: Any, inputs: NDArray[Any], **options: Any) -> Any:
    """Build and run."""
    build(project, len(inputs))
    return run(project, inputs, **options)
