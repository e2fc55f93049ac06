"""Changes of a finished index without training: items are taken out, and put in by what their text says.

The row of an item that training has not met comes from its text's vector, by a map learnt from popular items that it
has met (Gantner et al. 2010, "Learning Attribute-to-Feature Mappings for Cold-Start Recommendations"): a linear
function, fitted by ridge regression, and what it leaves of the items nearest by text, averaged (Nadaraya 1964, Watson
1964). Alone, the linear function finds less than half on Amazon's Beauty (``benchmarks.put_items``); the nearest items'
rows alone, which were tried, found a quarter on the simulated shop. The map is fitted to rows as they are served, so it
suits every way of compressing them, and is kept inside the index.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors
import safetensors.numpy

from rexjax.embedding.row_format import map_rows
from rexjax.embedding.rows import alike, take
from rexjax.models.served import Served, unflatten
from rexjax.retrieval import files, index

MOST = 5000
"""Items that the map is learnt from, the most popular ones."""
PREDICTED_AT_ONCE = 4096
"""Items whose rows are predicted in one block."""
RIDGES = 10.0 ** np.arange(-6, 2.25, 0.25)
"""Ridges that are tried, as shares of the largest eigenvalue."""
_MAP = "text_map.safetensors"
_NEAREST, _WARMTH = 20, 0.05  # items that are averaged, and of the softmax of their cosines (chosen on validation)


class Contents(NamedTuple):
    """What an index says of its items, all by dense id."""

    served: Served
    popularity: np.ndarray
    """int64 [N], training interactions."""
    items: dict[str, list[str]]
    """Columns item_id, title, text; and category, where the log knows one."""
    unmet: float = 1.0
    """Factor on the vectors of items that training has not met."""


class TextMap(NamedTuple):
    """From text vectors to rows: ``vectors @ kernel + bias``, and what that leaves of the nearest of M known items."""

    kernel: np.ndarray
    """float32 [W, D]."""
    bias: np.ndarray
    """float32 [D]."""
    known: np.ndarray
    """float16 [M, W], text vectors of the items that it was learnt from."""
    left: np.ndarray
    """float16 [M, D], their rows less the linear function."""
    about: dict[str, Any]
    """What it was learnt from, and how well the linear function fits."""


def read(folder: Path) -> Contents:
    """The index in ``folder``, as the pipeline or ``write`` left it."""
    items = pq.read_table(folder / "items.parquet").to_pydict()
    kept = {name: [str(value) for value in items[name]] for name in _columns(items)}
    served = Served(**unflatten(files.read(folder)))
    about = json.loads((folder / "index.json").read_text())
    return Contents(served, np.load(folder / "popularity.npy", allow_pickle=False), kept, about.get("unmet", 1.0))


def _columns(items: dict[str, Any]) -> list[str]:
    return [name for name in ("item_id", "title", "text", "category") if name in items]


def write(folder: Path, contents: Contents, text_map: TextMap | None, before: Path) -> int:
    """Writes an index of ``contents`` into ``folder``, with the student of the index in ``before``; its version."""
    about = json.loads((before / "index.json").read_text())
    version = about.get("version", 1) + 1
    pq.write_table(pa.table(contents.items), folder / "items.parquet")
    model = index.read_model(before, about)
    name = about.get("name", "model")
    kept = {"name": name, "version": version, "unmet": contents.unmet}
    index.write(folder, model, contents.served, about["length"], contents.popularity, **kept)
    if text_map:
        arrays = text_map._asdict()
        about = {"about": json.dumps(arrays.pop("about"))}
        safetensors.numpy.save_file(arrays, folder / _MAP, about)
    return version


def read_map(folder: Path) -> TextMap | None:
    """The map that the index in ``folder`` holds, if it does."""
    if not (folder / _MAP).exists():
        return None
    with safetensors.safe_open(folder / _MAP, "numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        return TextMap(**arrays, about=json.loads(file.metadata()["about"]))


def learners(contents: Contents) -> np.ndarray:
    """int64 [at most ``MOST``], the most popular items that have a text: what a map is learnt from."""
    spoken = np.asarray([bool(text) for text in contents.items["text"]], bool)
    order = np.argsort(-contents.popularity, kind="stable")
    return order[spoken[order]][:MOST]


def fit_map(vectors: np.ndarray, rows: np.ndarray) -> TextMap:
    """Learns rows float32 [M, D] from text vectors float32 [M, W]; the linear function in closed form.

    Its ridge is the one with the least generalised cross-validation error (Golub, Heath & Wahba 1979); ``about`` says
    which, and what share of the rows' variance it explains by that measure.
    """
    x, y = np.asarray(vectors, np.float64), np.asarray(rows, np.float64)
    mean_x, mean_y = x.mean(0), y.mean(0)
    x, y = x - mean_x, y - mean_y
    values, basis = np.linalg.eigh(x.T @ x)
    values, products = np.maximum(values, 0.0), basis.T @ (x.T @ y)  # [W], [W, D]
    total, weight = float((y**2).sum()), (products**2).sum(1)

    def error(ridge: float) -> float:
        left = total - (weight * (2 / (values + ridge) - values / (values + ridge) ** 2)).sum()
        freedom = 1 + (values / (values + ridge)).sum()  # one for the mean
        return left / max(1 - freedom / len(x), 1e-9) ** 2

    ridge = min(np.maximum(values[-1], 1e-12) * RIDGES, key=error)
    kernel = basis @ (products / (values + ridge)[:, None])
    left = (y - x @ kernel).astype(np.float16)
    about = {"items": len(x), "ridge": float(ridge), "explained": float(1 - error(ridge) / max(total, 1e-12))}
    linear = kernel.astype(np.float32), (mean_y - mean_x @ kernel).astype(np.float32)
    return TextMap(*linear, np.asarray(vectors, np.float16), left, about)


def predict(text_map: TextMap, vectors: np.ndarray) -> np.ndarray:
    """Unit rows float32 [N, D] of items whose text vectors are [N, W]."""
    vectors, known = np.asarray(vectors, np.float32), _unit(text_map.known.astype(np.float32))
    starts = range(0, len(vectors), PREDICTED_AT_ONCE)
    return np.concatenate([_predict(text_map, known, vectors[at : at + PREDICTED_AT_ONCE]) for at in starts])


def _predict(text_map: TextMap, known: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    cosines = _unit(vectors) @ known.T
    nearest = np.argsort(-cosines, axis=1, kind="stable")[:, :_NEAREST]
    cosines = np.take_along_axis(cosines, nearest, 1)
    weights = np.exp((cosines - cosines[:, :1]) / _WARMTH)
    weights /= weights.sum(1, keepdims=True)
    left = np.einsum("nk,nkd->nd", weights, text_map.left[nearest].astype(np.float32))
    return _unit(vectors @ text_map.kernel + text_map.bias + left)


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def rows_of(contents: Contents, items: np.ndarray) -> np.ndarray:
    """float32 [M, D], the rows of ``items`` as they are served."""
    return np.asarray(take(contents.served.items, np.asarray(items, np.int32)[None])[0][0])


def put(contents: Contents, items: dict[str, list[str]], rows: np.ndarray) -> Contents:
    """With ``items`` (columns as in ``contents``), whose rows are float32 [M, D].

    Those whose id is known are replaced and keep their popularity; others come last, with none. Rows of items without
    training interactions are shortened by the index's factor.
    """
    place = {item: number for number, item in enumerate(contents.items["item_id"])}
    for item in items["item_id"]:
        place.setdefault(item, len(place))
    where = np.asarray([place[item] for item in items["item_id"]], np.int64)
    added = len(place) - len(contents.popularity)
    popularity = np.append(contents.popularity, np.zeros(added, np.int64))
    lengths = np.where(popularity[where] == 0, contents.unmet, 1.0).astype(np.float32)
    kept = alike(jnp.asarray(rows * lengths[:, None]), contents.served.items)

    def with_rows(old: jax.Array, new: jax.Array) -> jax.Array:
        room = jnp.concatenate([old, jnp.zeros((added, *old.shape[1:]), old.dtype)])
        return room.at[where].set(new, mode="promise_in_bounds")

    columns = {name: [*column, *[""] * added] for name, column in contents.items.items()}
    for name, column in columns.items():
        for number, value in zip(where.tolist(), items[name], strict=True):
            column[number] = value
    served = contents.served._replace(items=map_rows(with_rows, contents.served.items, kept))
    return Contents(served, popularity, columns, contents.unmet)


def remove(contents: Contents, ids: set[str]) -> Contents:
    """Without the items that are named; the others keep their order."""
    stay = np.flatnonzero([item not in ids for item in contents.items["item_id"]])
    return Contents(
        contents.served._replace(items=map_rows(lambda leaf: leaf[stay], contents.served.items)),
        contents.popularity[stay],
        {name: [column[number] for number in stay.tolist()] for name, column in contents.items.items()},
        contents.unmet,
    )
