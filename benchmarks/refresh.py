"""Sixty days of a simulated shop: refreshed daily, trained anew daily, trained anew weekly, and trained once.

    python -m benchmarks.refresh --json benchmarks/results/refresh.json

The shop has seasons, and items come on sale during the period. At the end of each day a strategy may bring its model up
to date; then the users who buy on the next day are asked. Quality is the expected DCG@10 of the recommended lists by
the shop's true preference, as a share of the best possible. A new item is one that came on sale at most seven days ago;
its recall is the share of purchases of new items that were among the ten recommended. Compute is the processor time of
training, compilation with it: the seconds of a busy machine would say something else. A day that is finished is not
repeated: killed, the command goes on where it was.
"""

import argparse
import json
import shutil
import time
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks import record
from rexjax.config import Blend, Ease, Pooled, Shop, Student, Training, Transformer
from rexjax.data import news, shop
from rexjax.data.histories import Histories
from rexjax.data.news import Events
from rexjax.data.shop_catalogue import DAY, START
from rexjax.distillation import distill
from rexjax.distillation import follow as distill_on
from rexjax.encoders.tfidf import encode_words
from rexjax.evaluation import ranking, requests, truth
from rexjax.evaluation.models import top_lists
from rexjax.families.base import Run, TrainingData, fit, follow
from rexjax.models.scorer import USER, Scorer
from rexjax.models.served import flatten, unflatten
from rexjax.pipeline.refresh.champion import Champion
from rexjax.runtime.compile_cache import keep_compiled_programs
from rexjax.runtime.mesh import make_mesh
from rexjax.training.checkpoint import restore_tree, save_tree

RUNS = Path("runs/refresh")
SHOP = Shop(users=600, items=300, interactions=18_000, days=240)
FIRST, LENGTH, SEED, NEW_DAYS = 180, 30, 0, 7
TRAINING = Training(epochs=10, batch=16, patience=3)
TEACHER = Blend((Ease(l2=50.0), Transformer(width=32, layers=1, training=TRAINING)))
STUDENT = Student(Pooled(width=32, hidden=64, training=TRAINING), top_k=20)
STRATEGIES = ("once", "weekly", "daily full", "daily refresh")


def main() -> None:
    """Simulates, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, default=60, help="days that are simulated")
    parser.add_argument("--json", default="", help="where to write the rows")
    flags = parser.parse_args()
    keep_compiled_programs()
    world = World()
    days = [{"strategy": name} | world.simulated(name, FIRST + day) for day in range(flags.days) for name in STRATEGIES]
    rows = summarised(days, flags.days)
    record.write(flags.json, rows, ("jax", "flax", "optax", "numpy"), seed=SEED)
    for row in rows:
        print(row)


@dataclass(frozen=True)
class World:
    """The shop, whose users and items are numbered by the day on which they are known."""

    @cached_property
    def goods(self) -> Any:
        """The catalogue."""
        return shop.catalogue(SHOP, SEED)

    @cached_property
    def log(self) -> Events:
        """All events in the order of time, by the shop's own numbers."""
        parts = list(shop.events(SHOP, self.goods, SEED))
        users = np.concatenate([part["user_id"].to_numpy() for part in parts])
        names = np.concatenate([np.array(part["item_id"].to_pylist()) for part in parts])
        items = np.array([int(name.removeprefix("sku-")) for name in names])
        times = np.concatenate([part["timestamp"].to_numpy() for part in parts]).astype(float)
        order = np.argsort(times, kind="stable")
        return Events(users[order], items[order], times[order])

    @cached_property
    def items(self) -> np.ndarray:
        """The shop's number of each dense item, in the order of their release."""
        return np.lexsort((np.arange(SHOP.items), self.goods.release))

    @cached_property
    def users(self) -> np.ndarray:
        """The shop's number of each dense user, in the order of their first event."""
        known, first = np.unique(self.log.users, return_index=True)
        return known[np.argsort(first)]

    @cached_property
    def vectors(self) -> np.ndarray:
        """TF-IDF of the titles, by dense item."""
        return encode_words(self.goods.titles[self.items].tolist(), 48)[0]

    def known(self, day: int) -> int:
        """Items on sale at the end of a day."""
        return int((self.goods.release <= START + day * DAY).sum())

    def histories(self, end: int, split: int) -> Histories:
        """Events before day ``end``; those from day ``split`` on validate, and test where they are of the last day."""
        kept = self.log.times < START + end * DAY
        dense_user, dense_item = np.argsort(self.users), np.argsort(self.items)
        users = dense_user[np.searchsorted(np.sort(self.users), self.log.users[kept])]
        events = Events(users, dense_item[self.log.items[kept]], self.log.times[kept])
        none = Events(*(column[:0] for column in events))
        moments = START + split * DAY, START + (split + 1) * DAY
        return news.join(events, none, int(users.max()) + 1, moments)

    def data(self, day: int) -> TrainingData:
        """What is known at the end of a day; its events validate."""
        log, items = self.histories(day + 1, day), self.known(day)
        users = np.repeat(np.arange(log.users), np.diff(log.offsets))
        trained = np.arange(len(log.items)) < log.valid_start[users]
        return TrainingData(
            log,
            [log._asdict()],
            items,
            np.bincount(log.items[trained], minlength=items),
            LENGTH,
            {"tfidf": self.vectors[:items]},
        )

    def simulated(self, name: str, day: int) -> dict[str, float]:
        """Figures of a strategy for a day, from its file if it is finished."""
        folder = RUNS / name.replace(" ", "_")
        path = folder / f"{day}.json"
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            started = time.process_time()
            trained = self.trained(name, folder, day)
            seconds = time.process_time() - started
            found = self.judged(folder, trained, day) | {"day": day, "trained": trained, "seconds": seconds}
            path.write_text(json.dumps(found))
            print(name, found, flush=True)
        return json.loads(path.read_text())

    def trained(self, name: str, folder: Path, day: int) -> int:
        """Brings the strategy's model up to date where it is time to; the day of its model."""
        age = day - FIRST
        if name == "once" and age or name == "weekly" and age % 7:
            return json.loads((folder / f"{day - 1}.json").read_text())["trained"]
        new = self.data(day)
        runs = [run_of(new, folder, part) for part in ("teacher", "student")]
        if name == "daily refresh" and age:
            old, states = self.data(day - 1), read(folder, day - 1)
            teacher = follow(TEACHER, states["teacher"], old, new, runs[0])
            student = distill_on(TEACHER.scorer(teacher), STUDENT, states["student"], old, new, runs[1])
        else:
            teacher = fit(TEACHER, new, runs[0])
            student = distill(TEACHER.scorer(teacher), STUDENT, new, runs[1])
        jax.block_until_ready((teacher, student))
        shutil.rmtree(folder / "work", ignore_errors=True)
        for part, state in (("teacher", teacher), ("student", student)):
            save_tree(folder / "states" / f"{day}_{part}", flatten(state))
        return day

    def judged(self, folder: Path, trained: int, day: int) -> dict[str, float]:
        """What the model recommends to the users who buy on the next day."""
        items, log = self.known(day), self.histories(day + 2, day + 1)
        log = log._replace(valid_start=log.valid_start, test_start=log.valid_start)
        asked, _ = requests.build(log, "test", items=SHOP.items, length=LENGTH, exclude_seen=True)
        champion = Champion(STUDENT.model, known=self.known(trained), items=items)
        scorer: Scorer = champion.scorer(read(folder, trained)["student"])
        lists = top_lists(scorer, asked, 10)
        worth = truth.expected_dcg({"model": lists}, asked, partial(self.preference, asked, day), SHOP.items)
        owners = np.repeat(np.arange(len(asked.histories)), np.diff(asked.target_offsets))
        new = self.goods.release[self.items[asked.target_items]] > START + (day + 1 - NEW_DAYS) * DAY
        found = (lists[owners] == asked.target_items[:, None]).any(1)
        return {
            "users": len(asked.histories),
            "dcg": float(worth["model"].sum()),
            "best": float(worth[truth.ORACLE].sum()),
            "new": int(new.sum()),
            "new_found": int((found & new).sum()),
        }

    def preference(self, asked: ranking.Requests, day: int, rows: np.ndarray) -> np.ndarray:
        """The true preference on the next day among the items on sale, by dense id."""
        people = self.users[np.asarray(asked.features[USER])[rows]]
        histories = asked.histories[rows]
        bought = np.where(histories >= 0, self.items[histories], -1)
        moment = np.full(len(rows), START + (day + 1) * DAY)
        return shop.true_preference(self.goods, SHOP, SEED, people, bought, moment)[:, self.items]


def run_of(data: TrainingData, folder: Path, name: str) -> Run:
    """How a model is fitted."""
    asked, _ = requests.build(data.log, "valid", items=data.items, length=LENGTH, exclude_seen=True)

    def validate(scorer: Scorer, users: int = 0) -> dict[str, float]:
        return ranking.evaluate(scorer, asked, ks=(10,), description="validating").means

    return Run(make_mesh(1), folder / "work" / name, seed=SEED, name=name, validate=validate, save_every=10**9)


def read(folder: Path, day: int) -> dict[str, Any]:
    """The states of a day."""
    models = {"teacher": TEACHER, "student": STUDENT.model}
    return {
        part: model.state_from(unflatten(restore_tree(folder / "states" / f"{day}_{part}")))
        for part, model in models.items()
    }


def summarised(days: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """A row for each strategy."""
    rows = []
    for name in STRATEGIES:
        own = [day for day in days if day["strategy"] == name]
        total = {key: sum(day[key] for day in own) for key in ("dcg", "best", "new", "new_found", "users")}
        trainings = [day["seconds"] for day in own if day["trained"] == day["day"]][1:]  # the first is shared by all
        rows.append(
            record.row(
                name,
                "share",
                total["dcg"] / total["best"],
                metric="expected DCG@10 of the best possible",
                days=count,
                requests=total["users"],
                new_item_purchases=total["new"],
                new_item_recall=total["new_found"] / max(total["new"], 1),
                processor_seconds_a_day=sum(trainings) / max(count - 1, 1),
            )
        )
    full = next(row for row in rows if row["case"] == "daily full")
    for row in rows:
        row["of_daily_full"] = row["ours"] / full["ours"]
        row["compute_of_daily_full"] = row["processor_seconds_a_day"] / max(full["processor_seconds_a_day"], 1e-9)
    return rows


if __name__ == "__main__":
    main()
