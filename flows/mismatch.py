"""Where an engine first goes wrong, and what is needed to see it again."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cosim.compare import Comparison, compare
from cosim.engine import EngineError
from flows.engines import EngineKind
from flows.flow import Flow

_REPLAYED = 64  # at most so many mismatching vectors are run again, layer by layer, and kept


def locate(flow: Flow, kind: EngineKind, comparison: Comparison, replay: Path) -> dict[str, Any]:
    """Run the mismatching vectors again, layer by layer, and keep what shows the difference.

    Parameters
    ----------
    comparison : Comparison
        Of the outputs, with at least one mismatch.
    replay : Path
        Written: the vectors' numbers and inputs, and every layer's expected and got results, as an ``.npz`` file.

    Returns
    -------
    dict
        The first difference, as the report has it, and ``text``, the same in a line.
    """
    from cosim.golden import Golden

    assert comparison.first is not None
    wrong = np.array(comparison.wrong[:_REPLAYED])
    inputs = flow.inputs[wrong]
    golden = Golden()
    golden.prepare(flow.network, replay.parent)
    expected = golden.run(inputs, every_layer=True)
    try:
        got = flow.engine(kind).run(inputs, every_layer=True)
        found = compare(flow.network, expected, got).first
    except EngineError:
        got, found = {}, None
    if found:
        first, how = replace(found, vector=int(wrong[found.vector])), "every layer compared"
    else:
        first, how = comparison.first, "only the outputs compared: the engine shows no difference when it is run again"
    arrays = {f"expected.{name}": expected[name] for name in got} | {f"got.{name}": got[name] for name in got}
    np.savez_compressed(replay, vectors=wrong, inputs=inputs, **arrays)
    return {
        "vector": first.vector,
        "layer": first.layer,
        "channel": first.channel,
        "index": list(first.index),
        "expected": first.expected,
        "got": first.got,
        "how": how,
        "replay": replay.name,
        "text": str(first),
    }
