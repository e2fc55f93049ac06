"""What turns the items of one export (``items.parquet``) into those of the next: changed names, and shares by a factor.

A share is an item's part of all interactions. Each new event changes the share of all items, most of them by the same
factor. What remains after that factor are a few units in the last place, which compress well.
"""

import io
import zlib
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rexjax.serving.delta_arrays import Changes

SHARE, SHARE_AT = "share", 2
"""The column that is told by a factor, and its place among the columns."""


def changes(old: np.ndarray, new: np.ndarray) -> Changes:
    """What turns the table ``old`` into ``new``, both Parquet files as bytes, uint8.

    Returns:
        ``ids`` int32 [C], the rows whose names changed or that are new, ``table``, their columns as a Parquet file,
        ``factor`` float64 [1] and ``residual``, the compressed distances of the shares from it; both uint8.
    """
    before, after = _read(old), _read(new)
    names = after.drop_columns([SHARE])
    ids = _changed(before.drop_columns([SHARE]), names)
    shares = _shares(before, len(after)), after[SHARE].to_numpy()
    factor = _factor(*shares)
    residual = shares[1].view(np.int64) - _predict(shares[0], factor).view(np.int64)
    return {
        "ids": ids,
        "table": _bytes_of(_write(names.take(ids))),
        "factor": np.asarray([factor]),
        "residual": _bytes_of(_compress(residual)),
    }


def apply(old: np.ndarray, found: Mapping[str, np.ndarray]) -> np.ndarray:
    """The table that ``changes`` told from ``old``: a Parquet file, uint8."""
    before, changed, ids = _read(old), _read(found["table"]), found["ids"]
    residual = np.frombuffer(zlib.decompress(found["residual"].tobytes()), np.uint8)
    residual = np.ascontiguousarray(residual.reshape(8, -1).T).view(np.int64)[:, 0]
    shares = _predict(_shares(before, len(residual)), float(found["factor"][0])).view(np.int64) + residual
    names = changed if len(ids) == len(residual) else _merge(before.drop_columns([SHARE]), changed, ids, len(residual))
    return _bytes_of(_write(names.add_column(SHARE_AT, SHARE, [shares.view(np.float64)])))


def _merge(before: pa.Table, changed: pa.Table, ids: np.ndarray, rows: int) -> pa.Table:
    """The first ``rows`` rows of ``before``, with those of ``changed`` at ``ids``."""
    place = np.arange(rows)
    place[ids] = len(before) + np.arange(len(ids))
    return pa.concat_tables([before, changed]).combine_chunks().take(place)


def _changed(before: pa.Table, after: pa.Table) -> np.ndarray:
    kept = min(len(before), len(after)) if before.schema.equals(after.schema) else 0
    differ = np.ones(len(after), bool)
    differ[:kept] = False
    for name in after.column_names if kept else ():
        differ[:kept] |= pc.not_equal(before[name].slice(0, kept), after[name].slice(0, kept)).to_numpy()
    return np.flatnonzero(differ).astype(np.int32)


def _shares(table: pa.Table, rows: int) -> np.ndarray:
    """Their first ``rows``, zeros after the last: float64."""
    shares = table[SHARE].to_numpy()[:rows].astype(np.float64)
    return np.pad(shares, (0, rows - len(shares)))


def _factor(old: np.ndarray, new: np.ndarray) -> float:
    """The median factor between shares.

    >>> _factor(np.asarray([0.2, 0.2, 0.0, 0.6]), np.asarray([0.1, 0.1, 0.2, 0.6]))
    0.5
    """
    both = (old > 0) & (new > 0)
    return float(np.median(new[both] / old[both])) if both.any() else 1.0


def _predict(shares: np.ndarray, factor: float) -> np.ndarray:
    return np.asarray(shares * np.float64(factor))


def _compress(residual: np.ndarray) -> bytes:
    """Of int64, all lowest bytes first: the others are nearly always alike."""
    return zlib.compress(np.ascontiguousarray(residual[:, None].view(np.uint8).T).tobytes(), 9)


def _read(content: np.ndarray) -> pa.Table:
    return pq.read_table(pa.BufferReader(content.tobytes()))


def _write(table: pa.Table) -> bytes:
    """The bytes that an export writes of the same table."""
    file = io.BytesIO()
    pq.write_table(table.combine_chunks(), file)
    return file.getvalue()


def _bytes_of(content: bytes) -> np.ndarray:
    return np.frombuffer(content, np.uint8)
