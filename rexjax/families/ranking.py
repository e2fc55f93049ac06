"""Rankers: models of labelled examples of named arrays, such as whether a user will click an item in a context."""

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from rexjax.artifacts.classes import Open
from rexjax.embedding.optimizers import LazyAdam, RowOptimizer
from rexjax.embedding.table import Table
from rexjax.errors import UserError, check_least
from rexjax.families.base import Run
from rexjax.models.fields import Arrays, Fields, combine_slots
from rexjax.models.interactions import Embedded
from rexjax.training.label_metrics import auc
from rexjax.training.labelled import Fitted, LabelledTask, LabelledTraining, train_labelled

LABEL = "label"
"""The array float32 [B], or [B, T] for T tasks, that a ranker learns; NaN where a task's label is not known."""
BATCH = 8192
"""Examples that are scored at a time."""

Loss = Literal["logistic", "squared"]
Examples = Callable[[int], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Ranker(Open, abc.ABC):
    """A family of rankers. Its fields are its config keys.

    The state is {"tables": {name: float32 [V, D]}, "dense": parameters, "stats": running statistics}.
    """

    width: int = 10
    """Width of the fields' vectors, D."""
    stddev: float = 0.01
    """Deviation of the first vectors."""
    loss: Loss = "logistic"
    """Cross-entropy of labels in [0, 1], or squared error."""
    training: LabelledTraining = field(default_factory=LabelledTraining)
    """How it is trained."""

    def __post_init__(self) -> None:
        check_least(self, type(self).__name__, 1, "width")

    @abc.abstractmethod
    def network(self) -> nn.Module:
        """What makes logits of ``Embedded``."""

    def row_optimizer(self) -> RowOptimizer:
        """How the vectors move."""
        return LazyAdam(self.training.learning_rate)

    def optimizer(self) -> optax.GradientTransformation:
        """How the network's parameters move."""
        return optax.adam(self.training.learning_rate)

    def tables(self, fields: Fields) -> dict[str, Table]:
        """One table with a vector and a weight for each value of each field."""
        rule, sparse = self.row_optimizer(), self.training.sparse
        return {
            "fields": Table("fields", fields.rows, self.width + 1, stddev=self.stddev, optimizer=rule, sparse=sparse)
        }

    def ids(self, fields: Fields, arrays: Arrays) -> dict[str, jax.Array]:
        """For each table the ids int32 [B, S] that a batch reads."""
        return {"fields": fields.slots(arrays).ids}

    def embed(self, fields: Fields, rows: Mapping[str, jax.Array], arrays: Arrays) -> Embedded:
        """What the network takes, of the tables' rows float32 [B, S, D]."""
        found = combine_slots(rows["fields"], fields.slots(arrays), fields.widths(arrays))
        return Embedded(found[..., :-1], found[..., -1].sum(1), fields.numbers(arrays))

    def fit(
        self,
        fields: Fields,
        examples: Mapping[str, np.ndarray] | Examples,
        valid: Mapping[str, np.ndarray] | None,
        run: Run,
        measure: Callable[[np.ndarray, np.ndarray], float] = auc,
    ) -> dict[str, Any]:
        """Trains; keeps the epoch that is best on ``valid``.

        Args:
            fields: what is read.
            examples: named arrays [E, …] with ``LABEL``, or a function of the epoch that gives them.
            valid: such arrays; None where ``training.patience`` is 0.
            run: seed, mesh and name; its ``summaries`` are written.
            measure: (logits, labels) → a metric of which more is better.

        Returns:
            The state: a pytree of arrays.

        Raises:
            UserError: an array is missing, or training fails.
        """
        if self.training.patience and valid is None:
            raise UserError("training.patience is above 0 and there is no validation part: give one, or set it to 0")
        given = examples if callable(examples) else (lambda epoch: examples)
        first = given(0)
        _check(fields, first, valid)
        task = self.task(fields, first, valid, run, measure)
        found = train_labelled(task, given, self.training, seed=run.seed, mesh=run.mesh)
        run.summaries[run.name] = found.summary
        return found.fitted._asdict()

    def logits(self, fields: Fields, state: Any, arrays: Arrays) -> jax.Array:
        """Logits of a batch: float32 [B], or [B, T]. Pure, so that it may enter ``jit``."""
        rows = {name: _take(state["tables"][name], ids) for name, ids in self.ids(fields, arrays).items()}
        variables = {"params": state["dense"], "batch_stats": state["stats"]}
        return self.network().apply(variables, self.embed(fields, rows, arrays), train=False)

    def predict(self, fields: Fields, state: Any, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """Logits of any number of examples, on the host: float32 [E], or [E, T]."""
        count = len(arrays[fields.ids[0].name])
        chosen = {name: np.asarray(arrays[name]) for name in fields.names()}
        placed, parts = jax.tree.map(jnp.asarray, state), []
        for start in range(0, count, BATCH):
            part = {name: _padded(values[start : start + BATCH], min(count, BATCH)) for name, values in chosen.items()}
            parts.append(np.asarray(_predict(self, fields, placed, part)))
        return np.concatenate(parts)[:count]

    def start(self, fields: Fields, few: Arrays, seed: int) -> tuple[dict[str, Any], dict[str, Table]]:
        """First variables of the network, and the declared tables.

        Args:
            fields: what is read.
            few: some examples.
            seed: of the network.
        """
        declared = self.tables(fields)
        rows = {
            name: jnp.zeros((*ids.shape, declared[name].width), jnp.float32)
            for name, ids in self.ids(fields, few).items()
        }
        made = _first_variables(self.network(), jax.random.key(seed), self.embed(fields, rows, few))
        return dict(made), declared

    def apply(
        self, fields: Fields, dense: Any, stats: Any, rows: Mapping[str, jax.Array], arrays: Arrays, key: jax.Array
    ) -> tuple[jax.Array, Any]:
        """Logits in training, of the tables' rows float32 [B, S, D], and the new running statistics."""
        logits, changed = self.network().apply(
            {"params": dense, "batch_stats": stats},
            self.embed(fields, rows, arrays),
            train=True,
            rngs={"dropout": key},
            mutable=["batch_stats"],
        )
        return logits, changed.get("batch_stats", {})

    def task(self, fields: Fields, first: Arrays, valid: Any, run: Run, measure: Any = auc) -> LabelledTask:
        """What ``train_labelled`` trains, and ``make_step`` makes a step of. See ``fit``; ``first`` are examples."""
        few = {name: jnp.asarray(first[name][:2]) for name in fields.names()}
        made, declared = self.start(fields, few, run.seed)

        def validate(fitted: Fitted) -> float:
            return measure(self.predict(fields, fitted._asdict(), valid), valid[LABEL])

        return LabelledTask(
            name=run.name,
            key=f"{run.key}.training",
            tables=declared,
            optimizer=self.optimizer(),
            dense=made["params"],
            stats=made.get("batch_stats", {}),
            ids=partial(self.ids, fields),
            loss=partial(_loss, self, fields),
            validate=validate,
            select=getattr(measure, "__name__", "metric"),
        )


@partial(jax.jit, static_argnums=0)
def _first_variables(network: nn.Module, key: jax.Array, embedded: Embedded) -> Any:
    return network.init({"params": key}, embedded, train=False)


def _check(fields: Fields, examples: Arrays, valid: Arrays | None) -> None:
    for arrays in (examples, valid):
        if arrays is not None:
            fields.check(arrays)
            if LABEL not in arrays:
                raise UserError(f"the examples have no array {LABEL!r}: give the labels by that name")


def _padded(values: np.ndarray, count: int) -> np.ndarray:
    """Repeats the last example."""
    return np.pad(values, ((0, count - len(values)), *((0, 0),) * (values.ndim - 1)), mode="edge")


def _take(table: jax.Array, ids: jax.Array) -> jax.Array:
    rows = jnp.asarray(table)
    return jnp.take(rows, jnp.where(ids >= 0, ids, len(rows)), axis=0, mode="fill", fill_value=0)


@partial(jax.jit, static_argnums=(0, 1))
def _predict(ranker: Ranker, fields: Fields, state: Any, arrays: Arrays) -> jax.Array:
    return ranker.logits(fields, state, arrays)


def _loss(
    ranker: Ranker, fields: Fields, dense: Any, stats: Any, rows: Any, batch: Arrays, key: jax.Array
) -> tuple[jax.Array, Any]:
    logits, stats = ranker.apply(fields, dense, stats, rows, batch, key)
    return mean_loss(ranker.loss, logits, jnp.asarray(batch[LABEL], jnp.float32)), stats


def mean_loss(kind: Loss, logits: jax.Array, labels: jax.Array) -> jax.Array:
    """The mean loss of the labels that are known, float32 [B] or [B, T]; a label of NaN is not.

    >>> import jax.numpy as jnp
    >>> round(float(mean_loss("logistic", jnp.zeros(2), jnp.asarray([1.0, jnp.nan]))), 4)  # log 2
    0.6931
    """
    known = ~jnp.isnan(labels)
    labels = jnp.where(known, labels, 0)
    each = optax.sigmoid_binary_cross_entropy(logits, labels) if kind == "logistic" else (logits - labels) ** 2
    return jnp.where(known, each, 0).sum() / jnp.maximum(known.sum(), 1)
