"""Stage 1, prepare: a raw log becomes packed histories, columnar items and a data card."""

import hashlib
import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rexjax.artifacts import Artifact
from rexjax.config import Config
from rexjax.data import engines, histories, interactions, moments, sources
from rexjax.data import packing as packings
from rexjax.data.histories import Histories
from rexjax.data.interactions import Clean
from rexjax.data.packing import Packing
from rexjax.errors import UserError
from rexjax.progress import track


def run(config: Config, folder: Path, inputs: dict[str, Artifact]) -> dict[str, Any]:
    """Writes ``histories/`` (ArrayRecord), ``items.parquet`` and ``users.parquet`` into ``folder``.

    Returns:
        The data card: users, items, interactions, density, time span, the cleaning steps, cold targets.
    """
    data, scratch = config.data, folder / "scratch"
    if data.split == "last_session" and not data.columns.session:
        raise UserError("--data.split last_session needs to know the session's column: pass --data.columns.session")
    if data.min_rating and not data.columns.rating:
        raise UserError("--data.min-rating needs to know the rating's column: pass --data.columns.rating")
    try:
        with engines.opened(data.engine, scratch / "engine") as con:
            log, items = sources.read(data, config.seed, con, scratch)
            rows = None if items is None else engines.count(items)
            kept = interactions.clean(log, items, data)
            tables = {name: engines.fetch(table) for name, table in (("items", kept.items), ("users", kept.users))}
            for name, table in tables.items():
                pq.write_table(table, folder / f"{name}.parquet")
            _write_histories(folder, kept, config, scratch / "sorted")
            span = engines.fetch(kept.times.agg(first=ibis._.time.min(), last=ibis._.time.max())).to_pylist()[0]
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    log = histories.read(folder)
    return _card(log, kept.steps, span, config) | {
        "content": {"histories": histories.digest(log)}
        | {f"{name}.parquet": _digest(table) for name, table in tables.items()},
        "items_without_interactions": kept.unused,
        "items_without_text": tables["items"]["text"].to_pylist().count(""),
        "catalogue_rows": rows,
    }


def _digest(table: pa.Table) -> str:
    """Of the values, not of the file: engines cut a table into row groups and pages as they like."""
    found = hashlib.sha256(json.dumps(table.column_names).encode())
    for batch in table.to_batches(max_chunksize=65_536):
        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            found.update(json.dumps(row).encode())
    return found.hexdigest()


def _write_histories(folder: Path, kept: Clean, config: Config, scratch: Path) -> None:
    packing = _packing(kept, config)
    users = kept.steps[-1]["users"]
    shutil.rmtree(folder / "histories", ignore_errors=True)
    if not config.data.beam:
        records = packings.records(engines.stream(kept.log, scratch), packing)
        total = -(-users // histories.USERS_PER_RECORD)
        histories.write(folder, track(records, "packing histories", total))
        return
    if find_spec("apache_beam") is None:
        raise UserError("--data.beam needs Apache Beam, which is not installed: pip install 'rexjax[beam]'")
    from rexjax.data import beam

    options = beam.options(config.data.beam)
    engines.store(kept.log, scratch)
    histories.write(folder, beam.Records(scratch.resolve(), users, packing), beam_options=options)


def _packing(kept: Clean, config: Config) -> Packing:
    data, items = config.data, kept.steps[-1]["items"]
    if data.split == "global_time":
        cuts = moments.at_shares(kept.times, (1 - 2 * data.holdout, 1 - data.holdout))
        return Packing(data.split, cuts=tuple(cuts))
    if data.split == "cold_items":
        cold = np.zeros(items, bool)
        cold[np.random.default_rng(config.seed).permutation(items)[: round(data.holdout * items)]] = True
        return Packing(data.split, cold=cold)
    return Packing(data.split)


def _card(log: Histories, steps: list[dict[str, Any]], span: dict[str, float], config: Config) -> dict[str, Any]:
    users, items, events = steps[-1]["users"], steps[-1]["items"], len(log.items)
    ends, lengths = log.offsets[1:], np.diff(log.offsets)
    trained = np.zeros(items, bool)
    trained[log.items[_positions(log.offsets[:-1], log.valid_start)]] = True
    test = log.items[_positions(log.test_start, ends)]
    valid = log.items[_positions(log.valid_start, log.test_start)]
    evaluated = int(((ends > log.test_start) & (log.test_start > log.offsets[:-1])).sum())
    if evaluated == 0:
        raise UserError(
            f"no user is left to test on with --data.split {config.data.split}: the {users} users have "
            f"{lengths.max()} interactions at most (leave_one_out needs 3 of a user, last_session 3 sessions)"
        )
    if not (log.valid_start - log.offsets[:-1] > 1).any():
        raise UserError(
            f"no user has two interactions to learn from: --data.split {config.data.split} holds out all others of the "
            f"{users} users, who have {lengths.max()} at most"
        )
    return {
        "source": config.data.builder or config.data.source,
        "users": users,
        "items": items,
        "interactions": events,
        "density": events / (users * items),
        "history_length": {"min": int(lengths.min()), "median": float(np.median(lengths)), "max": int(lengths.max())},
        "time_span": {"first": span["first"], "last": span["last"]},
        "split": config.data.split,
        "test_users": evaluated,
        "users_without_test": users - evaluated,
        "train_interactions": int((log.valid_start - log.offsets[:-1]).sum()),
        "cold_targets": {"valid": int((~trained[valid]).sum()), "test": int((~trained[test]).sum())},
        "cleaning": steps,
    }


def _positions(starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    counts = stops - starts
    return np.repeat(starts - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
