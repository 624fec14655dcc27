"""An RTL project on disk, and how frames go in and out of it."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from math import ceil, prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.network import Affine, Argmax, Network
from xnorflow.hls.rtl import verilog
from xnorflow.hls.rtl.buffering import buffered
from xnorflow.hls.rtl.config import RtlConfig
from xnorflow.hls.rtl.cycles import CycleModel, Frame, cycles, fit_fifos
from xnorflow.hls.rtl.lowering import Pipeline, class_bits, lower, score_bits
from xnorflow.hls.rtl.pruning import Remains
from xnorflow.hls.rtl.units import Stream, Sum, Unit

Bytes = NDArray[np.uint8]

#: The file in which :func:`write` leaves what :func:`load` needs.
DESCRIPTION = "project.json"


@dataclass(frozen=True)
class Probe:
    """Where the result of a layer can be observed inside the top module, and how to read it.

    A vector moves in each cycle in which ``<stream>_valid`` and ``<stream>_ready`` are both 1; the values are then on
    ``<stream>_data``.

    Attributes
    ----------
    stream : str
        Prefix of the top module's wires.
    shape : tuple of int
        Of the layer's result, channels last.
    channels : int
        Values per vector.
    bits : int
        Per value, channel 0 lowest.
    signed, bipolar : bool
    vectors : int
        Per frame; together they may have more values than the result, which are ignored.
    kept : tuple of int
        The layer's channels that a vector's values are, where the others are constant and not computed; empty: all.
    base : tuple of int
        Per channel of the layer: its constant, or what is to be added to the vector's value; empty: nothing.
    """

    stream: str
    shape: tuple[int, ...]
    channels: int
    bits: int
    signed: bool
    bipolar: bool
    vectors: int
    kept: tuple[int, ...] = ()
    base: tuple[int, ...] = ()

    def unpack(self, words: Bytes) -> NDArray[np.int64]:
        """Read the layer's results from observed vectors.

        Parameters
        ----------
        words : uint8 array, shape (frames * vectors, bytes)
            Each vector little-endian, in whole bytes; bits above the channels are ignored.

        Returns
        -------
        int64 array, shape (frames, *shape)
        """
        bits = np.unpackbits(words, axis=1, count=self.channels * self.bits, bitorder="little")
        seen = _integers(bits, self.bits, self.signed, self.bipolar)
        channels = len(self.kept) if self.base else self.shape[-1]
        shape = (*self.shape[:-1], channels)
        seen = seen.reshape(-1, self.vectors * self.channels)[:, : prod(shape)].reshape(-1, *shape)
        if not self.base:
            return seen
        values = np.broadcast_to(np.array(self.base, np.int64), (*seen.shape[:-1], len(self.base))).copy()
        values[..., self.kept] += seen
        return values


@dataclass(frozen=True, eq=False)
class RtlProject:
    """A written RTL project.

    The simulator's working directory must be `folder`: the sources read their memory files from there.

    Attributes
    ----------
    network : Network
    folder : Path
    top : str
        Name of the top module.
    sources : tuple of Path
        The Verilog files, the top module's first.
    layers : mapping of str to str
        The layer that each unit is part of, by the unit's name: in the order of the files behind the top module's.
    in_width, out_width : int
        Bits of ``s_axis_tdata`` and ``m_axis_tdata``.
    in_beats, out_beats : int
        Beats per frame.
    in_vectors : int
        Vectors that a frame comes in, `in_beats` in all: the pixels of an image, or one of all values in their order.
    in_element_bits : int
        Bits per input value, 1 for bipolar.
    score_bits : int
        Bits per output value: 1 if bipolar, else two's complement in whole bytes.
    score_count : int
        Output values per frame; 0 where the class comes alone.
    class_bits : int
        Bits of the class above the scores; 0 without an argmax.
    probes : mapping of layer name to Probe
    pruned : mapping of layer name to (int, int)
        For each layer with weights: its neurons that are constant and not computed, and its inputs without a reader.
    timing : CycleModel
        Its `frames` are followed until they come and go evenly.
    """

    network: Network
    folder: Path
    top: str
    sources: tuple[Path, ...]
    layers: Mapping[str, str]
    in_width: int
    in_beats: int
    in_vectors: int
    in_element_bits: int
    out_width: int
    out_beats: int
    score_bits: int
    score_count: int
    class_bits: int
    probes: Mapping[str, Probe]
    pruned: Mapping[str, tuple[int, int]]
    timing: CycleModel

    def pack(self, inputs: NDArray[np.integer[Any]]) -> Bytes:
        """Return the beats of frames.

        Parameters
        ----------
        inputs : integer array, shape (frames, *input shape)

        Returns
        -------
        uint8 array, shape (frames, in_beats, in_width / 8)
            Little-endian: byte ``k`` of a beat is ``tdata[8 * k +: 8]``.
        """
        vectors = self.in_vectors
        values = np.asarray(inputs, np.int64).reshape(len(inputs), vectors, prod(self.network.input.shape) // vectors)
        if self.network.input.kind == "bipolar":
            values = (values > 0).astype(np.int64)
        bits = values[..., None] >> np.arange(self.in_element_bits) & 1
        beats = np.zeros((len(inputs), vectors, self.in_beats // vectors * self.in_width), np.uint8)
        beats[..., : values.shape[-1] * self.in_element_bits] = bits.reshape(len(inputs), vectors, -1)
        return np.packbits(beats, axis=-1, bitorder="little").reshape(len(inputs), self.in_beats, -1)

    def unpack(self, beats: Bytes) -> dict[str, NDArray[np.int64]]:
        """Read the results of frames from their beats.

        Parameters
        ----------
        beats : uint8 array, shape (frames, out_beats, out_width / 8)
            As :meth:`pack` has them.

        Returns
        -------
        dict of int64 array, shape (frames, *signal shape), by layer name
            The output and, where that is an argmax, the scores it is taken from, unless the class comes alone.
        """
        output = self.network.output
        scores = output.inputs[0] if isinstance(output, Argmax) else output.name
        signal = self.network.signals[scores]
        vectors = prod(signal.shape[:-1])
        bits = np.unpackbits(np.ascontiguousarray(beats), axis=-1, bitorder="little").reshape(len(beats), vectors, -1)
        used = self.score_count // vectors * self.score_bits
        results: dict[str, NDArray[np.int64]] = {}
        if self.score_count:
            values = _integers(bits[..., :used], self.score_bits, not signal.bipolar, signal.bipolar)
            results[scores] = values.reshape(len(beats), *signal.shape)
        if self.class_bits:
            winner = bits[:, 0, used : used + self.class_bits]
            results[output.name] = _integers(winner, self.class_bits, signed=False, bipolar=False)
        return results


def _integers(bits: NDArray[np.uint8], width: int, signed: bool, bipolar: bool) -> NDArray[np.int64]:
    """Read groups of `width` bits along the last axis as integers."""
    groups = bits.reshape(*bits.shape[:-1], -1, width).astype(np.int64)
    if bipolar:
        return 2 * groups[..., 0] - 1
    weights = np.int64(1) << np.arange(width, dtype=np.int64)
    if signed:
        weights[-1] = -weights[-1]
    return groups @ weights


def plan(network: Network, config: RtlConfig) -> Pipeline:
    """Return the pipeline that :func:`write` writes; its timing (:func:`.cycles.cycles`) needs no files."""
    return fit_fifos(buffered(lower(network, config)))


def write(network: Network, folder: Path, config: RtlConfig) -> RtlProject:
    """Write the RTL of `network` into `folder`, which is made anew.

    Files: one Verilog module per unit, the memories they read, ``files.f`` with the list of sources, ``README.md`` with
    ports, packing and timing, a C header with the packing, ``project.json`` for :func:`load`. The same network and
    configuration give the same bytes.

    Raises
    ------
    UserError
        If `config` does not fit the network.
    Unsupported
        If there is no RTL for a layer.
    """
    pipeline = plan(network, config)
    project = _describe(network, folder, pipeline)
    units = [*pipeline.units, *([pipeline.output_converter] if pipeline.output_converter else [])]
    files = {f"{project.top}.v": _top(project, pipeline)}
    for unit in units:
        name = _module_name(network, unit)
        module = verilog.module(unit, name)
        files[f"{name}.v"] = module.text
        files |= {file: "\n".join(words) + "\n" for file, words in module.memories.items()}
    files["README.md"] = _readme(project, pipeline, config.clock_ns)
    files[f"{network.name}.h"] = verilog.render("header.h.j2", **_facts(project, pipeline))
    files["files.f"] = "".join(f"{path.name}\n" for path in project.sources)
    files[DESCRIPTION] = json.dumps(_description(project), indent=1) + "\n"
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    for file, text in files.items():
        (folder / file).write_text(text)
    return project


def load(network: Network, folder: Path) -> RtlProject:
    """Read a project that :func:`write` has left in `folder`; nothing is generated.

    Raises
    ------
    OSError
        If there is none.
    ValueError
        If it is unreadable, or that of another network.
    """
    path = folder / DESCRIPTION
    described = json.loads(path.read_text())
    try:
        owner = described.pop("network")
        if owner != network.digest:
            raise ValueError(f"{path}: the RTL of another network than {network.name}")
        described["sources"] = tuple(folder / name for name in described["sources"])
        described["probes"] = {
            layer: Probe(**(probe | {name: tuple(probe[name]) for name in ("shape", "kept", "base")}))
            for layer, probe in described["probes"].items()
        }
        described["pruned"] = {layer: (neurons, inputs) for layer, (neurons, inputs) in described["pruned"].items()}
        timing = described["timing"]
        timing["frames"] = tuple(Frame(**frame) for frame in timing["frames"])
        timing["intervals"] = tuple((unit, interval) for unit, interval in timing["intervals"])
        described["timing"] = CycleModel(**timing)
        return RtlProject(network=network, folder=folder, **described)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: not the description of an RTL project ({error!r})") from None


def _description(project: RtlProject) -> dict[str, object]:
    """Return the project as JSON has it; without the network, for which its digest stands, and the folder."""
    values = {spec.name: getattr(project, spec.name) for spec in fields(project) if spec.name != "folder"}
    return values | {
        "network": project.network.digest,
        "sources": [path.name for path in project.sources],
        "probes": {layer: asdict(probe) for layer, probe in project.probes.items()},
        "timing": asdict(project.timing),
    }


def _settled(pipeline: Pipeline) -> CycleModel:
    """Return the timing with as many frames as it takes until they enter and leave evenly, at most 128.

    Frames enter faster than they leave while the pipeline fills, which takes one frame for each that it can hold.
    """
    frames = 8
    while True:
        timing = cycles(pipeline, frames)
        tail = timing.frames[frames // 2 :]
        distances = {d for a, b in pairwise(tail) for d in (b.first_in - a.first_in, b.last_out - a.last_out)}
        if len(distances) == 1 or frames == 128:
            return timing
        frames *= 2


def _module_name(network: Network, unit: Unit) -> str:
    return verilog.identifier(f"{network.name}_{unit.name}")


def _describe(network: Network, folder: Path, pipeline: Pipeline) -> RtlProject:
    result, output_converter = pipeline.result, pipeline.output_converter
    framed = result.channels * score_bits(result) + class_bits(result)
    units = [*pipeline.units, *([output_converter] if output_converter else [])]
    top = verilog.identifier(network.name)
    return RtlProject(
        network=network,
        folder=folder,
        top=top,
        sources=tuple(folder / f"{name}.v" for name in (top, *(_module_name(network, unit) for unit in units))),
        layers={unit.name: unit.layer for unit in units},
        in_width=8 * ceil(pipeline.source.width / 8),
        in_beats=pipeline.source.vectors,
        in_vectors=prod(pipeline.pruned.network.input.shape[:-1]),
        in_element_bits=network.input.bits,
        out_width=output_converter.result.width if output_converter else 8 * ceil(framed / 8),
        out_beats=output_converter.result.vectors if output_converter else result.vectors,
        score_bits=score_bits(result),
        score_count=result.channels * result.vectors,
        class_bits=class_bits(result),
        probes={
            layer: _probe(network.signals[layer].shape, stream, pipeline.pruned.remains.get(layer))
            for layer, stream in pipeline.carried.items()
            if layer in network.signals and pipeline.pruned.remains.get(layer, True) is not None
        },
        pruned=pipeline.pruned.counts,
        timing=_settled(pipeline),
    )


def _probe(shape: tuple[int, ...], stream: Stream, remains: Remains | None) -> Probe:
    kept, base = (tuple(remains.kept.tolist()), tuple(remains.base.tolist())) if remains else ((), ())
    name, channels, bits = stream.name, stream.channels, stream.bits
    return Probe(name, shape, channels, bits, stream.signed, stream.bipolar, stream.vectors, kept, base)


def _top(project: RtlProject, pipeline: Pipeline) -> str:
    joins = [unit for unit in pipeline.units if isinstance(unit, Sum)]
    streams: list[Stream] = [pipeline.source, *(unit.result for unit in pipeline.units)]
    streams += [branch for fork in pipeline.forks for branch in fork.branches] + [join.source for join in joins]
    if pipeline.output_converter:
        streams += [pipeline.output_converter.source]
    wiring = {"source": pipeline.source, "streams": streams, "forks": pipeline.forks, "joins": joins}
    return verilog.render("top.v.j2", **_facts(project, pipeline), **wiring)


def _readme(project: RtlProject, pipeline: Pipeline, clock_ns: float) -> str:
    output = project.network.output
    scores = project.network[output.inputs[0]] if isinstance(output, Argmax) else output
    return verilog.render(
        "README.md.j2",
        **_facts(project, pipeline),
        timing=project.timing,
        clock_ns=clock_ns,
        fraction=scores.fraction if isinstance(scores, Affine) else None,
    )


def _facts(project: RtlProject, pipeline: Pipeline) -> dict[str, object]:
    """Return what the templates of the top module, the README and the header have in common."""
    units = [*pipeline.units, *([pipeline.output_converter] if pipeline.output_converter else [])]
    return {
        "network": project.network,
        "top": project.top,
        "prefix": project.network.name.upper(),
        "lower": project.network.name,
        "in_width": project.in_width,
        "in_beats": project.in_beats,
        "in_vectors": project.in_vectors,
        "in_values": prod(project.network.input.shape) // project.in_vectors,
        "element_bits": project.in_element_bits,
        "out_width": project.out_width,
        "out_beats": project.out_beats,
        "score_bits": project.score_bits,
        "class_bits": project.class_bits,
        "pruned": {layer: counts for layer, counts in project.pruned.items() if any(counts)},
        "result": pipeline.result,
        "output_converter": pipeline.output_converter,
        "units": units,
        "modules": {unit.name: _module_name(project.network, unit) for unit in units},
    }
