"""What is only looked at is converted once."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from xnorflow.bnn.io import save
from xnorflow.flows import api

LOOK = """
import sys
from xnorflow.bnn.io import save
from xnorflow.flows import api
net = api.looked_at(sys.argv[1], None, None, None)
print(net.network.digest, net.estimate(), net.summary())
print("torch" in sys.modules)
"""


def looked_at(model: str, home: Path) -> tuple[str, str]:
    """Return what a process of its own sees, and whether it has imported PyTorch."""
    run = subprocess.run(
        [sys.executable, "-c", LOOK, model], text=True, capture_output=True, check=True,
        env=os.environ | {"XDG_CACHE_HOME": str(home)},
    )  # fmt: skip
    seen, _, imported = run.stdout.strip().rpartition("\n")
    return seen, imported


def test_a_model_that_was_seen_before_needs_no_framework(tmp_path: Path) -> None:
    first, imported = looked_at("digits_bnn", tmp_path)
    assert imported == "True"
    assert looked_at("digits_bnn", tmp_path) == (first, "False")


def test_another_file_and_a_changed_entry_are_converted_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xnorflow.flows.conversions.cache_folder", lambda: tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    converted = []
    real = api.convert

    def convert(*given: Any, **options: Any) -> Any:
        converted.append(given)
        return real(*given, **options)

    monkeypatch.setattr(api, "convert", convert)

    def look() -> int:
        api.looked_at("mine.safetensors", None, None, None)
        return len(converted)

    save(real("digits_bnn").network, "mine.safetensors")
    assert (look(), look()) == (1, 1)
    (kept,) = (tmp_path / "cache").rglob("network.safetensors")
    kept.write_bytes(kept.read_bytes()[:-1])
    assert (look(), look()) == (2, 2)
    save(real("mnist_bnn").network, "mine.safetensors")  # nothing but the file's content tells it from the other
    assert (look(), look()) == (3, 3)


def test_without_a_place_to_keep_it_a_model_is_converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr("xnorflow.flows.conversions.cache_folder", lambda: tmp_path / "file")
    assert api.looked_at("digits_bnn", None, None, None).network.digest == api.convert("digits_bnn").network.digest
