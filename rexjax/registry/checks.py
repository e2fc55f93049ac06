"""What a registry refuses, and why, in one sentence each."""

import getpass
import socket
from collections.abc import Iterable, Mapping
from operator import attrgetter
from pathlib import Path

from rexjax.artifacts import lock
from rexjax.artifacts.files import file_hash
from rexjax.artifacts.hashing import digest
from rexjax.errors import UserError
from rexjax.registry.comparing import Comparison
from rexjax.registry.content import Content
from rexjax.registry.history import State
from rexjax.registry.versions import Version, spell_time

ALIASES = "champion", "challenger"
_STEP = 1e-3  # seconds, in which ids count


def who() -> str:
    """User and host of this process."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container without a name for its user
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def refuse_foreign(folder: Path) -> None:
    """Raises ``UserError`` where a folder that is to become a registry holds something else."""
    inside = folder.iterdir() if folder.is_dir() else ()
    if names := sorted(path.name for path in inside if not path.name.startswith((lock.NAME, "history.jsonl"))):
        raise UserError(f"{folder} holds {names[0]}, and is no registry: choose another folder, or empty it")


def find(state: State, name: str) -> str:
    """The id of a living version.

    Args:
        state: the history.
        name: an alias, an id, or the beginning of one.

    Raises:
        UserError: there is none, it was pruned, or several ids begin so.
    """
    if name in ALIASES:
        if found := getattr(state, name):
            return found
        raise UserError(f"the registry has no {name}: `rexjax models add` and `rexjax models promote` make one")
    fitting = [known for known in state.alive if known == name] or [
        known for known in state.alive if name and known.startswith(name)
    ]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise UserError(f"{len(fitting)} versions begin with {name}: write more of the id, such as {fitting[0]}")
    if name and any(known.startswith(name) for known in state.pruned):
        raise UserError(f"version {name} was pruned: add it again from its workdir, or name one that is kept")
    newest = f"the newest is {max(state.alive)}" if state.alive else "it has none yet"
    raise UserError(f"the registry has no version {name!r}: {newest}; `rexjax models list` shows all")


def key_of(found: Content, parent: str | None, extra: Mapping[str, Path]) -> str:
    """By it equal content is known."""
    return digest([found.hash, parent, {name: file_hash(path) for name, path in extra.items()}])


def moment(known: Iterable[Version], jitter: float, now: float) -> float:
    """When a new version is made: ``now``, and after all known ones.

    Args:
        known: the versions.
        jitter: seconds by which ``now`` may lie before the newest.
        now: seconds since 1970.

    Raises:
        UserError: it lies before them by more.
    """
    newest = max(known, key=attrgetter("created"), default=None)
    if newest is None or now >= newest.created + _STEP:
        return now
    if now < newest.created - jitter:
        raise UserError(
            f"clocks disagree: this machine says {spell_time(now)}, and version {newest.id} is from "
            f"{spell_time(newest.created)}: set the clock that is wrong"
        )
    return newest.created + _STEP


def may_promote(state: State, name: str, comparison: Comparison | None, force: str) -> None:
    """Raises ``UserError`` unless ``name`` may become champion."""
    if force or not state.champion:
        return
    if comparison is None:
        raise UserError(
            f"version {name} was not compared with the champion {state.champion}: compare them first, or force the "
            "promotion with a reason"
        )
    if (comparison.challenger, comparison.champion) != (name, state.champion):
        raise UserError(
            f"the comparison is of {comparison.challenger} with {comparison.champion}, and not of {name} with the "
            f"champion {state.champion}: compare them again"
        )
    if not comparison.decision.promote:
        raise UserError(
            f"the gate refuses version {name}: {comparison.decision.words} Train another challenger, or force the "
            "promotion with a reason"
        )


def former_champion(state: State, to: str | None) -> str:
    """The champion that a rollback returns to.

    Raises:
        UserError: there is none, or it was pruned.
    """
    former = state.champions[:-1]
    if not former:
        raise UserError("there is no former champion to roll back to: promote another version")
    target = find(state, former[-1] if to is None else to)
    if target not in former:
        raise UserError(
            f"version {target} was not the champion before {state.champion}: former champions are "
            f"{', '.join(dict.fromkeys(former))}; promote it instead"
        )
    return target


def delta_parents(known: Iterable[Version], kept: set[str]) -> set[str]:
    """Ids of the versions whose exports the ``kept`` ones need, and those need."""
    parents = {version.id: version.delta_of for version in known}
    needed: set[str] = set()
    for name in kept:
        parent = parents.get(name)
        while parent and parent not in needed:
            needed.add(parent)
            parent = parents.get(parent)
    return needed
