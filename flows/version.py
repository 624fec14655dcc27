"""The version of xnorflow: that of the checkout that is running, or of the installed package."""

from contextlib import suppress
from functools import lru_cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed

from xnorflow.flows.cache import PROJECT


@lru_cache
def version() -> str:
    """Return the version, from git's tags: ``0.1.1.dev12+gabc1234`` is 12 commits after 0.1.0.

    What was recorded when a checkout was installed grows old with the next commit; so a checkout is asked itself.
    """
    if (PROJECT / ".git").exists():
        with suppress(ImportError, LookupError, OSError):
            from setuptools_scm import get_version

            return get_version(PROJECT)
    try:
        return installed("xnorflow")
    except PackageNotFoundError:
        return "unknown"
