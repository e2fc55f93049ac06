"""What several stages read from the artifacts before them."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from rexjax.artifacts.classes import from_dict
from rexjax.artifacts.files import write_json
from rexjax.artifacts.store import Artifact, config_files
from rexjax.config.schema import Config
from rexjax.data import histories, packing
from rexjax.data.features import prepared
from rexjax.data.sources import KnowsPreference
from rexjax.embedding.rows import check_ids
from rexjax.evaluation import ranking, requests
from rexjax.evaluation.metrics import ListContext, rank_metrics
from rexjax.evaluation.ranking import Requests
from rexjax.families.base import Model, Run, TrainingData, fit
from rexjax.models.scorer import USER, Scorer
from rexjax.models.served import flatten, unflatten
from rexjax.rerank.lists import Catalogue, catalogue
from rexjax.runtime import processes
from rexjax.runtime.mesh import make_mesh
from rexjax.training.checkpoint import restore_tree, save_tree
from rexjax.training.settings import SELECT

_FEW = 20_000_000
"""Events of a log that is read once, and kept in memory as records too."""


def training_data(config: Config, artifacts: dict[str, Artifact]) -> TrainingData:
    """The log of stage prepare in memory, with the item vectors of stage encode where that is among the artifacts."""
    folder, items = artifacts["prepare"].folder, artifacts["prepare"].metrics["items"]
    records = list(histories.each(folder))
    log = histories.concatenate(records)
    check_ids(log.items, items, "items")
    features = prepared.read(folder)
    return TrainingData(
        log=log,
        records=[record._asdict() for record in records] if len(log.items) < _FEW else histories.source(folder),
        items=items,
        popularity=popularity(log, items),
        length=config.data.length,
        content=content(artifacts["encode"]) if "encode" in artifacts else {},
        targets=config.data.targets,
        exclude_seen=config.evaluate.exclude_seen,
        features=features.arrays,
        described=features.described,
    )


def popularity(log: histories.Histories, items: int) -> np.ndarray:
    """int64 [N], training interactions."""
    training = np.zeros(len(log.items) + 1, np.int64)
    np.add.at(training, log.offsets[:-1], 1)
    np.add.at(training, log.valid_start, -1)
    training = np.cumsum(training)[:-1] > 0
    return np.bincount(log.items[training], minlength=items)


def titles(artifact: Artifact) -> dict[str, list[Any]]:
    """Columns item_id, title, text, row in the order of dense ids."""
    return pq.read_table(artifact.folder / "items.parquet").to_pydict()


def warm_items(artifact: Artifact, items: int) -> np.ndarray:
    """bool [N], items that statistics may be fitted on: all but those that the split cold_items holds out."""
    place = artifact.folder / packing.COLD
    return ~np.load(place) if place.exists() else np.ones(items, bool)


def content(encoded: Artifact) -> dict[str, np.ndarray]:
    """Item vectors by name, float32 [N, W] each, as stage encode wrote them side by side."""
    vectors = np.load(encoded.folder / "vectors.npy")
    widths = {name: part["width"] for name, part in encoded.metrics["parts"].items()}
    bounds = np.cumsum([0, *widths.values()])
    return {name: vectors[:, bounds[n] : bounds[n + 1]] for n, name in enumerate(widths)}


def requests_of(data: TrainingData, part: str, most: int = 0, seed: int = 0) -> Requests:
    """What all models are asked on "valid" or "test"; ``most`` users at most, drawn by ``seed``; 0: all."""
    asked, users = requests.build(
        data.log, part, items=data.items, length=data.length, exclude_seen=data.exclude_seen, most=most, seed=seed
    )
    starts = data.log.valid_start if part == "valid" else data.log.test_start
    known = prepared.of_requests(data.features, data.described, data.log, users, starts[users], data.length)
    return asked._replace(features=known | asked.features)


def list_context(data: TrainingData, artifacts: dict[str, Artifact]) -> ListContext:
    """What metrics from recommended lists know of the catalogue."""
    category = titles(artifacts["prepare"]).get("category")
    return ListContext(
        items=data.items,
        popularity=data.popularity,
        vectors=data.vectors if data.vectors.shape[1] else None,
        categories=None if category is None else np.asarray(category, str),
    )


def rerank_catalogue(config: Config, context: ListContext) -> Catalogue:
    """What re-ranking knows of the items: their encoded content and their categories."""
    categories = None if context.categories is None else context.categories.tolist()
    return catalogue(context.vectors, categories, context.items, config.rerank.separator)


def preference_of(
    config: Config, artifacts: dict[str, Artifact], data: TrainingData, asked: Requests
) -> Callable[[np.ndarray], np.ndarray] | None:
    """(rows of ``asked``, int [B]) → what those users want next, float64 [B, N], of the test part; None where the
    source does not know it, or the workdir keeps no ids of users."""
    source, kept = config.data.source, artifacts["prepare"].folder / "users.parquet"
    if not isinstance(source, KnowsPreference) or not kept.exists():
        return None
    people = pq.read_table(kept).sort_by("user")["user_id"].to_pylist()
    items, users = titles(artifacts["prepare"])["item_id"], np.asarray(asked.features[USER])
    times, preference_after = data.log.times[data.log.test_start[users]], source.preference(config.seed, items)

    def preference(rows: np.ndarray) -> np.ndarray:
        names = [str(people[user]) for user in users[rows]]
        return preference_after(names, asked.histories[rows], times[rows])

    return preference


def validator(data: TrainingData, config: Config) -> Callable[..., dict[str, float]]:
    """``validate(scorer, users)``: metrics of full ranking on validation, of so many users at most."""
    asked: dict[int, Requests] = {}
    measures, cutoff = rank_metrics(config.evaluate.known), config.evaluate.select_cutoff(data.items)

    def validate(scorer: Scorer, users: int = 4096) -> dict[str, float]:
        if users not in asked:
            asked[users] = requests_of(data, "valid", users, config.seed)
        ks = tuple({10, cutoff})
        means = ranking.evaluate(scorer, asked[users], ks=ks, measures=measures, description="validating").means
        return {name: means[name] for name in dict.fromkeys((config.evaluate.select, SELECT, "hit_rate@10", "mrr@10"))}

    return validate


def run_of(config: Config, data: TrainingData, folder: Path, name: str, key: str) -> Run:
    """How a stage fits a model, whose key in the config is ``key``."""
    return Run(
        mesh=make_mesh(config.mesh.data, config.mesh.model),
        folder=folder,
        seed=config.seed,
        name=name,
        key=key,
        validate=validator(data, config),
        select=config.evaluate.select,
        save_every=config.save_every,
        wandb=config.wandb,
    )


def save(folder: Path, state: Any) -> str:
    """Writes a model's state; returns its digest."""
    return save_tree(folder, flatten(state))


def fitted(folder: Path, model: Model) -> Any:
    """A model's state, as ``save`` wrote it."""
    return model.state_from(unflatten(restore_tree(folder)))


def fit_once(model: Model, data: TrainingData, run: Run, folder: Path) -> tuple[Any, float]:
    """A model's state and the seconds of its fit, from ``folder`` if it was fitted there before."""
    done = folder / "seconds.json"
    if not done.exists():
        folder.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        save(folder / "model", fit(model, data, run))
        if processes.first():
            write_json(done, time.monotonic() - started)
        processes.wait(f"{run.name} fitted")
    return fitted(folder / "model", model), json.loads(done.read_text())


def variant_model(compressed: Artifact, name: str) -> Model:
    """The model of a variant: the student's, as wide as the variant."""
    return from_dict(Model, compressed.metrics["models"][name], config_files(compressed.folder))
