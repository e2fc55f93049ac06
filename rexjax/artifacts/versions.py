"""Versions of an artifact: ``WORKDIR/STAGE/vTOKEN-N``, of which the newest finished one counts.

A stage works in its version's folder, and the manifest, one file that is put in place whole, publishes it: there is no
moment without an artifact and no rename of a folder, which a bucket does not have. TOKEN is the fencing token of the
run (``rexjax.artifacts.lock``), so that what a run publishes which has lost its workdir never counts as the newest.
Whoever reads finds the newest version once and stays with it. The one before it is kept for slow readers.
"""

import contextlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from rexjax.artifacts import owned
from rexjax.artifacts.files import read_json
from rexjax.artifacts.owned import MANIFEST, STARTED

_NAME = re.compile(r"v(\d+)-(\d+)")
_KEPT = 2


def _nothing_to_confirm() -> None:
    return None


class Owner(NamedTuple):
    """A run that may write into a workdir."""

    token: int = 0
    """Grows with every owner of the workdir."""
    alone: bool = True
    """Whether the owner before is known to have ended; else it may still write where it worked."""
    confirm: Callable[[], None] = _nothing_to_confirm
    """Raises UserError where another run owns the workdir by now."""


NOBODY = Owner()
"""Whoever writes into a folder that nobody else knows."""


def versions(place: Path) -> list[Path]:
    """The versions in ``place`` (``WORKDIR/STAGE``), finished or not, the newest first."""
    try:
        found = [path for path in place.iterdir() if _NAME.fullmatch(path.name) and not path.is_symlink()]
    except OSError:
        return []
    return sorted(found, key=_number, reverse=True)


def _number(folder: Path) -> tuple[int, int]:
    token, count = folder.name.removeprefix("v").split("-")
    return int(token), int(count)


def is_finished(folder: Path) -> bool:
    """Whether it has a manifest."""
    return (folder / MANIFEST).is_file()


def state(place: Path) -> list[tuple[str, bool]]:
    """Names of the versions, and whether each is finished: another value after anything was published."""
    return [(folder.name, is_finished(folder)) for folder in versions(place)]


def unfinished(place: Path) -> Path | None:
    """The newest version, if it is not finished: where a stage works, or has worked until it was cut off."""
    newest = next(iter(versions(place)), None)
    return newest if newest and not is_finished(newest) and owned.is_ours(newest) else None


def begin(place: Path, key: str, owner: Owner = NOBODY) -> Path:
    """Opens a version for the stage ``key`` and returns its folder.

    What an interrupted run of the same key left is gone on with, and other unfinished work removed. Where the owner
    before may still live, it keeps its folder, and a copy is gone on with.

    Args:
        place: of the artifact, ``WORKDIR/STAGE``.
        key: of the stage (``store.stage_key``).
        owner: the run.

    Raises:
        UserError: another run owns the workdir by now, or ``place`` is not this project's.
    """
    owner.confirm()
    owned.make(place)
    left = unfinished(place)
    started = read_json(left / STARTED) if left else {}
    mine = started.get("key") == key and (owner.alone or started.get("token") == owner.token)
    folder = left if left and mine else place / _next_name(place, owner.token)
    try:
        owned.make(folder, key=key, token=owner.token)
    except FileNotFoundError:  # a run that took this one for dead removed the folder as it was made
        owner.confirm()
        raise
    if left and not mine and started.get("key") == key:
        with contextlib.suppress(shutil.Error):  # of files that vanish: their owner lives
            shutil.copytree(left, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(STARTED))
    if owner.alone:
        for other in versions(place):
            if other != folder and not is_finished(other):
                owned.remove_unfinished(other)
    return folder


def _next_name(place: Path, token: int) -> str:
    newest, count = max(map(_number, versions(place)), default=(0, 0))
    return f"v{token}-1" if token > newest else f"v{newest}-{count + 1}"


def remove_older(folder: Path) -> None:
    """Removes all finished versions that are older than ``folder`` and the one before it."""
    finished = [other for other in versions(folder.parent) if _number(other) <= _number(folder) and is_finished(other)]
    for other in finished[_KEPT:]:
        owned.remove_finished(other)
