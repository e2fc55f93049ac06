"""``rexjax models``: the registry's versions, its champion, and what becomes of them."""

import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rich.markup import escape
from rich.table import Table
from tyro.conf import Positional, arg

from rexjax.cli import terminal
from rexjax.cli.places import File, Workdir
from rexjax.errors import UserError

if TYPE_CHECKING:
    from rexjax.registry import Comparison, Margins, Registry, Version

RegistryFolder = Annotated[Path, Positional, arg(metavar="REGISTRY")]
"""Where versions are kept."""
VersionId = Annotated[str, Positional, arg(metavar="VERSION")]
"""An id, its beginning, or an alias."""
_NUMBERS = "quality", "flops", "bytes"


@dataclass(frozen=True)
class Models:
    """Keeps versions of a recommender, with a champion and a challenger.

    `rexjax models ACTION --help` explains each. A version is an id, its beginning, champion or challenger.
    """

    action: Annotated[str, Positional, arg(metavar="ACTION")] = ""
    """add a finished workdir · list all versions · show one · compare two by the gate · promote one · rollback to the
    champion before · prune old ones · mirror to MLflow"""


@dataclass(frozen=True)
class Add:
    """Adds a finished workdir as a version, which becomes the challenger. Makes the registry if there is none."""

    registry: RegistryFolder
    """The registry's folder."""
    workdir: Workdir
    """Where `rexjax run` left its artifacts."""
    parent: str = ""
    """The version that it was trained from. '': none."""
    note: str = ""
    """A sentence about it, for its model card."""
    sign: File = None
    """A PEM file with the private Ed25519 key that signs its export."""


@dataclass(frozen=True)
class List:
    """Lists all versions, the oldest first."""

    registry: RegistryFolder
    """The registry's folder."""
    json: bool = False
    """Prints JSON."""


@dataclass(frozen=True)
class Show:
    """Prints the model card of a version."""

    registry: RegistryFolder
    """The registry's folder."""
    version: VersionId = "champion"
    """The version."""
    json: bool = False
    """Prints figures, lineage and files as JSON."""


@dataclass(frozen=True)
class Gate:
    """How much worse a challenger may be."""

    quality: float = 0.01
    """Share of the champion's mean that the interval's lower bound may lie below it."""
    segment: float = 0.05
    """Share that no segment may be shown to lose."""
    cost: float = 0.25
    """Share by which FLOPs and bytes may grow."""
    calibration: float = 0.02
    """How much the calibration error may grow."""
    coverage: float = 0.1
    """Share of the coverage that may be lost."""


@dataclass(frozen=True)
class _Compare:
    registry: RegistryFolder
    """The registry's folder."""
    version: VersionId = "challenger"
    """The version that may become champion."""


@dataclass(frozen=True)
class Compare(Gate, _Compare):
    """Holds a version against the champion by the gate. Exits with 1 where the gate refuses it."""

    against: str = "champion"
    """The version that it is held against."""
    json: bool = False
    """Prints all figures as JSON."""


@dataclass(frozen=True)
class Promote(Gate, _Compare):
    """Makes a version the champion if the gate lets it pass. Exits with 1 where the gate refuses it."""

    force: str = ""
    """The reason for a promotion past the gate. The history keeps it."""


@dataclass(frozen=True)
class Rollback:
    """Makes a former champion the champion again."""

    registry: RegistryFolder
    """The registry's folder."""
    to: str = ""
    """Its id. '': the champion before this one."""
    why: str = ""
    """The reason. The history keeps it."""


@dataclass(frozen=True)
class Prune:
    """Removes old versions, but not the champion, the challenger, what their deltas need, or what a server reads."""

    registry: RegistryFolder
    """The registry's folder."""
    keep: int = 5
    """The newest versions that stay besides."""


@dataclass(frozen=True)
class Mirror:
    """Copies versions, figures and aliases into MLflow."""

    registry: RegistryFolder
    """The registry's folder."""
    uri: str = "http://127.0.0.1:5000"
    """The tracking server, or sqlite:///FILE."""
    name: str = ""
    """Name of the experiment and of the registered model. '': the name of the registry's folder."""


def choose(request: Models) -> None:
    """``rexjax models`` without a known action."""
    said = f"there is no action {request.action!r}" if request.action else "an action is missing"
    raise UserError(f"{said}: name one of {', '.join(ACTIONS)}; see rexjax models --help")


def add(request: Add) -> None:
    """``rexjax models add``."""
    from rexjax.registry import Registry, content

    registry = Registry.create(request.registry, content.of(request.workdir).config)
    version = registry.add(request.workdir, request.parent or None, request.note, sign=request.sign)
    terminal.say_whole(f"{version.id}: added; compare it with `rexjax models compare {request.registry}`")


def list_all(request: List) -> None:
    """``rexjax models list``."""
    registry = _open(request.registry)
    state, found = registry.state, registry.versions()
    if request.json:
        aliases = {"champion": state.champion or None, "challenger": state.challenger or None}
        return _print_json(aliases | {"versions": [_row(version) for version in found]})
    table = Table(title=escape(f"{len(found)} versions in {request.registry}"))
    for name in ("version", "alias", "quality", "flops", "bytes", "note"):
        table.add_column(name, justify="right" if name in _NUMBERS else "left", no_wrap=name in ("version", "alias"))
    for version in found:
        alias = " ".join(name for name in ("champion", "challenger") if getattr(state, name) == version.id)
        metric, cost = version.metrics["metric"], version.metrics["cost"]
        table.add_row(
            version.id,
            alias,
            f"{version.metrics['quality'][metric]:.4f}",
            _count(cost, "flops_per_request"),
            _count(cost, "bytes_resident"),
            escape(version.note),
        )
    terminal.out.print(table)


def show(request: Show) -> None:
    """``rexjax models show``."""
    from rexjax.registry.versions import CARD

    version = _open(request.registry).version(request.version)
    if request.json:
        return _print_json(_row(version) | {"lineage": version.lineage, "files": version.files})
    terminal.say_whole((version.path / CARD).read_text(encoding="utf-8").rstrip())


def compare(request: Compare) -> None:
    """``rexjax models compare``."""
    found = _open(request.registry).compare(request.version, request.against, _margins(request))
    if request.json:
        _print_json(found.as_dict())
    else:
        print_decision(found)
    _end(found.decision.promote)


def promote(request: Promote) -> None:
    """``rexjax models promote``."""
    registry = _open(request.registry)
    version, champion = registry.version(request.version), registry.champion
    found = None
    if champion and champion.id != version.id and not request.force:
        found = registry.compare(version.id, champion.id, _margins(request))
        if not found.decision.promote:
            print_decision(found)
            _end(False)
    registry.promote(version.id, found, force=request.force)
    terminal.say_whole(f"{version.id} is the champion of {request.registry}")


def rollback(request: Rollback) -> None:
    """``rexjax models rollback``."""
    version = _open(request.registry).rollback(request.to or None, request.why)
    terminal.say_whole(f"{version.id} is the champion of {request.registry} again")


def prune(request: Prune) -> None:
    """``rexjax models prune``."""
    registry = _open(request.registry)
    gone = registry.prune(request.keep)
    left = len(registry.state.alive)
    terminal.say_whole(f"{request.registry}: {len(gone)} versions removed, {left} kept")


def mirror(request: Mirror) -> None:
    """``rexjax models mirror``."""
    from rexjax.registry import mirror_to_mlflow

    new = mirror_to_mlflow(_open(request.registry), request.uri, request.name)
    terminal.say_whole(f"{request.uri}: {new} versions added, aliases up to date")


ACTIONS: dict[str, tuple[type, Callable[..., None]]] = {
    "add": (Add, add),
    "list": (List, list_all),
    "show": (Show, show),
    "compare": (Compare, compare),
    "promote": (Promote, promote),
    "rollback": (Rollback, rollback),
    "prune": (Prune, prune),
    "mirror": (Mirror, mirror),
}
"""What ``rexjax models`` does, by the word after it: the flags and the function."""


def _open(path: Path) -> "Registry":
    from rexjax.registry import Registry

    return Registry.open(path)


def _margins(request: Gate) -> "Margins":
    from rexjax.registry import Margins

    return Margins(**{field.name: getattr(request, field.name) for field in fields(Gate)})


def _row(version: "Version") -> dict[str, Any]:
    names = "id", "parent", "created", "note", "metrics"
    return {name: getattr(version, name) for name in names} | {"path": str(version.path)}


def _count(cost: dict[str, Any], name: str) -> str:
    return f"{cost[name]:,.0f}" if name in cost else ""


def print_decision(found: "Comparison") -> None:
    """What the gate says, and why."""
    word = "passes" if found.decision.promote else "is refused by"
    terminal.say_whole(f"{found.challenger} {word} the gate against the champion {found.champion}:")
    for reason in found.decision.reasons:
        terminal.say_whole(f"  {reason}")


def _print_json(value: Any) -> None:
    terminal.say_whole(json.dumps(value, indent=1))


def _end(yes: bool) -> None:
    from rexjax.runtime import processes

    if not yes:
        processes.leave(1)
