"""``rexjax delta``: what changed between two exports, as a small folder."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from rexjax.cli import places, terminal
from rexjax.cli.places import Folder
from rexjax.errors import UserError

Old = Annotated[Path, Positional, arg(metavar="OLD")]
New = Annotated[Path, Positional, arg(metavar="NEW")]
DeltaFolder = Annotated[Path, Positional, arg(metavar="DELTA")]
"""What ``rexjax delta make`` writes."""


@dataclass(frozen=True)
class Delta:
    """Sends a new export to a server as the difference to the one that it has.

    `rexjax delta ACTION --help` explains each.
    """

    action: Annotated[str, Positional, arg(metavar="ACTION")] = ""
    """make a delta of two exports · apply it to the older one · rollback to the export before"""


@dataclass(frozen=True)
class Make:
    """Writes what turns one export into another: changed and new rows, items, and whole files where all is new."""

    old: Old
    """The export that the server has: a folder of `rexjax export`, or REGISTRY@VERSION."""
    new: New
    """The export that it is to have, likewise."""
    delta: DeltaFolder
    """The folder that is written. It must not exist."""


@dataclass(frozen=True)
class Apply:
    """Turns an export into the next one. A server that reads it checks the new export and swaps it in."""

    folder: Folder
    """The folder of the export."""
    delta: DeltaFolder
    """What `rexjax delta make` wrote."""


@dataclass(frozen=True)
class Rollback:
    """Makes the export before the present one the present one again. A server that reads it swaps it in."""

    folder: Folder
    """The folder of the export."""


def choose(request: Delta) -> None:
    """``rexjax delta`` without a known action."""
    said = f"there is no action {request.action!r}" if request.action else "an action is missing"
    raise UserError(f"{said}: name one of {', '.join(ACTIONS)}; see rexjax delta --help")


def make(request: Make) -> None:
    """``rexjax delta make``."""
    from rexjax.serving import delta_folder

    with places.exported(request.old) as old, places.exported(request.new) as new:
        size = delta_folder.make(old, new, request.delta)["bytes"]
    terminal.say_whole(
        f"{request.delta}: {size['delta']:,} bytes, {size['delta'] / size['whole']:.1%} of the whole export; "
        f"apply it with `rexjax delta apply FOLDER {request.delta}`"
    )


def apply(request: Apply) -> None:
    """``rexjax delta apply``."""
    from rexjax.serving import delta_folder

    about = delta_folder.apply(request.folder, request.delta)
    terminal.say_whole(f"{request.folder} holds the export {about['index'][:12]} with {about['items']:,} items")


def rollback(request: Rollback) -> None:
    """``rexjax delta rollback``."""
    from rexjax.serving import delta_folder

    about = delta_folder.roll_back(request.folder)
    terminal.say_whole(f"{request.folder} holds the export {about['index'][:12]} again")


ACTIONS: dict[str, tuple[type, Callable[..., None]]] = {
    "make": (Make, make),
    "apply": (Apply, apply),
    "rollback": (Rollback, rollback),
}
"""What ``rexjax delta`` does, by the word after it: the flags and the function."""
