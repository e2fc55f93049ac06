"""What several stages read from the artifacts before them."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pyarrow.parquet as pq

from rexjax.artifacts.store import Artifact
from rexjax.config.schema import Config, Training
from rexjax.data import batches, histories
from rexjax.data.batches import Batch
from rexjax.data.histories import Histories
from rexjax.embedding.rows import gather
from rexjax.embedding.table import check_ids
from rexjax.errors import UserError
from rexjax.evaluation import ranking, requests
from rexjax.models import recommender
from rexjax.models.recommender import Params, Recommender
from rexjax.models.served import Served, unflatten
from rexjax.runtime.mesh import local_rows
from rexjax.training.catalogue import Catalogue
from rexjax.training.checkpoint import restore_tree


class Prepared(NamedTuple):
    """The log in memory."""

    histories: Histories
    source: Any
    """Its records, for training."""
    items: int
    """N."""
    popularity: np.ndarray
    """int64 [N], training interactions."""


def prepared(artifact: Artifact) -> Prepared:
    """Reads the artifact of stage prepare."""
    log, items = histories.read(artifact.folder), artifact.metrics["items"]
    check_ids(log.items, items, "items")
    training = np.zeros(len(log.items) + 1, np.int64)
    np.add.at(training, log.offsets[:-1], 1)
    np.add.at(training, log.valid_start, -1)
    training = np.cumsum(training)[:-1] > 0
    counts = np.bincount(log.items[training], minlength=items)
    return Prepared(log, histories.source(artifact.folder), items, counts)


def check_time(name: str, time: str, log: Prepared) -> None:
    """A model that is to read times needs a log that has them.

    Raises:
        UserError: all events have the same.
    """
    if time != "none" and (log.histories.times == log.histories.times[0]).all():
        raise UserError(f"--{name}.time {time}: all interactions of this log have the same time; use none")


def titles(artifact: Artifact) -> dict[str, list[Any]]:
    """Columns item_id, title, text, row in the order of dense ids."""
    return pq.read_table(artifact.folder / "items.parquet").to_pydict()


def content_vectors(artifact: Artifact) -> np.ndarray:
    """float32 [N, W] from stage encode: of the text, and whatever else is known of the items."""
    return np.load(artifact.folder / "vectors.npy")


def catalogue(log: Prepared, vectors: np.ndarray, prior: float = 0.0) -> Catalogue:
    """What training must know of the items; those that it never meets and that have a text are not scored by it.

    ``prior`` times the log of an item's popularity is what the loss adds to its logits.
    """
    unmet = (log.popularity == 0) & vectors.any(1)
    found = Catalogue(np.asarray(vectors, np.float32), log.popularity, ~unmet if unmet.any() else None)
    return found._replace(prior=prior * np.log1p(log.popularity, dtype=np.float32)[:, None]) if prior else found


def epochs(log: Prepared, config: Config, batch: int, mesh: jax.sharding.Mesh) -> Callable[..., Iterator[Batch]]:
    """The training batches of an epoch by its number, without the first so many: this process's rows of them."""
    rows = local_rows(mesh, batch)

    def epoch(number: int, first: int = 0) -> Iterator[Batch]:
        whole = batches.epoch(
            log.source,
            seed=config.seed,
            epoch=number,
            batch=batch,
            length=config.data.length,
            targets=config.data.targets,
            rows=rows,
        )
        return itertools.islice(whole, first, None)  # what is left out was packed, but neither copied nor trained

    return epoch


def without_lists(epoch: Callable[..., Iterator[Batch]]) -> Callable[[int, int], Iterator[tuple[Batch, None]]]:
    """Epochs for a model that learns from labels alone."""
    return lambda number, first: ((batch, None) for batch in epoch(number, first))


def run_settings(config: Config) -> dict[str, Any]:
    """What a training run is told beside what decides its result."""
    return {"wandb_project": config.wandb, "save_every": config.save_every}


def with_decay(settings: Training, epoch: Callable[..., Iterator[Any]]) -> Training:
    """Settings whose decay lasts as long as all epochs, where it is to; the first epoch is read to count its steps."""
    if settings.decay_steps >= 0:
        return settings
    return replace(settings, decay_steps=settings.epochs * sum(1 for _ in epoch(0)))


def validator(
    log: Prepared, config: Config, model: Recommender, text: np.ndarray, most: int
) -> Callable[[Params], dict[str, float]]:
    """Full-ranking metrics of parameters on the validation part."""
    asked, _ = requests.build(
        log.histories,
        "valid",
        items=log.items,
        length=config.data.length,
        exclude_seen=config.evaluate.exclude_seen,
        most=most,
        seed=config.seed,
    )

    @jax.jit
    def encode(served: Served, batch: jax.Array, times: jax.Array) -> jax.Array:
        vectors, mask = gather(served.items, batch)
        return model.encode(served.history, vectors, mask, times)

    def validate(params: Params) -> dict[str, float]:
        # one copy on one device: validation sets are small, and every process computes the same numbers
        served = recommender.serve(model, params, text, log.items)
        result = ranking.evaluate(
            lambda *batch: encode(served, *batch), served.items, asked, ks=(10,), description="validating"
        )
        return {name: result.means[name] for name in ("ndcg@10", "hit_rate@10", "mrr@10")}

    return validate


def served(folder: Path) -> Served:
    """A trained or compressed model, as ``save_tree(folder, flatten(served))`` wrote it."""
    return unflatten(restore_tree(folder))
