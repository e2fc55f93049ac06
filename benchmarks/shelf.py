"""Every simple model of the shelf on one log, each after a search of the same budget.

    python -m benchmarks.shelf --data FOLDER/online_retail --json benchmarks/results/shelf.json

The log, its split and the requests are those of configs/online_retail.py. Each model starts from its default settings
and is searched as by ``rexjax sweep``: one of its ``variations()`` at a time is fitted, and kept if NDCG@10 on
validation improves, for ``--trials`` fits at most. The best is fitted once more by the clock and ranked on test, once.
Fitted trials and finished models are not repeated: killed, the command goes on where it was. Seconds are those of
``fit`` with its compilation, on one device; a second fit of the same shapes is faster and is reported beside it.
"""

import argparse
import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax

from benchmarks import record
from rexjax.artifacts import classes
from rexjax.config import (
    IALS,
    Config,
    DecayedPopularity,
    Ease,
    ItemKNN,
    Model,
    Popularity,
    RecentPopularity,
    RP3beta,
    SequentialRules,
    Slim,
    TextCosine,
    TextKNN,
)
from rexjax.config import schema as configs
from rexjax.errors import UserError
from rexjax.evaluation import cost, ranking
from rexjax.families.base import Run, TrainingData, fit, named
from rexjax.models.scorer import Scorer
from rexjax.pipeline import runner
from rexjax.pipeline.stages import inputs

RUNS = Path("runs/shelf")
METRIC = "ndcg@10"
SHELF = named(
    (
        Popularity(),
        RecentPopularity(),
        DecayedPopularity(),
        TextCosine(),
        TextKNN(),
        ItemKNN(),
        RP3beta(),
        SequentialRules(),
        Ease(),
        Slim(),
        IALS(),
    )
)
"""What is searched, from its defaults."""


def main() -> None:
    """Searches, ranks, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", help=f"some of {', '.join(SHELF)}; all by default")
    parser.add_argument("--data", required=True, help="folder of the log")
    parser.add_argument("--trials", type=int, default=20, help="fits of each model, at most")
    parser.add_argument("--json", default="", help="where to write the rows")
    flags = parser.parse_args()
    if unknown := set(flags.models) - set(SHELF):
        parser.error(f"no model {', '.join(sorted(unknown))}: there are {', '.join(SHELF)}")
    log = _Log(flags.data)
    for name in flags.models or SHELF:
        rows = record.rows(flags.json)
        if not any(row["case"] == name and row["trials_allowed"] == flags.trials for row in rows):
            found = log.row(name, SHELF[name], flags.trials)
            command = f"python -m benchmarks.shelf {name} --data FOLDER/online_retail --trials {flags.trials}"
            made = {"seed": log.config.seed, "command": command, "commit": commit()}
            rows = [row for row in rows if row["case"] != name] + [found | made]
            record.write(flags.json, rows, ("jax", "numpy", "scipy"))
    print(_table(record.rows(flags.json)))


class _Log:
    """The log as models are fitted and asked on it."""

    def __init__(self, folder: str) -> None:
        config = configs.load("configs/online_retail.py")
        self.config: Config = replace(
            config, workdir=str(RUNS / "online_retail"), data=replace(config.data, path=folder)
        )
        made = runner.run(self.config, ("prepare", "encode"), update=True, say=print)
        self.data: TrainingData = inputs.training_data(
            self.config, {outcome.stage: outcome.artifact for outcome in made}
        )
        self.asked = {part: inputs.requests_of(self.data, part) for part in ("valid", "test")}

    def row(self, name: str, start: Model, trials: int) -> dict[str, Any]:
        """Searches one family; figures of its best model."""
        best, tried = search(start, _Trials(name, self).quality, trials)
        scorer, first = self.fitted(name, best)
        _, second = self.fitted(name, best)
        return {
            "case": name,
            "dataset": "online_retail",
            "settings": classes.as_dict(best),
            "trials": tried,
            "trials_allowed": trials,
            "valid": self.quality(scorer, "valid"),
            "test": self.quality(scorer, "test"),
            "users": len(self.asked["test"].histories),
            "fit_seconds": first,
            "fit_seconds_again": second,
            "bytes": cost.tree_bytes(scorer.state),
        }

    def fitted(self, name: str, model: Model) -> tuple[Scorer, float]:
        """The model, and the seconds of its fit."""
        run: Run = inputs.run_of(self.config, self.data, RUNS, name, f"baselines.{name}")
        started = time.perf_counter()
        state = jax.block_until_ready(fit(model, self.data, run))
        return model.scorer(state), time.perf_counter() - started

    def quality(self, scorer: Scorer, part: str) -> float:
        """NDCG@10 over all users of a part."""
        return float(ranking.evaluate(scorer, self.asked[part], ks=(10,), description=part).means[METRIC])


class _Trials:
    """Validation metrics of settings, kept in a file a model."""

    def __init__(self, name: str, log: _Log) -> None:
        self.name, self.log, self.path = name, log, RUNS / f"{name}.jsonl"
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        self.known = {key: value for key, value in map(json.loads, lines)}

    def quality(self, model: Model) -> float:
        key = json.dumps(classes.as_dict(model))
        if key not in self.known:
            scorer, seconds = self.log.fitted(self.name, model)
            self.known[key] = self.log.quality(scorer, "valid")
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps([key, self.known[key]]) + "\n")
            print(f"{self.name} {self.known[key]:.4f} in {seconds:.1f} s: {key}", flush=True)
        return self.known[key]


def search(start: Model, quality: Callable[[Model], float], trials: int) -> tuple[Model, int]:
    """Coordinate ascent over ``variations()``: the best model, and how many were tried.

    A change that helped is tried again before any other. A model that is refused counts as a trial of quality 0.
    """
    best, reached, tried, last = start, quality(start), [start], ""
    while len(tried) < trials:
        listed = best.variations()
        waiting = [name for name in sorted(listed, key=lambda name: name != last) if listed[name] not in tried]
        if not waiting:
            break
        last, model = waiting[0], listed[waiting[0]]
        tried.append(model)
        try:
            found = quality(model)
        except UserError as error:
            print(f"refused: {error}")
            continue
        if found > reached:
            best, reached = model, found
    return best, len(tried)


def commit() -> str:
    """The hash of the checked-out commit."""
    return subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()


def _table(rows: list[dict[str, Any]]) -> str:
    lines = ["| model | NDCG@10 valid | test | trials | fit, s | again, s | MB |", "|---|---|---|---|---|---|---|"]
    for row in sorted(rows, key=lambda row: -row["test"]):
        figures = f"{row['valid']:.4f} | {row['test']:.4f} | {row['trials']} | {row['fit_seconds']:.1f}"
        lines.append(f"| {row['case']} | {figures} | {row['fit_seconds_again']:.1f} | {row['bytes'] / 1e6:.1f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
