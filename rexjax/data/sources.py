"""Sources: where a log comes from. A source is a frozen dataclass; a config file may name one or define one.

What reads (ibis, TFDS, NumPy) is imported when a source is read, so that a config file loads quickly.
"""

import abc
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rexjax.artifacts.classes import Open
from rexjax.artifacts.paths import local_path
from rexjax.errors import UserError

if TYPE_CHECKING:
    from ibis.expr.types import Table

    from rexjax.data.settings import Data


@dataclass(frozen=True)
class Source(Open, abc.ABC):
    """Where a log comes from. The fields of a subclass are its config keys."""

    @abc.abstractmethod
    def read(self, data: "Data", seed: int, con: Any, scratch: Path) -> "tuple[Table, Table | None]":
        """Opens the log and its items.

        Args:
            data: the settings of stage prepare; ``data.columns`` names the columns that the tables must have.
            seed: the config's seed, for sources that draw.
            con: an ibis connection (DuckDB or what ``data.engine`` names).
            scratch: a folder that is removed when the stage ends.

        Returns:
            The raw log, a row per interaction, and the items' table, a row per item. The second is None where the log
            carries the text or items have none.

        Raises:
            UserError: the data is missing or cannot be read.
        """

    def external_files(self, data: "Data") -> list[Path]:
        """The files outside the workdir that ``read`` opens. Their hashes are part of the stage's identity."""
        return []

    def sizes(self) -> dict[str, int]:
        """``users``, ``items`` and ``interactions``, where they are known before the log is read."""
        return {}

    def name(self) -> str:
        """What the data card calls the source."""
        return type(self).__name__.lower()


@dataclass(frozen=True)
class Shop(Source):
    """The simulated shop. Everything about it follows from its size and the seed."""

    users: int = 3000
    """People who buy."""
    items: int = 1000
    """Articles in the catalogue; about a tenth of them are released during the period."""
    interactions: int = 60_000
    """Purchases in the log, exactly; every user has at least five where the mean allows it."""
    days: int = 365
    """Length of the period, from 2024-01-01."""

    def __post_init__(self) -> None:
        for name, least in (("users", 1), ("items", 40), ("interactions", 1), ("days", 7)):
            if getattr(self, name) < least:
                raise UserError(f"The shop has {name}={getattr(self, name)}: set {name} to {least} or more.")
        if not self.users <= self.interactions <= self.users * self.items // 2:
            raise UserError(
                f"The shop has interactions={self.interactions}: with users={self.users} and items={self.items}, "
                f"set interactions between {self.users} and {self.users * self.items // 2}."
            )

    def read(self, data: "Data", seed: int, con: Any, scratch: Path) -> "tuple[Table, Table | None]":
        """Simulates the shop into ``scratch``."""
        from rexjax.data import shop

        folder = scratch / "shop"
        shop.write(self, seed, folder)
        return _open_tables(con, folder / "interactions", folder / "items.parquet")

    def sizes(self) -> dict[str, int]:
        """All three, as its fields say."""
        return {"items": self.items, "users": self.users, "interactions": self.interactions}


@dataclass(frozen=True)
class Files(Source):
    """CSV or Parquet files in the folder --data.path: --data.interactions and --data.items name them."""

    def read(self, data: "Data", seed: int, con: Any, scratch: Path) -> "tuple[Table, Table | None]":
        """Opens the files."""
        return _open_tables(con, *self.external_files(data))

    def external_files(self, data: "Data") -> list[Path]:
        """The log's file and, unless ``data.items`` is empty, the items' file."""
        from rexjax.data import files

        return [
            files.find(local_path(data.path, "--data.path"), name) for name in (data.interactions, data.items) if name
        ]


@dataclass(frozen=True)
class Tfds(Source):
    """A data set of TensorFlow Datasets, whose log carries the text; --data.path is its data_dir."""

    builder: str
    """A TFDS builder, such as movielens/100k-ratings."""

    def read(self, data: "Data", seed: int, con: Any, scratch: Path) -> "tuple[Table, Table | None]":
        """Downloads and prepares the data set where it is not there yet, and copies its first split as Parquet."""
        from rexjax.data import tfds_export

        tfds_export.write(self.builder, data.path, scratch / "tfds")
        return _open_tables(con, scratch / "tfds")

    def name(self) -> str:
        """The builder."""
        return self.builder


@dataclass(frozen=True)
class Frames(Source):
    """Data frames that ``rexjax.data.frames.Dataset.write`` has left as Parquet; their names follow their content."""

    folder: str = ""
    """Where they lie."""
    log: str = ""
    """The log's file in the folder."""
    items: str = ""
    """The items' file in the folder; '': there is none."""

    def read(self, data: "Data", seed: int, con: Any, scratch: Path) -> "tuple[Table, Table | None]":
        """Opens the Parquet files."""
        return _open_tables(con, *self.external_files(data))

    def external_files(self, data: "Data") -> list[Path]:
        """The Parquet files.

        Raises:
            UserError: the frames were never written, or a file is gone.
        """
        if not self.log:
            raise UserError(
                "the data frames lie in no folder yet: take the settings that Dataset.write(FOLDER) returns"
            )
        paths = [Path(self.folder) / name for name in (self.log, self.items) if name]
        for path in paths:
            if not path.is_file():
                raise UserError(f"no file {path}: write the data frames again with Dataset.write({self.folder!r})")
        return paths


def _open_tables(con: Any, log: Path, items: Path | None = None) -> "tuple[Table, Table | None]":
    from rexjax.data import files

    return files.read_file(con, log), files.read_file(con, items) if items else None
