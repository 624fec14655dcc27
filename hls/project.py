"""Complete hls4ml projects on disk: firmware, test bench with vectors, build scripts.

A project holds what hls4ml writes (``firmware/``, ``build_prj.tcl``, ``project.tcl``, ...) and, in place of hls4ml's
floating-point test bench and bridge, ones that work on integers:

- ``<top>_test.cpp``: the vendor tools' test bench. Compares every integer with ``tb_data`` and fails on any difference.
- ``<top>_csim.cpp``: the same top function in bulk, for :mod:`xnorflow.cosim.csim`; also gives every layer's results.

Open it with ``vitis-run --mode hls --tcl build_prj.tcl`` or ``vivado_hls -f build_prj.tcl``.
"""

import contextlib
import io
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xnorflow.bnn.errors import UserError
from xnorflow.bnn.names import fresh
from xnorflow.bnn.network import Argmax, Flatten, Input, Network
from xnorflow.bnn.planes import ternary
from xnorflow.hls.config import HlsConfig
from xnorflow.hls.errors import Unsupported, check_images
from xnorflow.hls.storage import Storage

if TYPE_CHECKING:
    from xnorflow.hls.estimate import HlsEstimate
    from xnorflow.hls.schedule import Schedule

_INPUT = "inputs"
_FOREIGN = """\
#ifndef __SYNTHESIS__ // comes with hls4ml as it is: what compilers warn of in it is no fault of this project
#pragma GCC system_header
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized" // of what is inlined from it, too
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
"""
_OURS = """
#ifndef __SYNTHESIS__
#pragma GCC diagnostic pop
#endif
"""
_TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True)
class Port:
    """A value of the top function that can be observed.

    Attributes
    ----------
    name : str
        Operation of the Network.
    variable, definition : str
        Its C++ variable, and how that is defined.
    storage : Storage
    """

    name: str
    variable: str
    definition: str
    storage: Storage

    @property
    def size(self) -> int:
        """Number of values."""
        return self.storage.pixels * self.storage.channels

    @property
    def pixels(self) -> int:
        """Number of pixels, 1 for a vector."""
        return self.storage.pixels

    @property
    def codec(self) -> str:
        """C++ type that converts it to and from plain integers."""
        return self.storage.codec


@dataclass(frozen=True)
class Project:
    """A project on disk.

    Attributes
    ----------
    folder : Path
    top : str
        Name of the top function and of its files.
    config : HlsConfig
    input : Port
    layers : tuple of Port
        Observable layers in the order of the trace; the last is the output.
    schedule : Schedule or None
        Of the packed style: foldings, and when everything happens.
    estimate : HlsEstimate or None
        Of the packed style: what it is expected to take.
    """

    folder: Path
    top: str
    config: HlsConfig
    input: Port
    layers: tuple[Port, ...]
    schedule: "Schedule | None" = None
    estimate: "HlsEstimate | None" = None

    @property
    def output(self) -> Port:
        """The top function's result."""
        return self.layers[-1]


def top_name(network: Network) -> str:
    """Name of a network's top function: never one that C++ keeps for itself."""
    return f"{network.name}_top"


def hardware(network: Network) -> Network:
    """Return the part of a network that becomes hardware: without a final argmax, which the host computes.

    Raises
    ------
    Unsupported
        If nothing is left, or an argmax stands before the end.
    """
    operations = network.operations
    while isinstance(operations[-1], Argmax | Flatten):
        operations = operations[:-1]
    if isinstance(operations[-1], Input):
        raise Unsupported(f"network {network.name}: nothing to compute in hardware")
    for operation in operations:
        if isinstance(operation, Argmax):
            raise Unsupported(f"layer {operation.name}: an argmax is supported at the end only")
    return Network(network.name, operations)


def write(
    network: Network,
    folder: Path,
    config: HlsConfig,
    inputs: NDArray[np.integer[Any]],
    expected: NDArray[np.integer[Any]],
) -> Project:
    """Write the project of a network; files whose content is unchanged are left alone, outdated ones removed.

    Parameters
    ----------
    network : Network
        In canonical form for the stock style.
    folder : Path
        Made if missing.
    config : HlsConfig
    inputs : integer array, shape (vectors, *input shape)
        For the test bench.
    expected : integer array, shape (vectors, *output shape)
        Results of the last operation before the argmax.

    Raises
    ------
    UserError
        If the configuration does not fit the network.
    Unsupported
        If the style cannot express it.
    """
    if len(inputs) != len(expected):
        raise UserError(f"test bench: {len(inputs)} input vectors and {len(expected)} expected results")
    core, config = _expressed(network, config)
    top = top_name(core)
    names = _layer_names(core)
    with tempfile.TemporaryDirectory(prefix="xnorflow-") as scratch:
        graph, stored, schedule = _graph(core, config, names, top, scratch)
        seen = {name: storage for name, storage in stored.items() if name in network.signals}
        ports = {name: _port(graph, name, names[name], storage) for name, storage in seen.items()}
        expected_of = _estimate(graph, config, schedule) if schedule else None
        port = ports.pop(core.input.name)
        project = Project(Path(folder), top, config, port, tuple(ports.values()), schedule, expected_of)
        _trace(graph, project, names)
        _write_files(graph, project, Path(scratch), inputs, expected)
        _replace(Path(scratch), Path(folder))
    return project


def _estimate(graph: Any, config: HlsConfig, schedule: "Schedule") -> "HlsEstimate":
    from xnorflow.hls.estimate import estimate

    configs = {process.layer: f"config{graph.graph[process.layer].index}" for process in schedule.processes}
    return estimate(schedule, config, configs)


def model_graph(network: Network, folder: Path, config: HlsConfig) -> Any:
    """Return hls4ml's ``ModelGraph`` of what :func:`write` writes; `folder` is its output. Raises what that raises."""
    core, config = _expressed(network, config)
    graph, _, _ = _graph(core, config, _layer_names(core), top_name(core), str(folder))
    return graph


def _expressed(network: Network, config: HlsConfig) -> tuple[Network, HlsConfig]:
    """Return what of a network becomes hardware, in terms of the configuration's style."""
    config, core = config.resolve(network), hardware(network)
    check_images(network, padded=config.style == "packed")
    if config.style == "stock":
        from xnorflow.hls import stock

        return stock.expressible(core, config)
    core, parts = ternary(core)
    layers = {part: config.layers[layer] for part, layer in parts.items() if layer in config.layers}
    return core, replace(config, layers={**config.layers, **layers})


def _layer_names(network: Network) -> dict[str, str]:
    """Names in hls4ml's graph: the input is a port of the top function and always has the same name."""
    names = {network.input.name: _INPUT}
    for operation in network.operations[1:]:
        names[operation.name] = fresh(operation.name, ("input",), names.values())
    return names


def _graph(
    network: Network, config: HlsConfig, names: Mapping[str, str], top: str, folder: str
) -> tuple[Any, dict[str, Storage], "Schedule | None"]:
    """Build hls4ml's graph and take it through its passes up to the generated code."""
    from hls4ml.backends import get_backend
    from hls4ml.model.graph import ModelGraph

    from xnorflow.hls import fifos, packed, stock

    backend = get_backend(config.backend)
    schedule = None
    if config.style == "packed":
        packed.register(config.backend)
        layers, stored, schedule = packed.layers(network, config, names)
        hls_config = packed.hls_config(network, config, schedule)
    else:
        layers, stored = stock.layers(network, config, names)
        hls_config = stock.hls_config(stored[network.input.name], config, names)
    settings = backend.create_initial_config(
        part=config.part,
        clock_period=config.clock_ns,
        io_type=config.io_type,
        write_weights_txt=config.style == "stock",
    )
    settings |= {
        "Backend": config.backend.capitalize(),
        "ProjectName": top,
        "OutputDir": folder,
        "Stamp": "csim",
        "HLSConfig": {"Flows": [], **hls_config},  # flows are applied below, when the types are set
    }
    with contextlib.redirect_stdout(io.StringIO()):  # hls4ml's passes print notes that are no concern of the user
        graph = ModelGraph.from_layer_list(settings, layers)
        if config.style == "stock":
            stock.set_types(graph, network, names, stored)
        graph.apply_flow(backend.get_default_flow())
    if config.style == "stock":
        stock.check(graph, network, config, names, stored)
    else:
        packed.finish(graph)
    if config.io_type == "io_stream":
        fifos.set_depths(graph, schedule or fifos.stock_dataflow(graph, network))
    return graph, stored, schedule


def _port(graph: Any, operation: str, node: str, storage: Storage) -> Port:
    variable = graph.graph[node].get_output_variable()
    return Port(operation, variable.name, variable.definition_cpp(), storage)


def _trace(graph: Any, project: Project, names: Mapping[str, str]) -> None:
    """Let the C-simulation see each layer's result right after its call."""
    for port in project.layers:
        node = graph.graph[names[port.name]]
        node.set_attr(
            "function_cpp",
            [
                node.get_attr("function_cpp"),
                "#ifndef __SYNTHESIS__",
                f"plain::trace<{port.codec} >({port.variable}, {port.pixels});",
                "#endif",
            ],
        )
        node.set_attr("include_header", [*node.get_attr("include_header"), "nnet_utils/plain_integers.h"])


def _write_files(
    graph: Any, project: Project, folder: Path, inputs: NDArray[np.integer[Any]], expected: NDArray[np.integer[Any]]
) -> None:
    import jinja2

    from xnorflow.hls import packed

    writer = graph.config.backend.writer
    writer.write_project_dir(graph)
    writer.write_project_cpp(graph)
    writer.write_project_header(graph)
    writer.write_weights(graph)
    writer.write_defines(graph)
    writer.write_parameters(graph)
    writer.write_build_script(graph)
    writer.write_nnet_utils(graph)
    writer.write_generated_code(graph)
    if project.config.backend == "vitis":
        writer.write_nnet_utils_overrides(graph)
        writer.write_board_script_override(graph)
        writer.write_build_prj_override(graph)
        writer.write_build_opts(graph)
    (folder / "build_lib.sh").unlink()  # builds hls4ml's floating-point bridge
    for header in (folder / "firmware").glob("*/**/*.h"):
        if header.parts[-2] != "weights":
            header.write_text(f"{_FOREIGN}{header.read_text()}{_OURS}")
    parameters = folder / "firmware" / "parameters.h"  # hls4ml compares an unsigned number with -1 there
    parameters.write_text(parameters.read_text().replace("(n_filt == -1)", "(n_filt == unsigned(-1))"))
    # Not through the back end's register_source, which would add the headers to every later project of the process.
    ours = Path(__file__).with_name("nnet_utils")
    shutil.copyfile(ours / "plain_integers.h", folder / "firmware" / "nnet_utils" / "plain_integers.h")
    if project.config.style == "packed":
        packed.write_headers(graph, ours, folder, project.config.backend)

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES), undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    values = {"top": project.top, "input": project.input, "output": project.output, "layers": project.layers}
    for name in ("dut.h", "test.cpp", "csim.cpp"):
        (folder / f"{project.top}_{name}").write_text(environment.get_template(f"{name}.j2").render(values))
    vectors = folder / "tb_data"
    vectors.mkdir()
    _write_vectors(vectors / "tb_input_features.dat", inputs, project.input.size)
    _write_vectors(vectors / "tb_output_predictions.dat", expected, project.output.size)


def _write_vectors(path: Path, values: NDArray[np.integer[Any]], size: int) -> None:
    if not np.issubdtype(values.dtype, np.integer) or values[:1].size not in (0, size):
        raise UserError(f"{path.name}: expected integers, {size} per vector, got {values.dtype}{list(values.shape)}")
    np.savetxt(path, values.reshape(len(values), size), fmt="%d")


def _replace(fresh: Path, folder: Path) -> None:
    """Make `folder` like `fresh`, touching only what differs; what tools wrote beside the project stays."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {path.relative_to(fresh) for path in fresh.rglob("*") if path.is_file()}
    owned = [*folder.glob("*.tcl"), *folder.glob("*.cpp"), *folder.glob("*.h")]
    owned += [
        path
        for part in ("firmware", "lanes", "tb_data")
        for path in (folder / part).rglob("*")
        if path.suffix != ".log"
    ]
    for path in owned:
        if path.is_file() and path.relative_to(folder) not in wanted:
            path.unlink()
    for name in wanted:
        source, target = fresh / name, folder / name
        if target.is_file() and target.read_bytes() == source.read_bytes():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
