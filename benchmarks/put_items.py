"""What text alone is worth to an item that a finished index has never met: recall of rows put in beside trained ones.

    rexjax run configs/quickstart.py
    python -m benchmarks.put_items runs/quickstart --json benchmarks/results/put_items.json

The catalogue is dealt into ten parts. Each in turn is taken out of the index and put back by what the items' text says
(``rexjax items``), the map being learnt from the other nine; then the test targets among them are ranked in the whole
catalogue, seen items filtered: with their trained rows, with the rows put in, by popularity as the log knows it (an
item that was really new would have none) and by the likeness of their text to the latest item's. So every test user
counts once. The others' targets are ranked beside the rows put in as well, which must not push them down.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import record
from rexjax.artifacts import classes, store, workdirs
from rexjax.config import Config, Model, Popularity, TextCosine
from rexjax.encoders import text
from rexjax.evaluation import ranking, significance
from rexjax.evaluation.ranking import Requests
from rexjax.families.base import Run, TrainingData
from rexjax.models import text_map as text_maps
from rexjax.models.scorer import Scorer
from rexjax.models.text_map import TextMap
from rexjax.pipeline import items
from rexjax.pipeline.stages import inputs
from rexjax.retrieval import index, index_updates
from rexjax.retrieval.index import Index
from rexjax.retrieval.index_updates import Contents
from rexjax.runtime.mesh import make_mesh

PARTS = 10
_METRICS = ("recall@10", "ndcg@10")


def main() -> None:
    """Measures each workdir and writes one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workdirs", nargs="+", type=Path, help="where `rexjax run` left its artifacts")
    parser.add_argument("--json", default="", help="where to write the figures")
    flags = parser.parse_args()
    rows = record.rows(flags.json)
    for workdir in flags.workdirs:
        found = measure(workdir)
        print(*found, sep="\n", flush=True)
        rows = [row for row in rows if row["dataset"] != workdir.name] + found
        record.write(flags.json, rows, ("jax", "flax", "numpy", "tokenizers"))


def measure(workdir: Path) -> list[dict[str, Any]]:
    """A row for each way of ranking the targets that were put in, and for the others' targets."""
    data = inputs.training_data(_config(workdir), {"prepare": store.read(workdir / "prepare")})
    folder = store.read(workdir / "index").folder
    contents, found = index_updates.read(folder), index.read(folder)
    with tempfile.TemporaryDirectory() as shards:
        model = items.text_model(workdir)
        vectors = text.encode_texts(model, contents.items["text"], Path(shards), mesh=None)
    asked = inputs.requests_of(data, "test")
    popular, alike = _fitted(Popularity(), data, vectors), _fitted(TextCosine(), data, vectors)
    scores: dict[str, dict[str, list[np.ndarray]]] = {}
    explained = []
    for held in np.array_split(np.random.default_rng(0).permutation(data.items), PARTS):
        text_map = _learnt(contents, vectors, held)
        linear = text_map._replace(left=np.zeros_like(text_map.left))
        changed, simple = (_put_back(found, contents, held, one, vectors) for one in (text_map, linear))
        explained.append(text_map.about["explained"])
        own = np.isin(np.arange(data.items), held)
        for name, ranked, targets in (
            ("trained rows", found.scorer, own),
            ("rows put in", changed, own),
            ("rows put in, linear function alone", simple, own),
            ("popularity", popular, own),
            ("text cosine", alike, own),
            ("others, before", found.scorer, ~own),
            ("others, beside rows put in", changed, ~own),
        ):
            result = ranking.evaluate(ranked, _asked_for(asked, targets), ks=(10,), description=f"ranking, {name}")
            for metric in _METRICS:
                scores.setdefault(name, {}).setdefault(metric, []).append(result.per_user[metric])
    about = {"dataset": workdir.name, "items": data.items, "explained": float(np.mean(explained))}
    return [about | _row(name, found) for name, found in scores.items()]


def _config(workdir: Path) -> Config:
    """What the workdir was made with."""
    values = workdirs.read_config(workdir) | {"workdir": str(workdir)}
    return classes.from_dict(Config, values, workdir / store.CONFIG_FILES)


def _fitted(model: Model, data: TrainingData, vectors: np.ndarray) -> Scorer:
    run = Run(mesh=make_mesh(1, 1), folder=Path())
    return model.scorer(model.fit(replace(data, content={"text": vectors}), run))


def _learnt(contents: Contents, vectors: np.ndarray, held: np.ndarray) -> TextMap:
    """From items that are not ``held``."""
    learners = index_updates.learners(
        index_updates.remove(contents, {contents.items["item_id"][item] for item in held})
    )
    learners = np.setdiff1d(np.arange(len(vectors)), held)[learners]
    return text_maps.fit_map(vectors[learners], index_updates.rows_of(contents, learners))


def _put_back(found: Index, contents: Contents, held: np.ndarray, text_map: TextMap, vectors: np.ndarray) -> Scorer:
    """The model with the rows of ``held`` from their text; in their places, so that dense ids stay."""
    new = {name: [column[item] for item in held] for name, column in contents.items.items()}
    changed = index_updates.put(contents, new, text_maps.predict(text_map, vectors[held]))
    return replace(found.scorer, state=changed.served)


def _asked_for(asked: Requests, wanted: np.ndarray) -> Requests:
    """The same questions, of users who want some of the items ``wanted``, bool [N], and for those alone."""
    owner = np.repeat(np.arange(len(asked.histories)), np.diff(asked.target_offsets))
    kept = wanted[asked.target_items]
    users = np.unique(owner[kept])
    seen = [asked.seen_items[asked.seen_offsets[user] : asked.seen_offsets[user + 1]] for user in users]
    return Requests(
        asked.histories[users],
        np.concatenate(seen),
        np.append(0, np.cumsum([len(one) for one in seen])),
        asked.target_items[kept],
        np.append(np.searchsorted(owner[kept], users), kept.sum()),
        None if asked.times is None else asked.times[users],
    )


def _row(name: str, scores: dict[str, list[np.ndarray]]) -> dict[str, Any]:
    row: dict[str, Any] = {"case": name}
    for metric, parts in scores.items():
        values = np.concatenate(parts)
        mean = significance.bootstrap_mean(values, 0)
        row |= {"questions": len(values), metric: float(values.mean()), f"{metric} interval": [mean.low, mean.high]}
    return row


if __name__ == "__main__":
    main()
