"""What the tests of Keras models share: hostile parameters, and the framework's own prediction against ours."""

import os
from typing import Any

os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

import numpy as np
import pytest
from tests import strategies

from xnorflow.bnn.canonical import canonicalise
from xnorflow.bnn.frontends.core.value import Conversion
from xnorflow.bnn.frontends.keras import run, trace
from xnorflow.bnn.frontends.keras_file import import_keras
from xnorflow.bnn.network import Affine, Argmax, Input
from xnorflow.cosim.golden import Golden
from xnorflow.cosim.observed import integers

pytest.importorskip("tensorflow", reason="needs xnorflow[keras]")
keras = import_keras()

import larq as lq  # noqa: E402, F401 (after Keras 2 has been chosen)
import qkeras  # noqa: E402, F401

VECTOR = Input("x", (), shape=(20,))
IMAGE = Input("x", (), shape=(8, 9, 3))
PIXELS = Input("x", (), shape=(8, 9, 3), kind="unsigned", bits=8)
FIXED = Input("x", (), shape=(8, 9, 3), kind="signed", bits=6, fraction=4)
INTEGERS = Input("x", (), shape=(20,), kind="signed", bits=4)


def hostile(model: Any, seed: int, *, halves: bool = False) -> Any:
    """Give kernels with zeros in them, and batch norms that break naive folding: ties, zero, negative and huge scales.

    With `halves`, the means lie between the accumulators as well as on them.
    """
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        values = []
        for variable in layer.weights:
            kind, shape = variable.name.rpartition("/")[2].partition(":")[0], tuple(variable.shape)
            if kind.endswith("kernel"):
                value = rng.uniform(-1, 1, shape) * (rng.random(shape) > 0.1)
            elif kind == "bias":
                value = rng.choice([0, 1, -2, 0.5, 0.3, -0.7], shape)
            elif kind == "gamma":
                value = rng.choice([1, -1, 0.3, -2, 0, 1e-30, -1e30], shape)
            elif kind == "beta":
                value = rng.choice([0, 0, 1, -0.5], shape)
            elif kind == "moving_mean":
                value = rng.choice([0, 1, -2, 3.5, 1e6] if not halves else [0.5, -1.25, 3.5], shape)
            else:
                assert kind == "moving_variance", kind
                value = rng.choice([1e-8, 1, 4, 50], shape)
            values.append(np.asarray(value, np.float32))
        layer.set_weights(values)
    return model


def tame(model: Any) -> Any:
    """Replace scales at which ``x + (q - x)`` is no longer q; what a float32 loses there is refused."""
    limits = {"gamma": (-2, 2), "beta": (-1, 1), "moving_mean": (-4, 4), "moving_variance": (1, 50)}
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            names = [variable.name.rpartition("/")[2].partition(":")[0] for variable in layer.weights]
            layer.set_weights([np.clip(value, *limits[name]) for name, value in zip(names, layer.get_weights())])
    return model


def agree(model: Any, input: Any, seed: int, count: int = 40, ambiguous: bool = False) -> Conversion:
    """Hold everything that the framework computes as we do equal to the golden model, then the classes."""
    conversion = trace(model, "n", input)
    network = conversion.network
    assert ambiguous or not conversion.ambiguous
    inputs = strategies.inputs_for(network, count, seed)
    if input.kind != "bipolar":
        inputs[2] = 0
    floats = (inputs / 2.0**input.fraction).astype(np.float32)
    engine = Golden(threads=1)
    engine.prepare(network)
    got = engine.run(inputs, every_layer=True)
    assert conversion.observed
    floats = floats.reshape(count, *model.inputs[0].shape[1:])
    places = [*(observed.place for observed in conversion.observed.values()), conversion.scores]
    *results, scores = run(model, places, floats)
    own = model.predict(floats, verbose=0)  # as TensorFlow rearranges what nobody observes
    own = np.moveaxis(own, -1, 1) if own.ndim > 1 else own  # or the class itself
    for (name, observed), result in zip(conversion.observed.items(), results, strict=True):
        seen = integers(name, result, observed, network.signals[name].shape, "Keras")
        if ambiguous and name in conversion.ambiguous and not np.array_equal(got[name], seen):
            at = np.nonzero(got[name] != seen)  # told of all of them, and nothing can be said of what comes after
            sums = got[network[name].inputs[0]][at].astype(np.int64)
            assert conversion.ambiguous[name].holds(at[-1], sums).all(), name
            return conversion
        assert np.array_equal(got[name], seen), name
    before_softmax = conversion.scores.tensor is not model.outputs[0] or conversion.scores.then is not None
    turned = canonicalise(network)
    engine.prepare(turned)
    assert np.array_equal(engine.run(inputs)[turned.output.name], got[network.output.name]) or not isinstance(
        network.output, Argmax
    )
    if isinstance(network.output, Argmax):
        affine = network[network.output.inputs[0]]
        if isinstance(affine, Affine):  # its scale and offset are rounded to half a unit of its last place each
            accumulators = got[affine.inputs[0]].astype(np.float64)
            slack = np.ldexp(0.5 * (np.abs(accumulators) + 1), -affine.fraction) + 1e-5 * np.abs(scores).max()
            assert (np.abs(np.ldexp(got[affine.name].astype(np.float64), -affine.fraction) - scores) <= slack).all()
        if not isinstance(affine, Affine) or affine.ambiguous == 0:
            classes = got["argmax"]
            assert np.array_equal(classes[:, 0], scores.argmax(axis=1))
            if own.ndim == 1:
                assert np.array_equal(own, classes[:, 0])
                return conversion
            # Different scores may be equal behind a softmax.
            assert np.array_equal(np.take_along_axis(own, classes, 1)[:, 0], own.max(axis=1))
            assert before_softmax or np.array_equal(classes[:, 0], own.argmax(axis=1))
    elif not before_softmax:
        assert np.array_equal(own, scores)
    return conversion
