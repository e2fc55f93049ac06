"""The index: item rows, scales, id map, history encoder and fallback in one folder; all that serving needs.

Everything is NumPy's format, safetensors, Parquet or JSON: nothing is unpickled, and the rows are memory-mapped.
"""

import difflib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pyarrow.parquet as pq

from rexjax.artifacts.classes import as_dict, from_dict
from rexjax.artifacts.files import write_json
from rexjax.artifacts.store import config_files
from rexjax.embedding.rows import count
from rexjax.errors import UserError
from rexjax.families.base import Model, need_vectors
from rexjax.models.scorer import Scorer
from rexjax.models.served import flatten, unflatten
from rexjax.retrieval import files
from rexjax.retrieval.answer import answer


class Index(NamedTuple):
    """An index in memory."""

    scorer: Scorer
    restore: Callable[[dict[str, Any]], Any]
    """From named arrays (``rexjax.models.served.flatten``) to the scorer's state."""
    name: str
    """Of the model."""
    item_ids: list[str]
    """Raw ids by dense id."""
    rows: dict[str, int]
    """Dense ids by raw id."""
    titles: list[str]
    popular: np.ndarray
    """int32 [N], dense ids from the most to the least popular: the answer to an empty history."""
    share: np.ndarray
    """float64 [N], each item's share of all training interactions."""
    length: int
    """The longest history that is looked at."""
    categories: list[str] | None = None
    """By dense id, '' where an item has none; None where the log knows none at all."""
    version: int = 1
    """Above 1: items have been put in or taken out since training."""


class Recommendation(NamedTuple):
    """One answered item."""

    item_id: str
    title: str
    score: float
    """Cosine, or the share of all training interactions where popularity had to answer."""


def write(
    folder: Path,
    model: Model,
    state: Any,
    length: int,
    popularity: np.ndarray,
    *,
    name: str = "model",
    version: int = 1,
    unmet: float = 1.0,
) -> None:
    """Writes ``rows.npy``, ``weights.safetensors``, ``popularity.npy`` and ``index.json`` beside the id map.

    Args:
        folder: where to; holds ``items.parquet``.
        model: a family whose scores are dot products with item vectors.
        state: its state, quantised or not.
        length: L.
        popularity: int64 [N], training interactions.
        name: of the model, in tables.
        version: counts the changes since training (``rexjax.retrieval.index_updates``).
        unmet: factor on the vectors of items without training (``rexjax.families.unmet``), for those to come.

    Raises:
        UserError: the model has no item vectors, or not one for each item.
    """
    rows = count(need_vectors(model.scorer(state), name, "an index"))
    if rows != len(popularity):
        raise UserError(
            f"{name} has {rows} item rows and the catalogue {len(popularity)} items: an index needs them alike"
        )
    files.write(folder, flatten(state))
    np.save(folder / "popularity.npy", popularity)
    about = {"version": version, "name": name, "length": length, "unmet": unmet, "model": as_dict(model)}
    write_json(folder / "index.json", about)


def read(folder: Path) -> Index:
    """Reads what ``write`` left (the caller has checked its hashes).

    >>> import tempfile, pyarrow as pa
    >>> from rexjax.families import TextCosine
    >>> with tempfile.TemporaryDirectory() as name:
    ...     folder = Path(name)
    ...     pq.write_table(pa.table({"item_id": ["a", "b"], "title": ["Red mug", "Tea pot"]}), folder / "items.parquet")
    ...     write(folder, TextCosine(), {"text": np.eye(2, dtype=np.float32)}, 5, np.asarray([3, 1]))
    ...     index = read(folder)
    >>> index.item_ids, index.popular.tolist()
    (['a', 'b'], [0, 1])
    """
    about = json.loads((folder / "index.json").read_text())
    model = read_model(folder, about)
    items = pq.read_table(folder / "items.parquet").to_pydict()
    popularity = np.load(folder / "popularity.npy", allow_pickle=False)

    def restore(leaves: dict[str, Any]) -> Any:
        return model.state_from(unflatten(leaves))

    item_ids = [str(item) for item in items["item_id"]]
    return Index(
        scorer=model.scorer(restore(files.read(folder))),
        restore=restore,
        name=about.get("name", "model"),
        item_ids=item_ids,
        rows={item: row for row, item in enumerate(item_ids)},
        titles=items["title"],
        popular=np.argsort(-popularity, kind="stable").astype(np.int32),
        share=popularity / max(popularity.sum(), 1),
        length=about["length"],
        categories=items.get("category"),
        version=about.get("version", 1),
    )


def read_model(folder: Path, about: dict[str, Any]) -> Model:
    """The family in ``index.json``."""
    if "model" not in about:
        raise UserError(f"{folder} was made by another version of rexjax: run the pipeline again")
    return from_dict(Model, about["model"], config_files(folder))


def recommend(index: Index, history: list[int], k: int) -> list[Recommendation]:
    """The k best items after ``history`` (dense ids, latest last), which are not recommended again.

    Raises:
        UserError: k is larger than the catalogue without the history.

    >>> titles, share = ["Red mug", "Tea pot"], np.asarray([0.7, 0.3])
    >>> index = Index(None, None, "model", ["a", "b"], {}, titles, np.arange(2), share, length=5)
    >>> recommend(index, [], 1)  # an empty history gets the most popular items
    [Recommendation(item_id='a', title='Red mug', score=0.7)]
    """
    left = len(index.titles) - len(set(history))
    if not 1 <= k <= left:
        raise UserError(f"--k {k}: this catalogue has {left} items that can be recommended: set k from 1 to {left}")
    if not history:
        return [_item(index, int(i), float(index.share[i])) for i in index.popular[:k]]
    padded = np.full((1, index.length), -1, np.int32)
    latest = history[-index.length :]
    padded[0, index.length - len(latest) :] = latest
    request = jax.jit(answer(index.scorer, k))
    scores, ids = request(index.scorer.state, padded, np.asarray([history], np.int32))
    return [_item(index, int(i), float(s)) for s, i in zip(scores[0], ids[0], strict=True)]


def _item(index: Index, item: int, score: float) -> Recommendation:
    return Recommendation(index.item_ids[item], index.titles[item], score)


def find_items(index: Index, names: list[str]) -> tuple[list[int], list[str]]:
    """Dense ids of ``names`` (raw ids as written, or titles in any case), and the names that are neither.

    Raises:
        UserError: none of them is known (the nearest titles are named), or a title belongs to several items.

    >>> rows = {"a": 0, "b": 1}
    >>> index = Index(None, None, "model", list(rows), rows, ["Red mug", "Tea pot"], np.arange(2), np.ones(2) / 2, 5)
    >>> find_items(index, ["b", "red mug", "lamp"])
    ([1, 0], ['lamp'])
    """
    titled: dict[str, list[int]] = {}
    for row, title in enumerate(index.titles):
        titled.setdefault(title.casefold(), []).append(row)
    found = {name: [index.rows[name]] if name in index.rows else titled.get(name.casefold(), []) for name in names}
    for name, rows in found.items():
        if len(rows) > 1:
            ids = ", ".join(index.item_ids[row] for row in rows[:5])
            raise UserError(f"{name!r} is the title of {len(rows)} items: give an id instead, such as one of {ids}")
    known, unknown = [found[name][0] for name in names if found[name]], [name for name in names if not found[name]]
    if names and not known:
        near = difflib.get_close_matches(names[0].casefold(), titled, n=3, cutoff=0.3)
        hint = "; did you mean " + " or ".join(repr(index.titles[titled[n][0]]) for n in near) if near else ""
        raise UserError(f"no item of --history is in the catalogue (looked for {', '.join(map(repr, names))}){hint}")
    return known, unknown
