"""The features of a prepared log: fitted on its training part, written as arrays, read back by name.

``features/fitted.json`` holds what was fitted, ``features/NUMBER.npy`` each array.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from rexjax.artifacts.files import write_json
from rexjax.data.features import as_of
from rexjax.data.features.as_of import Changes
from rexjax.data.features.declared import EVENT, Categorical, Feature, Weight
from rexjax.data.features.fitted import FeatureArray, FittedFeatures, fit, from_json
from rexjax.data.histories import Histories

if TYPE_CHECKING:
    from rexjax.data.settings import Columns

FOLDER = "features"
"""In the artifact of stage prepare."""


class RawFeatures(NamedTuple):
    """Raw columns, by their names in the source."""

    events: Mapping[str, pa.ChunkedArray]
    """[E], in the order of the histories."""
    items: Mapping[str, pa.ChunkedArray]
    """[N]."""
    users: Mapping[str, pa.ChunkedArray] | None = None
    """[C]; None: the log has them."""
    changes: Changes = Changes(np.zeros(0, np.int64), np.zeros(0))
    """Whose each row of ``users`` is and, with ``Columns.user_time``, from when on it holds."""


class Features(NamedTuple):
    """Arrays by name and what they are."""

    arrays: dict[str, np.ndarray]
    """Of users [U, ...], of items [N, ...], of events [E, ...]."""
    described: tuple[FeatureArray, ...] = ()
    """Each array, in the same order."""
    fitted: Mapping[str, FittedFeatures] = {}
    """What was fitted, by what it is about."""


NONE = Features({})
"""Of a log without features."""


class _Group(NamedTuple):
    """Features about one thing."""

    about: str
    features: tuple[Feature, ...]
    columns: Mapping[str, Any]
    training: np.ndarray
    """bool, the rows that are fitted on."""


def make(columns: "Columns", log: Histories, items: int, raw: RawFeatures) -> tuple[Features, dict[str, Any]]:
    """Fits all features on the training part and reads all rows.

    Args:
        columns: what is declared.
        log: the histories.
        items: N.
        raw: the raw columns.

    Returns:
        The features, and what the data card says of each.

    Raises:
        UserError: a column holds what it must not.
    """
    arrays: dict[str, np.ndarray] = {}
    fitted, facts = dict[str, FittedFeatures](), dict[str, Any]()
    for group in _groups(columns, log, items, raw):
        rows = np.flatnonzero(group.training)
        training = {name: _take(column, rows) for name, column in group.columns.items()}
        fitted[group.about] = part = fit(group.features, training, group.about)
        made = part.transform(group.columns)
        facts |= {name: {"about": group.about} | found for name, found in part.counts(made).items()}
        arrays |= made
    described = tuple(array for part in fitted.values() for array in part.arrays())
    return Features(arrays, described, fitted), facts


def _groups(columns: "Columns", log: Histories, items: int, raw: RawFeatures) -> list[_Group]:
    trains = _training_events(log)
    sold = np.bincount(log.items[trains], minlength=items) > 0
    of_events: list[Feature] = [Categorical(columns.event, name=EVENT)] if columns.event else []
    of_events += [Weight(columns.weight)] if columns.weight else []
    groups = [
        _Group("item", columns.item_features, raw.items, sold),
        _of_users(columns, log, trains, raw),
        _Group("context", columns.context, raw.events, trains),
        _Group("event", tuple(of_events), raw.events, trains),
    ]
    return [group for group in groups if group.features]


def _training_events(log: Histories) -> np.ndarray:
    """bool [E]."""
    within = np.arange(len(log.items))
    return within < np.repeat(log.valid_start, np.diff(log.offsets))


def _of_users(columns: "Columns", log: Histories, trains: np.ndarray, raw: RawFeatures) -> _Group:
    """Users' columns: of their latest training event, of the users file, or of its row just before each event."""
    there = log.valid_start > log.offsets[:-1]
    if raw.users is None:
        rows = np.where(there, log.valid_start - 1, -1)
        return _Group("user", columns.user_features, _rows_of(raw.events, rows), there)
    if not columns.user_time:
        known = raw.changes.users >= 0
        rows = np.full(log.users, -1, np.int64)
        rows[raw.changes.users[known]] = np.flatnonzero(known)  # of several rows the last one
        return _Group("user", columns.user_features, _rows_of(raw.users, rows), there)
    owners = np.repeat(np.arange(log.users), np.diff(log.offsets))
    rows = as_of.join(owners, log.times, raw.changes)
    as_of.refuse_future(rows, log.times, raw.changes)
    return _Group("user_at", columns.user_features, _rows_of(raw.users, rows), trains)


def _rows_of(columns: Mapping[str, Any], rows: np.ndarray) -> dict[str, Any]:
    return {name: _take(column, rows) for name, column in columns.items()}


def _take(column: Any, rows: np.ndarray) -> Any:
    """Rows of an Arrow column, null for -1."""
    return column.take(pa.array(rows, pa.int64(), mask=rows < 0))


def digest(features: Features) -> str:
    """SHA-256 of the arrays and of what was fitted."""
    found = hashlib.sha256(json.dumps(_as_json(features.fitted), sort_keys=True).encode())
    for name, array in features.arrays.items():
        found.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def _as_json(fitted: Mapping[str, FittedFeatures]) -> dict[str, Any]:
    return {about: part.as_dict() for about, part in fitted.items()}


def write(folder: Path, features: Features) -> None:
    """Writes the features into an artifact's folder."""
    (folder / FOLDER).mkdir()
    write_json(folder / FOLDER / "fitted.json", _as_json(features.fitted))
    for number, array in enumerate(features.described):
        np.save(folder / FOLDER / f"{number}.npy", features.arrays[array.name], allow_pickle=False)


def read(folder: Path) -> Features:
    """What ``write`` left; ``NONE`` where there are no features."""
    if not (folder / FOLDER).is_dir():
        return NONE
    fitted = read_fitted(folder)
    described = tuple(array for part in fitted.values() for array in part.arrays())
    paths = {array.name: folder / FOLDER / f"{number}.npy" for number, array in enumerate(described)}
    return Features({name: np.load(path, allow_pickle=False) for name, path in paths.items()}, described, fitted)


def read_fitted(folder: Path) -> dict[str, FittedFeatures]:
    """What was fitted, by what it is about."""
    found = json.loads((folder / FOLDER / "fitted.json").read_text(encoding="utf-8"))
    return {about: from_json(part) for about, part in found.items()}


def of_requests(
    arrays: Mapping[str, np.ndarray],
    described: Iterable[FeatureArray],
    log: Histories,
    users: np.ndarray,
    events: np.ndarray,
    length: int,
) -> dict[str, np.ndarray]:
    """What requests know, by name: all features but those of items, which belong to the catalogue.

    Args:
        arrays: of the log, by name.
        described: what they are.
        log: all histories.
        users: int64 [B].
        events: int64 [B], the place of the event that each request is followed by; its context is the request's.
        length: the longest history, L.

    Returns:
        [B, ...] of users and of the request; [B, L, ...] of the history's events, 0 before the first one.
    """
    at = events[:, None] - length + np.arange(length)
    inside = at >= log.offsets[users][:, None]
    read: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "user": lambda array: array[users],
        "user_at": lambda array: array[events],
        "context": lambda array: array[events],
        "event": lambda array: np.where(inside, array[np.where(inside, at, 0)], 0).astype(array.dtype),
    }
    return {feature.name: read[feature.about](arrays[feature.name]) for feature in described if feature.about in read}
