"""Retrieval alone against retrieval and a ranker: NDCG@10 with paired intervals, and the cost of the whole request.

    python -m benchmarks.two_stage --data FOLDER --json benchmarks/results/two_stage.json

FOLDER holds ml-100k and online_retail. On ml-100k each user's last rating is the test and the one before validates;
online_retail is split as by configs/online_retail.py. The first stage is EASE with the settings that are best on
validation. The ranker reads its scores, those of other counted models, and what the request says. "blend" sums the same
models with weights that are chosen on validation. Settings of the ranker are chosen on validation; test is ranked once.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks import record
from rexjax.artifacts import classes
from rexjax.config import Blend, Ease, ItemKNN, Model, SequentialRules, TextKNN
from rexjax.data import splits
from rexjax.data.histories import Histories
from rexjax.evaluation import ranking, requests
from rexjax.evaluation.models import costs_of
from rexjax.evaluation.ranking import Requests
from rexjax.evaluation.significance import paired_bootstrap
from rexjax.families.base import Run, TrainingData, fit
from rexjax.families.rankers import DCNv2
from rexjax.families.two_stage import TwoStage
from rexjax.models.scorer import Scorer
from rexjax.runtime.mesh import make_mesh
from rexjax.training.labelled import LabelledTraining

RUNS = Path("runs/two_stage")
METRIC = "ndcg@10"
RANKER = DCNv2(
    width=8,
    hidden=(64,),
    crosses=2,
    training=LabelledTraining(epochs=12, batch=256, learning_rate=1e-3, l2=1e-3, patience=2),
)


class Setting(NamedTuple):
    """What is tried on a log."""

    read: Callable[[Path], tuple[TrainingData, dict[str, Requests]]]
    first: tuple[Model, ...]
    """First stages, of which the best on validation is kept."""
    signals: tuple[Model, ...]
    held: float
    """Share of the training histories that the ranker learns from."""


def read_ml100k(folder: Path) -> tuple[TrainingData, dict[str, Requests]]:
    """All ratings in the order of time; the last one of each user is the test."""
    rows = np.loadtxt(folder / "ml-100k" / "ml-100k.inter", skiprows=1, delimiter="\t", dtype=np.int64)
    rows = rows[np.lexsort((rows[:, 3], rows[:, 0]))]
    _, items = np.unique(rows[:, 1], return_inverse=True)
    users, counts = np.unique(rows[:, 0], return_counts=True)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    log = Histories(items.astype(np.int32), rows[:, 3].astype(np.float64), offsets, *splits.leave_one_out(offsets))
    trained = np.arange(len(items)) < np.repeat(log.valid_start, counts)
    popularity = np.bincount(items[trained], minlength=int(items.max()) + 1)
    data = TrainingData(log, [log._asdict()], len(popularity), popularity, length=50)
    asked = {
        part: requests.build(log, part, items=data.items, length=data.length, exclude_seen=True)[0]
        for part in ("valid", "test")
    }
    return data, asked


def read_online_retail(folder: Path) -> tuple[TrainingData, dict[str, Requests]]:
    """As configs/online_retail.py says."""
    from benchmarks.shelf import Log  # it prepares the log

    log = Log(str(folder / "online_retail"))
    return log.data, log.asked


COUNTED = (ItemKNN(decay=0.9), SequentialRules(decay=0.98, window=5, rules=200))
LOGS = {
    "ml-100k": Setting(read_ml100k, (Ease(l2=500.0), Ease(l2=500.0, decay=0.98, training_decay=0.98)), COUNTED, 0.05),
    "online_retail": Setting(
        read_online_retail,
        (Ease(l2=500.0, decay=0.7, training_decay=0.9, recency="times"), Ease(l2=1000.0)),
        (Ease(l2=1000.0), TextKNN(decay=0.97), *COUNTED),
        0.1,
    ),
}
OBJECTIVES = ("listnet", "lambdarank")
"""Losses that are tried."""


def main() -> None:
    """Fits, ranks, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("logs", nargs="*", help=f"some of {', '.join(LOGS)}; all by default")
    parser.add_argument("--data", required=True, help="folder with ml-100k and online_retail")
    parser.add_argument("--json", default="", help="where to write the rows")
    flags = parser.parse_args()
    if unknown := set(flags.logs) - set(LOGS):
        parser.error(f"no log {', '.join(sorted(unknown))}: there are {', '.join(LOGS)}")
    for name in flags.logs or LOGS:
        rows = record.rows(flags.json)
        if not any(row["dataset"] == name for row in rows):
            command = f"python -m benchmarks.two_stage {name} --data FOLDER"
            made = {"dataset": name, "seed": 0, "command": command, "commit": record.commit()}
            found = [row | made for row in figures(name, LOGS[name], Path(flags.data))]
            record.write(flags.json, rows + found, ("jax", "flax", "optax", "numpy"))
    print(table(record.rows(flags.json)))


def figures(name: str, setting: Setting, folder: Path) -> list[dict[str, Any]]:
    """A row for the first stage, the blend and the two stages."""
    log = _Log(name, *setting.read(folder))
    first = log.best(setting.first)
    stages = tuple(
        TwoStage(first.model, setting.signals, RANKER, held=setting.held, objective=objective)
        for objective in OBJECTIVES
    )
    kinds = {
        "first stage": first,
        "blend": log.best((Blend((first.model, *setting.signals)),)),
        "two stages": log.best(stages),
    }
    results = {kind: log.ranked(found.scorer, "test") for kind, found in kinds.items()}
    costs, rows = costs_of({kind: found.scorer for kind, found in kinds.items()}, log.data.length, 50), []
    for kind, found in kinds.items():
        row = record.row(kind, METRIC, results[kind].means[METRIC]) | {
            "settings": classes.as_dict(found.model),
            "valid": found.valid,
            "fit_seconds": found.seconds,
            "users": len(log.asked["test"].histories),
            "cost": costs[kind],
        }
        for other in ("first stage", "blend"):
            if kind not in (other, "first stage"):
                pair = results[kind].per_user[METRIC], results[other].per_user[METRIC]
                row[f"against {other}"] = paired_bootstrap(*pair, seed=0)._asdict()
        rows.append(row)
        print(row, flush=True)
    return rows


class _Found(NamedTuple):
    """A fitted model."""

    model: Model
    scorer: Scorer
    valid: float
    seconds: float


class _Log:
    """A log as models are fitted and asked on it."""

    def __init__(self, name: str, data: TrainingData, asked: dict[str, Requests]) -> None:
        self.name, self.data, self.asked = name, data, asked

    def best(self, models: tuple[Model, ...]) -> _Found:
        """The best on validation."""
        return max((self.fitted(model) for model in models), key=lambda found: found.valid)

    def fitted(self, model: Model) -> _Found:
        """Fits and validates."""
        run = Run(make_mesh(1), RUNS, name=type(model).__name__, key="model", validate=self.validate)
        started = time.perf_counter()
        state = jax.block_until_ready(fit(model, self.data, run))
        seconds, scorer = time.perf_counter() - started, model.scorer(state)
        valid = self.ranked(scorer, "valid").means[METRIC]
        print(f"{self.name}, {type(model).__name__}: {valid:.4f} on validation in {seconds:.0f} s", flush=True)
        return _Found(model, scorer, valid, seconds)

    def validate(self, scorer: Scorer, users: int = 0) -> dict[str, float]:
        """All users of the validation part."""
        return self.ranked(scorer, "valid").means

    def ranked(self, scorer: Scorer, part: str) -> ranking.Result:
        """Full ranking."""
        return ranking.evaluate(scorer, self.asked[part], ks=(10,), description=part)


def table(rows: list[dict[str, Any]]) -> str:
    """The rows for people."""
    lines = ["| log | model | NDCG@10 valid | test | against the first stage | p50, ms |", "|---|---|---|---|---|---|"]
    for row in rows:
        against = row.get("against first stage")
        interval = f"{against['difference']:+.4f} ({against['low']:+.4f} … {against['high']:+.4f})" if against else ""
        figures = f"{row['valid']:.4f} | {row['ours']:.4f} | {interval} | {row['cost']['p50_ms']:.2f}"
        lines.append(f"| {row['dataset']} | {row['case']} | {figures} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
