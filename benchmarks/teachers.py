"""The teacher alone, from several seeds, with and without what is claimed to help it.

    python -m benchmarks.teachers beauty movielens --seeds 0 1 2 --data FOLDER --json benchmarks/results/teachers.json

Each seed is trained with the config's own settings, its best epoch chosen on validation, and ranked on test: the whole
catalogue, seen items filtered. ``--without text`` trains each seed again without the items' text and gives the
difference, paired over users, overall and for targets among the rarest fifth of the items. ``--pooled`` puts as many
members beside the transformers that pool a history as the student does. ``--split global_time`` holds out what lies
behind two moments instead of each user's last two items. A teacher that is trained already is only ranked again.
"""

import argparse
import json
import os
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import record
from rexjax.artifacts.store import Artifact
from rexjax.config import schema as configs
from rexjax.config.schema import Config, Teacher
from rexjax.evaluation import requests, significance
from rexjax.models import recommender
from rexjax.pipeline import runner, sweep
from rexjax.pipeline.stages import evaluate, inputs, teacher
from rexjax.retrieval import scorer

SETS = {
    "beauty": ("configs/amazon.py", "amazon-beauty", {}),
    "sports": ("configs/amazon.py", "amazon-sports", {"members": 2}),  # half the members, as the bar is lower
    "toys": ("configs/amazon.py", "amazon-toys", {"members": 2}),
    "movielens": ("configs/movielens.py", "ml-1m", {}),
    "online_retail": ("configs/online_retail.py", "online_retail", {}),
    "quickstart": ("configs/quickstart.py", "", {}),
}
"""Config, folder, and what the teacher has otherwise than in the config."""
RUNS = Path("runs/teachers")
_METRICS = ("ndcg@10", "recall@10")


def main() -> None:
    """Trains, ranks, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="+", choices=sorted(SETS), help="which logs")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="one training each")
    parser.add_argument("--without", choices=["", "text"], default="", help="train each seed again without it")
    parser.add_argument("--pooled", action="store_true", help="with as many members that pool as transformers")
    parser.add_argument("--time", choices=["none", "history", "query"], default="", help="as --teacher.time")
    parser.add_argument(
        "--split", choices=["leave_one_out", "global_time", "cold_items"], default="", help="as --data.split"
    )
    parser.add_argument("--data", default=os.environ.get("REXJAX_DATA", ""), help="folder of the benchmark data sets")
    parser.add_argument("--json", default="", help="where to write the rows")
    flags = parser.parse_args()
    rows = record.rows(flags.json)
    for name in flags.sets:
        variant = Variant(name, flags.time, flags.split, flags.data, flags.pooled)
        for seed in flags.seeds:
            ours = variant.test(seed, text=True)
            fixed = {"dataset": name, "case": variant.label, "seed": seed, "commit": _commit()}
            found = [fixed | {"metric": f"{part} {key}", "ours": value} for part, key, value in ours.figures()]
            if flags.without:
                found += [fixed | row for row in _difference(ours, variant.test(seed, text=False))]
            for row in found:
                print(row, flush=True)
            keys = {_key(row) for row in found}
            rows = [row for row in rows if _key(row) not in keys] + found
            record.write(flags.json, rows, ("jax", "flax", "optax", "numpy"))


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("dataset", "case", "seed", "metric"))


class _Tested:
    """One teacher on test (and validation), by user."""

    def __init__(self, results: dict[str, Any], rare: np.ndarray, seconds: float) -> None:
        self.results, self.rare, self.seconds = results, rare, seconds

    def figures(self) -> list[tuple[str, str, float]]:
        means = [(part, key, self.results[part].means[key]) for part in self.results for key in _METRICS]
        return [*means, ("training", "seconds", self.seconds)]


class Variant:
    """One log with one choice of split, time and members."""

    def __init__(self, name: str, moment: str, split: str, data: str, pooled: bool = False) -> None:
        file, folder, otherwise = SETS[name]
        config = configs.load(file)
        log = replace(config.data, path=str(Path(data) / folder) if folder else "", split=split or config.data.split)
        log = replace(log, holdout=0.05) if split == "cold_items" else log
        model = replace(config.teacher, time=moment or config.teacher.time, **otherwise)
        model = _with_pooled(model) if pooled else model
        self.name, self.config = name, replace(config, data=log, teacher=model)
        self.label = f"{log.split}, time {model.time}" + (", pooled members" if pooled else "")

    def test(self, seed: int, *, text: bool) -> _Tested:
        """Trains, if that is left to do, and ranks."""
        config, artifacts = self.trained(seed, text=text)
        folder = artifacts["teacher"].folder
        return _rank(config, artifacts, folder, json.loads((folder / "done.json").read_text())["seconds"])

    def trained(self, seed: int, *, text: bool) -> tuple[Config, dict[str, Artifact]]:
        """Trains (or goes on) in a folder of its own: the config, and its artifacts with the teacher's."""
        config = self.config if text else _without_text(self.config)
        place = RUNS / self.name / config.data.split / ("text" if text else "ids")
        config = replace(config, workdir=str(place))
        made = runner.run(config, ("prepare", "encode"), update=True, say=print)
        artifacts = {outcome.stage: outcome.artifact for outcome in made}
        seeded = replace(config, seed=seed)
        folder = place / f"teacher {sweep.trial_key(seeded, config.teacher, artifacts)}"
        folder.mkdir(exist_ok=True)
        done = folder / "done.json"
        if not done.exists():
            started = time.monotonic()
            teacher.run(seeded, folder, artifacts)
            done.write_text(json.dumps({"seconds": time.monotonic() - started}))
        return config, artifacts | {"teacher": Artifact(folder, {"hash": folder.name})}


def _with_pooled(teacher: Teacher) -> Teacher:
    own = teacher.blocks * (teacher.members // len(teacher.blocks))
    return replace(teacher, members=2 * teacher.members, blocks=own + ("pooled",) * teacher.members)


def _without_text(config: Config) -> Config:
    return replace(config, data=replace(config.data, text=()), encode=replace(config.encode, words=0))


def _rank(config: Config, artifacts: dict[str, Any], folder: Path, seconds: float) -> _Tested:
    log = inputs.prepared(artifacts["prepare"])
    model = recommender.teacher(config.teacher, config.data.length)
    model = scorer.model(model, inputs.served(folder / "model"))
    results, asked = {}, {}
    for part in ("valid", "test"):
        asked[part], _ = requests.build(log.histories, part, items=log.items, length=config.data.length)
        results[part] = evaluate.rank(f"teacher, {part}", model, asked[part], (10,))
    for name, baseline in evaluate.baselines(log, artifacts["encode"]).items():
        results[name] = evaluate.rank(name, baseline, asked["test"], (10,))
    rank = np.empty(log.items, int)
    rank[np.argsort(log.popularity, kind="stable")] = np.arange(log.items)
    first = asked["test"].target_items[asked["test"].target_offsets[:-1]]
    return _Tested(results, rank[first] < log.items // 5, seconds)


def _difference(ours: _Tested, other: _Tested) -> list[dict[str, Any]]:
    rows = []
    for case, users in (("all targets", slice(None)), ("rarest fifth of items", ours.rare)):
        for key in _METRICS:
            a, b = (tested.results["test"].per_user[key][users] for tested in (ours, other))
            interval = significance.paired_bootstrap(a, b, seed=0)
            row = {"metric": f"test {key}, {case}", "ours": float(a.mean()), "users": len(a)}
            row |= {"peer_name": "without text", "peer": float(b.mean()), "difference": interval.difference}
            rows.append(row | {"interval": [interval.low, interval.high]})
    return rows


def _commit() -> str:
    return subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
