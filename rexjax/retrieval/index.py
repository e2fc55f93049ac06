"""The index: item rows, scales, id map, history encoder and fallback in one folder; all that serving needs.

Everything is NumPy's format, safetensors, Parquet or JSON: nothing is unpickled, and the rows are memory-mapped.
"""

import difflib
import json
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pyarrow.parquet as pq

from rexjax.artifacts import classes
from rexjax.artifacts.store import write_json
from rexjax.config.schema import Student
from rexjax.embedding.quantized import dequantize_tree
from rexjax.errors import UserError
from rexjax.models import recommender
from rexjax.models.served import Served
from rexjax.retrieval import files, scorer
from rexjax.retrieval.scorer import Scorer


class Index(NamedTuple):
    """An index in memory."""

    scorer: Scorer
    item_ids: list[str]
    """Raw ids by dense id."""
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
    folder: Path, served: Served, student: Student, length: int, popularity: np.ndarray, version: int = 1
) -> None:
    """Writes ``rows.npy``, ``weights.safetensors``, ``popularity.npy`` and ``index.json`` beside the id map.

    Args:
        folder: where to; holds ``items.parquet``.
        served: the quantised student.
        student: its hyper-parameters.
        length: L.
        popularity: int64 [N], training interactions.
        version: counts the changes since training (``rexjax.retrieval.index_updates``).

    Raises:
        UserError: the student is not as wide as the rows.
    """
    width = jax.eval_shape(dequantize_tree, served).items.shape[1]
    if student.width != width:
        raise UserError(f"the student is {student.width} wide and its item rows are {width}: an index needs them alike")
    files.write(folder, flatten(served))
    np.save(folder / "popularity.npy", popularity)
    write_json(folder / "index.json", {"version": version, "length": length, "student": classes.as_dict(student)})


def read(folder: Path) -> Index:
    """Reads what ``write`` left (the caller has checked its hashes)."""
    about = json.loads((folder / "index.json").read_text())
    student = classes.from_dict(Student, about["student"])
    served = unflatten(files.read(folder))
    items = pq.read_table(folder / "items.parquet").to_pydict()
    popularity = np.load(folder / "popularity.npy", allow_pickle=False)
    return Index(
        scorer=scorer.model(recommender.student(student, about["length"]), served),
        item_ids=[str(item) for item in items["item_id"]],
        titles=items["title"],
        popular=np.argsort(-popularity, kind="stable").astype(np.int32),
        share=popularity / max(popularity.sum(), 1),
        length=about["length"],
        categories=items.get("category"),
        version=about.get("version", 1),
    )


def recommend(index: Index, history: list[int], k: int) -> list[Recommendation]:
    """The k best items after ``history`` (dense ids, latest last), which are not recommended again.

    Raises:
        UserError: k is larger than the catalogue without the history.
    """
    left = len(index.titles) - len(set(history))
    if not 1 <= k <= left:
        raise UserError(
            f"--k {k}: this catalogue has {left} items that can be recommended, so k must lie in 1 … {left}"
        )
    if not history:
        return [_item(index, int(i), float(index.share[i])) for i in index.popular[:k]]
    padded = np.full((1, index.length), -1, np.int32)
    latest = history[-index.length :]
    padded[0, index.length - len(latest) :] = latest
    answer = jax.jit(scorer.answer(index.scorer, k))
    scores, ids = answer(index.scorer.served, padded, np.asarray([history], np.int32))
    return [_item(index, int(i), float(s)) for s, i in zip(scores[0], ids[0], strict=True)]


def _item(index: Index, item: int, score: float) -> Recommendation:
    return Recommendation(index.item_ids[item], index.titles[item], score)


def find_items(index: Index, names: list[str]) -> tuple[list[int], list[str]]:
    """Dense ids of ``names`` (raw ids, or titles in any case), and the names that are neither.

    Raises:
        UserError: none of them is known; the nearest titles are named.
    """
    by_name = {title.casefold(): i for i, title in enumerate(index.titles)}
    by_name |= {item_id.casefold(): i for i, item_id in enumerate(index.item_ids)}
    known = [by_name[name.casefold()] for name in names if name.casefold() in by_name]
    unknown = [name for name in names if name.casefold() not in by_name]
    if names and not known:
        near = difflib.get_close_matches(names[0].casefold(), by_name, n=3, cutoff=0.3)
        hint = "; did you mean " + " or ".join(repr(index.titles[by_name[n]]) for n in near) if near else ""
        raise UserError(f"no item of --history is in the catalogue (looked for {', '.join(map(repr, names))}){hint}")
    return known, unknown
