"""The command line. Nothing heavy is imported before it is needed."""

import contextlib
import errno
import os
import platform
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn, cast

import typer
from rich.markup import escape

from xnorflow.bnn.errors import UserError
from xnorflow.flows.check import check_command
from xnorflow.flows.coverage import coverage_command
from xnorflow.flows.options import LUTS, TARGET_FPS
from xnorflow.flows.terminal import console

if TYPE_CHECKING:
    from distributed import Client
    from rich.table import Table

    from xnorflow.flows.api import Net
    from xnorflow.flows.settings import SweepPoints
    from xnorflow.hls.vendor.figures import VendorFigure, VendorFigures
    from xnorflow.reports.records import RtlRow

app = typer.Typer(
    name="flows",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="From a trained binary network to bit-exact hardware: every engine runs the same vectors, and must give the "
    "same integers.\n\nStart with: python -m xnorflow run digits_bnn",
)


_MOST_VECTORS = 10_000_000  # a thousand times all test images of MNIST; the slowest engine would take months


def _vectors(text: str) -> int | None:
    """Return a number of vectors, or None for all test images."""
    if text == "all":
        return None
    if not text.isdecimal() or not text.strip("0"):
        raise UserError(f"vectors: expected a number of at least 1, or 'all', got {text[:80]!r}")
    if len(text.lstrip("0")) > len(str(_MOST_VECTORS)) or int(text) > _MOST_VECTORS:
        raise UserError(
            f"vectors: expected at most {_MOST_VECTORS:,}, which all engines have to run and files have to hold, got "
            f"{text[:80]}"
        )
    return int(text)


def _check_names(arguments: Sequence[str]) -> None:
    """Raise a UserError for a name that is no text, which no report could name."""
    for name in (*arguments, str(Path.cwd())):
        try:
            name.encode()
        except UnicodeEncodeError:
            shown = os.fsencode(name).decode(errors="backslashreplace")
            raise UserError(f"{shown}: expected a name in UTF-8; rename the file or folder") from None


def _version(wanted: bool) -> None:
    if wanted:
        from xnorflow.flows.version import version

        typer.echo(f"xnorflow {version()}")
        raise typer.Exit


_FIXED = Annotated[
    int | None,
    typer.Option(
        help="Round weights that are neither binary nor of few integers to so many bits: the network then deviates "
        "from the trained model, and the report says by how much. Without it such a model is refused.",
        show_default=False,
    ),
]


_SCHEDULER = Annotated[
    str | None,
    typer.Option(
        help="Address of a Dask scheduler, as in tcp://10.0.0.1:8786, on whose workers the steps are run.",
        show_default=False,
    ),
]


@contextlib.contextmanager
def _client(scheduler: str | None) -> "Iterator[Client | None]":
    """Give the client of a scheduler, if there is one."""
    if scheduler is None:
        yield None
        return
    from xnorflow.flows.extras import needing

    with needing("--scheduler", UserError):
        from xnorflow.flows.cluster import connected
    with connected(scheduler) as client:
        yield client


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None: ...


@app.command("run")
def run_command(
    model: Annotated[
        str,
        typer.Argument(
            help="A model of the zoo (see: python -m xnorflow list), a .safetensors file (a checkpoint, or a Network), "
            "a .h5 or .keras file of Keras, QKeras or Larq, a .onnx file in QONNX, or package.module:factory, your own "
            "code that makes a PyTorch module.",
            show_default=False,
        ),
    ],
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            help="Parameters of the module that the factory makes: .safetensors, or what torch.save wrote of its "
            "state_dict(). Nothing in it is run.",
            show_default=False,
        ),
    ] = None,
    vectors: Annotated[
        str,
        typer.Option(
            help="Number of vectors, or 'all' for all test images. The test images come first; where there are fewer "
            "than the number, random vectors follow."
        ),
    ] = "1000",
    data: Annotated[
        Path | None,
        typer.Option(
            help="Labelled data of your own: an .npz file with arrays x and y, or a folder of images by class. Of a "
            "model of the zoo also a folder that has MNIST's four idx files, CIFAR-10's images, or a drone's frames; "
            "there, without it, $XNORFLOW_DATA or what a training downloaded; without all of them, scikit-learn's "
            "digits in MNIST's size, or pieces of its photographs.",
            show_default=False,
        ),
    ] = None,
    backend: Annotated[Literal["vitis", "vivado"], typer.Option(help="hls4ml's back end.")] = "vitis",
    config: Annotated[
        Path | None,
        typer.Option(
            help=escape(
                "TOML file. Settings of the hls4ml projects: [hls] with io_type, part, clock_ns, strategy, "
                "reuse_factor, and [hls.layers.NAME] with strategy and reuse_factor. Settings of the RTL: [rtl] with "
                "clock_ns, in_width, out_width, output = 'scores' or 'class', target_fps or max_luts, and "
                "[rtl.layers.NAME] or [rtl.default] with "
                "architecture = 'folded', pe, simd, or architecture = 'unrolled', effort; both with levels_per_stage. "
                "What the RTL is synthesised for: [synthesis] with targets, a list. "
                "What the vendor's tools are run with, where they are: [vendor] with run, a list, and limit_s. "
                "Which integers a model takes that does not tell: [input] with kind, bits, fraction, and shape for a "
                "PyTorch module. Weights that are rounded: [fixed] with bits, classes_may_differ, and [fixed.layers]."
            ),
            show_default=False,
        ),
    ] = None,
    fixed: _FIXED = None,
    target_fps: Annotated[
        float | None,
        typer.Option(
            help="Fold the RTL's layers to take this many vectors per second at its clock.  "
            + escape(f"[default: {TARGET_FPS:,.0f}, or what {LUTS:,} LUTs allow]"),
            show_default=False,
        ),
    ] = None,
    max_luts: Annotated[
        int | None,
        typer.Option(
            help="Fold the RTL's layers to be as fast as fits into so many LUTs, estimated.", show_default=False
        ),
    ] = None,
    waves: Annotated[
        bool,
        typer.Option(
            "--waves",
            help="Keep a waveform (FST) of the RTL's simulation beside the report. One of vectors that go wrong is "
            "always kept.",
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the report and copies of the projects.  " + escape("[default: reports/MODEL]"),
            show_default=False,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Redo everything, also what could be reused.")] = False,
    scheduler: _SCHEDULER = None,
) -> None:
    """Run the flow: fold, golden model, hls4ml projects and RTL, their simulations, exact comparison, report.

    The exit status is 0 when every engine gave the golden model's integers, 1 when one did not or a requirement is not
    met, 2 when something that you gave cannot be used, 130 or 143 when a signal ended it, 141 when nobody reads on, 70
    after an error that nobody has foreseen. What is already there is reused; a second run takes a second or two.
    """
    from xnorflow.flows import api, options, subject
    from xnorflow.flows.run import run

    shown = console()
    count = _vectors(vectors)
    found, given = subject.find(model, checkpoint), options.read(config, backend, target_fps, max_luts, waves, fixed)
    with _client(scheduler) as client:
        outcome = run(
            found, shown, vectors=count, data=data, options=given, out=out, force=force, executor=api.executor(client)
        )
    if outcome.rtl and (target_fps or max_luts):
        shown.print(escape(_folding(outcome.rtl)))
    for name, project in outcome.projects.items():
        shown.print(f"  {name}: {escape(_short(project))}")
    for waveform in sorted(outcome.report.glob("waveform_*.fst")):
        shown.print(f"  waveform: {escape(_short(waveform))}")
    shown.print(f"  report: {escape(_short(outcome.report / 'report.html'))}")
    for finding in outcome.findings:
        style = "red" if finding.status == "fail" else "yellow"
        shown.print(f"[{style}]{finding.status}[/] {escape(finding.what)}: {escape(finding.reason)}")
    shown.print(f"verdict: [bold {'green' if outcome.verdict == 'pass' else 'red'}]{outcome.verdict}[/]")
    raise typer.Exit(outcome.verdict != "pass")


app.command("check")(check_command)
app.command("coverage")(coverage_command)

_MODEL = Annotated[str, typer.Argument(help="As `run` takes it.", show_default=False)]
_CHECKPOINT = Annotated[Path | None, typer.Option(help="As `run` takes it.", show_default=False)]
_CONFIG = Annotated[Path | None, typer.Option(help="As `run` takes it.", show_default=False)]


@app.command("summary")
def summary_command(
    model: _MODEL, checkpoint: _CHECKPOINT = None, config: _CONFIG = None, fixed: _FIXED = None
) -> None:  # fmt: skip
    """Show a model's layers: shapes, weights, operations, accumulators, memory; in a second; writes nothing here.

    What the conversion has left out is told below the table. Try: xnorflow summary digits_bnn
    """
    console().print(escape(str(_looked_at(model, checkpoint, config, fixed).summary())))


@app.command("estimate")
def estimate_command(
    model: _MODEL,
    checkpoint: _CHECKPOINT = None,
    config: _CONFIG = None,
    fixed: _FIXED = None,
    target_fps: Annotated[
        float | None,
        typer.Option(help="Vectors per second to reach, at the least area.", show_default=False),
    ] = None,
    max_luts: Annotated[
        int | None,
        typer.Option(help="Estimated LUTs to stay within, at the highest rate.", show_default=False),
    ] = None,
    clock_ns: Annotated[float | None, typer.Option(help="Period of the clock.", show_default=False)] = None,
) -> None:
    """Choose the RTL's foldings and show cycles (exact) and LUTs (estimated), without simulation or synthesis.

    Try: xnorflow estimate mnist_bnn --target-fps 1e6 --clock-ns 5
    """
    net = _looked_at(model, checkpoint, config, fixed)
    estimate = net.estimate(target_fps=target_fps, max_luts=max_luts, clock_ns=clock_ns, config=config)
    console().print(escape(str(estimate)))


def _looked_at(model: str, checkpoint: Path | None, config: Path | None, fixed: int | None) -> "Net":
    """Return a model, converted with what a configuration file says of its input and of rounding."""
    from xnorflow.flows import api, options

    given = options.read(config, fixed=fixed)
    return api.looked_at(model, checkpoint, given.input, given.fixed)


@app.command("sweep")
def sweep_command(
    file: Annotated[
        Path,
        typer.Argument(
            help=escape(
                "TOML file. Table [sweep]: models, a list; a grid of target_fps, max_luts, architecture ('folded', "
                "'unrolled') and clock_ns, lists; points, a list of tables; run = 'pareto', 'all' or 'none'. The other "
                "tables are those of `run --config`."
            ),
            show_default=False,
        ),
    ],
    vectors: Annotated[str, typer.Option(help="As `run` takes it.")] = "1000",
    scheduler: _SCHEDULER = None,
) -> None:
    """Estimate many foldings, and run the flow on those that no other beats in rate and area, or on all.

    Writes sweep.csv and sweep.html to reports/FILE. The exit status is 1 when a flow failed.
    """
    from xnorflow.flows import api, options
    from xnorflow.flows.places import REPORTS
    from xnorflow.flows.settings import parse_sweep

    count, tables = _vectors(vectors), options.tables(file)
    try:
        asked = parse_sweep({"sweep": tables.get(options.SWEEP, {})})
    except UserError as error:
        raise UserError(f"{file}: {error}") from None
    if "models" not in asked:
        raise UserError(f"{file}: table [sweep] names no models; add models = ['mnist_bnn']")
    taken = options.read(file).input
    nets = [api.convert(model, taken) for model in asked["models"]]
    points = cast("SweepPoints", {name: of for name, of in asked.items() if name != "models"})
    with _client(scheduler) as client:
        found = api.sweep(nets, **points, config=file, vectors=count, name=file.stem, client=client)
    console().print(f"  sweep: {escape(_short(REPORTS / found.folder.name / 'sweep.html'))}")
    raise typer.Exit(any(row["verdict"] == "fail" for row in found.to_dicts()))


@app.command("list")
def list_command() -> None:
    """Show the models of the zoo, and the accuracy recorded when each was trained."""
    from rich.table import Table

    from xnorflow.flows import subject
    from xnorflow.models.zoo import ZOO

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("model", no_wrap=True)
    table.add_column("recorded accuracy", justify="right", no_wrap=True)
    table.add_column("what it is")
    for name, definition in ZOO.items():
        try:
            test = subject.find(name).recorded.get("test")
            accuracy = f"{test['accuracy']:.2%} of {test['count']:,}" if test else "not recorded"
        except UserError:
            accuracy = "not trained yet"
        table.add_row(name, accuracy, definition.description)
    console(soft_wrap=False).print(table)


@app.command("regress")
def regress_command(
    models: Annotated[
        list[str] | None,
        typer.Argument(help="Models of the zoo, or files; without one, all that have a baseline.", show_default=False),
    ] = None,
    update: Annotated[bool, typer.Option("--update", help="Rewrite the baselines from what is there now.")] = False,
    synthesis: Annotated[
        bool, typer.Option("--synthesis/--no-synthesis", help="Compare synthesised resources, too.")
    ] = True,
) -> None:
    """Compare models with their committed baselines in reports/baselines; --update gives a file of your own one, too.

    Integers and cycles must be equal, and so must synthesised resources, or within 2 % where the tool is another one.
    Synthesis takes minutes the first time, unless a flow has done it. The exit status is 1 when anything differs.
    """
    from xnorflow.flows.regress import regress

    raise typer.Exit(not regress(console(soft_wrap=False), models or (), update=update, synthesise=synthesis))


@app.command("train")
def train_command(
    model: Annotated[str, typer.Argument(help="A model of the zoo.", show_default=False)],
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of the data set. Without it, $XNORFLOW_DATA, or a download.", show_default=False),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="In place of the recipe's.", show_default=False)] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of all random numbers.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Checkpoint to write, a new file.  " + escape("[default: in runs/MODEL-seedSEED]"), show_default=False
        ),
    ] = None,
    replace_checkpoint: Annotated[
        bool, typer.Option("--replace-checkpoint", help="Replace the checkpoint of the zoo itself.")
    ] = False,
    resume: Annotated[
        bool, typer.Option(help="Go on where an interrupted run of the same recipe and seed stopped.")
    ] = True,
) -> None:
    """Train a model of the zoo by its recipe and write a checkpoint; logs for TensorBoard go to runs/."""
    from xnorflow.models import zoo
    from xnorflow.models.data import training_images
    from xnorflow.models.train import destination, train

    shown = console()
    definition = zoo.get(model)
    path = destination(definition, seed, out, replace_checkpoint=replace_checkpoint)
    trained = train(
        definition, training_images(definition, data), path, epochs=epochs, seed=seed, resume=resume, console=shown
    )
    test = trained.metadata["test"]
    shown.print(f"{test['correct']} of {test['count']} test images correct ({test['accuracy']:.2%})")
    shown.print(f"checkpoint: {escape(_short(path))}")


@app.command("cache")
def cache_command(
    keep: Annotated[
        float | None,
        typer.Option(
            min=0, help="Remove what was not used for longest, until so many GB are left.", show_default=False
        ),
    ] = None,
) -> None:
    """Show what flows have kept in build/ for the next ones: how much, of which step, and when it was last used.

    Flows keep it within 20 GB, or what the environment variable XNORFLOW_CACHE_GB says; --keep removes more. What you
    have worked in stays.
    """
    import time

    from rich.table import Table

    from xnorflow.flows import tidy
    from xnorflow.flows.places import BUILD

    shown = console(soft_wrap=False)
    if keep is not None:
        before = sum(entry.bytes for entry in tidy.held(BUILD))
        left = tidy.prune(BUILD.absolute(), keep * tidy.GB, time.time())
        shown.print(f"removed: {(before - left) / tidy.GB:.2f} GB")
    steps: dict[tuple[str, str], list[tidy.Held]] = {}
    for entry in sorted(tidy.held(BUILD), key=lambda one: (one.model, one.step)):
        steps.setdefault((entry.model, entry.step), []).append(entry)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("model", "step", "entries", "MB", "last used"):
        table.add_column(column, justify="left" if column in ("model", "step") else "right", no_wrap=True)
    for (model, step), entries in steps.items():
        used = datetime.fromtimestamp(max(entry.used for entry in entries))
        size = sum(entry.bytes for entry in entries) / 1e6
        table.add_row(escape(model), escape(step), f"{len(entries):,}", f"{size:,.1f}", f"{used:%Y-%m-%d %H:%M}")
    shown.print(table)
    total = sum(entry.bytes for entries in steps.values() for entry in entries) / tidy.GB
    shown.print(f"{total:.2f} GB of at most {tidy.limit() / tidy.GB:g}")


@app.command("clean")
def clean_command() -> None:
    """Remove what flows have made in build/ and reports/: what has their mark, and nothing else."""
    from xnorflow.flows.places import clean

    clean(console())


@app.command("report")
def report_command() -> None:
    """Write reports/index.html over all flows that have run."""
    from xnorflow.flows.places import REPORTS
    from xnorflow.reports.index import index

    page, left_out = index(REPORTS)
    shown = console()
    if left_out:
        shown.print(f"left out, damaged or of another version: {escape(', '.join(left_out))}")
    shown.print(f"index: {escape(_short(page))}")


@app.command("import-reports")
def import_reports_command(
    folder: Annotated[Path, typer.Argument(help="Folder with a project and its tools' reports.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print every figure, with the names of report.json.")] = False,
) -> None:
    """Read the reports that Vitis HLS, Vivado HLS or Vivado have left in a folder, here or on another machine.

    Shows what each file tells, the tool that wrote it, and what its figures rest on; then the reports that cannot be
    read. The exit status is 2 when there is such a report, 1 when one tells of a simulation that failed.
    """
    import json

    from xnorflow.hls.vendor.results import failure, import_reports, neutral

    found, problems = import_reports(folder)
    figures = neutral(found)
    failed = [f"{report.source}: {what}" for report in found if (what := failure(report))]
    if as_json:
        typer.echo(json.dumps({**figures, "problems": problems}, indent=1))
    else:
        console(soft_wrap=False).print(_vendor_figures(figures))
    for problem in (*failed, *problems):
        console(stderr=True).print(f"[red]problem:[/] {escape(problem)}")
    raise typer.Exit(1 if failed else 2 if problems else 0)


UNFORESEEN = 70
"""Exit status after an error that nobody has foreseen: EX_SOFTWARE of sysexits.h."""

_BY_SIGNAL = tuple(128 + number for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM))
_OF_THE_MACHINE = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EROFS: "choose a folder that can be written to",
    errno.EACCES: "choose a folder that can be written to, or change its permissions",
    errno.EPERM: "choose a folder that can be written to, or change its permissions",
    errno.ENOTDIR: "move the file out of the way",
    errno.EEXIST: "move the file out of the way",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "remove the link",
    errno.EMFILE: "raise the limit on open files",
    errno.ENOMEM: "free some memory",
}
"""Errors of the operating system that say nothing of the design, and what to do."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line; whatever goes wrong is told in a few lines, under an exit status that says what kind.

    Where nobody reads on, as behind ``| head``, it ends without a word, as programs do that SIGPIPE ends.
    """
    try:
        _run(arguments)
    except SystemExit as ended:
        if not isinstance(ended.__context__, BrokenPipeError):  # which Rich and Click turn into status 1
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for what Python still holds and writes when it ends
        sys.exit(128 + signal.SIGPIPE)


def _run(arguments: Sequence[str] | None) -> NoReturn:
    from xnorflow.cosim.engine import EngineError, EngineUnavailable
    from xnorflow.hls.processes import Stopped, stoppable

    status = 0
    try:
        with stoppable():
            _check_names(sys.argv[1:] if arguments is None else arguments)
            app(arguments)
    except UserError as error:
        status, told = 2, str(error)
    except (EngineError, EngineUnavailable) as error:
        status, told = 1, str(error)
    except (Stopped, KeyboardInterrupt) as stopped:
        number = stopped.number if isinstance(stopped, Stopped) else signal.SIGINT
        status, told = (
            128 + number,
            f"stopped by {number.name}; what was finished is kept: the same command goes on from there",
        )
    except MemoryError:
        status, told = 2, f"not enough memory; free some, or give fewer vectors{_traceback()}"
    except RecursionError:
        status, told = 2, f"something that you gave is nested too deeply{_traceback()}"
    except Exception as error:
        if told := _of_the_machine(error):
            status = 2
        else:
            what = " ".join(f"{type(error).__name__}: {error}".split())
            status, told = UNFORESEEN, f"xnorflow itself has failed, not your design: {what}{_traceback()}"
    if status:
        console(stderr=True).print(f"[red]error:[/] {escape(told)}")
    if status in _BY_SIGNAL and _abandoned():  # the interpreter's end would trip over them
        sys.stdout.flush()
        os._exit(status)
    sys.exit(status)


def _abandoned() -> bool:
    """Say whether a step that was stopped is still at work, without importing what runs steps."""
    execute = sys.modules.get("xnorflow.flows.execute")
    return execute is not None and execute.abandoned()


def _of_the_machine(error: Exception) -> str:
    """Say what the user can do about an error of the operating system that says nothing of the design, or nothing."""
    if isinstance(error, shutil.Error) and error.args and isinstance(error.args[0], list):  # copying a folder
        (_, where, why), *_ = error.args[0]
        number = next((number for number in _OF_THE_MACHINE if os.strerror(number) in str(why)), None)
    elif isinstance(error, OSError):
        number, where = error.errno, error.filename
    else:
        return ""
    if number not in _OF_THE_MACHINE:
        return ""
    return f"{where or 'here'}: {os.strerror(number)}; {_OF_THE_MACHINE[number]}; what was finished is kept"


def _traceback() -> str:
    """Write the traceback of the error at hand to a file, for a report of the fault; say which."""
    from xnorflow.flows.places import BUILD, TRACEBACK

    said = f"{sys.argv}\n{platform.platform()}, Python {platform.python_version()}\n\n{traceback.format_exc()}"
    name = TRACEBACK.format(f"{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}")
    for folder in (BUILD, Path(tempfile.gettempdir())):
        with contextlib.suppress(OSError):
            folder.mkdir(exist_ok=True)
            (folder / name).write_text(said, "utf-8", "backslashreplace")
            return f"; traceback: {folder / name}"
    return f"\n{said}"


def _folding(rtl: "RtlRow") -> str:
    """Return what the foldings were chosen by, and the table of them."""
    from xnorflow.flows import tables

    rate = 1e9 / (rtl["clock_ns"] * rtl["interval"])
    columns = ("layer", "architecture", "size", "vectors", "cycles", "est. LUTs", "memory")
    rows = [
        (of["name"], of["architecture"], f"{of['neurons']} x {of['inputs']}", of["vectors"], of["cycles"], of["luts"],
         of["memory_bits"])
        for of in rtl["layers"]
    ]  # fmt: skip
    return (
        f"folding by {rtl['goal']}: {rtl['interval']:,} cycles per vector, {rate:,.0f} vectors/s at "
        f"{1e3 / rtl['clock_ns']:g} MHz, latency {rtl['latency']:,} cycles, estimated {rtl['luts']:,} LUTs\n"
        f"{tables.text(columns, rows)}"
    )


_ABOUT = ("source", "tool", "target", "stage", "module", "top", "provenance")
_NOT_MET = "[red]timing not met[/]"


def _vendor_figures(figures: "VendorFigures") -> "Table":
    """Return a table of what the vendor's reports tell, each figure by its name in report.json."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("report", "by", "of", "figures"):
        table.add_column(column, overflow="fold")
    for kind in cast("Iterable[list[VendorFigure]]", figures.values()):
        for row in kind:
            told = [f"{name} {value}" for name, value in row.items() if name not in _ABOUT and value is not None]
            by = ", ".join(filter(None, (row["tool"], row["stage"])))
            figures_told = escape(", ".join(told)).replace("met False", _NOT_MET)
            table.add_row(*(escape(text) for text in (row["source"], by, row["module"] or "")), figures_told)
    return table


def _short(path: Path) -> str:
    """Return the path as it reads from here."""
    path = path.resolve()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
