"""A version of a registry: what it is made of, its name, and its results user by user."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from rexjax.artifacts.files import read_json
from rexjax.artifacts.owned import MANIFEST, is_marked
from rexjax.artifacts.workdirs import PER_USER, SEGMENTS
from rexjax.errors import UserError
from rexjax.registry import disk

FOLDER = "versions"
EXPORT, DELTA = "export", "delta"
"""Folders of a version: what a server reads, and what turns its parent's export into its own."""
CARD, LINEAGE = "MODEL_CARD.md", "lineage.json"
_DIGITS = 8


@dataclass(frozen=True)
class Version:
    """One immutable version."""

    id: str
    """Its time and its content: ``YYYYMMDD-HHMMSS-mmm-HASH``. Ids sort by time."""
    path: Path
    """Its folder."""
    parent: str | None
    """Id of the version that it was trained from."""
    created: float
    """Seconds since 1970."""
    note: str
    """What the user said of it."""
    key: str
    """Digest of its content and its parent: equal content is added once."""
    metrics: dict[str, Any]
    """``metric`` and ``served`` (names), ``test`` (digest), ``quality``, ``interval``, ``cost``, ``calibration``."""
    files: dict[str, Any]
    """Size and SHA-256 of each file, by name."""

    @property
    def export(self) -> Path:
        """The folder that a server can read; not there where the version has none."""
        return self.path / EXPORT

    @property
    def delta_of(self) -> str | None:
        """Id of the version whose export it needs, where its own is a difference."""
        return self.parent if any(name.startswith(f"{DELTA}/") for name in self.files) else None

    @property
    def lineage(self) -> dict[str, Any]:
        """The parent, the hashes of stages and input files, and the versions of packages."""
        return read_json(self.path / LINEAGE)

    def per_user(self, metric: str = "", model: str = "") -> np.ndarray:
        """A metric of each user of the test.

        Args:
            metric: such as "ndcg@10"; "": the one that models are selected by.
            model: by its name in the run's table; "": what is served.

        Returns:
            float32 [U].

        Raises:
            UserError: the version has no such results.
        """
        name = f"{model or self.metrics['served']}/{metric or self.metrics['metric']}"
        stored = self._arrays(PER_USER)
        if name not in stored:
            known = ", ".join(sorted(stored)) or "none"
            raise UserError(f"version {self.id} has no results {name!r} of each user: it has {known}")
        return stored[name]

    def segments(self) -> dict[str, np.ndarray]:
        """The part of each user by segment, str [U]; {} where the run kept none."""
        return self._arrays(SEGMENTS)

    def _arrays(self, name: str) -> dict[str, np.ndarray]:
        if name not in self.files:
            return {}
        with np.load(self.path / name, allow_pickle=False) as stored:
            return {key: stored[key] for key in stored}

    def check(self) -> None:
        """Compares each file with the manifest.

        Raises:
            UserError: a file is missing or altered; the sentence names it.
        """
        if name := disk.damage(self.path, self.files):
            raise UserError(f"{self.path / name} is missing or damaged: add the version again from its workdir")


def read(folder: Path) -> Version:
    """The finished version in ``folder``.

    Raises:
        UserError: its manifest is missing or damaged.
    """
    about = read_json(folder / MANIFEST)
    names = ("parent", "created", "note", "key", "metrics", "files")
    if not is_marked(about) or not about.keys() >= set(names):
        raise UserError(f"{folder / MANIFEST} is missing or damaged: restore the version from a copy, or prune it")
    return Version(folder.name, folder, **{name: about[name] for name in names})


def name_of(created: float, key: str) -> str:
    """The id of a version.

    >>> name_of(0.25, "0123456789abcdef")
    '19700101-000000-250-01234567'
    """
    moment = datetime.fromtimestamp(created, UTC)
    return f"{moment:%Y%m%d-%H%M%S}-{moment.microsecond // 1000:03d}-{key[:_DIGITS]}"


def spell_time(seconds: float) -> str:
    """For people: ``2026-12-01 04:10:29 UTC``.

    >>> spell_time(0)
    '1970-01-01 00:00:00 UTC'
    """
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
