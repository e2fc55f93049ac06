"""What models of pairs of a user and an item have in common: rows for both, and training on pairs."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rexjax.errors import check_least
from rexjax.families.base import Model, Run, TrainingData
from rexjax.losses.sampled import SAMPLED, mean
from rexjax.training.pairs import PairBatch, Pairs, PairTask, PairTraining, Params, train_pairs


class Counts(NamedTuple):
    """What a log knows of users and items besides their pairs."""

    trained: np.ndarray
    """bool [U], users with an event in training; the others are answered as user -1 is."""
    popularity: np.ndarray
    """float32 [N], logarithms of training interactions."""


@dataclass(frozen=True)
class PairModel(Model, ABC):
    """A model that learns from pairs of a user and an item, and knows the users of the log alone.

    Each positive pair of training stands beside ``training.negatives`` items that the user does not have. A user that
    the log does not know, or that has no event in training, gets the answer of user -1.
    """

    training: PairTraining = field(default_factory=PairTraining)
    """How it is trained."""

    @abstractmethod
    def first_params(self, users: int, items: int, seed: int) -> Params:
        """Parameters before training: "tables" {"users": arrays [U, …] by name, "items": arrays [N, …]}, "dense"."""

    @abstractmethod
    def loss(self, catalogue: int, params: Params, batch: PairBatch, constants: Any) -> jax.Array:
        """The mean loss of the pairs of a batch; ``catalogue`` is N."""

    @abstractmethod
    def served(self, params: Params, counts: Counts, constants: Any) -> Any:
        """The state that answers, of parameters on the host."""

    def fit(self, data: TrainingData, run: Run) -> Any:
        """Trains; keeps the epoch that is best on validation (see ``training.patience``)."""
        return self.served(self.trained(data, run), counts_of(data), self.constants(data, run))

    def trained(self, data: TrainingData, run: Run, start: Params | None = None) -> Params:
        """Parameters on the host, trained from ``start`` or from ``first_params``."""
        counts, constants, users = counts_of(data), self.constants(data, run), data.log.users

        def validate(params: Params) -> float:
            return run.validate(self.scorer(self.served(params, counts, constants)), self.training.validate_users)[
                run.select
            ]

        task = PairTask(
            name=run.name,
            key=f"{run.key}.training",
            params=self.first_params(users, data.items, run.seed) if start is None else start,
            loss=partial(self.loss, data.items),
            constants=constants,
            validate=validate,
            select=run.select,
        )
        sizes = {"users": users, "items": data.items}
        found = train_pairs(task, self.pairs(data, run), self.training, **sizes, seed=run.seed, mesh=run.mesh)
        run.summaries[run.name] = found.summary
        return found.params

    def pairs(self, data: TrainingData, run: Run) -> Pairs:
        """The distinct pairs of training; all values are 1."""
        users, items = distinct_pairs(data)
        return Pairs(users, items, np.ones(len(users), np.float32))

    def constants(self, data: TrainingData, run: Run) -> Any:
        """Arrays that the loss reads besides parameters and pairs."""
        return ()

    def variations(self) -> dict[str, Model]:
        """Its numbers doubled and halved, and those of its training; epochs, batch and patience stay."""
        rate, negatives = self.training.learning_rate, self.training.negatives
        changes = {
            "faster": {"learning_rate": 2 * rate},
            "slower": {"learning_rate": rate / 2},
            "more negatives": {"negatives": 2 * negatives},
            "fewer negatives": {"negatives": max(negatives // 2, 1)},
        }
        found = {name: replace(self, training=replace(self.training, **change)) for name, change in changes.items()}
        return {name: model for name, model in (super().variations() | found).items() if model != self}


@dataclass(frozen=True)
class RowModel(PairModel, ABC):
    """A model of pairs that scores a row of the user and a row of the item."""

    l2: float = 0.0
    """Weight of the squared norms of the rows of a pair in its loss."""

    objective = staticmethod(SAMPLED["bce"])
    """The loss of a positive item's score among negative ones (``rexjax.losses``)."""

    def __post_init__(self) -> None:
        check_least(self, type(self).__name__, 0, "l2")

    @abstractmethod
    def score_rows(self, dense: Any, users: dict[str, jax.Array], items: dict[str, jax.Array]) -> jax.Array:
        """Scores [...] of rows [..., D] of users and items, whose leading dimensions are broadcast."""

    def loss(self, catalogue: int, params: Params, batch: PairBatch, constants: Any) -> jax.Array:
        """That of the scores, and the regularisation of the rows of each pair."""
        users = jax.tree.map(lambda table: table[batch.users[:, None]], params["tables"]["users"])
        items = jax.tree.map(lambda table: table[batch.items], params["tables"]["items"])
        scores = self.score_rows(params["dense"], users, items)
        negatives = scores.shape[1] - 1
        ranked = self.objective(
            scores[:, 1:],
            batch.items[:, 0],
            where=batch.where,
            positive=scores[:, 0],
            sampled=jnp.full(negatives, -1),  # each pair has its own, and none of them is the label
            log_expected=jnp.full(negatives, math.log(negatives / catalogue)),
        )
        return ranked + self.l2 * mean(_squares(users) + _squares(items), batch.where)

    def variations(self) -> dict[str, Model]:
        """As of any model of pairs, with some regularisation where there is none; first deviations stay."""
        found = {name: model for name, model in super().variations().items() if not name.endswith(" init_std")}
        return found if self.l2 else found | {"some l2": replace(self, l2=1e-3)}


def counts_of(data: TrainingData) -> Counts:
    """The counts of the training part."""
    return Counts(data.log.valid_start > data.log.offsets[:-1], np.log1p(data.popularity).astype(np.float32))


def distinct_pairs(data: TrainingData) -> tuple[np.ndarray, np.ndarray]:
    """Users int32 [E] and items int32 [E] of training, each pair once, sorted by user."""
    users, events = data.events()
    keys = np.unique(users * data.items + data.log.items[events])
    return (keys // data.items).astype(np.int32), (keys % data.items).astype(np.int32)


def normal_table(key: jax.Array, rows: int, width: int, std: float) -> np.ndarray:
    """Normal deviates: float32 [rows, width]."""
    return np.asarray(std * jax.random.normal(key, (rows, width)))


def with_popularity(users: np.ndarray, items: np.ndarray, counts: Counts) -> dict[str, np.ndarray]:
    """A state of ``rexjax.models.user_rows``: scores are dot products, and those of user -1 the items' popularity.

    Args:
        users: float32 [U, D].
        items: float32 [N, D].
        counts: of the log.
    """
    unknown = np.append(np.zeros(users.shape[1], np.float32), np.float32(1))
    return {
        "users": np.where(counts.trained[:, None], np.pad(users, ((0, 0), (0, 1))), unknown),
        "items": np.concatenate([items, counts.popularity[:, None]], 1),
        "unknown": unknown,
    }


def _squares(rows: dict[str, jax.Array]) -> jax.Array:
    """Squared norms float32 [P] of rows [P, R, D], the mean over R."""
    return sum((jnp.square(part).sum(-1).mean(-1) for part in jax.tree.leaves(rows)), jnp.zeros(()))
