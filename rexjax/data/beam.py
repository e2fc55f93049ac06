"""Packing on Apache Beam: each worker reads its users from the sorted log and packs them; TFDS writes the shards.

Reading twice is cheaper than one worker that reads alone: where a record's events lie in the whole log is only known
when the events of all users before it have been counted.
"""

import contextlib
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from apache_beam.options.pipeline_options import PipelineOptions

from rexjax.data import packing
from rexjax.data.engines import parts
from rexjax.data.histories import USERS_PER_RECORD, Histories
from rexjax.data.packing import Packing
from rexjax.errors import UserError

RECORDS_PER_TASK = 64


class Log(NamedTuple):
    """What each worker is told of the sorted log."""

    folder: str
    packing: Packing
    users: int
    """Of a task: as many as some whole records hold."""


class Records(beam.PTransform):
    """(record's number, record) of all users of the sorted log in ``folder``, for a TFDS builder."""

    def __init__(self, folder: Path, users: int, packing: Packing) -> None:
        super().__init__()
        self._folder, self._users, self._packing = str(folder), users, packing

    def expand(self, pipeline: Any) -> Any:
        """Tasks are counted first, and packed when all counts are there."""
        log = Log(self._folder, self._packing, USERS_PER_RECORD * RECORDS_PER_TASK)
        tasks = pipeline | beam.Create(range(-(-self._users // log.users)), reshuffle=True)
        counts = tasks | "Count" >> beam.Map(_count, log)
        return tasks | "Pack" >> beam.FlatMap(_pack, log, beam.pvalue.AsDict(counts))


def options(flags: str) -> PipelineOptions:
    """Beam's pipeline options from the flags of a command line.

    Raises:
        UserError: Beam does not know the runner.
    """
    found = PipelineOptions(shlex.split(flags))
    runner = found.get_all_options()["runner"]
    try:
        with contextlib.redirect_stderr(None):
            beam.runners.create_runner(runner or "DirectRunner")
    except (ValueError, ImportError) as error:
        raise UserError(f"--data.beam {flags!r}: Beam has no runner {runner!r} ({error})") from error
    return found


def _count(task: int, log: Log) -> tuple[int, int]:
    return task, sum(len(record.items) for record in _records(log, task))


def _pack(task: int, log: Log, counts: dict[int, int]) -> Iterator[tuple[int, dict[str, Any]]]:
    first_event = sum(events for other, events in counts.items() if other < task)
    for number, record in enumerate(_records(log, task, first_event), task * (log.users // USERS_PER_RECORD)):
        yield number, record._asdict()


def _records(log: Log, task: int, first_event: int = 0) -> Iterator[Histories]:
    batches = _batches(Path(log.folder), task * log.users, (task + 1) * log.users)
    return packing.records(batches, log.packing, first_event)


def _batches(folder: Path, first: int, stop: int) -> Iterator[pa.RecordBatch]:
    """The events of users from ``first`` to before ``stop``: parts and row groups without any of them are not read."""
    wanted = (pc.field("user") >= first) & (pc.field("user") < stop)
    for part in parts(folder):
        for fragment in ds.dataset(part).get_fragments(wanted):
            yield from fragment.to_batches(filter=wanted)
