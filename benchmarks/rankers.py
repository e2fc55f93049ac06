"""Rankers on labelled data: AUC on frappe and adult, RMSE on the ratings of ml-100k.

    python -m benchmarks.rankers --data FOLDER --json benchmarks/results/rankers.json

FOLDER holds frappe, adult and ml-100k. Each case tries some settings; the one that is best on validation answers the
test part, once. Finished cases are not repeated: killed, the command goes on where it was. frappe has its published
validation and test parts. Its published training negatives are not to be had: "redrawn" cases draw them anew in each
epoch, the others once. adult and ml-100k are split at random by seed 0. Expected calibration errors are those of the
test part before and after a temperature and an isotonic function are fitted on validation.
"""

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import record
from benchmarks.ranker_data import LabelledData, adult, frappe, ratings
from rexjax.artifacts import classes
from rexjax.evaluation import expected_calibration_error
from rexjax.families.base import Run
from rexjax.families.rankers import DLRM, FM, DCNv2, DeepFM, FinalMLP, LogisticRegression, MMoE, SharedBottom, WideDeep
from rexjax.families.ranking import LABEL, Ranker
from rexjax.models.calibration import fit_isotonic, fit_temperature
from rexjax.models.fields import Crosses
from rexjax.runtime.mesh import make_mesh
from rexjax.training.label_metrics import auc, log_loss, rmse
from rexjax.training.labelled import LabelledTraining

RUNS = Path("runs/rankers")
FRAPPE_CROSSES = Crosses(
    of=tuple(
        ("item", name) for name in ("user", "daytime", "weekday", "homework", "cost", "weather", "country", "city")
    ),
    buckets=1 << 16,
)
ADULT_CROSSES = Crosses(
    of=(
        ("education", "occupation"),
        ("education", "marital-status"),
        ("occupation", "marital-status"),
        ("age", "marital-status"),
        ("age", "education", "occupation"),
        ("hours-per-week", "occupation"),
        ("native-country", "occupation"),
    ),
    buckets=1 << 14,
)


def training(**settings: Any) -> LabelledTraining:
    """At most 25 epochs of Adam."""
    return LabelledTraining(**({"epochs": 25, "l2": 0.05} | settings))


class Case(NamedTuple):
    """One row."""

    data: Callable[[Path], LabelledData]
    tried: tuple[Ranker, ...]
    """Settings of which the best on validation is kept."""
    published: float | None = None
    """AUC of BARS (openbenchmark.github.io/BARS), Frappe_x1, with the authors' negatives."""


_DEEP: dict[str, Any] = {"hidden": (200, 200), "dropout": 0.4, "training": training()}
_LINEAR = LogisticRegression(training=training(epochs=40, l2=1e-6, learning_rate=0.02))
_PAIRS = tuple(FM(training=training(epochs=40, l2=l2, learning_rate=0.01)) for l2 in (1e-5, 1e-4))
_WIDE = tuple(
    WideDeep(
        hidden=(200, 200),
        dropout=0.4,
        crosses=FRAPPE_CROSSES,
        deep=rule,
        training=training(l2=0.05, learning_rate=rate),
    )
    for rule, rate in (("adagrad", 0.02), ("adam", 0.001))
)
_STREAMS = FinalMLP(hidden=(200,), second=(100,), gate_hidden=100, dropout=0.4, training=training(epochs=40))


def _rating(model: type[Ranker], l2: float, **settings: Any) -> Ranker:
    rule = training(epochs=60, l2=l2, learning_rate=5e-3, batch=2048, patience=2)
    return model(loss="squared", training=rule, **settings)


def _adult(**settings: Any) -> LabelledTraining:
    return training(**({"epochs": 30, "batch": 1024, "l2": 1e-4} | settings))


CASES: dict[str, Case] = {
    "frappe, logistic regression": Case(partial(frappe, redrawn=True), (_LINEAR,), 0.9356),
    "frappe, FM": Case(partial(frappe, redrawn=True), _PAIRS, 0.9671),
    "frappe, Wide & Deep": Case(partial(frappe, redrawn=True), _WIDE, 0.9841),
    "frappe, DeepFM": Case(partial(frappe, redrawn=True), (DeepFM(**_DEEP),), 0.9842),
    "frappe, DLRM": Case(partial(frappe, redrawn=True), (DLRM(**_DEEP),), 0.9840),
    "frappe, DCN-v2": Case(partial(frappe, redrawn=True), (DCNv2(**_DEEP),), 0.9845),
    "frappe, low-rank DCN-v2, 16": Case(partial(frappe, redrawn=True), (DCNv2(rank=16, **_DEEP),), 0.9845),
    "frappe, FinalMLP": Case(partial(frappe, redrawn=True), (_STREAMS,), 0.9861),
    "frappe, negatives drawn once, FM": Case(partial(frappe, redrawn=False), _PAIRS, 0.9671),
    "frappe, negatives drawn once, DLRM": Case(partial(frappe, redrawn=False), (DLRM(**_DEEP),), 0.9840),
    "frappe, negatives drawn once, DCN-v2": Case(partial(frappe, redrawn=False), (DCNv2(**_DEEP),), 0.9845),
    "adult, logistic regression": Case(adult, (LogisticRegression(training=_adult(learning_rate=0.01, l2=1e-6)),)),
    "adult, Wide & Deep": Case(
        adult,
        tuple(
            WideDeep(
                width=8,
                hidden=(64, 32),
                dropout=dropout,
                crosses=ADULT_CROSSES,
                wide_l1=l1,
                training=_adult(learning_rate=0.01),
            )
            for dropout, l1 in ((0.2, 1e-4), (0.4, 1e-3))
        ),
    ),
    "adult, DCN-v2": Case(
        adult, tuple(DCNv2(width=8, hidden=(64, 32), dropout=dropout, training=_adult()) for dropout in (0.2, 0.4))
    ),
    "adult, two tasks, shared bottom": Case(
        partial(adult, tasks=True), (SharedBottom(width=8, hidden=(64,), tower=(16,), training=_adult()),)
    ),
    "adult, two tasks, MMoE": Case(
        partial(adult, tasks=True), (MMoE(width=8, hidden=(32,), tower=(16,), experts=4, training=_adult()),)
    ),
    "ml-100k, MF with biases": Case(
        partial(ratings, features=False),
        tuple(_rating(FM, l2, width=width) for l2, width in ((1e-4, 16), (3e-4, 16), (3e-4, 64), (1e-3, 64))),
    ),
    "ml-100k, FM with features": Case(
        partial(ratings, features=True), tuple(_rating(FM, l2, width=16) for l2 in (1e-4, 3e-4))
    ),
    "ml-100k, DCN-v2 with features": Case(
        partial(ratings, features=True),
        tuple(_rating(DCNv2, l2, width=16, hidden=(128, 64), dropout=0.5) for l2 in (1e-4, 1e-3)),
    ),
}


def main() -> None:
    """Tries, fits, answers, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", help="how the names of the wanted cases begin; all by default")
    parser.add_argument("--data", required=True, help="folder with frappe, adult and ml-100k")
    parser.add_argument("--json", default="", help="where to write the rows")
    flags = parser.parse_args()
    wanted = [name for name in CASES if not flags.cases or any(name.startswith(word) for word in flags.cases)]
    if not wanted:
        parser.error(f"no case begins with {' or '.join(flags.cases)}: there are {'; '.join(CASES)}")
    for name in wanted:
        rows = record.rows(flags.json)
        if not any(row["case"] == name for row in rows):
            made = {"seed": 0, "command": "python -m benchmarks.rankers --data FOLDER", "commit": record.commit()}
            row = fitted_row(name, CASES[name], Path(flags.data)) | made
            record.write(flags.json, [*rows, row], ("jax", "flax", "optax", "numpy"))
            print(json.dumps(row), flush=True)
    print(table(record.rows(flags.json)))


def fitted_row(name: str, case: Case, folder: Path) -> dict[str, Any]:
    """Figures of the best of some settings."""
    dataset = name.split(",")[0]
    data = case.data(folder / dataset)
    measure = negative_rmse if dataset == "ml-100k" else mean_auc
    trials = [_trial(model, data, measure, name) for model in case.tried]
    best = max(trials, key=lambda trial: trial["valid"])
    model, state = best["model"], best["state"]
    logits = {part: model.predict(data.fields, state, getattr(data, part)) for part in ("valid", "test")}
    figures = _figures(dataset, logits, data)
    published = {} if case.published is None else {"published": case.published}
    return (
        {
            "case": name,
            "dataset": dataset,
            "settings": classes.as_dict(model),
            "trials": len(trials),
            "valid": abs(best["valid"]),
            "epochs": best["epochs"],
            "fit_seconds": best["seconds"],
            "examples": len(data.test[LABEL]),
        }
        | figures
        | published
    )


def _trial(model: Ranker, data: LabelledData, measure: Callable[..., float], name: str) -> dict[str, Any]:
    run = Run(make_mesh(1), RUNS, name=name, key="ranker")
    started = time.perf_counter()
    state = model.fit(data.fields, data.train, data.valid, run, measure)
    seconds, summary = time.perf_counter() - started, run.summaries[name]
    found = {"valid": summary[f"valid_{measure.__name__}"], "epochs": summary["epochs"], "seconds": seconds}
    print(f"{name}: {found} {json.dumps(classes.as_dict(model))}", flush=True)
    return found | {"model": model, "state": state}


def mean_auc(logits: np.ndarray, labels: np.ndarray) -> float:
    """AUC, the mean over tasks."""
    columns = zip(np.atleast_2d(logits.T), np.atleast_2d(labels.T), strict=True)
    return float(np.mean([auc(own, truth) for own, truth in columns]))


def negative_rmse(predictions: np.ndarray, labels: np.ndarray) -> float:
    """The RMSE, negative: more is better."""
    return -rmse(predictions, labels)


def _figures(dataset: str, logits: dict[str, np.ndarray], data: LabelledData) -> dict[str, Any]:
    truth = data.test[LABEL]
    if dataset == "ml-100k":
        return {"metric": "rmse", "unit": "stars", "ours": rmse(logits["test"], truth)}
    found = {"metric": "auc", "unit": "", "ours": mean_auc(logits["test"], truth)}
    if truth.ndim > 1:
        return found | {"of_tasks": [auc(logits["test"][:, task], truth[:, task]) for task in range(truth.shape[1])]}
    temperature = fit_temperature(logits["valid"], data.valid[LABEL])
    isotonic = fit_isotonic(logits["valid"], data.valid[LABEL])
    errors = {
        "ece": expected_calibration_error(_sigmoid(logits["test"]), truth),
        "ece_temperature": expected_calibration_error(_sigmoid(logits["test"] / temperature), truth),
        "ece_isotonic": expected_calibration_error(np.asarray(isotonic(logits["test"])), truth),
    }
    return found | {"log_loss": log_loss(logits["test"], truth), "temperature": temperature} | errors


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(x / 2))


def table(rows: list[dict[str, Any]]) -> str:
    """The rows for people."""
    lines = ["| case | metric | validation | test | published | epochs | fit, s |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        figures = f"{row['valid']:.4f} | {row['ours']:.4f} | {row.get('published', '')}"
        lines.append(f"| {row['case']} | {row['metric']} | {figures} | {row['epochs']} | {row['fit_seconds']:.0f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
