"""Workdirs: whose they are, and which config they belong to."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rexjax.artifacts import owned, paths, versions
from rexjax.artifacts.files import read_json, write_json
from rexjax.artifacts.hashing import differences
from rexjax.artifacts.owned import MARK
from rexjax.artifacts.store import FORMAT
from rexjax.errors import UserError

CONFIG = "config.json"
METRICS, REPORT, BUDGET = "metrics.json", "report.html", "budget.json"
"""Files that a run leaves at the top of a workdir."""
PER_USER, SEGMENTS = "per_user.npz", "segments.npz"
"""Of stage evaluate: float32 [U] named MODEL/METRIC, and the part of each user, str [U], by segment."""
FOLDERS = "sweep", "budget", "curves"
"""Of trials that go on where they were."""
REPORT_MARK = '<meta name="generator" content="rexjax">'
"""In the report, so that it is known to be this project's."""
_HEAD = 4096  # bytes in which the mark stands
_FLAG = "--workdir"


def folder_of(workdir: str | Path) -> Path:
    """The workdir as a path, with ``~`` expanded.

    Raises:
        UserError: it lies in a bucket, or has a ``[``, which Orbax takes for a pattern when it reads a checkpoint back.
    """
    folder = paths.local_path(workdir, _FLAG)
    if "[" in str(folder.absolute()):
        raise UserError(
            f"{folder.absolute()} has a [ in its path, which checkpoints do not allow: choose another {_FLAG}"
        )
    return folder


def check(workdir: Path, stages: Iterable[str], config: dict[str, Any], *, update: bool) -> list[str]:
    """Refuses a workdir that cannot be used; makes nothing.

    Args:
        workdir: the folder.
        stages: their names.
        config: as plain values.
        update: whether the workdir may be one of another config.

    Returns:
        The keys that changed since its last run.

    Raises:
        UserError: it cannot be written, was made by another version, holds what is not this project's under a name that
            a run writes, or belongs to another config.
    """
    paths.check_folder(workdir, _FLAG)
    old = read_json(workdir / CONFIG)
    check_format(workdir, old)
    owned.refuse(_foreign(workdir, stages), workdir)
    changed = differences(old, _marked(config)) if old else []
    if changed and not update and any(map(_has_finished, workdir.iterdir())):
        shown = "; ".join(changed[:3]) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")
        raise UserError(
            f"{workdir} belongs to another config ({shown}): choose another --workdir, or pass --update to make its "
            "stages again where they are affected"
        )
    return changed


def claim(workdir: Path, stages: Iterable[str], config: dict[str, Any], *, update: bool) -> list[str]:
    """Ties ``workdir`` to ``config``; returns the keys that changed since its last run.

    Raises:
        UserError: see ``check``.
    """
    changed = check(workdir, stages, config, update=update)
    if read_json(workdir / CONFIG) != _marked(config):
        write_json(workdir / CONFIG, _marked(config))
    return changed


def _marked(config: dict[str, Any]) -> dict[str, Any]:
    return MARK | {"format": FORMAT} | config


def _has_finished(place: Path) -> bool:
    return any(map(versions.is_finished, versions.versions(place)))


def _foreign(workdir: Path, stages: Iterable[str]) -> list[Path]:
    """What lies under names that a run writes, and was not made by this project."""
    known = {
        CONFIG: owned.is_marked(read_json(workdir / CONFIG)),
        METRICS: "config_hash" in read_json(workdir / METRICS),
        REPORT: _is_report(workdir / REPORT),
        BUDGET: "tried" in read_json(workdir / BUDGET),
    }
    files = [workdir / name for name, ours in known.items() if not ours and os.path.lexists(workdir / name)]
    links = [workdir / name for name, ours in known.items() if ours and (workdir / name).is_symlink()]
    places = [workdir / name for name in (*stages, *FOLDERS) if owned.is_foreign(workdir / name)]
    return [*files, *links, *places]


def _is_report(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return REPORT_MARK.encode() in file.read(_HEAD)
    except OSError:
        return False


def read_config(workdir: Path) -> dict[str, Any]:
    """The config, as plain values, that ``workdir`` was last run with.

    Raises:
        UserError: it is no workdir, or one of another version.
    """
    config = read_json(workdir / CONFIG)
    check_format(workdir, config)
    if not owned.is_marked(config):
        raise UserError(
            f"{workdir} is no workdir: it has no config.json of rexjax; run `rexjax run CONFIG --workdir {workdir}`"
        )
    return {name: value for name, value in config.items() if name not in (*MARK, "format")}


def check_format(workdir: Path, config: dict[str, Any]) -> None:
    """Raises ``UserError`` if the workdir with this ``config.json`` was made by another version."""
    older = isinstance(config.get("format"), int) or any(workdir.glob("*/manifest.json"))
    if config.get("format") != FORMAT if owned.is_marked(config) else config and older:
        raise UserError(
            f"{workdir} was made by another version of rexjax, which this one cannot read: choose another --workdir, "
            "or remove its config.json and its stages' folders to make them again"
        )
