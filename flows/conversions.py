"""Networks of files that were converted before, kept in the user's cache: what is only looked at needs no framework.

A framework takes seconds to import and to trace a model. What its file comes to is kept under a key made of the file,
of what the user says of it, of the packages' versions and of the code that converts, as a flow's results are.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

from xnorflow.flows import closure
from xnorflow.flows.cache import Entry, Store, digest, tool_versions
from xnorflow.flows.facts import NotesFacts
from xnorflow.flows.formats import FORMATS, Subject
from xnorflow.flows.results import NETWORK
from xnorflow.hls.folders import file_digest
from xnorflow.models.data import cache_folder

if TYPE_CHECKING:
    from xnorflow.bnn.frontends.core.fixed import Fixed
    from xnorflow.bnn.network import Network
    from xnorflow.flows.settings import InputTable

_FOLDER = "networks"
_CODE = ("xnorflow.flows.formats", "xnorflow.bnn.canonical")

Told = tuple["Network", tuple[str, ...]]
"""A canonical Network, and the notes of its conversion."""


def converted_once(
    subject: Subject, settings: "InputTable | None", fixed: "Fixed | None", convert: Callable[[], Told]
) -> Told:
    """Return what `convert` gives, or gave before.

    Parameters
    ----------
    subject : Subject
        One that code makes, not a file, is converted anew.
    settings, fixed
        As :func:`xnorflow.flows.formats.read_subject` takes them.
    convert : callable
        Reads the subject; what it raises passes through, and nothing is kept.
    """
    if subject.factory is not None or not subject.path.is_file():
        return convert()
    store, key = Store(cache_folder() / _FOLDER), _key(subject, settings, fixed)
    with suppress(OSError):
        if found := store.find(subject.kind, key, NotesFacts):
            return _read(found)
    network, notes = convert()
    with suppress(OSError):  # no place to keep it
        _keep(store, subject.kind, key, network, notes)
    return network, notes


def _key(subject: Subject, settings: "InputTable | None", fixed: "Fixed | None") -> str:
    packages = FORMATS[subject.kind].packages if subject.kind in FORMATS else ("torch",)
    given = {
        "subject": [subject.name, subject.kind, subject.zoo, file_digest(subject.path)],
        "settings": settings and dict(settings),
        "fixed": fixed and asdict(fixed),
        "versions": tool_versions(("numpy", *packages)),
        "code": closure.digest(_CODE),
    }
    return digest(given)


def _read(entry: Entry[NotesFacts]) -> Told:
    from xnorflow.bnn import io

    return io.load(entry.folder / NETWORK), tuple(entry.facts["notes"])


def _keep(store: Store, kind: str, key: str, network: "Network", notes: tuple[str, ...]) -> None:
    from xnorflow.bnn import io

    with store.alone(kind, key, lambda first: None), store.making(kind, key, NotesFacts) as entry:
        io.save(network, entry.folder / NETWORK)
        entry.facts = {"notes": list(notes)}
