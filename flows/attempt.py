"""What is reported where a tool of synthesis is missing, or fails."""

from collections.abc import Callable
from typing import Literal, TypeVar

_T = TypeVar("_T")


def attempt(make: Callable[[], _T], otherwise: Callable[[Literal["skipped", "fail"], str], _T]) -> _T:
    """Return what `make` returns, or, where a tool gives nothing, what `otherwise` makes of status and reason."""
    from xnorflow.cosim.engine import EngineError, EngineUnavailable
    from xnorflow.hls.synthesis.tools import SynthesisError, ToolMissing

    try:
        return make()
    except (ToolMissing, EngineUnavailable) as missing:
        return otherwise("skipped", str(missing))
    except (SynthesisError, EngineError) as error:
        return otherwise("fail", str(error))
