"""A network whose project is small."""

import numpy as np

from xnorflow.bnn.network import Argmax, Dense, Input, Network, Threshold


def network(name: str = "tiny", inputs: int = 70) -> Network:
    rng = np.random.default_rng(0)
    return Network(
        name,
        (
            Input("x", (), (inputs,)),
            Dense("fc1", ("x",), rng.choice(np.array([-1, 1], np.int8), (8, inputs))),
            Threshold("sign1", ("fc1",), rng.integers(-3, 4, 8), np.ones(8, np.int8)),
            Dense("fc2", ("sign1",), rng.choice(np.array([-1, 1], np.int8), (3, 8))),
            Argmax("argmax", ("fc2",)),
        ),
    )
