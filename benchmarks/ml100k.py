"""MovieLens-100K by two published protocols, and by one that looks ahead into no user's future.

    python -m benchmarks.ml100k --data FOLDER --json benchmarks/results/ml100k.json

FOLDER holds ``ml-100k/ml-100k.inter``. Every rating is an interaction.

``leave_one_out``: each user's last interaction is ranked among itself and 100 items that the user does not have, as by
Xue et al. (2017) and Dacrema et al. (2021, "A Troubling Analysis", table 95). ``random``: a quarter of each user's
interactions, drawn at random, is the test, ranked in the whole catalogue without the training items, as in the
comparison of the library *recommenders*; three draws. ``chronological``: the last quarter instead.

Settings are chosen on a validation part that is split from the training part in the same way (the first draw). The best
settings are fitted on the whole training part for the chosen epochs, and ranked on test once.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pyarrow.csv as csv

from benchmarks import record
from benchmarks.ncf import longest, training_data, with_epochs
from rexjax.artifacts import classes
from rexjax.config import BPRMF, DMF, IALS, Blend, Ease, ItemKNN, Model, PairTraining, Popularity, RP3beta, Slim
from rexjax.data.histories import Histories
from rexjax.evaluation import ranking, requests
from rexjax.evaluation.metrics import METRICS, rank_metrics
from rexjax.evaluation.ranking import Requests
from rexjax.families.base import Run, fit
from rexjax.models.scorer import Scorer
from rexjax.runtime.mesh import make_mesh

RUNS = Path("runs/ml100k")
METRIC = "ndcg@10"
PUBLISHED = {"leave_one_out": "DMF .6026 / .3623 (Dacrema 2021)", "random": "BiVAE .4751 (recommenders)"}
"""HR@10 and NDCG@10; NDCG@10."""
_PAIRS = PairTraining(epochs=60, patience=4, validate_users=943)
_EASE = tuple(Ease(l2=l2) for l2 in (100.0, 200.0, 400.0, 800.0))
_IALS = tuple(
    IALS(width=width, l2=l2, unobserved_weight=weight)
    for width in (32, 64)
    for l2 in (0.003, 0.01, 0.03)
    for weight in (0.05, 0.1, 0.3)
)
_KNN = tuple(ItemKNN(neighbours=width, shrinkage=shrinkage) for width in (50, 200) for shrinkage in (0, 50))
_WALKS = tuple(RP3beta(alpha=alpha, beta=beta) for alpha in (0.5, 1.0) for beta in (0.2, 0.4, 0.6))
_DMF = tuple(
    DMF(layers=layers, ratings=True, training=PairTraining(epochs=60, batch=batch, patience=6, validate_users=943))
    for layers in ((64, 64), (256, 64))
    for batch in (1024, 4096)
)
TRIED: dict[str, tuple[Model, ...]] = {
    "popularity": (Popularity(),),
    "item_knn": _KNN,
    "rp3beta": _WALKS,
    "ease": _EASE,
    "slim": tuple(Slim(l1=l1) for l1 in (0.5, 2.0)),
    "ials": _IALS,
    "bpr": tuple(BPRMF(width=64, training=_PAIRS, l2=l2) for l2 in (1e-3, 3e-3, 1e-2)),
    "dmf": _DMF,
}
"""Settings that are tried on validation, by model; ``blend`` is of the best of each kind."""
BLENDED = ("item_knn", "rp3beta", "ease", "slim", "ials")


class Split(NamedTuple):
    """A log whose last events of each user are the test, and the rating of each event."""

    log: Histories
    ratings: np.ndarray


class Protocol(NamedTuple):
    """How a log is split, by a seed, and asked."""

    test: Callable[[Split, int], Split]
    negatives: int
    """0: the whole catalogue."""
    draws: int


def main() -> None:
    """Tries, fits, ranks, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("protocols", nargs="*", help=f"some of {', '.join(PROTOCOLS)}; all by default")
    parser.add_argument("--data", required=True, help="folder with ml-100k")
    parser.add_argument("--quick", action="store_true", help="two models, first settings, one draw")
    parser.add_argument("--json", default="", help="where to write the rows")
    flags = parser.parse_args()
    whole, items = read(Path(flags.data) / "ml-100k" / "ml-100k.inter")
    tried = {name: TRIED[name][:1] for name in ("popularity", "ease")} if flags.quick else TRIED
    rows: list[dict[str, Any]] = []
    for name in flags.protocols or PROTOCOLS:
        rows += figures(name, PROTOCOLS[name], whole, items, tried, 1 if flags.quick else PROTOCOLS[name].draws)
        record.write(flags.json, rows, ("jax", "numpy", "scipy"))


def figures(
    name: str, protocol: Protocol, whole: Split, items: int, tried: dict[str, tuple[Model, ...]], draws: int
) -> list[dict[str, Any]]:
    """A row for each model."""
    splits = [protocol.test(whole, seed) for seed in range(draws)]
    inner = protocol.test(training_part(splits[0]), 0)
    chosen = {model: choose(settings, inner, items, protocol) for model, settings in tried.items()}
    members = tuple(chosen[member][0] for member in BLENDED if member in chosen)
    if len(members) > 1:
        chosen["blend"] = choose((Blend(members),), inner, items, protocol)
    return [row(name, model, *found, splits, items, protocol) for model, found in chosen.items()]


def choose(settings: tuple[Model, ...], inner: Split, items: int, protocol: Protocol) -> tuple[Model, float, int]:
    """The best settings on the inner split with their epochs or weights, their quality, and how many were tried."""
    asked = questions(inner, items, protocol, seed=0)
    best: tuple[Model, float] | None = None
    for model in settings:
        scorer, run = fitted(model, inner, items, asked)
        found = quality(scorer, asked).means[METRIC]
        if best is None or found > best[1]:
            best = settled(model, scorer, run), found
    assert best is not None
    return *best, len(settings)


def settled(model: Model, scorer: Scorer, run: Run) -> Model:
    """The model with what its fit chose on validation."""
    if isinstance(model, Blend):
        return Blend(model.members, weights=tuple(float(weight) for weight in scorer.state["weights"]))
    return with_epochs(model, {name: summary["best_epoch"] for name, summary in run.summaries.items()})


def row(
    name: str, case: str, model: Model, valid: float, trials: int, splits: list[Split], items: int, protocol: Protocol
) -> dict[str, Any]:
    """Test figures: the mean over the draws, and a 95 % interval over users of all draws."""
    found, started = [], time.perf_counter()
    for seed, split in enumerate(splits):
        asked = questions(split, items, protocol, seed=seed + 1)
        found.append(quality(fitted(model, split, items, None)[0], asked))
    values = np.concatenate([result.per_user[METRIC] for result in found])
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(found[0].per_user[METRIC]))
    made = {
        "case": case,
        "dataset": f"ml-100k, {name}",
        "settings": classes.as_dict(model),
        "trials": trials,
        "valid": valid,
        "ndcg@10": float(values.mean()),
        "interval": [float(values.mean() - half), float(values.mean() + half)],
        "hit_rate@10": float(np.mean([result.means["hit_rate@10"] for result in found])),
        "draws": len(splits),
        "seconds": time.perf_counter() - started,
        "published": PUBLISHED.get(name, ""),
        "command": f"python -m benchmarks.ml100k {name} --data FOLDER",
        "commit": record.commit(),
    }
    print(json.dumps({key: made[key] for key in ("dataset", "case", "valid", "hit_rate@10", "ndcg@10")}), flush=True)
    return made


def fitted(model: Model, split: Split, items: int, asked: Requests | None) -> tuple[Scorer, Run]:
    """The model fitted on the training part; ``asked`` validates."""

    def validate(scorer: Scorer, users: int = 0) -> dict[str, float]:
        assert asked is not None, "settings were chosen before"
        return quality(scorer, asked).means

    data = replace(training_data(split.log, items), features={"rating": split.ratings})
    run = Run(make_mesh(), RUNS, seed=0, key="model", validate=validate)
    return model.scorer(jax.block_until_ready(fit(model, data, run))), run


def quality(scorer: Scorer, asked: Requests) -> ranking.Result:
    """Hit rate and NDCG at 10."""
    measures = rank_metrics({name: METRICS[name] for name in ("hit_rate", "ndcg")})
    return ranking.evaluate(scorer, asked, ks=(10,), measures=measures, batch=64)


def questions(split: Split, items: int, protocol: Protocol, seed: int) -> Requests:
    """What is asked of a model."""
    asked, _ = requests.build(split.log, "test", items=items, length=longest(split.log))
    return requests.sampled(asked, items, protocol.negatives, seed) if protocol.negatives else asked


def read(path: Path) -> tuple[Split, int]:
    """All ratings in the order of time, ties in the order of the file; and the number of items."""
    table = csv.read_csv(path, parse_options=csv.ParseOptions(delimiter="\t"))
    user, item, rating, when = (table.column(number).to_numpy() for number in range(4))
    users, items = (np.unique(ids, return_inverse=True)[1] for ids in (user, item))
    order = np.lexsort((when, users))
    offsets = np.searchsorted(users[order], np.arange(users.max() + 2))
    log = Histories(items[order].astype(np.int32), when[order].astype(np.float64), offsets, offsets[1:], offsets[1:])
    return Split(log, rating[order].astype(np.float32)), int(items.max()) + 1


def owners(log: Histories) -> np.ndarray:
    """int64 [E], the user of each event."""
    return np.repeat(np.arange(log.users), np.diff(log.offsets))


def training_part(split: Split) -> Split:
    """The split without its test."""
    log = split.log
    kept = np.arange(len(log.items)) < log.test_start[owners(log)]
    offsets = np.append(0, np.cumsum(log.test_start - log.offsets[:-1]))
    return Split(Histories(log.items[kept], log.times[kept], offsets, offsets[1:], offsets[1:]), split.ratings[kept])


def leave_one_out(whole: Split, seed: int) -> Split:
    """The last event tests."""
    return _cut(whole, whole.log.offsets[1:] - 1)


def chronological(whole: Split, seed: int) -> Split:
    """The last quarter of each user's events tests."""
    return _cut(whole, whole.log.offsets[1:] - _quarter(whole.log))


def random(whole: Split, seed: int) -> Split:
    """A quarter of each user's events, drawn by the seed, tests; both parts stay in the order of time."""
    log, rng = whole.log, np.random.default_rng(seed)
    user = owners(log)
    drawn = np.lexsort((rng.random(len(user)), user))
    position = np.arange(len(user)) - log.offsets[:-1][user]
    tested = np.empty(len(user), bool)
    tested[drawn] = position < _quarter(log)[user]
    order = np.lexsort((np.arange(len(user)), tested, user))
    shuffled = log._replace(items=log.items[order], times=log.times[order])
    return chronological(Split(shuffled, whole.ratings[order]), seed)


def _quarter(log: Histories) -> np.ndarray:
    return np.round(0.25 * np.diff(log.offsets)).astype(int)


def _cut(whole: Split, start: np.ndarray) -> Split:
    return whole._replace(log=whole.log._replace(valid_start=start, test_start=start))


PROTOCOLS = {
    "leave_one_out": Protocol(leave_one_out, negatives=100, draws=1),
    "random": Protocol(random, negatives=0, draws=3),
    "chronological": Protocol(chronological, negatives=0, draws=1),
}


if __name__ == "__main__":
    main()
