"""Packed histories: many users to an ArrayRecord example, written and read through TFDS.

One example per click costs an Example proto's decoding for every click; a record of hundreds of users as flat arrays
and offsets costs the same to decode as one row. The reader sees NumPy arrays, never protos.
"""

import contextlib
import hashlib
import io
import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from rexjax.errors import needs_extra

USERS_PER_RECORD = 512
_OPTIONAL = ("positions", "propensities")
"""Fields of [E] that a log may lack: they have the shape [0] then."""


class Histories(NamedTuple):
    """Events of U users in the order (user, time, original position)."""

    items: np.ndarray
    """int32 [E], dense item ids."""
    times: np.ndarray
    """float64 [E], seconds (or the log's own unit)."""
    offsets: np.ndarray
    """int64 [U + 1], where each user's events begin."""
    valid_start: np.ndarray
    """int64 [U], the first event that is not trained on."""
    test_start: np.ndarray
    """int64 [U], the first event of the test part."""
    first_event: int | np.ndarray = 0
    """Where the events lie in the whole log: the first one's position, or int64 [E] after ``concatenate``."""
    positions: np.ndarray = np.zeros(0, np.float32)
    """float32 [E], where the event's item stood in the list that was shown; [0]: the log does not say."""
    propensities: np.ndarray = np.zeros(0, np.float32)
    """float32 [E], the probability with which that position is taken, in (0, 1]; [0]: the log does not say."""

    @property
    def users(self) -> int:
        """How many users."""
        return len(self.offsets) - 1


def split_by_user(batches: Iterable[pa.RecordBatch]) -> Iterator[dict[str, np.ndarray]]:
    """Regroups a stream sorted by user into blocks of USERS_PER_RECORD whole users (flat columns)."""
    rest: dict[str, np.ndarray] = {}
    for batch in batches:
        if not batch.num_rows:
            continue
        columns = {name: batch.column(name).to_numpy(zero_copy_only=False) for name in batch.schema.names}
        rest = {name: np.concatenate([rest[name], column]) for name, column in columns.items()} if rest else columns
        yield from _cut(rest, last=False)
        keep = rest["user"] // USERS_PER_RECORD == rest["user"][-1] // USERS_PER_RECORD
        rest = {name: column[keep] for name, column in rest.items()}
    if rest:
        yield from _cut(rest, last=True)


def _cut(columns: dict[str, np.ndarray], *, last: bool) -> Iterator[dict[str, np.ndarray]]:
    block = columns["user"] // USERS_PER_RECORD
    edges = np.flatnonzero(np.diff(block)) + 1
    bounds = [0, *edges, len(block)] if last else [0, *edges]
    for start, stop in zip(bounds[:-1], bounds[1:], strict=True):
        yield {name: column[start:stop] for name, column in columns.items()}


def write(folder: Path, records: Any, **beam: Any) -> None:
    """Writes ``records`` as the TFDS data set ``folder/histories/1.0.0``, one split, ArrayRecord files.

    Args:
        folder: where to.
        records: an iterable of Histories, in order; or ``rexjax.data.beam.Records``, whose workers write the files.
        beam: settings of TFDS's DownloadConfig for the latter.
    """
    with needs_extra("data"):
        import tensorflow_datasets as tfds

    tensor = tfds.features.Tensor
    features = {
        "items": tensor(shape=(None,), dtype=np.int32, encoding="bytes"),
        "times": tensor(shape=(None,), dtype=np.float64, encoding="bytes"),
        "offsets": tensor(shape=(None,), dtype=np.int64, encoding="bytes"),
        "valid_start": tensor(shape=(None,), dtype=np.int64, encoding="bytes"),
        "test_start": tensor(shape=(None,), dtype=np.int64, encoding="bytes"),
        "first_event": np.int64,
        **{name: tensor(shape=(None,), dtype=np.float32, encoding="bytes") for name in _OPTIONAL},
    }

    class _Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        name = "histories"
        VERSION = tfds.core.Version("1.0.0")

        def _info(self) -> Any:
            kept = tfds.features.FeaturesDict(features)
            return tfds.core.DatasetInfo(builder=self, features=kept, disable_shuffling=True)

        def _split_generators(self, dl_manager: Any) -> Any:
            return {"events": self._generate_examples()}

        def _generate_examples(self) -> Any:
            return enumerate(record._asdict() for record in records) if isinstance(records, Iterable) else records

    tfds.disable_progress_bar()
    with contextlib.redirect_stdout(io.StringIO()):  # TFDS prints; progress is ours
        _Builder(data_dir=str(folder), file_format="array_record").download_and_prepare(
            download_config=tfds.download.DownloadConfig(**beam)
        )
    shutil.rmtree(folder / "downloads", ignore_errors=True)  # TFDS makes it for every builder


def source(folder: Path) -> Any:
    """Random access to the records that ``write`` left in ``folder`` (a TFDS data source; len() and [])."""
    with needs_extra("data"):
        import tensorflow_datasets as tfds

    return tfds.builder_from_directory(str(folder / "histories" / "1.0.0")).as_data_source("events")


def each(folder: Path) -> Iterator[Histories]:
    """The records, one after another."""
    for record in source(folder):
        yield Histories(**record)


def read(folder: Path) -> Histories:
    """All histories, in memory (20 bytes an event, with its place in the log; 28 with position and propensity)."""
    return concatenate(list(each(folder)))


def concatenate(records: list[Histories]) -> Histories:
    """Joins records, which need not be neighbours, into one."""
    shifts = np.cumsum([0] + [len(r.items) for r in records])
    starts = [r.offsets[:-1] + s for r, s in zip(records, shifts, strict=False)]
    return Histories(
        items=np.concatenate([r.items for r in records]),
        times=np.concatenate([r.times for r in records]),
        offsets=np.concatenate([*starts, shifts[-1:]]).astype(np.int64),
        valid_start=np.concatenate([r.valid_start + s for r, s in zip(records, shifts, strict=False)]),
        test_start=np.concatenate([r.test_start + s for r, s in zip(records, shifts, strict=False)]),
        first_event=np.concatenate([log_positions(r) for r in records]),
        **{name: np.concatenate([getattr(r, name) for r in records]) for name in _OPTIONAL},
    )


def log_positions(histories: Histories) -> np.ndarray:
    """Where each event lies in the whole log: int64 [E]."""
    if np.ndim(histories.first_event):
        return histories.first_event
    return histories.first_event + np.arange(len(histories.items), dtype=np.int64)


def since_first(histories: Histories) -> np.ndarray:
    """Time of each event since its user's first one, in the log's unit: int32 [E], cut off at 2^31 - 1."""
    first = np.repeat(
        histories.times[np.minimum(histories.offsets[:-1], len(histories.times) - 1)], np.diff(histories.offsets)
    )
    return np.minimum(histories.times - first, np.iinfo(np.int32).max).astype(np.int32)


def digest(records: Iterable[Histories]) -> str:
    """SHA-256 of what the joined records hold: the same for the same histories, however they are cut into records."""
    events, found = 0, {name: hashlib.sha256() for name in Histories._fields}
    for record in records:
        joined = {"offsets": record.offsets[:-1], "valid_start": record.valid_start, "test_start": record.test_start}
        fields = record._asdict() | {name: starts + events for name, starts in joined.items()}
        for name, values in (fields | {"first_event": log_positions(record)}).items():
            found[name].update(np.ascontiguousarray(values).tobytes())
        events += len(record.items)
    lacking = [name for name in _OPTIONAL if found[name].digest() == hashlib.sha256().digest()]
    parts = {name: part.hexdigest() for name, part in found.items() if name not in lacking}
    return hashlib.sha256(json.dumps([events, parts]).encode()).hexdigest()
