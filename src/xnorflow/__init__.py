"""xnorflow: from a trained binary neural network to hardware that computes exactly the same integers.

The packages lie at the top level of the repository, where people look for them; the links beside this file put them
into this package, so that everything is imported as ``xnorflow.<folder>``. What most users need has a name here::

    import xnorflow as xf

    net = xf.convert("digits_bnn")
    print(net.summary())
    report = xf.run(net, vectors=1000)

Names are imported when they are first used, so that ``import xnorflow`` is quick.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xnorflow.bnn.errors import NetworkError, UserError
    from xnorflow.cosim.engine import EngineError, EngineUnavailable
    from xnorflow.flows.api import Estimate, Input, Net, Report, Summary, Sweep, convert, golden, hls4ml, run, sweep

_PLACES = {
    **dict.fromkeys(("UserError", "NetworkError"), "xnorflow.bnn.errors"),
    **dict.fromkeys(("EngineError", "EngineUnavailable"), "xnorflow.cosim.engine"),
    **dict.fromkeys(
        ("convert", "Input", "run", "golden", "hls4ml", "Net", "Summary", "Estimate", "Report", "sweep", "Sweep"),
        "xnorflow.flows.api",
    ),
}

__all__ = [
    "EngineError",
    "EngineUnavailable",
    "Estimate",
    "Input",
    "Net",
    "NetworkError",
    "Report",
    "Summary",
    "Sweep",
    "UserError",
    "convert",
    "golden",
    "hls4ml",
    "run",
    "sweep",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name == "__version__":
        from xnorflow.flows.version import version

        return version()
    if name not in _PLACES:
        raise AttributeError(f"module 'xnorflow' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
