"""EASE updated by a day's events of Online Retail against fitted anew.

    python -m benchmarks.refresh_counting --data FOLDER/online_retail --json benchmarks/results/refresh_counting.json

The events of each of the last days are the update; users and items are numbered in the order of their first event, so
that a day's new ones extend the matrix. The state goes from day to day by updates alone. Each day it is compared with a
fit on all events so far. Both are called twice, and the second call is timed: the shapes are compiled then. Seconds
of the first calls stand beside them.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import jax
import numpy as np

from benchmarks import record
from rexjax.config import Ease
from rexjax.config import schema as configs
from rexjax.data import splits
from rexjax.data.histories import Histories
from rexjax.families.base import Run, TrainingData
from rexjax.families.log_changes import changed_users
from rexjax.pipeline import runner
from rexjax.pipeline.stages import inputs
from rexjax.runtime.mesh import make_mesh

RUNS = Path("runs/refresh_counting")
DAY = 86_400
MODELS = {"binary": Ease(l2=1000.0), "decayed": Ease(l2=500.0, decay=0.7, training_decay=0.9, recency="times")}


def main() -> None:
    """Measures, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder of the log")
    parser.add_argument("--days", type=int, default=10, help="days with events, the last of the log")
    parser.add_argument("--json", default="", help="where to write the rows")
    flags = parser.parse_args()
    log = _numbered_by_time(_read(flags.data).log)
    rows = [row for name, model in MODELS.items() for row in _measure(name, model, log, flags.days)]
    record.write(flags.json, rows, ("jax", "numpy", "scipy"))
    for row in rows:
        print(row)


def _read(folder: str) -> TrainingData:
    config = configs.load("configs/online_retail.py")
    config = replace(config, workdir=str(RUNS / "online_retail"), data=replace(config.data, path=folder))
    made = runner.run(config, ("prepare",), update=True, say=print)
    return inputs.training_data(config, {outcome.stage: outcome.artifact for outcome in made})


def _numbered_by_time(log: Histories) -> Histories:
    """The same events; users and items are numbered by their first one."""
    users = np.repeat(np.arange(log.users), np.diff(log.offsets))
    order = np.argsort(log.times, kind="stable")
    users, items = _by_first(users[order]), _by_first(log.items[order])
    by_user = np.lexsort((log.times[order], users))
    offsets = np.append(0, np.cumsum(np.bincount(users))).astype(np.int64)
    return Histories(items[by_user].astype(np.int32), log.times[order][by_user], offsets, offsets[1:], offsets[1:])


def _by_first(values: np.ndarray) -> np.ndarray:
    _, first, place = np.unique(values, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[place]


def _before(log: Histories, moment: float) -> TrainingData:
    """The training data of a log that ends at a moment."""
    known = log.times < moment
    users = int((log.times[log.offsets[:-1]] < moment).sum())  # they are in the order of their first event
    items = int(log.items[known].max()) + 1
    valid, test = splits.global_time(log.offsets[: users + 1], log.times[: log.offsets[users]], moment, np.inf)
    end = log.offsets[users]
    short = Histories(log.items[:end], log.times[:end], log.offsets[: users + 1], valid, test)
    counts = np.bincount(log.items[known], minlength=items)
    return TrainingData(short, [short._asdict()], items, counts, length=100)


def _measure(name: str, model: Ease, log: Histories, days: int) -> list[dict[str, Any]]:
    run = Run(make_mesh(1), RUNS)
    moments = (np.unique(log.times // DAY)[-days:] + 1) * DAY
    old = _before(log, moments[0] - DAY)
    state, figures = model.fit(old, run), []
    for moment in moments:
        new = _before(log, moment)
        updated, first, again = _timed(partial(model.update, state, old, new, run))
        fitted, fit_first, fit_again = _timed(partial(model.fit, new, run))
        off = float(np.abs(np.asarray(updated["weights"]) - np.asarray(fitted["weights"])).max())
        changed = len(changed_users(old, new))
        figures.append((again, fit_again, first, fit_first, off, changed, new.items - old.items, new.items))
        print(name, figures[-1], flush=True)
        state, old = updated, new
    update, fit, first, fit_first, off, changed, new_items, items = zip(*figures, strict=True)
    said = {"items": items[-1], "new_items": sum(new_items), "changed_users": median(changed), "days": days}
    return [
        record.row(name, "s", median(update), metric="update", peer_name="fit", peer=median(fit), **said)
        | {"ratio": median(fit) / median(update), "floor_ratio": 5.0},
        record.row(name, "s", median(first), metric="update, first call", peer_name="fit", peer=median(fit_first)),
        record.row(name, "weight", max(off), metric="largest difference of a weight", floor=1e-5),
    ]


def _timed(call: Callable[[], Any]) -> tuple[Any, float, float]:
    """What a call gives, and the seconds of the first and of the second one."""
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        found = jax.block_until_ready(call())
        seconds.append(time.perf_counter() - started)
    return found, *seconds


if __name__ == "__main__":
    main()
