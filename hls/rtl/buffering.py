"""Vectors in memory, word by word, rather than twice in registers.

A folded layer reads its vector again for each group of neurons. Where this vector is put together of beats, of pixels
or of the results of a folded layer, it would be collected in one register and rotate in another, so that the next one
can come meanwhile. Instead, the layer may take words of as many inputs as it computes at a time into two halves of a
memory (:attr:`.units.Mvtu.in_words`), behind a width converter if what comes is wider or narrower than that; the layer
before hands on each group of its results. The interval stays: the memory takes no more words than it is read.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from xnorflow.bnn.names import fresh
from xnorflow.hls.rtl import area
from xnorflow.hls.rtl.config import Folded
from xnorflow.hls.rtl.lowering import Pipeline
from xnorflow.hls.rtl.units import Fifo, Mvtu, NarrowingConverter, Stream, Unit, WideningConverter


@dataclass(frozen=True, eq=False)
class Collected:
    """A folded layer whose vector is put together of pieces.

    Attributes
    ----------
    unit : Mvtu
    by : WideningConverter or Fifo
        What gives the vector: it is not needed where words come.
    before : Mvtu or None
        The layer that results come from in front of a Fifo.
    """

    unit: Mvtu
    by: WideningConverter | Fifo
    before: Mvtu | None

    def words(self, foldings: Mapping[str, Folded]) -> tuple[int, int, int] | None:
        """Return bits and number of the pieces, and bits of a word, with layers folded so; None if words cannot be."""
        neurons, inputs = self.unit.weights.shape
        neuron_folds, input_folds = foldings[self.unit.layer].folds(neurons, inputs)
        simd = -(-inputs // input_folds)
        word = simd * self.unit.source.bits
        piece, count = self.by.source.width, self.by.source.vectors
        if self.before is not None:
            results = self.before.weights.shape[0]
            count = foldings[self.before.layer].folds(*self.before.weights.shape)[0]
            piece = -(-results // count)
            if piece * count != results or count == 1:
                return None
        whole = simd * input_folds == inputs == self.unit.source.channels
        fits = piece % word == 0 or (word % piece == 0 and piece * count % word == 0)
        if not whole or not fits or min(neuron_folds, input_folds) == 1:
            return None
        return (piece, count, word) if piece * count // word <= neuron_folds * input_folds else None

    def saved_luts(self, foldings: Mapping[str, Folded]) -> int:
        """Estimate the LUTs saved by words, with layers folded so; 0 if there would be none, or words cannot be."""
        if (sizes := self.words(foldings)) is None:
            return 0
        piece, count, word = sizes
        converter = 0 if piece == word else area.NARROWING + piece if piece > word else area.WIDENING
        registers = area.luts(self.by) + area.vector_luts(self.unit, foldings[self.unit.layer])
        return max(0, registers - converter - area.halves_luts(piece * count // word, word))


def collected(units: tuple[Unit, ...]) -> Iterator[Collected]:
    """Yield the folded layers whose vectors are put together of pieces."""
    giver = {unit.name: unit for unit in units}
    for unit in units:
        if not isinstance(unit, Mvtu) or unit.source.vectors > 1 or unit.flag_channels:
            continue
        match giver.get(unit.source.name):
            case WideningConverter() as by:
                yield Collected(unit, by, None)
            case Fifo() as by:
                before = giver.get(by.source.name)
                if isinstance(before, Mvtu) and before.thresholds is not None and before.result.vectors == 1:
                    yield Collected(unit, by, before)


def buffered(pipeline: Pipeline) -> Pipeline:
    """Return `pipeline` with vectors in memory where that is estimated to take fewer LUTs."""
    foldings = {unit.layer: unit.folding for unit in pipeline.units if isinstance(unit, Mvtu)}
    names = {*pipeline.carried, *(unit.name for unit in pipeline.every_unit)}
    names |= {branch.name for fork in pipeline.forks for branch in fork.branches}
    sources: dict[str, Stream] = {}  # by the name of the unit that gets it
    results: dict[str, Stream] = {}  # by the name of the unit that gives it
    instead: dict[str, tuple[Unit, ...]] = {}  # by the name of the unit in whose place these come
    carried = dict(pipeline.carried)
    for chain in collected(pipeline.units):
        sizes = chain.words(foldings)
        if sizes is None or not chain.saved_luts(foldings):
            continue
        piece, count, word = sizes
        pieces, whole = chain.by.source, chain.unit.source
        if chain.before is not None:
            pieces = results[chain.before.name] = replace(chain.before.result, channels=piece, vectors=count)
        words = replace(whole, channels=word // whole.bits, vectors=piece * count // word)
        converters: tuple[Unit, ...] = ()
        if piece == word:
            words = replace(words, name=pieces.name)
        else:
            name = fresh(f"{chain.unit.layer}_words", names)
            names.add(name)
            words = replace(words, name=name)
            kind, ratio = (NarrowingConverter, piece // word) if piece > word else (WideningConverter, word // piece)
            converters = (kind(chain.unit.layer, pieces, words, ratio),)
        instead[chain.by.name], sources[chain.unit.name] = converters, words
        seen = {whole.name: words} | ({pieces.name: pieces} if chain.before is not None else {})
        carried = {layer: seen.get(stream.name, stream) for layer, stream in carried.items()}
    units: list[Unit] = []
    for unit in pipeline.units:
        source, result = sources.get(unit.name, unit.source), results.get(unit.name, unit.result)
        kept = unit if (source, result) == (unit.source, unit.result) else replace(unit, source=source, result=result)
        units += instead.get(unit.name, (kept,))
    return replace(pipeline, units=tuple(units), carried=carried)
