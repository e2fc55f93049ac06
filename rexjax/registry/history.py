"""The history of a registry, ``history.jsonl``: an event a line, and the only place that says which version is what.

Each line also names the champion and the challenger after its event. The file is replaced whole, so that a version is
published, promoted or pruned at one moment, and no two files can disagree about it.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from rexjax.artifacts.owned import MARK
from rexjax.errors import UserError
from rexjax.registry import disk

FILE = "history.jsonl"
FORMAT = 1
CREATE, ADD, PROMOTE, ROLL_BACK, PRUNE = "create", "add", "promote", "rollback", "prune"
"""What happens to a registry."""


@dataclass(frozen=True)
class Event:
    """A line of the history."""

    action: str
    """create, add, promote, rollback or prune."""
    versions: tuple[str, ...] = ()
    """Ids of the versions that it is about."""
    champion: str = ""
    """Id of the champion after it; "": there is none."""
    challenger: str = ""
    """Id of the challenger after it; "": there is none."""
    who: str = ""
    """User and host."""
    why: str = ""
    """The note of a version, or the reason of a promotion."""
    forced: bool = False
    """Whether a promotion went past the gate."""
    comparison: dict[str, Any] | None = None
    """What the gate found, of a promotion."""
    config: dict[str, Any] | None = None
    """What all versions have in common (``identity``), of the first line."""
    token: int = 0
    """Of the writer's lease."""
    time: float = field(default_factory=time.time)
    """Seconds since 1970."""


class State(NamedTuple):
    """What a history amounts to."""

    events: tuple[Event, ...]
    alive: tuple[str, ...]
    """Ids of versions that were added and not pruned, in that order."""
    champions: tuple[str, ...]
    """Ids of the champion, last, and of those that a rollback can return to."""

    @property
    def champion(self) -> str:
        """Its id; "" where there is none."""
        return self.events[-1].champion

    @property
    def challenger(self) -> str:
        """Its id; "" where there is none."""
        return self.events[-1].challenger

    @property
    def pruned(self) -> frozenset[str]:
        """Ids of versions that are gone."""
        return frozenset(name for event in self.events if event.action == PRUNE for name in event.versions)


def read(folder: Path) -> State | None:
    """The history of the registry in ``folder``; None where there is no registry.

    Raises:
        UserError: it is damaged, or was made by another version of rexjax.
    """
    path = folder / FILE
    text = disk.read_text(path)
    if text is None:
        return None
    try:
        first, *others = [json.loads(line) for line in text.splitlines()]
        if first.get("registry_format", FORMAT) != FORMAT:
            raise UserError(f"{path} was made by another version of rexjax: use that version, or create a new registry")
        known = {*MARK, "registry_format"}
        lines = [{key: value for key, value in line.items() if key not in known} for line in (first, *others)]
        return fold([Event(**line | {"versions": tuple(line["versions"])}) for line in lines])
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path} is damaged ({error}): restore it from a copy") from error


def write(folder: Path, events: Sequence[Event]) -> State:
    """Replaces the history."""
    head = MARK | {"registry_format": FORMAT}
    lines = [json.dumps((head if number == 0 else {}) | asdict(event)) for number, event in enumerate(events)]
    disk.replace_text(folder / FILE, "\n".join(lines) + "\n")
    return fold(events)


def fold(events: Sequence[Event]) -> State:
    """What the events amount to.

    >>> added = [Event("create"), Event("add", ("a",)), Event("add", ("b",))]
    >>> fold([*added, Event("promote", ("a",), "a"), Event("promote", ("b",), "b")]).champions
    ('a', 'b')
    """
    alive: list[str] = []
    champions: list[str] = []
    for event in events:
        if event.action == ADD:
            alive += event.versions
        elif event.action == PRUNE:
            alive = [name for name in alive if name not in event.versions]
        elif event.action == PROMOTE:
            champions.append(event.champion)
        elif event.action == ROLL_BACK:
            while champions.pop() and champions[-1] != event.champion:
                continue
    return State(tuple(events), tuple(alive), tuple(champions))
