"""The teacher alone, from several seeds, with and without what is claimed to help it.

    python -m benchmarks.teachers beauty movielens --seeds 0 1 2 --data FOLDER --json benchmarks/results/teachers.json

Each seed is trained with the config's own settings, its best epoch chosen on validation, and ranked on test: the whole
catalogue, seen items filtered. ``--without text`` trains each seed again without the items' text and gives the
difference, paired over users, overall and for targets among the rarest fifth of the items. ``--pooled`` blends the
teacher's transformers with as many models that pool a history as the student does. ``--split global_time`` holds out
what lies behind two moments instead of each user's last two items. A teacher that is trained already is only ranked
again.
"""

import argparse
import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import record
from rexjax.artifacts.store import Artifact
from rexjax.config import Blend, Config, Model, Pooled, Transformer
from rexjax.config import schema as configs
from rexjax.evaluation import ranking, significance
from rexjax.pipeline import runner, sweep
from rexjax.pipeline.stages import evaluate, inputs, teacher

SETS = {
    "beauty": ("configs/amazon.py", "amazon-beauty", 0),
    "sports": ("configs/amazon.py", "amazon-sports", 2),  # half the members, as the bar is lower
    "toys": ("configs/amazon.py", "amazon-toys", 2),
    "movielens": ("configs/movielens.py", "ml-1m", 0),
    "online_retail": ("configs/online_retail.py", "online_retail", 0),
    "quickstart": ("configs/quickstart.py", "", 0),
}
"""Config, folder, and how many of the teacher's members are trained; 0: all."""
RUNS = Path("runs/teachers")
_METRICS = ("ndcg@10", "recall@10")


def main() -> None:
    """Trains, ranks, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="+", choices=sorted(SETS), help="which logs")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="one training each")
    parser.add_argument("--without", choices=["", "text"], default="", help="train each seed again without it")
    parser.add_argument("--pooled", action="store_true", help="blended with as many models that pool")
    parser.add_argument("--time", choices=["none", "history", "query"], default="", help="the teacher's time")
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
            fixed = {"dataset": name, "case": variant.label, "seed": seed, "commit": record.commit()}
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
        file, folder, members = SETS[name]
        config = configs.load(file)
        log = replace(config.data, path=str(Path(data) / folder) if folder else "", split=split or config.data.split)
        log = replace(log, holdout=0.05) if split == "cold_items" else log
        parts = _members(config.teacher)[: members or None]
        parts = [replace(part, time=moment or part.time) if isinstance(part, Transformer) else part for part in parts]
        transformers = [part for part in parts if isinstance(part, Transformer)]
        model = _blend(config.teacher, [*parts, *map(_pooled, transformers)] if pooled else parts)
        self.name, self.config = name, replace(config, data=log, teacher=model)
        self.label = f"{log.split}, time {transformers[0].time}" + (", pooled members" if pooled else "")

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
        made = runner.run(config, ("prepare", "encode", "baselines"), update=True, say=print)
        artifacts = {outcome.stage: outcome.artifact for outcome in made}
        seeded = replace(config, seed=seed)
        needed = {stage: artifacts[stage] for stage in teacher.STAGE.needs}
        folder = place / f"teacher {sweep.trial_key(seeded, config.teacher, needed)}"
        folder.mkdir(exist_ok=True)
        done = folder / "done.json"
        if not done.exists():
            started = time.monotonic()
            teacher.run(seeded, folder, needed)
            done.write_text(json.dumps({"seconds": time.monotonic() - started}))
        return config, artifacts | {"teacher": Artifact(folder, {"hash": folder.name})}


def _members(teacher: Model) -> list[Model]:
    return list(teacher.members) if isinstance(teacher, Blend) else [teacher]


def _blend(teacher: Model, members: list[Model]) -> Model:
    """A blend as the teacher is one; of several models that a lone teacher became, all weigh alike."""
    if len(members) == 1:
        return members[0]
    like = teacher if isinstance(teacher, Blend) else Blend(members=(teacher,), weights=(1.0,), standardized=False)
    weights = (1 / len(members),) * len(members) if like.weights else ()
    return replace(like, members=tuple(members), weights=weights)


def _pooled(member: Transformer) -> Pooled:
    """As wide, and trained alike; its scores are cosines."""
    same = ("width", "dropout", "time", "activations", "fusion", "training")
    settings = {name: getattr(member, name) for name in same}
    return Pooled(**settings, temperature=member.temperature or 0.1, profiles=8, hidden=2 * member.width)


def _without_text(config: Config) -> Config:
    return replace(config, data=replace(config.data, text=()), encode=replace(config.encode, tfidf_width=0))


def _rank(config: Config, artifacts: dict[str, Any], folder: Path, seconds: float) -> _Tested:
    data = inputs.training_data(config, artifacts)
    model = config.teacher.scorer(inputs.fitted(folder / "model", config.teacher))
    asked = {part: inputs.requests_of(data, part) for part in ("valid", "test")}
    results = {part: ranking.evaluate(model, asked[part], ks=(10,), description=f"teacher, {part}") for part in asked}
    for name, baseline in evaluate.models_of(config, {"baselines": artifacts["baselines"]}).items():
        results[name] = ranking.evaluate(baseline, asked["test"], ks=(10,), description=name)
    rank = np.empty(data.items, int)
    rank[np.argsort(data.popularity, kind="stable")] = np.arange(data.items)
    first = asked["test"].target_items[asked["test"].target_offsets[:-1]]
    return _Tested(results, rank[first] < data.items // 5, seconds)


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


if __name__ == "__main__":
    main()
