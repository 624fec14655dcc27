"""``xnorflow coverage``: what the command tells is what the measurement found."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.cosim.covered import image
from typer.testing import CliRunner

from xnorflow.bnn import io
from xnorflow.bnn.canonical import canonicalise
from xnorflow.bnn.errors import UserError
from xnorflow.cosim.coverage.measure import measure
from xnorflow.flows.cli import app
from xnorflow.flows.vectors import random_inputs


def told(*arguments: Any) -> Any:
    done = CliRunner().invoke(app, ["coverage", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_the_table_has_what_was_measured(tmp_path: Path) -> None:
    network = canonicalise(image(-1))
    io.save(network, tmp_path / "image.safetensors")
    text = told(tmp_path / "image.safetensors", "--vectors", 2, "--layers", 1)
    inputs = random_inputs(network.input, 2)
    by_outputs = measure(network, inputs).coverage()
    found = by_outputs | measure(network, inputs[:1], tuple(network.signals)).coverage()
    assert by_outputs.total.shown < found.total.shown
    for layer, of in found.layers.items():
        row = re.search(rf"^{layer} +(\d+) +(\d+) +(\d+) +(\d+) +([\d.]+) %$", text, re.MULTILINE)
        counts = (of.faults, of.redundant, by_outputs.layers[layer].shown, of.shown)
        assert row and tuple(map(int, row.groups()[:4])) == counts
        assert float(row[5]) / 100 <= of.share < float(row[5]) / 100 + 1e-4
    assert f"of {found.total.detectable:.0f} faults would have shown with 2 random vectors" in text
    layer, channel, missed, faults = found.weakest[0]
    assert f"{layer}, channel {channel}: {missed} of {faults} faults not shown" in text


def test_directed_vectors_are_written_to_a_file(tmp_path: Path) -> None:
    network = canonicalise(image(-1))
    io.save(network, tmp_path / "image.safetensors")
    text = told(tmp_path / "image.safetensors", "--vectors", 2, "--directed", 30, "--out", tmp_path / "all.npy")
    kept = np.load(tmp_path / "all.npy")
    assert measure(network, kept).coverage().total.share == 1
    assert f"100.00 % of 154 faults would have shown with 2 random vectors and {len(kept) - 2} directed" in text
    with pytest.raises(UserError, match=r"out: expected a name that ends in \.npy"):
        told(tmp_path / "image.safetensors", "--out", "all.txt")
