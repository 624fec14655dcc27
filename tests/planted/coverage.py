"""Ask whether coverage tells the truth: plant drawn faults into generated projects, and compare with the prediction.

``python -m tests.planted.coverage rtl|hls digits_bnn|image [NUMBER]``

A fault is planted into the data of a project as it lies on disk: the memory files of the RTL, the weight headers of the
packed hls4ml project. What to change is told by the project of the faulty network, which must differ in data alone, for
a binary weight in a single bit. Then the engine runs the right network's vectors, and the vectors whose integers differ
must be exactly the predicted ones. In the RTL that is a simulation by Icarus Verilog, which reads the memories when it
starts, so that nothing is compiled anew; in the HLS project it is compiled, too. Takes seconds a fault.
"""

import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests import oracle, strategies
from tests.hls.rtl.networks import small_image

from xnorflow.bnn.network import Conv2d, Dense, Network
from xnorflow.bnn.packing import unpack_bits
from xnorflow.cosim.compare import compare
from xnorflow.cosim.coverage.faults import Faults, faults, plant
from xnorflow.cosim.coverage.simulation import Simulator
from xnorflow.cosim.csim import CSim
from xnorflow.cosim.rtl_icarus import RtlIcarus
from xnorflow.hls import project as hls_project
from xnorflow.hls.config import HlsConfig
from xnorflow.hls.rtl.config import Folded, RtlConfig
from xnorflow.hls.rtl.project import write

_DATA = {".mem", ".h"}
_CODE = {".v", ".cpp"}
_KINDS = ("weight", "threshold", "direction", "scale", "offset")
_MOST_DRAWN = 10


def drawn(network: Network, seed: int) -> Iterator[tuple[Faults, int]]:
    """Draw faults without end, as many of each kind: weights alone would be nearly all."""
    random = np.random.default_rng(seed)
    groups = [group for group in faults(network) if group.kind in _KINDS]
    while True:
        kind = random.choice(sorted({group.kind for group in groups}))
        some = [group for group in groups if group.kind == kind]
        group = some[int(random.choice(len(some), p=(size := np.array([len(of) for of in some])) / size.sum()))]
        yield group, int(random.integers(len(group)))


def sources(folder: Path) -> dict[str, str]:
    """Return the sources of a project, by path."""
    found = [path for path in folder.rglob("*") if path.suffix in _DATA | _CODE and "build" not in path.parts]
    return {path.relative_to(folder).as_posix(): path.read_text() for path in found}


def change(right: dict[str, str], faulty: dict[str, str]) -> dict[str, str] | None:
    """Return the data files that a fault changes; None where it changes the code, as generators prune."""
    if right.keys() != faulty.keys():
        return None
    changed = {path: text for path, text in faulty.items() if text != right[path]}
    return changed if all(Path(path).suffix in _DATA for path in changed) else None


def bits(before: str, after: str) -> int:
    """Count the bits by which the hexadecimal words of two files differ."""
    words = [re.findall(r"0x([0-9a-fA-F]+)|^([0-9a-fA-F]+)$", text, re.MULTILINE) for text in (before, after)]
    numbers = [[int(a or b, 16) for a, b in of] for of in words]
    return sum((x ^ y).bit_count() for x, y in zip(*numbers, strict=True))


def single(network: Network, group: Faults) -> bool:
    """Say whether a fault is one bit of memory: a wrong weight of +1 and -1 alone, for inputs that are, too."""
    operation = network[group.layer]
    return (
        isinstance(operation, Dense | Conv2d)
        and bool(operation.weight.all())
        and network.signals[operation.inputs[0]].bipolar
    )


def rtl(network: Network, folder: Path) -> tuple[Callable[[Network, Path], None], RtlIcarus, Callable[[], None]]:
    """Build the RTL's simulation; return what writes a project, the engine, and what takes in changed data."""
    config = RtlConfig(default=Folded(16, 32))
    engine = RtlIcarus(write(network, folder, config))
    engine.passes = ("back_to_back",)
    (folder.parent / "icarus").mkdir()
    engine.prepare(network, folder.parent / "icarus")
    return lambda other, into: (write(other, into, config), None)[1], engine, lambda: None


def hls(network: Network, folder: Path) -> tuple[Callable[[Network, Path], None], CSim, Callable[[], None]]:
    """Build the packed hls4ml project, likewise."""
    engine, none = CSim("packed"), np.zeros((0, 1), np.int8)
    engine.prepare(network, folder)
    return (
        lambda other, into: (hls_project.write(other, into, HlsConfig(style="packed"), none, none), None)[1],
        engine,
        engine.compile,
    )


ENGINES = {"rtl": rtl, "hls": hls}


def check(engine: str, network: Network, inputs: NDArray[Any], count: int, seed: int = 0) -> tuple[int, int, list[str]]:
    """Plant so many drawn faults; return how many were planted, how many showed, and what was not as predicted.

    Fewer than asked for only where many times as many were drawn in vain, since they change code.
    """
    right = oracle.run(network, inputs)
    simulator = Simulator(network)
    vectors = simulator.vectors(inputs)
    planted, showed, wrong = 0, 0, []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "right"
        generate, built, take = ENGINES[engine](network, folder)
        kept = sources(folder)
        assert compare(network, right, built.run(inputs)).first is None
        for number, (group, index) in enumerate(islice(drawn(network, seed), _MOST_DRAWN * count)):
            if planted == count:
                break
            what = f"{group.layer}, {group.kind} {index}"
            into = Path(scratch) / f"faulty{number}"
            generate(plant(network, group, index), into)
            changed = change(kept, {path: text for path, text in sources(into).items() if path in kept})
            shutil.rmtree(into)
            if changed is None:
                continue
            if single(network, group) and sum(bits(kept[path], text) for path, text in changed.items()) != 1:
                wrong.append(f"{what}: expected one bit to differ, in {', '.join(changed)}")
                continue
            for path, text in changed.items():
                (folder / path).write_text(text)
            take()
            found = compare(network, right, built.run(inputs)).wrong
            for path in changed:
                (folder / path).write_text(kept[path])
            expected = np.flatnonzero(unpack_bits(simulator.shown(group, np.array([index]), vectors), len(inputs))[0])
            planted, showed = planted + 1, showed + bool(found)
            if list(found) != expected.tolist():
                wrong.append(f"{what}: predicted vectors {expected.tolist()}, got {list(found)}")
    return planted, showed, wrong


def case(name: str) -> tuple[Network, NDArray[Any]]:
    """Return a network and vectors that show about half of its faults."""
    if name == "image":
        return small_image(), strategies.inputs_for(small_image(), 4, seed=2)[2:]
    from xnorflow.flows import api
    from xnorflow.models import data, zoo

    definition = zoo.get(name)
    dataset, _ = data.evaluation_images(definition)
    return api.convert(name).network, data.encode(dataset.test_images[:12], definition)


if __name__ == "__main__":
    planted, showed, wrong = check(sys.argv[1], *case(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 300)
    sys.stdout.write(f"{planted} faults planted, {showed} showed, {len(wrong)} not as predicted\n")
    sys.stdout.writelines(f"  {line}\n" for line in wrong)
    sys.exit(bool(wrong) or not planted)
