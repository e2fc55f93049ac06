"""Image and audio vectors of short videos in an item tower, beside models that read interactions alone.

    python -m benchmarks.multimodal --data FOLDER/tiktok-mm --json benchmarks/results/multimodal.json

The split is the published one (MMSSL, DiffMM): a validation item of 3,051 users and a test item of 6,130 others or the
same. Models are fitted on the training pairs alone. A request has a user's training items as history, and all others
are ranked. The log has no times: each history is in a random order that a seed draws.

Settings and epochs are chosen by Recall@20 on validation, then the test is ranked once. ``cold`` are test items without
a training pair, which content alone can place. A difference is that to IALS and to EASE, with its interval over users.
Published figures read text vectors too, which this data set does not have. A row that is in the file is kept.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks import record
from rexjax.artifacts import classes
from rexjax.config import IALS, Attended, Concatenated, Ease, Fusion, Gated, Model, Popularity, Sum, Training, TwoTower
from rexjax.data.histories import Histories
from rexjax.encoders import reduce
from rexjax.evaluation import ranking, requests, significance
from rexjax.evaluation.metrics import METRICS, rank_metrics
from rexjax.evaluation.ranking import Requests
from rexjax.families.base import Run, TrainingData, fit
from rexjax.models.scorer import Scorer
from rexjax.runtime.mesh import make_mesh

RUNS = Path("runs/multimodal")
METRIC, K, WIDTH = "recall@20", 20, 64
LENGTH = 64
"""Items of a history that a tower reads at once; longer ones train in pieces. The other models read them whole."""
PUBLISHED = "DiffMM .1129 / .0456 Recall@20 / NDCG@20, with text vectors"
MODALITIES = {"image": "image_feat.npy", "audio": "audio_feat.npy"}
_TRAINING = Training(epochs=24, batch=32, learning_rate=2e-3, validate_every=2, patience=3)
_TOWER = TwoTower(width=WIDTH, loss="full_softmax", dropout=0.3, temperature=0.1, training=_TRAINING)


def towers(modalities: Fusion) -> tuple[TwoTower, ...]:
    """The tower with that fusion, without and with modality dropout, beside a row and in a gate with it."""
    return tuple(
        replace(_TOWER, fusion=fusion, modalities=replace(modalities, drop=drop))
        for fusion in ("add", "gated")
        for drop in (0.0, 0.3)
    )


TRIED: dict[str, tuple[Model, ...]] = {
    "popularity": (Popularity(),),
    "ease": tuple(Ease(l2=l2) for l2 in (10.0, 30.0, 100.0, 300.0)),
    "ials": tuple(
        IALS(width=width, l2=l2, unobserved_weight=weight)
        for width in (64, 128)
        for l2 in (0.003, 0.01, 0.03)
        for weight in (0.03, 0.1, 0.3)
    ),
    "tower, none": tuple(replace(_TOWER, temperature=temperature) for temperature in (0.1, 0.2)),
    "tower, attended": towers(Attended()),
    "tower, gated": towers(Gated()),
    "tower, concatenated": towers(Concatenated()),
    "tower, sum": towers(Sum()),
}
"""Settings that are tried on validation, by row."""


class Task(NamedTuple):
    """What a model is fitted on and asked; the users and their order are the same for all."""

    data: TrainingData
    valid: Requests
    test: Requests


def main() -> None:
    """Tries, fits, ranks, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", help=f"some of {', '.join(TRIED)}; all by default")
    parser.add_argument("--data", required=True, help="folder of the data set")
    parser.add_argument("--json", default="", help="where to write the rows")
    flags = parser.parse_args()
    if unknown := set(flags.cases) - set(TRIED):
        parser.error(f"no row {', '.join(sorted(unknown))}: there are {', '.join(TRIED)}")
    tasks = read(Path(flags.data))
    for case in flags.cases or TRIED:
        rows = record.rows(flags.json)
        if not any(row["case"] == case for row in rows):
            rows.append(row(case, tasks[kind_of(case)]))
            record.write(flags.json, rows, ("jax", "flax", "numpy"), published=PUBLISHED)


def kind_of(case: str) -> str:
    """Which of the tasks a row has."""
    if not case.startswith("tower"):
        return "whole histories"
    return "pieces" if case == "tower, none" else "pieces, content"


def row(case: str, task: Task) -> dict[str, Any]:
    """Chooses on validation, ranks the test once."""
    started = time.perf_counter()
    model, scorer, valid = choose(TRIED[case], case, task.data, task.valid)
    found = quality(scorer, task.test)
    values = {name: found.per_user[name] for name in (METRIC, f"ndcg@{K}")}
    made = {
        "case": case,
        "settings": classes.as_dict(model),
        "trials": len(TRIED[case]),
        "valid": valid,
        "seconds": time.perf_counter() - started,
        "parts": _by_part(values, task),
        "differences": _differences(case, values),
    }
    print(json.dumps({key: made[key] for key in ("case", "valid", "parts", "differences")}), flush=True)
    return made | {"command": record.command(), "commit": record.commit()}


def choose(settings: Sequence[Model], case: str, data: TrainingData, asked: Requests) -> tuple[Model, Scorer, float]:
    """The best settings on validation, as they were fitted there, and their quality."""
    best: tuple[Model, Scorer, float] | None = None
    for number, model in enumerate(settings):
        scorer = _fitted(model, RUNS / case.replace(", ", "_") / str(number), data, asked)
        valid = quality(scorer, asked).means[METRIC]
        print(json.dumps({"case": case, "trial": number, "valid": valid}), flush=True)
        if best is None or valid > best[2]:
            best = model, scorer, valid
    assert best is not None
    return best


def _fitted(model: Model, folder: Path, data: TrainingData, asked: Requests) -> Scorer:
    def validate(scorer: Scorer, users: int = 0) -> dict[str, float]:
        return quality(scorer, asked).means

    run = Run(make_mesh(), folder, seed=0, key="model", select=METRIC, validate=validate)
    return model.scorer(jax.block_until_ready(fit(model, data, run)))


def quality(scorer: Scorer, asked: Requests) -> ranking.Result:
    """Recall and NDCG at 20."""
    return ranking.evaluate(
        scorer, asked, ks=(K,), measures=rank_metrics({name: METRICS[name] for name in ("recall", "ndcg")})
    )


def _by_part(values: dict[str, np.ndarray], task: Task) -> dict[str, dict[str, float]]:
    """Means over all users, and over those whose one test item is cold or warm."""
    cold = task.data.popularity[task.test.target_items] == 0
    parts = {"all": np.ones(len(cold), bool), "cold": cold, "warm": ~cold}
    return {
        part: {"users": int(users.sum())} | {name: float(value[users].mean()) for name, value in values.items()}
        for part, users in parts.items()
    }


def _differences(case: str, values: dict[str, np.ndarray]) -> dict[str, dict[str, list[float]]]:
    """Low, middle and high of the difference to each model without content, by metric; keeps this row's values."""
    RUNS.mkdir(parents=True, exist_ok=True)
    np.savez(RUNS / f"{case}.npz", **values)
    found: dict[str, dict[str, list[float]]] = {}
    for other in ("ease", "ials", "tower, none"):
        kept = RUNS / f"{other}.npz"
        if other == case or not kept.exists():
            continue
        with np.load(kept) as theirs:
            pairs = {name: significance.paired_bootstrap(values[name], theirs[name], seed=0) for name in values}
        found[other] = {name: [pair.low, pair.difference, pair.high] for name, pair in pairs.items()}
    return found


def read(folder: Path) -> dict[str, Task]:
    """The published split; content of each modality at unit length, then its whitened principal components."""
    with np.load(folder / "interactions.npz") as file:
        parts = {name: file[name].astype(np.int64) for name in ("trn", "val", "tst")}
    users, items = (max(int(pairs[:, side].max()) for pairs in parts.values()) + 1 for side in (0, 1))
    logs = {part: _log(parts["trn"], parts[part], users) for part in ("val", "tst")}
    length = int(np.bincount(parts["trn"][:, 0]).max())
    popularity = np.bincount(parts["trn"][:, 1], minlength=items)
    content = {name: _vectors(folder / file, popularity > 0) for name, file in MODALITIES.items()}

    def task(length: int, content: dict[str, np.ndarray]) -> Task:
        records = [logs["val"]._asdict()]
        data = TrainingData(logs["val"], records, items, popularity, length, content)
        return Task(data, *(requests.build(log, "test", items=items, length=length)[0] for log in logs.values()))

    return {"whole histories": task(length, {}), "pieces": task(LENGTH, {}), "pieces, content": task(LENGTH, content)}


def _log(train: np.ndarray, held_out: np.ndarray, users: int) -> Histories:
    """Each user's training items in a random order, then what is held out, which nothing trains on."""
    shuffled = train[np.random.default_rng(0).permutation(len(train))]
    pairs = np.concatenate([shuffled, held_out])
    late = np.arange(len(pairs)) >= len(train)
    order = np.lexsort((late, pairs[:, 0]))
    offsets = np.searchsorted(pairs[order, 0], np.arange(users + 1))
    starts = offsets[:-1] + np.bincount(train[:, 0], minlength=users)
    return Histories(pairs[order, 1].astype(np.int32), late[order].astype(np.float64), offsets, starts, starts)


def _vectors(path: Path, trained: np.ndarray) -> np.ndarray:
    raw = np.load(path, allow_pickle=False).astype(np.float32)
    unit = raw / np.maximum(np.linalg.norm(raw, axis=1, keepdims=True), 1e-12)
    reduced = np.asarray(reduce.apply(reduce.fit(unit[trained], WIDTH, "whiten"), unit))
    return reduced / np.maximum(np.linalg.norm(reduced, axis=1, keepdims=True), 1e-12)


if __name__ == "__main__":
    main()
