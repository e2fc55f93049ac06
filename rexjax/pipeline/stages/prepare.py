"""Stage 1, prepare: a raw log becomes packed histories, columnar items and a data card."""

import hashlib
import json
import shutil
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rexjax.artifacts.files import file_hash
from rexjax.artifacts.hashing import arrays_digest
from rexjax.artifacts.store import Artifact
from rexjax.config.schema import Config
from rexjax.config.stage import Stage
from rexjax.data import card, engines, histories, interactions, times
from rexjax.data import packing as packings
from rexjax.data.features import prepared, users_table
from rexjax.data.features.prepared import RawFeatures
from rexjax.data.features.tables import columns_read
from rexjax.data.interactions import Clean
from rexjax.data.packing import Packing
from rexjax.data.settings import Data
from rexjax.data.sources import Opened
from rexjax.errors import UserError, needs_extra
from rexjax.pipeline import tables
from rexjax.runtime.progress import notice, track

with needs_extra("data"):
    import ibis
    from ibis.expr.types import Table


def run(config: Config, folder: Path, artifacts: dict[str, Artifact]) -> dict[str, Any]:
    """Writes ``histories/`` (ArrayRecord), ``items.parquet`` and, with raw user ids, ``users.parquet`` into ``folder``;
    ``features/`` where any are declared; under the split cold_items, ``cold_items.npy``.

    Returns:
        The data card (``rexjax.data.card``), with counts of items.
    """
    data, scratch = config.data, folder / "scratch"
    _check_columns(data)
    try:
        with engines.opened(data.engine, scratch / "engine") as con:
            opened = Opened(*data.source.read(data, config.seed, con, scratch))
            columns = {name: str(kind) for name, kind in opened.log.schema().items()}
            rows = None if opened.items is None else engines.count(opened.items)
            described = replace(data, columns=data.source.described(data.columns))
            kept = interactions.clean(opened.log, opened.items, described, users=opened.users is not None)
            written = {"items.parquet": kept.items} | ({"users.parquet": kept.users} if data.user_ids else {})
            content = {name: _write_table(table, folder / name, scratch) for name, table in written.items()}
            packing = _packing(kept, config)
            if packing.cold is not None:
                content[packings.COLD] = _write_cold(packing.cold, folder)
            _write_histories(folder, kept, packing, config.data, scratch / "sorted")
            content["histories"] = histories.digest(histories.each(folder))
            features = _write_features(folder, opened, kept, data, packing)
            span = engines.fetch(kept.times.agg(first=ibis._.time.min(), last=ibis._.time.max())).to_pylist()[0]
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    dated = kept.time_form not in times.FORMS_OF_NUMBERS
    catalogue = pq.read_table(folder / "items.parquet", columns=["title", "text"]).to_pydict()
    found = card.describe(
        histories.each(folder), kept.steps, card.Span(**span, now=time.time(), dated=dated), data, catalogue["title"]
    )
    for line in found["notices"]:
        notice(line)
    if features:
        content["features"], found["features"] = features
    return found | {
        "content": content,
        "items_without_interactions": kept.unused,
        "items_without_text": catalogue["text"].count(""),
        "items_with_several_rows": kept.repeated,
        "catalogue_rows": rows,
        "time_form": kept.time_form,
        "columns": columns,
        "files": list(opened.files),
    }


def _check_columns(data: Data) -> None:
    lacking = []
    if data.split == "last_session" and not data.columns.session:
        lacking.append("--data.split last_session needs to know the session's column: pass --data.columns.session")
    if data.min_rating and not data.columns.rating:
        lacking.append("--data.min-rating needs to know the rating's column: pass --data.columns.rating")
    if lacking:
        raise UserError("; ".join(lacking))


def _write_table(table: Table, path: Path, scratch: Path) -> str:
    """Writes it in its order, and digests its values, not the file: engines cut a table into pages as they like."""
    schema = table.schema().to_pyarrow()
    found = hashlib.sha256(json.dumps(schema.names).encode())
    with pq.ParquetWriter(path, schema) as file:
        for batch in engines.stream(table, scratch / path.stem):
            rows = pa.Table.from_batches([batch]).cast(schema)
            file.write_table(rows)
            for row in zip(*(column.to_pylist() for column in rows.columns), strict=True):
                found.update(json.dumps(row).encode())
    return found.hexdigest()


def _write_cold(cold: np.ndarray, folder: Path) -> str:
    """Writes which items are held out, for what is fitted on the others; its digest."""
    np.save(folder / packings.COLD, cold)
    return arrays_digest({"cold": cold})


def _write_histories(folder: Path, kept: Clean, packing: Packing, data: Data, scratch: Path) -> None:
    users = kept.steps[-1]["users"]
    shutil.rmtree(folder / "histories", ignore_errors=True)
    if not data.beam:
        records = packings.records(engines.stream(kept.log, scratch), packing)
        total = -(-users // histories.USERS_PER_RECORD)
        histories.write(folder, track(records, "packing histories", total))
        return
    if find_spec("apache_beam") is None:
        raise UserError("--data.beam needs Apache Beam, which is not installed: pip install 'rexjax[beam]'")
    from rexjax.data import beam

    options = beam.options(data.beam)
    engines.store(kept.log, scratch)
    histories.write(folder, beam.Records(scratch.resolve(), users, packing), beam_options=options)


def _write_features(
    folder: Path, opened: Opened, kept: Clean, data: Data, packing: Packing
) -> tuple[str, dict[str, Any]] | None:
    """Digest and facts of the features; None where none are declared."""
    columns = data.columns
    read = columns_read(columns, items=opened.items is not None, users=opened.users is not None)
    if not read.known:
        return None
    events = engines.fetch(kept.event_columns)
    owners = {name: events[name].to_numpy() for name in ("user", "item")}
    events = events.filter(pa.array(packings.kept_events(owners, packing)))
    items = engines.fetch(kept.item_columns)
    raw = RawFeatures(_raw(events, read.short(read.log)), _raw(items, read.short(read.of_items)))
    if opened.users is not None:
        with interactions.reading("users file"):
            users, changes = users_table.read_users(opened.users, kept.users, columns, read)
        raw = raw._replace(users=users, changes=changes)
    made, facts = prepared.make(columns, histories.read(folder), len(items), raw)
    shutil.rmtree(folder / prepared.FOLDER, ignore_errors=True)
    prepared.write(folder, made)
    return prepared.digest(made), facts


def _raw(table: pa.Table, short: dict[str, str]) -> dict[str, Any]:
    return {name: table[alias] for alias, name in short.items()}


def _packing(kept: Clean, config: Config) -> Packing:
    data = config.data
    cold = _cold_items(kept, data, config.seed) if data.split == "cold_items" else None
    return Packing(data.split, kept.cuts, cold)


def _cold_items(kept: Clean, data: Data, seed: int) -> np.ndarray:
    """bool [N]: the share of the items with interactions that is held out, drawn by the seed."""
    counted = kept.log.group_by("item").agg(events=ibis._.count())  # Spark keeps repeats in DISTINCT over ORDER BY
    sold = np.sort(engines.fetch(counted)["item"].to_numpy())
    cold = np.zeros(engines.count(kept.items), bool)
    drawn = np.random.default_rng(seed).permutation(len(sold))[: round(data.holdout * len(sold))]
    cold[sold[drawn]] = True
    return cold


def external(config: Config) -> dict[str, str]:
    """Hashes of the files that the source reads, by their names below --data.path."""
    folder = Path(config.data.path)
    paths = config.data.source.external_files(config.data)
    return {
        str(path.relative_to(folder) if path.is_relative_to(folder) else path.name): file_hash(path) for path in paths
    }


def show(metrics: dict[str, Any], config: Config) -> list[Any]:
    """The data card."""
    return tables.card(metrics)


STAGE = Stage(
    name="prepare",
    run=run,
    keys=("seed", "data"),
    packages=("duckdb", "ibis-framework", "numpy"),
    what="read, clean, split and pack the log",
    external=external,
    show=show,
)
