"""FIFOs of streaming hls4ml projects are deep enough that nothing waits for ever, and much shallower than images."""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hls4ml.model.layers import Dense
from tests import oracle
from tests.cosim.csim_networks import images_network, residual_network, stock_residual_network
from tests.strategies import inputs_for

from xnorflow.bnn.canonical import canonicalise
from xnorflow.bnn.network import Network
from xnorflow.hls import fifos, project
from xnorflow.hls.config import HlsConfig
from xnorflow.hls.errors import Unsupported
from xnorflow.hls.schedule import LEAST_DEPTH, Dataflow, waiting

NOTHING = np.zeros((0, 1), np.int8)
NETWORKS = {"packed": residual_network, "stock": stock_residual_network}


def dataflow(style: str, folder: Path, **settings: Any) -> Dataflow:
    config = HlsConfig(style=style, io_type="io_stream", **settings)
    network = NETWORKS[style]()
    if style == "packed":
        schedule = project.write(network, folder, config, NOTHING, NOTHING).schedule
        assert schedule is not None
        return schedule
    network = canonicalise(network)
    return fifos.stock_dataflow(project.model_graph(network, folder, config), network)


def ends(flow: Dataflow, depths: Mapping[tuple[str, str], int], frames: int = 3) -> bool:
    """Whether all frames come through processes that stall while they cannot read or write, pipeline and all."""
    inside = dict.fromkeys(depths, 0)
    ports = {(name, of.layer) for of in flow.processes for name in of.sources} - depths.keys()
    readers: dict[str, list[tuple[str, str]]] = {}
    for pair in depths:
        readers.setdefault(pair[0], []).append(pair)
    plans, at, frame = {}, {}, {}
    for of in flow.processes:
        starts = np.cumsum([0, *(step.busy for step in of.scan)])
        packets = {name: flow_packets(flow, name) for name in of.sources}
        per_pixel = len(of.scan) // of.results
        events = []
        for n, step in enumerate(of.scan):
            taken = [
                (name, of.layer)
                for name, count in packets.items()
                if len(of.sources) == 1 or n % per_pixel < count // of.results
            ]
            events.append((int(starts[n]), 1, taken))
            events += [(int(starts[n]) + emit, 0, readers.get(of.layer, [])) for emit in step.emits]
        plans[of.layer], at[of.layer], frame[of.layer] = sorted(events, key=lambda of: of[:2]), 0, 0

    def moves(layer: str) -> bool:
        if frame[layer] == frames:
            return False
        _, reads, pairs = plans[layer][at[layer]]
        pairs = [pair for pair in pairs if pair not in ports]
        if any((not inside[pair]) if reads else inside[pair] == depths[pair] for pair in pairs):
            return False
        for pair in pairs:
            inside[pair] += -1 if reads else 1
        at[layer] += 1
        if at[layer] == len(plans[layer]):
            at[layer], frame[layer] = 0, frame[layer] + 1
        return True

    while any(moves(layer) for layer in plans):
        pass
    return all(count == frames for count in frame.values())


def flow_packets(flow: Dataflow, name: str) -> int:
    """Packets per frame of a layer, or of the input."""
    written = {of.layer: of.results for of in flow.processes}
    return written.get(name) or next(len(of.scan) for of in flow.processes if name in of.sources)


@pytest.mark.parametrize("settings", [{}, {"strategy": "resource", "reuse_factor": 5}, {"target_fps": 1e6}])
@pytest.mark.parametrize("style", NETWORKS)
def test_nothing_waits_for_ever(tmp_path: Path, style: str, settings: dict[str, Any]) -> None:
    if style == "stock" and "reuse_factor" in settings:
        settings = {"strategy": "resource", "reuse_factor": 1}
    flow = dataflow(style, tmp_path, **settings)
    inner = {pair: depth for pair, depth in flow.depths.items() if pair[0] in {of.layer for of in flow.processes}}
    assert min(inner.values()) >= LEAST_DEPTH
    assert ends(flow, inner)
    least = {pair: depth for pair, depth in waiting(flow.processes).items() if pair in inner}
    assert ends(flow, {pair: max(1, least.get(pair, 1)) for pair in inner}), "without what the cycle model adds"
    deep = [pair for pair, depth in least.items() if depth > 3]
    assert deep, "there is a branch that waits"
    assert not all(ends(flow, inner | {pair: 1}) for pair in deep)


def program(folder: Path, network: Network, style: str, io_type: str) -> dict[str, int]:
    """Compile a project's test bench with bounded streams, a thread for each process; return the depths."""
    network = canonicalise(network) if style == "stock" else network
    inputs = inputs_for(network, 4)
    results = oracle.run(network, inputs)
    last = [of.name for of in network.operations if of.name in results and "argmax" not in of.name][-1]
    project.write(network, folder, HlsConfig(style=style, io_type=io_type), inputs, results[last])
    top = next((folder / "firmware").glob("*_top.cpp"))
    text = re.sub(r"    #ifndef __SYNTHESIS__\n    plain::.*?#endif\n", "", top.read_text(), flags=re.S)
    start = re.search(r"^    nnet::(?!load_weights)", text, re.M)
    assert start is not None
    head, calls = text[: start.start()], text[start.start() :]
    calls = re.sub(r"^    (nnet::.*?;)", r"    processes.push_back([&] { \1 });", calls, flags=re.M)
    calls = "    std::vector<std::function<void()>> processes;\n" + calls
    end = calls.rindex("}")
    top.write_text(f"{head}{calls[:end]}    bounded::run(processes);\n{calls[end:]}")
    header = Path(__file__).with_name("bounded")
    command = [
        "g++",
        "-std=c++11",
        "-w",
        "-O1",
        "-pthread",
        f"-I{header}",
        "-Ifirmware/ap_types",
        '-DWEIGHTS_DIR="firmware/weights"',
    ]
    (folder / "firmware" / "ap_types" / "hls_stream.h").unlink()
    sources = [f"firmware/{top.name}", f"{top.stem}_test.cpp"]
    subprocess.run([*command, *sources, "-o", "bench"], cwd=folder, check=True)
    return {name: int(depth) for name, depth in re.findall(r"STREAM variable=(\w+) depth=(\d+)", text)}


def ran(folder: Path, depths: Mapping[str, int]) -> subprocess.CompletedProcess[str]:
    (folder / "depths").write_text("".join(f"{name} {depth}\n" for name, depth in depths.items()))
    return subprocess.run(["./bench"], cwd=folder, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("style", NETWORKS)
def test_the_generated_processes_run_side_by_side_through_fifos_of_these_depths(tmp_path: Path, style: str) -> None:
    depths = program(tmp_path, NETWORKS[style](), style, "io_stream")
    done = ran(tmp_path, depths)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "PASS: 4 vectors, 0 wrong"), done.stdout
    deep = {name: depth for name, depth in depths.items() if depth > 4 and "cpy" in name}
    assert deep, "a branch waits for another"
    shallow = ran(tmp_path, depths | dict.fromkeys(deep, 1))
    assert (shallow.returncode, shallow.stdout.splitlines()[-1]) == (3, "deadlock")


@pytest.mark.parametrize("style", ["packed", "stock"])
def test_fifos_are_not_as_deep_as_images(tmp_path: Path, style: str) -> None:
    """Of accumulators least of all: thresholds stand in front of what waits."""
    network = images_network(pool_stride=(2, 2), channels=24)
    network = canonicalise(network) if style == "stock" else network
    project.write(network, tmp_path, HlsConfig(style=style, io_type="io_stream"), NOTHING, NOTHING)
    text = next((tmp_path / "firmware").glob("*_top.cpp")).read_text()
    depths = {name: int(depth) for name, depth in re.findall(r"STREAM variable=(\w+) depth=(\d+)", text)}
    streams = set(re.findall(r"hls::stream<\w+> (\w+)\(", text)) - {"inputs"}
    assert depths.keys() == streams
    assert 2 <= max(depths.values()) < 42
    if style == "stock":
        results = dict(re.findall(r"nnet::(\w+)<.*>\(\w+, (\w+)", text)[::-1])
        assert {depths[results[kernel]] for kernel in ("conv_2d_cl", "pooling2d_cl")} == {LEAST_DEPTH}


def test_a_layer_whose_loop_is_not_known_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fifos, "Pooling2D", Dense)
    network = canonicalise(images_network(pool_stride=(2, 2), channels=24))
    with pytest.raises(Unsupported, match="layer pool1: how long a Pooling2D of hls4ml takes is not known"):
        project.model_graph(network, tmp_path, HlsConfig(style="stock", io_type="io_stream"))
