"""The RTL's foldings that a user's goal leads to."""

from typing import TYPE_CHECKING

from xnorflow.flows.options import LUTS, Options

if TYPE_CHECKING:
    from xnorflow.bnn.network import Network
    from xnorflow.hls.rtl.folding import Choice

READS = ("rtl", "target_fps", "max_luts", "goal_given")
"""The options that :func:`fold_rtl` reads."""


def fold_rtl(network: "Network", options: Options) -> "Choice":
    """Return the RTL's foldings that the options lead to; see :func:`xnorflow.hls.rtl.folding.choose`."""
    from xnorflow.hls.rtl.folding import choose

    strict = options.goal_given
    choice = choose(network, options.rtl, target_fps=options.target_fps, max_luts=options.max_luts, strict=strict)
    return choice if strict or choice.luts <= LUTS else choose(network, options.rtl, max_luts=LUTS, strict=strict)
