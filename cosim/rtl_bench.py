"""The cocotb bench of :class:`.rtl_icarus.RtlIcarus`: frames through AXI4-Stream ports, in several passes.

Runs inside the simulator. The environment variable ``XNORFLOW_BENCH`` names a folder with ``job.json`` (see
:class:`BenchJob`) and ``frames.npy``; every test leaves ``<test>.npz`` there, with the numbers of the frames it sent,
their result beats and cycles. Whether the results are right is not judged here.
"""

import json
import logging
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge, SimTimeoutError, with_timeout
from cocotb.utils import get_sim_steps, get_sim_time
from cocotbext.axi import (  # type: ignore[import-untyped]
    AxiStreamBus,
    AxiStreamFrame,
    AxiStreamMonitor,
    AxiStreamSink,
    AxiStreamSource,
)

FOLDER = "XNORFLOW_BENCH"
_PERIOD = 10


@dataclass(frozen=True)
class BenchJob:
    """What a simulation is to do.

    Attributes
    ----------
    in_width, out_width : int
        Bits of the ports.
    in_beats, out_beats : int
        Beats of a frame.
    timeout : int
        Clock cycles without a beat after which the design is stuck.
    seed : int
        Of everything random.
    probes : mapping of layer name to (stream, vectors per frame)
        What to watch inside the design in the undisturbed pass.
    stalled, gapped, resets : int
        Frames of the passes with stalls and with gaps, and how often the one with resets resets.
    latency : int
        Clock cycles of a frame; 0 if that is not known.
    """

    in_width: int
    in_beats: int
    out_width: int
    out_beats: int
    timeout: int
    seed: int
    probes: dict[str, tuple[str, int]]
    stalled: int
    gapped: int
    resets: int
    latency: int


class Broken(Exception):
    """The design does not keep to the protocol; the message says where."""


class Bench:
    """The design between a source and a sink that keep to AXI4-Stream; frames are the rows of ``frames.npy``."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        self.folder = Path(os.environ[FOLDER])
        self.job = BenchJob(**json.loads((self.folder / "job.json").read_text()))
        self.frames = np.load(self.folder / "frames.npy")
        self.random = random.Random(self.job.seed)
        self.edge = RisingEdge(dut.aclk)
        logging.getLogger(f"cocotb.{dut._name}").setLevel(logging.ERROR)  # the bus models would log every frame
        dut.aresetn.value = 0
        inward, outward = AxiStreamBus.from_prefix(dut, "s_axis"), AxiStreamBus.from_prefix(dut, "m_axis")
        # one lane as wide as the port: a frame's data are then its beats
        self.source = AxiStreamSource(inward, dut.aclk, byte_size=self.job.in_width)
        self.entry = AxiStreamMonitor(inward, dut.aclk, byte_size=self.job.in_width)
        self.sink = AxiStreamSink(outward, dut.aclk, byte_size=self.job.out_width)
        for port in (self.source, self.entry, self.sink):
            port.assert_reset(True)  # until reset() has made the design's signals known
        Clock(dut.aclk, _PERIOD, "ns", impl="gpi").start()

    async def reset(self) -> None:
        """Hold the reset for some cycles, forget what is on its way, and let everything come to rest."""
        ports = (self.source, self.entry, self.sink)
        self.dut.aresetn.value = 0
        for port in ports:
            port.assert_reset(True)
        await ClockCycles(self.dut.aclk, 4)
        self.dut.aresetn.value = 1
        for port in ports:
            port.clear()
            port.assert_reset(False)
        await ClockCycles(self.dut.aclk, 4)

    def send(self, frame: int) -> None:
        """Queue a frame for the source, which sends it as soon as it can."""
        beats = [int.from_bytes(beat.tobytes(), "little") for beat in self.frames[frame]]
        self.source.send_nowait(AxiStreamFrame(beats))

    async def finish(self) -> None:
        """Wait a while for results that nobody expects.

        Raises
        ------
        Broken
            If there are any.
        """
        await ClockCycles(self.dut.aclk, 64)
        if not self.sink.empty() or self.sink.active:
            raise Broken("more result beats than those of the frames sent")

    async def receive(self, frame: int) -> AxiStreamFrame:
        """Wait for the next result, that of `frame`.

        Raises
        ------
        Broken
            If it does not come, or not in the right number of beats.
        """
        cycles = self.job.timeout
        try:
            got = await with_timeout(self.sink.recv(compact=False), cycles * _PERIOD, "ns")
        except SimTimeoutError:
            raise Broken(f"frame {frame}: no result within {cycles} clock cycles") from None
        if len(got.tdata) != self.job.out_beats:
            raise Broken(f"frame {frame}: tlast after {len(got.tdata)} beats instead of {self.job.out_beats}")
        return got

    def save(self, test: str, numbers: Sequence[int], results: Sequence[AxiStreamFrame], **more: Any) -> None:
        """Write what a test has received: the frames' numbers, and their results."""
        size = (self.job.out_width + 7) // 8
        beats = b"".join(beat.to_bytes(size, "little") for frame in results for beat in frame.tdata)
        shape = (len(results), self.job.out_beats, size)
        np.savez(
            self.folder / f"{test}.npz",
            numbers=np.array(numbers, np.int64),
            beats=np.frombuffer(beats, np.uint8).reshape(shape),
            **more,
        )


@cocotb.test()
async def back_to_back(dut: Any) -> None:
    """All frames without a pause on either side: the results, the cycles and, if asked for, every layer's results."""
    bench = Bench(dut)
    await bench.reset()
    watched = {layer: _watch(bench, *probe) for layer, probe in bench.job.probes.items()}
    numbers = range(len(bench.frames))
    for number in numbers:
        bench.send(number)
    results = [await bench.receive(number) for number in numbers]
    await bench.finish()
    entered = [bench.entry.recv_nowait(compact=False).sim_time_start for _ in numbers]
    left = [frame.sim_time_end for frame in results]
    cycles = (np.array([entered, left]) - entered[0]) // get_sim_steps(_PERIOD, "ns")
    seen = {f"probe.{layer}": np.array(words, np.uint8) for layer, words in watched.items()}
    bench.save("back_to_back", numbers, results, first_in=cycles[0], last_out=cycles[1], **seen)


@cocotb.test()
async def stalls(dut: Any) -> None:
    """The sink waits until the design is full; then it and the source pause at random. Results must stall."""
    bench = Bench(dut)
    await bench.reset()
    cocotb.start_soon(_check_stable(bench))
    numbers = range(min(bench.job.stalled, len(bench.frames)))
    bench.sink.pause = True
    for number in numbers:
        bench.send(number)
    taken = -1  # full: where frames still move, one goes in while another would pass through
    while taken < bench.entry.count():
        taken = bench.entry.count()
        await ClockCycles(dut.aclk, bench.job.latency or 256)
    bench.source.set_pause_generator(_pauses(bench.random))
    bench.sink.set_pause_generator(_pauses(bench.random))
    results = [await bench.receive(number) for number in numbers]
    await bench.finish()
    bench.save("stalls", numbers, results)


@cocotb.test()
async def gaps(dut: Any) -> None:
    """The source idles between frames: not at all, for some cycles, or until the pipeline is empty."""
    bench = Bench(dut)
    await bench.reset()
    numbers = range(min(bench.job.gapped, len(bench.frames)))
    results: list[AxiStreamFrame] = []
    for number in numbers:
        bench.send(number)
        gap = bench.random.choice(("none", "short", "empty"))
        if gap == "short":
            await ClockCycles(dut.aclk, bench.random.randint(1, 20))
        while gap == "empty" and len(results) <= number:
            results.append(await bench.receive(len(results)))
    while len(results) < len(numbers):
        results.append(await bench.receive(len(results)))
    bench.save("gaps", numbers, results)


@cocotb.test()
async def resets(dut: Any) -> None:
    """Resets while frames are on their way in, through and out; the frames sent after each must be right."""
    bench = Bench(dut)
    await bench.reset()
    whole = bench.job.latency
    if not whole:
        bench.send(0)
        started = get_sim_time("ns")
        await bench.receive(0)
        whole = int(get_sim_time("ns") - started) // _PERIOD
    numbers, results = [], []
    for trial in range(bench.job.resets):
        lost = [bench.random.randrange(len(bench.frames)) for _ in range(3)]
        kept = [bench.random.randrange(len(bench.frames)) for _ in range(2)]
        for number in lost:
            bench.send(number)
        if trial % 3 == 0:
            bench.sink.pause = True  # so that results pile up, too
        await ClockCycles(dut.aclk, bench.random.randint(1, whole + 4))
        bench.sink.pause = False
        await bench.reset()
        for number in kept:
            bench.send(number)
        for number in kept:
            numbers.append(number)
            results.append(await bench.receive(number))
    bench.save("resets", numbers, results)


def _pauses(source: random.Random) -> Iterator[bool]:
    """Decide for each clock cycle whether to pause: single cycles and bursts, about half of the time."""
    while True:
        yield from repeat(source.random() < 0.5, source.choice((1, 1, 1, 2, 3, 8)))


async def _check_stable(bench: Bench) -> None:
    """Fail if a result is taken back or changes while it waits for tready."""
    dut, waiting = bench.dut, None
    while True:
        await bench.edge
        offered = (dut.m_axis_tdata.value, dut.m_axis_tlast.value) if dut.m_axis_tvalid.value else None
        if waiting is not None and offered != waiting:
            raise Broken(f"m_axis: {'tvalid fell' if offered is None else 'data changed'} while tready was low")
        waiting = None if dut.m_axis_tready.value else offered


def _watch(bench: Bench, stream: str, vectors: int) -> list[list[int]]:
    """Collect the vectors that move on a stream inside the design; the list returned fills as time goes by."""
    data, valid, ready = (getattr(bench.dut, f"{stream}_{what}") for what in ("data", "valid", "ready"))
    size, wanted = (len(data) + 7) // 8, vectors * len(bench.frames)
    words: list[list[int]] = []

    async def collect() -> None:
        while len(words) < wanted:
            await bench.edge
            if valid.value and ready.value:
                words.append(list(int(data.value).to_bytes(size, "little")))

    cocotb.start_soon(collect())
    return words
