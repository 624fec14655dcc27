"""What the vendor's tools say when they fail for reasons that have a remedy."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Cause:
    """Why a tool has failed.

    Attributes
    ----------
    pattern : str
        What its log says then: an extended regular expression, for ``grep -E`` as well as for Python.
    told : str
        The cause and the remedy. Part of a shell script, so that it has no quotes, dollars, backslashes or back quotes.
    """

    pattern: str
    told: str


CAUSES = (
    Cause(
        "core_revision",
        "the date as a revision number has outgrown 32 bits: since 2022-01-01 no Vivado HLS or Vitis HLS up to 2021.2"
        " exports without the patch of AMD answer record 76960 (y2k22_patch); install it, or export with a version"
        " from 2022.1 on. Synthesis and implementation do not need the export",
    ),
    Cause(
        "valid license was not found|[Ll]icense checkout failed|Failed to get (a )?license",
        "the part or the feature is not licensed here: set XILINXD_LICENSE_FILE, or choose a part of the free edition"
        " such as xc7z020clg400-1 by part in table [hls] of the configuration file",
    ),
    Cause(
        "HLS 200-1023|Coretcl 2-106|No parts matched|is not installed or not licensed",
        "the part is not installed or not licensed here: add its family with the installer of the tools, or choose an"
        " installed part by part in table [hls] of the configuration file",
    ),
    Cause(
        "[Oo]ut of memory|bad_alloc|Cannot allocate memory|unable to allocate memory",
        "the tool had too little memory: fold the layers further by target_fps or max_luts, or take a larger machine",
    ),
    Cause(
        "No space left on device",
        "the disk is full",
    ),
)
"""In the order in which they are looked for. The texts are those of reports of such failures in public trackers."""


def cause(log: str) -> str | None:
    """Return the cause and the remedy of a failure whose text is in a log; None if it is not known."""
    return next((known.told for known in CAUSES if re.search(known.pattern, log)), None)
