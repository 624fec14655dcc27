"""Folders of BNN-PYNQ: the Network gives what the accelerator would, counted bit by bit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import oracle
from tests.bnn.frontends.pynq_folder import Layer, write

from xnorflow.bnn.canonical import canonicalise
from xnorflow.bnn.errors import UserError
from xnorflow.bnn.frontends import bnn_pynq
from xnorflow.bnn.network import Input
from xnorflow.flows import subject
from xnorflow.flows.formats import model_digest, read_subject


@st.composite
def accelerators(draw: st.DrawFn) -> Any:
    """The number of inputs and classes, and layers of random folding; padding by 1 as FINN's own, or by anything."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    inputs, classes = draw(st.integers(1, 130)), draw(st.integers(2, 40))
    width, layers = -(-inputs // 64) * 64, []
    most = draw(st.integers(1, 2))
    for number in range(depth := draw(st.integers(1, 3))):
        elements = draw(st.sampled_from([1, 2, 8]))
        rows = elements * draw(st.integers(1, 6)) if number < depth - 1 else 64
        simd = draw(st.sampled_from([n for n in (1, 2, 8, 64) if width % n == 0]))
        weight = rng.integers(0, 2, (rows, width))
        if not number and draw(st.booleans()):
            weight[:, inputs:] = 1
        levels = most if number < depth - 1 else 1
        low, high = (width // 3, width - width // 3) if most == 1 or depth == 1 else (-width // 4, width // 4)
        threshold = np.sort(rng.integers(low, high + 1, (rows, levels)), axis=1)
        threshold[rng.random(rows) < 0.1] = rng.choice([2**15 - 1, -(2**15), -1, width])
        weight[0, -1] = weight[0, simd - 1] = 1  # a word of which every bit is used
        layers.append(Layer(weight, threshold, elements, simd))
        width = rows
    return inputs, classes, layers


def accelerator(image: Any, classes: Any, layers: Any) -> Any:
    """Compute the class of one image of bits as the hardware and its driver do."""
    counts = all(layer.threshold.shape[1] == 1 for layer in layers)
    for number, layer in enumerate(layers):
        filled = np.zeros(layer.weight.shape[1], int)
        filled[: len(image)] = image
        signed = 2 * filled - 1 if number == 0 else filled  # a bit of the input is -1 or +1
        sums = (layer.weight == filled).sum(axis=1) if counts else (2 * layer.weight - 1) @ signed
        image = (sums[:, None] > layer.threshold).sum(axis=1) - (layer.threshold.shape[1] == 2)
    image = image.tolist()
    word = sum(bit << place for place, bit in enumerate(image[:classes]))
    return max(word.bit_length() - 1, 0)


@given(accelerators())
@settings(max_examples=40)
def test_the_network_gives_the_accelerators_class(tmp_path_factory: pytest.TempPathFactory, drawn: Any) -> None:
    inputs, classes, layers = drawn
    write(folder := tmp_path_factory.mktemp("params"), classes, layers)
    images = np.random.default_rng(0).integers(0, 2, (20, inputs))
    network = canonicalise(bnn_pynq.load(folder, "n", Input("x", (), (inputs,))))
    got = oracle.run(network, 2 * images - 1)["argmax"].ravel()
    assert got.tolist() == [accelerator(image, classes, layers) for image in images]


@pytest.fixture
def folder(tmp_path: Path) -> Any:
    rng = np.random.default_rng(1)
    layers = [Layer(rng.integers(0, 2, (8, 64)), rng.integers(20, 40, 8), 2, 64),
              Layer(rng.integers(0, 2, (64, 8)), rng.integers(2, 6, 64), 4, 2)]  # fmt: skip
    (made := tmp_path / "lfcW1A1").mkdir()
    write(made, 3, layers)
    return made


def test_a_folder_is_found_and_read(folder: Path) -> None:
    found = subject.find(str(folder))
    assert (found.kind, found.name) == ("bnn_pynq", "lfcw1a1")
    before = model_digest(found, None)
    converted = read_subject(found, {"shape": [8, 7, 1], "kind": "bipolar"})
    assert converted.network.input.shape == (8, 7, 1) and converted.digest == before
    words = np.fromfile(folder / "1-3-weights.bin", "<u8")
    (words ^ np.uint64(1)).tofile(folder / "1-3-weights.bin")
    assert model_digest(found, None) != before
    with pytest.raises(UserError, match=r"does not say which integers.*\n.*\nshape ="):
        read_subject(found)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda of: (of / "1-3-thres.bin").unlink(), r"1-3-thres.bin: cannot be read: No such file"),
        (lambda of: (of / "1-3-thres.bin").write_bytes(b"\0" * 8), "files of one length for all processing elements"),
        (lambda of: (of / "0-1-weights.bin").write_bytes(b"1234"), "expected words of 64 bits, got 4 bytes"),
        (lambda of: [(of / f"1-{n}-weights.bin").write_bytes(b"\0" * 8 * 7) for n in range(4)],
         r"layer 1: expected 16 thresholds .* 8 inputs, got 7 words; only fully connected networks with weights"),
        (lambda of: (of / "1-0-weights.bin").write_bytes(b"\x07" + b"\0" * 511), "weights of 2 bits a word, got more"),
        (lambda of: (of / "classes.txt").unlink(), "expected classes.txt, one class a line"),
        (lambda of: (of / "classes.txt").write_text("one\n\n"), "expected 2 to 64 classes, one a line, got 1"),
    ],
)  # fmt: skip
def test_what_is_no_such_network_is_refused(damage: Any, message: Any, folder: Path) -> None:
    damage(folder)
    with pytest.raises(UserError, match=message):
        bnn_pynq.load(folder, "n", Input("x", (), (64,)))


def test_the_input_is_of_one_bit(folder: Path) -> None:
    with pytest.raises(UserError, match="expected a bipolar input"):
        bnn_pynq.load(folder, "n", Input("x", (), (64,), "unsigned", 8))
