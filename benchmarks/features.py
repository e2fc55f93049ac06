"""Features against none: the same model, seed and users, with words of the titles in both.

    python -m benchmarks.features online_retail beauty --data FOLDER --json benchmarks/results/features.json

Online Retail has the price and the quantity of an item, medians over the lines that train, and the country of a user,
which the transformer reads. Beauty has the attributes of its items, which are brand and category words. A model learns
from labels and keeps the epoch that is best on validation. A row holds NDCG@10 with features, and the difference to the
model without them with its interval over users. Whether features pay is decided on validation; the test is ranked once.
A row that is in the file is kept.
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchmarks import record
from rexjax.artifacts import store
from rexjax.config import Config, Data, Evaluate, Pooled, Training, Transformer
from rexjax.data.features import Bag, Categorical, Numeric
from rexjax.data.frames import Dataset
from rexjax.encoders.tfidf import encode_words
from rexjax.evaluation import ranking, significance
from rexjax.families.base import Run, TrainingData
from rexjax.families.gradient import GradientModel
from rexjax.pipeline.stages import inputs, prepare
from rexjax.runtime.mesh import make_mesh

WIDTH = 64
"""Of the vectors of the titles' words."""


def online_retail(folder: Path) -> tuple[Dataset, dict[str, Any]]:
    """Invoices; the last two of each user are held out, so that they give no price and no quantity."""
    log = pd.read_parquet(folder / "interactions.parquet")
    latest = log.groupby("user_id")["timestamp"].transform(lambda times: times.rank(method="dense", ascending=False))
    known = log[latest > 2].groupby("item_id")[["price", "quantity"]].median().reset_index()
    items = pd.read_csv(folder / "items.csv", dtype=str).merge(known, how="left", on="item_id")
    dataset = Dataset.from_frames(
        log,
        items,
        session="invoice",
        item_features=[Numeric("price", "log", 24), Numeric("quantity", "log", 12)],
        user_features=[Categorical("country", min_count=5)],
    )
    return dataset, {"split": "last_session", "targets": "next_time", "catalogue": "log", "length": 100}


def beauty(folder: Path) -> tuple[Dataset, dict[str, Any]]:
    """Leave-one-out; an attribute of fewer than five items is unknown."""
    log = pd.read_parquet(folder / "interactions.parquet")
    items = pd.read_csv(folder / "items.csv.gz")
    dataset = Dataset.from_frames(
        log,
        items,
        time="day_since_first",
        text=("title", "keywords"),
        item_features=[Bag("s3rec_attributes", " ", name="attributes", most=16, min_count=5)],
    )
    return dataset, {"catalogue": "log", "strict": False, "length": 50}


class Log(NamedTuple):
    """A log with features."""

    folder: str
    read: Callable[[Path], tuple[Dataset, dict[str, Any]]]
    items: tuple[str, ...]
    """Item features."""
    users: tuple[str, ...] = ()
    """User features, which the transformer reads."""


SETS = {
    "online_retail": Log("online_retail", online_retail, ("price", "quantity"), ("country",)),
    "beauty": Log("amazon-beauty", beauty, ("attributes",)),
}


def models(epochs: int) -> dict[str, GradientModel]:
    """The student's kind and the teacher's, small."""
    training = Training(epochs=epochs, batch=24, warmup=100, patience=3, learning_rate=2e-3)
    return {
        "pooled": Pooled(width=32, training=training),
        "transformer": Transformer(width=32, layers=1, heads=1, training=training),
    }


def main() -> None:
    """Trains what is left to do, ranks, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="+", choices=sorted(SETS), help="which logs")
    parser.add_argument("--models", nargs="+", default=["pooled", "transformer"], help="which models")
    parser.add_argument("--epochs", type=int, default=12, help="passes over the log, at most")
    parser.add_argument("--data", default=os.environ.get("REXJAX_DATA", ""), help="folder of the benchmark data sets")
    parser.add_argument("--json", default="", help="where to write the rows")
    flags = parser.parse_args()
    rows = record.rows(flags.json)
    for name in flags.sets:
        done = {(row["dataset"], row["case"]) for row in rows}
        wanted = {case: model for case, model in models(flags.epochs).items() if case in flags.models}
        left = {case: model for case, model in wanted.items() if (name, case) not in done}
        for row in _compared(name, left, Path(flags.data)) if left else ():
            rows.append({"command": record.command(), "commit": record.commit()} | row)
            print(row, flush=True)
            record.write(flags.json, rows, ("jax", "flax", "optax", "numpy"))


def _compared(name: str, models_: dict[str, GradientModel], data: Path) -> Iterator[dict[str, Any]]:
    source = SETS[name]
    with tempfile.TemporaryDirectory() as scratch:
        log = _prepared(*source.read(data / source.folder), Path(scratch))
        for case, model in models_.items():
            place = Path(scratch) / case
            reading = replace(model, item_features=source.items)
            if isinstance(reading, Transformer):
                reading = replace(reading, user_features=source.users)
            features = (*source.items, *reading.names_of_user_features())
            ours, plain = (_ranked(one, log, place / which) for one, which in ((reading, "with"), (model, "without")))
            yield from _rows(name, case, features, ours, plain, log)


def _prepared(dataset: Dataset, settings: dict[str, Any], scratch: Path) -> TrainingData:
    data: Data = dataset.write(scratch / "frames", **settings)
    config = Config(workdir=str(scratch), data=data, evaluate=Evaluate())
    folder = scratch / "prepare"
    folder.mkdir()
    metrics = prepare.run(config, folder, {})
    made = store.finish(folder, "features", content=metrics.pop("content"), seconds=0, config={}, metrics=metrics)
    found = inputs.training_data(config, {"prepare": made})
    words, _ = encode_words(inputs.titles(made)["text"], WIDTH)
    return replace(found, content={"tfidf": words})


def _ranked(model: GradientModel, data: TrainingData, folder: Path) -> dict[str, ranking.Result]:
    asked = {part: inputs.requests_of(data, part) for part in ("valid", "test")}

    def validate(scorer: Any, users: int = 0) -> dict[str, float]:
        return ranking.evaluate(scorer, asked["valid"], ks=(10,), description="validating").means

    folder.mkdir(parents=True)
    run = Run(make_mesh(), folder, seed=0, name=folder.name, validate=validate)
    scorer = model.scorer(model.fit(data, run))
    return {part: ranking.evaluate(scorer, asked[part], ks=(10,), description=part) for part in asked}


def _rows(
    name: str, case: str, features: tuple[str, ...], ours: Any, plain: Any, data: TrainingData
) -> Iterator[dict[str, Any]]:
    for part, segment, users in _segments(data):
        a, b = (results[part].per_user["ndcg@10"][users] for results in (ours, plain))
        found = significance.paired_bootstrap(a, b, seed=0)
        yield {
            "dataset": name,
            "case": case,
            "features": ", ".join(features),
            "metric": f"{part} ndcg@10, {segment}",
            "users": int(users.sum()),
            "ours": float(a.mean()),
            "without": float(b.mean()),
            "difference": found.difference,
            "low": found.low,
            "high": found.high,
            "seeds": [0],
        }


def _segments(data: TrainingData) -> Iterator[tuple[str, str, np.ndarray]]:
    """All users of each part, and those of the test whose targets are all among the rarest fifth of the items."""
    rare = data.popularity <= np.quantile(data.popularity, 0.2)
    for part in ("valid", "test"):
        asked = inputs.requests_of(data, part)
        users = np.repeat(np.arange(len(asked.histories)), np.diff(asked.target_offsets))
        common = np.bincount(users, ~rare[asked.target_items], len(asked.histories))
        yield part, "all users", np.ones(len(asked.histories), bool)
        if part == "test" and (common == 0).any():
            yield part, "targets among the rarest fifth of the items", common == 0


if __name__ == "__main__":
    main()
