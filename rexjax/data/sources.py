"""Sources: where a log comes from. A source is a frozen dataclass; a config file may name one or define one.

What reads (ibis, TFDS, NumPy) is imported when a source is read, so that a config file loads quickly.
"""

import abc
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rexjax.artifacts.classes import Open
from rexjax.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from ibis.expr.types import Table

    from rexjax.data.settings import Columns, Data

    Preference = Callable[[Sequence[str], np.ndarray, np.ndarray], np.ndarray]


class Opened(NamedTuple):
    """What a source has opened. A source that reads no files may return the first two as a plain tuple."""

    log: "Table"
    """A row per interaction."""
    items: "Table | None"
    """A row per item; None where the log carries the text or items have none."""
    files: "tuple[dict[str, Any], ...]" = ()
    """What the data card says of each file: its name, bytes and rows, and how it is written."""
    users: "Table | None" = None
    """A row per user, or per change of a user; None where the log carries the users' features or they have none."""


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

    def described(self, columns: "Columns") -> "Columns":
        """``columns``, with the names of those that the source is known to have where ``columns`` leaves them open."""
        return columns

    def sizes(self) -> dict[str, int]:
        """``users``, ``items`` and ``interactions``, where they are known before the log is read."""
        return {}

    def name(self) -> str:
        """What the data card calls the source."""
        return type(self).__name__.lower()


@dataclass(frozen=True)
class KnowsPreference(Source, abc.ABC):
    """A simulated source, of which it is known what its users want."""

    @abc.abstractmethod
    def preference(self, seed: int, items: "Sequence[str]") -> "Preference":
        """The probability of each item as a user's next one.

        Args:
            seed: the config's seed.
            items: ids of N items of the source.

        Returns:
            (ids of B users; histories int [B, L], places in ``items``, the latest last, padded with -1; times of the
            next event, float [B]) → float64 [B, N]. Rows sum to at most 1: the source may have more items.
        """


@dataclass(frozen=True)
class Shop(KnowsPreference):
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
        return _open_parquet(con, folder / "interactions", folder / "items.parquet")

    def preference(self, seed: int, items: "Sequence[str]") -> "Preference":
        """Exact, see ``rexjax.data.shop.true_preference``."""
        import numpy as np

        from rexjax.data import shop

        goods, numbers = shop.catalogue(self, seed), np.array([int(item.removeprefix("sku-")) for item in items])

        def of_users(users: "Sequence[str]", histories: "np.ndarray", times: "np.ndarray") -> "np.ndarray":
            people, bought = np.array([int(user) for user in users]), np.where(histories >= 0, numbers[histories], -1)
            return shop.true_preference(goods, self, seed, people, bought, times.astype(np.int64))[:, numbers]

        return of_users

    def described(self, columns: "Columns") -> "Columns":
        """With position and propensity, which the shop knows of every purchase."""
        known = {"position": columns.position or "position", "propensity": columns.propensity or "propensity"}
        return replace(columns, **known)

    def sizes(self) -> dict[str, int]:
        """All three, as its fields say."""
        return {"items": self.items, "users": self.users, "interactions": self.interactions}


@dataclass(frozen=True)
class Files(Source):
    """CSV, JSON lines or Parquet in the folder --data.path: --data.interactions and --data.items name the files."""

    def read(self, data: "Data", seed: int, con: Any, scratch: Path) -> Opened:
        """Opens the files."""
        from rexjax.data import opening

        return opening.open_files(data, con, scratch / "files")

    def external_files(self, data: "Data") -> list[Path]:
        """The log's files and, unless ``data.items`` is empty, the items' files; all parts of a folder."""
        from rexjax.data import opening

        return [path for table in opening.tables_of(data) for path in table.paths]


@dataclass(frozen=True)
class Tfds(Source):
    """A data set of TensorFlow Datasets, whose log carries the text; --data.path is its data_dir."""

    builder: str
    """A TFDS builder, such as movielens/100k-ratings."""

    def read(self, data: "Data", seed: int, con: Any, scratch: Path) -> "tuple[Table, Table | None]":
        """Downloads and prepares the data set where it is not there yet, and copies its first split as Parquet."""
        from rexjax.data import tfds_export

        tfds_export.write(self.builder, data.path, scratch / "tfds")
        return _open_parquet(con, scratch / "tfds")

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
    users: str = ""
    """The users' file in the folder; '': there is none."""

    def read(self, data: "Data", seed: int, con: Any, scratch: Path) -> "tuple[Table, Table | None]":
        """Opens the Parquet files."""
        self.external_files(data)
        opened = _open_parquet(con, self._path(self.log), self._path(self.items) if self.items else None)
        users = _open_parquet(con, self._path(self.users)).log if self.users else None
        return opened._replace(users=users)

    def external_files(self, data: "Data") -> list[Path]:
        """The Parquet files.

        Raises:
            UserError: the frames were never written, or a file is gone.
        """
        if not self.log:
            raise UserError(
                "the data frames lie in no folder yet: take the settings that Dataset.write(FOLDER) returns"
            )
        return [self._path(name) for name in (self.log, self.items, self.users) if name]

    def _path(self, name: str) -> Path:
        path = Path(self.folder) / name
        if not path.is_file():
            raise UserError(f"no file {path}: write the data frames again with Dataset.write({self.folder!r})")
        return path


def _open_parquet(con: Any, log: Path, items: Path | None = None) -> Opened:
    """Files or folders of parts that this library has written."""
    from rexjax.data import files, parquet_files

    def table(path: Path) -> "Table":
        root = path if path.is_dir() else None
        return parquet_files.read(con, files.find(path.parent, path.name, "the name"), root)[0]

    return Opened(table(log), table(items) if items else None)
