"""Changes of a finished index without training: items are taken out, and put in by what their text says.

Rows of items that training has not met come from their text, see ``rexjax.models.text_map``.
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
from rexjax.models.text_map import TextMap
from rexjax.retrieval import files, index

MOST = 5000
"""Items that the map is learnt from, the most popular ones."""
_MAP = "text_map.safetensors"


class Contents(NamedTuple):
    """What an index says of its items, all by dense id."""

    served: Served
    popularity: np.ndarray
    """int64 [N], training interactions."""
    items: dict[str, list[str]]
    """Columns item_id, title, text; and category, where the log knows one."""
    unmet: float = 1.0
    """Factor on the vectors of items that training has not met."""


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
