"""A folder in which flows of stand-ins run."""

import io
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from tests.flows import fakes

from xnorflow.bnn.io import save
from xnorflow.flows import run, subject
from xnorflow.reports.render import validate


class Place:
    """A folder with a network, in which flows run; `parts` are what they run with in place of all stand-ins."""

    def __init__(self, folder: Path, **parts: Any) -> None:
        self.folder, self.parts = folder, parts
        self.model = folder / "small.safetensors"
        save(fakes.network(), self.model)
        self.printed = ""

    def flow(self, faults: Any = None, model: Any = None, **options: Any) -> Any:
        """Run a flow; return its report, and keep what it printed."""
        console = Console(file=io.StringIO(), record=True, width=200)
        options = {"vectors": 300} | options
        self.outcome = run.run(
            subject.find(str(model or self.model)),
            console,
            build=self.folder / "build",
            reports=self.folder / "reports",
            **fakes.parts(faults, self.folder / "built.log") | self.parts | options,
        )
        self.printed = console.export_text()
        return self.report(self.outcome.report)

    def report(self, folder: Path | None = None) -> Any:
        report = json.loads(((folder or self.folder / "reports" / "small") / "report.json").read_text())
        validate(report)
        return report

    def built(self) -> Any:
        log = self.folder / "built.log"
        return log.read_text().split() if log.exists() else []

    def reused(self) -> Any:
        lines = self.printed.splitlines()
        return [line.split("  ")[0].lstrip("✓✗ ") for line in lines if "reused" in line]
