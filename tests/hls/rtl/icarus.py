"""A small test bench in plain Verilog on Icarus: frames in, frames out, and the cycle of every beat."""

import shutil
import subprocess
from dataclasses import dataclass

import numpy as np
import pytest

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
    integer sent = 0, got = 0, cycle = 0, seed = {seed}, quiet = 0;
    {top} dut (.aclk(aclk), .aresetn(aresetn), .s_axis_tdata(in_data), .s_axis_tvalid(in_valid),
        .s_axis_tready(in_ready), .s_axis_tlast(in_last), .m_axis_tdata(out_data), .m_axis_tvalid(out_valid),
        .m_axis_tready(out_ready), .m_axis_tlast(out_last));
    always #5 aclk = !aclk;
    initial $readmemh("beats.mem", beats);
    always @(posedge aclk) begin
        cycle <= cycle + 1;
        if (in_valid && in_ready) begin
            $display("in %0d", cycle);
            sent = sent + 1;
        end
        if (out_valid && out_ready) begin
            $display("out %0d %b %h", cycle, out_last, out_data);
            got = got + 1;
            quiet = 0;
        end
        if (waiting && (!out_valid || out_data !== held)) $display("unstable %0d", cycle);
        waiting = out_valid && !out_ready && aresetn;
        held = out_data;
        quiet = quiet + 1;
        if (got == {total_out} || quiet > {patience}) $finish;
    end
    always @(negedge aclk) begin
        aresetn <= cycle >= {reset} && cycle != {reset_again};
        if (cycle == {reset_again}) begin
            sent = {resume};
            in_valid <= 0;
        end else if (!in_valid || sent != presented) begin
            in_valid <= cycle > {start} && sent < {total_in} && $unsigned($random(seed)) % 100 >= {stall};
        end
        presented = sent;
        in_data <= beats[sent < {total_in} ? sent : 0];
        in_last <= sent % {in_beats} == {in_beats} - 1;
        out_ready <= $unsigned($random(seed)) % 100 >= {stall};
    end
    integer presented = -1;
endmodule
"""


@dataclass(frozen=True)
class Run:
    """What came out: results by layer, the cycle of each beat in and out."""

    results: dict
    entered: list
    left: list


def simulate(project, inputs, *, stall=0, seed=1, reset_at=None, patience=20_000):
    """Simulate `project` on `inputs`.

    `stall` is the chance in percent that either side holds back in a cycle. With `reset_at`, the design is reset in
    that cycle and all frames are sent again from the first; only what comes out after that counts.
    """
    beats = project.pack(inputs)
    flat = beats.reshape(-1, beats.shape[-1])
    (project.folder / "beats.mem").write_text("".join(row[::-1].tobytes().hex() + "\n" for row in flat))
    start = 60  # padding in front of the first pixel passes meanwhile
    bench = _BENCH.format(
        top=project.top, in_width=project.in_width, out_width=project.out_width, in_beats=project.in_beats,
        total_in=len(flat), total_out=len(inputs) * project.out_beats if reset_at is None else 1 << 30,
        stall=stall, seed=seed, patience=patience, reset=4, start=start,
        reset_again=-1 if reset_at is None else start + reset_at, resume=0,
    )  # fmt: skip
    (project.folder / "bench.v").write_text(bench)
    sources = [path.name for path in project.sources]
    command = ["iverilog", "-g2012", "-Wall", "-Wno-timescale", "-o", "bench.vvp", "-s", "bench", "bench.v", *sources]
    built = subprocess.run(command, cwd=project.folder, capture_output=True, text=True)
    warnings = [line for line in built.stderr.splitlines() if line and "bench.v" not in line]
    assert built.returncode == 0 and not warnings, built.stderr
    ran = subprocess.run(["vvp", "bench.vvp"], cwd=project.folder, capture_output=True, text=True, check=True)
    lines = [line.split() for line in ran.stdout.splitlines()]
    assert not [line for line in lines if line[0] == "unstable"], "data changed while it waited"
    entered = [int(line[1]) for line in lines if line[0] == "in"]
    out = [line for line in lines if line[0] == "out"]
    if reset_at is not None:
        out = [line for line in out if int(line[1]) > start + reset_at]
    assert len(out) == len(inputs) * project.out_beats, f"{len(out)} beats of {len(inputs) * project.out_beats}"
    assert "x" not in "".join(line[3] for line in out), "undefined bits"
    last = [line[2] == "1" for line in out]
    assert last == [beat % project.out_beats == project.out_beats - 1 for beat in range(len(out))], "tlast"
    words = np.stack([np.frombuffer(bytes.fromhex(line[3])[::-1], np.uint8) for line in out])
    results = project.unpack(words.reshape(len(inputs), project.out_beats, -1))
    return Run(results, entered, [int(line[1]) for line in out])
