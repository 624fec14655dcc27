"""What stands behind the targets of the Makefile: variables become the options of a command.

``python -m xnorflow.flows.make TARGET`` takes the variables from the environment, where make puts them as they are, so
that no shell ever reads them. ``XNORFLOW_GIVEN`` has the names of those that stood on make's command line; one that the
target does not take is refused.
"""

import difflib
import os
import subprocess
import sys
from collections.abc import Mapping

from xnorflow.bnn.errors import UserError

GIVEN = "XNORFLOW_GIVEN"

TARGETS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "flow": (
        "run",
        (
            "MODEL",
            "CHECKPOINT",
            "VECTORS",
            "BACKEND",
            "CONFIG",
            "FIXED",
            "TARGET_FPS",
            "MAX_LUTS",
            "DATA",
            "OUT",
            "WAVES",
            "FORCE",
        ),
    ),
    "train": ("train", ("MODEL", "DATA", "EPOCHS", "SEED", "OUT", "REPLACE_CHECKPOINT")),
    "regress": ("regress", ("MODEL", "UPDATE")),
    "report": ("report", ()),
    "clean": ("clean", ()),
}
"""Of each target, the command and the variables that it takes: ``MAX_LUTS`` is option ``--max-luts``."""

_MODEL_NEEDED = ("flow", "train")
_SWITCHES = ("WAVES", "FORCE", "UPDATE", "REPLACE_CHECKPOINT")


def arguments(target: str, environ: Mapping[str, str]) -> list[str]:
    """Return the command's arguments for a target.

    Raises
    ------
    UserError
        If the target does not take a variable that was given, needs one that was not, or a switch is not 0 or 1.
    """
    command, taken = TARGETS[target]
    for name in environ.get(GIVEN, "").split():
        if name not in taken:
            near = difflib.get_close_matches(name.upper(), taken, 1)
            meant = f" Do you mean {near[0]}?" if near else ""
            raise UserError(f"make {target} takes no variable {name}.{meant} It takes: {', '.join(taken) or 'none'}")
    given = {name: environ[name] for name in taken if environ.get(name)}
    if target in _MODEL_NEEDED and "MODEL" not in given:
        raise UserError(f"say which model, for example: make {target} MODEL=digits_bnn")
    options = []
    for name, value in given.items():
        option = "--" + name.lower().replace("_", "-")
        if name in _SWITCHES:
            if value not in ("0", "1"):
                raise UserError(f"{name} is 1 or 0, got {value!r}")
            options += [option] if value == "1" else []
        elif name != "MODEL":
            options.append(f"{option}={value}")
    return [command, *options, *(["--", given["MODEL"]] if "MODEL" in given else [])]


def _install(target: str, model: str | None) -> None:
    """Install the extras that the target and its model need and lack, and start this process anew with them."""
    from xnorflow.flows import extras
    from xnorflow.flows.cache import PROJECT

    lacking = extras.lacking([model] if model else [])
    lacking += ["train"] if target == "train" and extras.missing("train") else []
    if not lacking:
        return
    done = subprocess.run(["bash", str(PROJECT / "flows" / "setup.sh"), *lacking], check=False)
    if done.returncode or any(extras.missing(extra) for extra in lacking):
        sys.exit(done.returncode or 1)
    os.execv(sys.executable, [sys.executable, "-m", "xnorflow.flows.make", *sys.argv[1:]])


def main() -> None:
    """Run the command that a target stands for, with the extras that it needs."""
    from xnorflow.flows import cli

    try:
        wanted = arguments(sys.argv[1], os.environ)
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    _install(sys.argv[1], os.environ.get("MODEL"))
    for name in {GIVEN, *(name for _, taken in TARGETS.values() for name in taken)}:
        os.environ.pop(name, None)  # they are ours; cocotb would take WAVES for its own
    cli.main(wanted)


if __name__ == "__main__":
    main()
