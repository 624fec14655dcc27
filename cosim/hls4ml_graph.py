"""hls4ml's own ``ModelGraph`` of a Network, whose C-simulation is exact."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xnorflow.bnn.inputs import integers
from xnorflow.bnn.network import Network
from xnorflow.cosim.csim import CSim
from xnorflow.cosim.engine import outputs
from xnorflow.hls import project


def graph(network: Network, folder: Path, style: str, **settings: Any) -> Any:
    """Return the ``ModelGraph`` of a network in canonical form, for users of hls4ml.

    ``write()`` writes the project into `folder`; ``compile()`` compiles it, too; ``predict(x)`` takes integers, or
    floating-point numbers that are exact, as :func:`xnorflow.bnn.inputs.integers` says, and gives the integer scores,
    int64, shape (vectors, *scores shape); ``build()`` is hls4ml's and runs the vendor's tool. hls4ml's own bridge would
    round words of 64 bits to floating-point numbers: the program that the flow checks takes its place.

    Raises
    ------
    UserError
        From ``predict()``: the input cannot take a value.
    Unsupported
        If the style cannot express the network.
    EngineUnavailable, EngineError
        From ``compile()``: no g++ is there, or it fails.
    """
    from hls4ml.model.graph import ModelGraph

    engine = CSim(style, **settings)

    class ExactModelGraph(ModelGraph):
        """A ModelGraph that computes in integers."""

        def write(self) -> None:
            nothing = np.zeros((0, 1), np.int64)
            project.write(network, folder, engine.config, nothing, nothing)

        def compile(self) -> None:
            engine.prepare(network, folder)

        def predict(self, x: ArrayLike, *_: Any) -> NDArray[np.int64]:
            given = integers(x, network.input)
            if not engine.compile_seconds:
                self.compile()
            return engine.run(given)[outputs(network)[0]].astype(np.int64)

    made = project.model_graph(network, folder, engine.config)
    made.__class__ = ExactModelGraph
    return made
