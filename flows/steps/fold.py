"""Step ``fold``: the trained model becomes a canonical Network."""

import numpy as np

from xnorflow.bnn.errors import UserError
from xnorflow.flows.cache import Entry
from xnorflow.flows.facts import FOLD, FoldFacts
from xnorflow.flows.formats import READ, converted, model_digest
from xnorflow.flows.graph import Advance, Step, View
from xnorflow.flows.results import AMBIGUOUS, ERRORS, NETWORK


def step() -> Step[FoldFacts]:
    """Return the step."""
    return Step(FOLD, "fold", _fold, options=READ, packages=("numpy", "torch"))


def _fold(view: View, entry: Entry[FoldFacts], advance: Advance) -> None:
    from xnorflow.bnn import io
    from xnorflow.bnn.canonical import canonicalise_with_signs
    from xnorflow.bnn.network import Conv2d, Dense
    from xnorflow.cosim import deviation
    from xnorflow.reports import measures

    found, origin = converted(view), view.options.subject.origin
    network, signs = canonicalise_with_signs(found.network)
    if not any(isinstance(operation, Dense | Conv2d) for operation in network.operations):
        raise UserError(f"{origin}: expected layers of weights, got none")
    io.save(network, entry.folder / NETWORK)
    errors = {
        f"{layer}.{name}": error
        for layer, of in found.rounded.items()
        for name, error in deviation.turned(of.errors, found.network, signs).items()
    }
    np.savez(entry.folder / ERRORS, **errors)
    runs = {
        name: of.turned(signs[source]).runs if (source := network[name].inputs[0]) in signs else of.runs
        for name, of in found.ambiguous.items()
    }
    np.savez_compressed(entry.folder / AMBIGUOUS, **runs)
    pairs = {name: of.pairs for name, of in found.ambiguous.items()}
    entry.facts = {
        "digest": network.digest,
        "model_digest": model_digest(view.options.subject, found),
        "input": measures.taken(network),
        "layers": measures.layers(network),
        "memory": measures.memory(network),
        "ambiguous": measures.ambiguous(network),
        "conversion": {"notes": list(found.notes), "ambiguous": pairs},
        "rounded": [
            {"name": name, "bits": of.bits, "step": float(of.scale.max()), "bound": float(of.bound.max())}
            for name, of in found.rounded.items()
        ],
    }
    layers = entry.facts["layers"]
    bits = sum(layer["weight_bits"] for layer in layers)
    entry.summary = f"{len(layers)} layers, {bits:,} weight bits, {entry.facts['memory']['ratio']:.1f} times smaller"
    entry.summary += "".join(f"; {note}" for note in found.notes)
    if unproved := sum(pairs.values()):
        entry.summary += f"; {unproved:,} accumulators' signs depend on how the framework rounds its sums"
