"""The benchmark of neural collaborative filtering (He et al. 2017) on MovieLens-1M: hit rate and NDCG at 10.

    python -m benchmarks.ncf --data FOLDER --json benchmarks/results/ncf.json

FOLDER holds ``ml-1m/interactions.parquet`` and ``ncf-ml1m/ncf_ml1m.npz``. Each user's test item is ranked among itself
and 99 published items, as the published figures are; 156 of those items are the test item itself and are left out. The
ranking of the whole catalogue, without the user's training items, stands beside. A sampled metric is no estimate of the
whole one (Krichene & Rendle 2020): it serves the comparison with published figures alone.

Settings and epochs are chosen with the last training item of each user held out, by NDCG@10 among 99 items drawn
evenly from those that the user does not have. The best settings are fitted again on all 994,169 pairs, for the chosen
epochs, and ranked on test once. Finished trials and models are not repeated: killed, the command goes on where it was.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pyarrow.parquet as pq

from benchmarks import record
from rexjax.artifacts import classes
from rexjax.config import GMF, IALS, MLP, Ease, ItemKNN, Model, NeuMF, PairTraining, Popularity, Slim
from rexjax.data.histories import Histories
from rexjax.evaluation import cost, ranking, requests
from rexjax.evaluation.metrics import METRICS, rank_metrics
from rexjax.evaluation.ranking import Requests, ragged
from rexjax.families.base import Run, TrainingData, fit
from rexjax.models.scorer import Scorer
from rexjax.runtime.mesh import make_mesh

RUNS = Path("runs/ncf")
SEED = 0
METRIC = "ndcg@10"
PUBLISHED = {"ials": (0.7286, 0.4527), "neumf": (0.7093, 0.4349), "ease": (0.7192, 0.4494)}
"""HR@10 and NDCG@10: iALS (Rendle et al. 2021), NeuMF and EASE (Dacrema et al. 2021)."""
ALONE = PairTraining(epochs=40, batch=1024, learning_rate=1e-3, patience=3, validate_users=6040)
TOGETHER = replace(ALONE, learning_rate=1e-4, epochs=20)
_GMF, _MLP = GMF(width=64, training=ALONE), MLP(width=128, layers=(128, 64), training=ALONE)
TRIED: dict[str, tuple[Model, ...]] = {
    "popularity": (Popularity(),),
    "item_knn": tuple(ItemKNN(neighbours=width, shrinkage=shrinkage) for width in (100, 300) for shrinkage in (0, 50)),
    "ease": tuple(Ease(l2=l2) for l2 in (500.0, 700.0, 1000.0, 1400.0)),
    "slim": (Slim(),),
    "ials": (IALS(width=192, epochs=12, l2=0.007, unobserved_weight=0.3),),
    "gmf": tuple(replace(_GMF, l2=l2) for l2 in (1e-3, 3e-3, 1e-2)),
    "mlp": (_MLP,),
    "neumf": tuple(
        NeuMF(gmf=replace(_GMF, l2=l2), mlp=_MLP, l2=l2, pretrained=True, training=TOGETHER) for l2 in (1e-3, 3e-3)
    ),
}
"""Settings that are tried on validation, by model."""
QUICK = PairTraining(epochs=2, batch=1024, patience=1)
QUICKLY: dict[str, tuple[Model, ...]] = {
    "popularity": (Popularity(),),
    "ials": (IALS(width=16, epochs=2, l2=0.007, unobserved_weight=0.3),),
    "gmf": (GMF(width=8, training=QUICK),),
    "neumf": (
        NeuMF(gmf=GMF(width=8, training=QUICK), mlp=MLP(width=8, training=QUICK), pretrained=True, training=QUICK),
    ),
}
"""What ``--quick`` tries, on a tenth of the users."""


def main() -> None:
    """Tries, fits, ranks, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", help=f"some of {', '.join(TRIED)}; all by default")
    parser.add_argument("--data", required=True, help="folder with ml-1m and ncf-ml1m")
    parser.add_argument("--quick", action="store_true", help="a tenth of the users, small models")
    parser.add_argument("--json", default="", help="where to write the rows")
    flags = parser.parse_args()
    tried = QUICKLY if flags.quick else TRIED
    if unknown := set(flags.models) - set(tried):
        parser.error(f"no model {', '.join(sorted(unknown))}: there are {', '.join(tried)}")
    benchmark = _Benchmark(Path(flags.data), 604 if flags.quick else 6040)
    for name in flags.models or tried:
        rows = record.rows(flags.json)
        if not any(row["case"] == name for row in rows):
            command = f"python -m benchmarks.ncf {name} --data FOLDER" + " --quick" * flags.quick
            made = {"seed": SEED, "command": command, "commit": record.commit()}
            found = benchmark.row(name, tried[name]) | made
            record.write(flags.json, [*rows, found], ("jax", "numpy", "scipy"))
            print(json.dumps(found), flush=True)
    print(_table(record.rows(flags.json)))


class _Benchmark:
    """The log, its questions, and what was tried on it."""

    def __init__(self, folder: Path, users: int) -> None:
        self.log, self.negatives = read(folder, users)
        self.items = int(np.max(self.log.items)) + 1
        self.path = RUNS / f"trials_{users}.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        self.known: dict[str, dict[str, Any]] = dict(map(json.loads, lines))

    def row(self, name: str, models: tuple[Model, ...]) -> dict[str, Any]:
        """Figures of the best of some settings on test."""
        model, valid = self.chosen(models)
        scorer, seconds, _ = self.fitted(model, self.log, "test")
        sampled, whole = (self.quality(scorer, asked) for asked in self.test())
        published = dict(zip(("published_hit_rate", "published_ndcg"), PUBLISHED.get(name, ()), strict=False))
        return {
            "case": name,
            "dataset": "ncf-ml1m",
            "settings": classes.as_dict(model),
            "trials": len(models),
            "valid": valid,
            "sampled": sampled,
            "whole": whole,
            "users": self.log.users,
            "fit_seconds": seconds,
            "bytes": cost.tree_bytes(scorer.state),
        } | published

    def chosen(self, models: tuple[Model, ...]) -> tuple[Model, float | None]:
        """The best settings with their epochs, and the quality on validation; None where there is nothing to choose."""
        if len(models) == 1 and not hasattr(models[0], "training"):
            return models[0], None
        trials = [self.trial(model) for model in models]
        best = max(range(len(models)), key=lambda number: trials[number]["valid"])
        return with_epochs(models[best], trials[best]["epochs"]), trials[best]["valid"]

    def trial(self, model: Model) -> dict[str, Any]:
        """Quality on validation and best epochs, kept in a file."""
        key = json.dumps(classes.as_dict(model))
        if key not in self.known:
            scorer, seconds, run = self.fitted(model, held_out(self.log), "valid")
            epochs = {name: summary["best_epoch"] for name, summary in run.summaries.items()}
            self.known[key] = {"valid": run.validate(scorer)[METRIC], "epochs": epochs, "seconds": seconds}
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps([key, self.known[key]]) + "\n")
            print(f"{type(model).__name__} {json.dumps(self.known[key])}: {key}", flush=True)
        return self.known[key]

    def fitted(self, model: Model, log: Histories, name: str) -> tuple[Scorer, float, Run]:
        """The model fitted on what is before ``valid_start``, and the seconds of the fit."""
        data = training_data(log, self.items)
        run = Run(make_mesh(), RUNS, seed=SEED, key=name, validate=self.validator(log))
        started = time.perf_counter()
        state = jax.block_until_ready(fit(model, data, run))
        return model.scorer(state), time.perf_counter() - started, run

    def validator(self, log: Histories) -> Callable[..., dict[str, float]]:
        """Quality among 99 items that are drawn once."""
        asked: dict[int, Requests] = {}

        def validate(scorer: Scorer, users: int = 6040) -> dict[str, float]:
            if users not in asked:
                length = longest(log)
                found, _ = requests.build(log, "valid", items=self.items, length=length, most=users, seed=SEED)
                asked[users] = requests.sampled(found, self.items, 99, SEED)
            return self.quality(scorer, asked[users])

        return validate

    def quality(self, scorer: Scorer, asked: Requests) -> dict[str, float]:
        """Hit rate and NDCG at 10."""
        measures = rank_metrics({name: METRICS[name] for name in ("hit_rate", "ndcg")})
        return ranking.evaluate(scorer, asked, ks=(10,), measures=measures, batch=64).means

    def test(self) -> tuple[Requests, Requests]:
        """The questions among the published items, and among the whole catalogue."""
        whole, users = requests.build(self.log, "test", items=self.items, length=longest(self.log))
        targets, everything = whole.target_items, np.arange(self.items)
        others = [
            np.setdiff1d(everything, np.append(self.negatives[user], target))
            for user, target in zip(users, targets, strict=True)
        ]
        seen_items, seen_offsets = ragged(others)
        return whole._replace(seen_items=seen_items, seen_offsets=seen_offsets), whole


def read(folder: Path, users: int) -> tuple[Histories, np.ndarray]:
    """The pairs of the first users in the benchmark's ids, each user's test item last; and the negatives [U, 99]."""
    split = np.load(folder / "ncf-ml1m" / "ncf_ml1m.npz")
    table = pq.read_table(folder / "ml-1m" / "interactions.parquet")
    columns = {name: table[name].to_numpy() for name in table.column_names}
    ids = np.full(max(split["item_of_ncf_id"].max(), columns["item_id"].max()) + 1, -1)
    ids[split["item_of_ncf_id"]] = np.arange(len(split["item_of_ncf_id"]))
    user, item, when = columns["user_id"].astype(int) - 1, ids[columns["item_id"].astype(int)], columns["timestamp"]
    kept = user < users
    user, item, when = user[kept], item[kept], when[kept].astype(np.float64)
    test = split["test_item"][user] == item
    order = np.lexsort((when, test, user))  # stable: ties in the order of the file
    offsets = np.searchsorted(user[order], np.arange(users + 1))
    times = np.maximum.accumulate(when[order] + 1e10 * user[order]) - 1e10 * user[order]  # a test item is the latest
    log = Histories(item[order].astype(np.int32), times, offsets, offsets[1:] - 1, offsets[1:] - 1)
    return log, split["negatives"][:users]


def held_out(log: Histories) -> Histories:
    """The log without test items, whose last training items validate."""
    kept = np.ones(len(log.items), bool)
    kept[log.offsets[1:] - 1] = False
    offsets = log.offsets - np.arange(log.users + 1)
    return Histories(log.items[kept], log.times[kept], offsets, offsets[1:] - 1, offsets[1:])


def training_data(log: Histories, items: int) -> TrainingData:
    """What models are fitted on."""
    owner = np.repeat(np.arange(log.users), np.diff(log.offsets))
    trained = np.arange(len(log.items)) < log.valid_start[owner]
    counts = np.bincount(log.items[trained], minlength=items)
    return TrainingData(log, [log._asdict()], items, counts, longest(log))


def longest(log: Histories) -> int:
    """Events of the longest history: no history is cut."""
    return int(np.diff(log.offsets).max())


def with_epochs(model: Model, epochs: dict[str, int]) -> Model:
    """A model of pairs that is trained for the chosen epochs without validation, and its parts likewise."""
    for name, chosen in epochs.items():
        path = name.split()[1:]
        model = _trained_for(model, path, chosen)
    return model


def _trained_for(model: Any, path: list[str], epochs: int) -> Any:
    if path:
        return replace(model, **{path[0]: _trained_for(getattr(model, path[0]), path[1:], epochs)})
    return replace(model, training=replace(model.training, epochs=max(epochs, 1), patience=0))


def _table(rows: list[dict[str, Any]]) -> str:
    heads = ("model", "HR@10 of 100", "NDCG@10 of 100", "HR@10", "NDCG@10", "published", "fit, s")
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for row in sorted(rows, key=lambda row: -row["sampled"]["ndcg@10"]):
        figures = [row[kind][metric] for kind in ("sampled", "whole") for metric in ("hit_rate@10", "ndcg@10")]
        published = " · ".join(f"{figure:.4f}" for figure in PUBLISHED.get(row["case"], ()))
        cells = " | ".join(f"{figure:.4f}" for figure in figures)
        lines.append(f"| {row['case']} | {cells} | {published} | {row['fit_seconds']:.0f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
