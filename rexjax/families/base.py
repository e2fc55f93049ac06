"""The extension point: a family of models is one frozen dataclass, its fields are its config keys.

A subclass may be defined anywhere, a config file included. What a family can do beyond fitting and scoring is said by
small protocols here; a stage asks for the ability, never for the class.
"""

import abc
import contextlib
import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np

from rexjax.artifacts.classes import Open
from rexjax.data import batches
from rexjax.data.batches import Batch
from rexjax.data.features.fitted import FeatureArray
from rexjax.data.histories import Histories
from rexjax.errors import UserError
from rexjax.models.scorer import Scorer
from rexjax.runtime.mesh import local_rows
from rexjax.training.settings import SELECT

MEMBER_SEEDS = 1_000_003
"""Between the seeds of two members of an ensemble."""
KEPT_BYTES = 1 << 30
"""Packed epochs that are kept in memory."""
_BETWEEN_WORDS = re.compile("(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")  # of a class name


class Unsuitable(UserError):
    """A model cannot be fitted on this log; as a baseline it is left out, and that is said."""


@dataclass(frozen=True)
class TrainingData:
    """The training part of a log, and what is known of its items, on the host."""

    log: Histories
    """All histories; events before ``valid_start`` train."""
    records: Any
    """The same as records with random access (``rexjax.data.histories.source``)."""
    items: int
    """N."""
    popularity: np.ndarray
    """int64 [N], training interactions."""
    length: int
    """The longest history that a model sees, L."""
    content: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Item vectors by name ("text", "tfidf", …), float32 [N, W] each, zeros where an item has none."""
    targets: str = "next_item"
    """See ``rexjax.data.settings.Data.targets``."""
    exclude_seen: bool = True
    """Items of the history are not recommended."""
    features: Mapping[str, np.ndarray] = field(default_factory=dict)
    """User, item and event features by name, [U, ...], [N, ...] and [E, ...]."""
    described: tuple[FeatureArray, ...] = ()
    """What these arrays are, of those that were declared as columns."""
    packed: dict[Any, list[Batch]] = field(default_factory=dict, repr=False)
    """Epochs that have been packed, by seed, batch, mesh and number."""

    @property
    def vectors(self) -> np.ndarray:
        """All item vectors side by side: float32 [N, W], W may be 0."""
        return np.concatenate([np.zeros((self.items, 0), np.float32), *self.content.values()], 1)

    def events(self) -> tuple[np.ndarray, np.ndarray]:
        """User int64 [E'] and place in the log int64 [E'] of each training event, in the log's order."""
        log = self.log
        counts = log.valid_start - log.offsets[:-1]
        users = np.repeat(np.arange(log.users), counts)
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return users, log.offsets[:-1][users] + within

    def epochs(self, seed: int, batch: int, mesh: jax.sharding.Mesh) -> Callable[..., Iterator[Batch]]:
        """The training batches of an epoch by its number, without the first so many: this process's rows of them."""

        def epoch(number: int, first: int = 0) -> Iterator[Batch]:
            return itertools.islice(self._epoch(seed, batch, mesh, number), first, None)

        return epoch

    def steps(self, seed: int, batch: int, mesh: jax.sharding.Mesh) -> int:
        """Steps of the first epoch."""
        return sum(1 for _ in self._epoch(seed, batch, mesh, 0))

    def _epoch(self, seed: int, batch: int, mesh: jax.sharding.Mesh, number: int) -> Iterator[Batch]:
        """Packed once: models of one log that are trained alike see the same epochs, and small ones are kept."""
        key = seed, batch, mesh, number
        if key in self.packed:
            yield from self.packed[key]
            return
        kept: list[Batch] = []
        room = KEPT_BYTES - sum(_bytes(batches) for batches in self.packed.values())
        for packed in self._pack(seed, batch, mesh, number):
            if room > 0:
                kept.append(packed)
                room -= _bytes([packed])
            yield packed
        if room > 0:
            self.packed[key] = kept

    def _pack(self, seed: int, batch: int, mesh: jax.sharding.Mesh, number: int) -> Iterator[Batch]:
        return batches.epoch(
            self.records,
            seed=seed,
            epoch=number,
            batch=batch,
            length=self.length,
            targets=self.targets,
            rows=local_rows(mesh, batch),
        )


def _bytes(packed: list[Batch]) -> int:
    return sum(array.nbytes for array in jax.tree.leaves(packed))


def _unknown(scorer: Scorer, users: int = 0) -> dict[str, float]:
    raise UserError("this model is chosen on validation: give Run a validate function")


@dataclass(frozen=True)
class Run:
    """Where and how a model is fitted, beside what decides its result: seed and data."""

    mesh: jax.sharding.Mesh
    """Devices."""
    folder: Path
    """Checkpoints and logs; the caller removes the former."""
    seed: int = 0
    """All randomness."""
    name: str = "model"
    """For logs, bars and checkpoints."""
    key: str = "model"
    """The model's key in the config, for error sentences."""
    validate: Callable[..., dict[str, float]] = _unknown
    """(scorer, users at most) → metrics of full ranking on validation."""
    select: str = SELECT
    """The metric that models and epochs are chosen by."""
    save_every: int = 0
    """Steps between two saves; 0: a minute."""
    wandb: str = ""
    """Weights & Biases project."""
    summaries: dict[str, Any] = field(default_factory=dict)
    """What training reports, by name."""

    def member(self, number: int) -> "Run":
        """The same for a member of an ensemble."""
        return replace(
            self,
            seed=self.seed + number * MEMBER_SEEDS,
            name=f"{self.name} {number + 1}",
            key=f"{self.key}.members.{number}",
        )


@dataclass(frozen=True)
class Model(Open, abc.ABC):
    """A family. Its fields are its config keys."""

    @abc.abstractmethod
    def fit(self, data: TrainingData, run: Run) -> Any:
        """Learns from the training part of a log.

        Returns:
            The state: a pytree of arrays.

        Raises:
            UserError: the log or the settings do not allow it.
        """

    @abc.abstractmethod
    def scorer(self, state: Any) -> Scorer:
        """The model as it answers, from a state; also from one that was stored, in another process."""

    def state_from(self, tree: dict[str, Any]) -> Any:
        """The state from what is stored of it, nested dicts of arrays; a family whose state is no dict says how."""
        return tree

    def variations(self) -> dict[str, "Model"]:
        """What a search tries next, by name: every number doubled and halved, unless the family says otherwise."""
        found: dict[str, Model] = {}
        for key in fields(self):
            value = getattr(self, key.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value:
                continue
            less = value / 2 if isinstance(value, float) else value // 2
            for name, changed in ((f"more {key.name}", value * 2), (f"less {key.name}", less)):
                with contextlib.suppress(UserError):  # the family refuses the value
                    if changed:
                        found[name] = replace(self, **{key.name: changed})
        return found


@dataclass(frozen=True)
class SoftTargets:
    """What a teacher passes on to a student."""

    lists: Callable[..., Any]
    """(epochs of batches, number of epochs, scored) → epochs of (batch, teacher's top-k for it)."""
    vectors: np.ndarray | None = None
    """float32 [N, W], unit vectors of the teacher's items that the student's are aligned with; None: not aligned."""
    alignment_weight: float = 0.0
    """Of the alignment in the loss."""


@dataclass(frozen=True)
class FineTuning:
    """How a trained model is trained on."""

    start: Any
    """The state to go on from."""
    fake_quantize: Callable[[jax.Array, jax.Array], jax.Array] | None = None
    """See ``Recommender.fake_quantize``."""
    content: np.ndarray | None = None
    """float32 [N, W], what ``fake_quantize`` reads of each item beside its vector; None: nothing."""
    prune: Callable[[Any], Any] | None = None
    """See ``Recommender.prune``."""


@runtime_checkable
class Distillable(Protocol):
    """A family that can learn from a teacher's top-k."""

    def distill(self, data: TrainingData, soft: SoftTargets, run: Run, tuning: FineTuning | None = None) -> Any:
        """As ``Model.fit``, from soft targets and labels; with ``tuning`` it goes on from a state."""


@runtime_checkable
class Narrowable(Protocol):
    """A family whose vectors can lose dimensions and be rotated."""

    def narrow(self, state: Any, width: int) -> tuple[Model, Any]:
        """The model with its ``width`` most important dimensions, and its state."""

    def rotate(self, state: Any) -> Any:
        """The same answers with entries of like size, so that one scale a row suits them all."""

    def turn(self, state: Any, basis: jax.Array) -> Any:
        """The same answers in the axes ``basis``, orthonormal columns float32 [D, D]."""


@runtime_checkable
class Planned(Protocol):
    """A family whose training step can be compiled for devices that are not here."""

    def recipes(self, length: int, aligned: int = 0, soft: bool = False) -> dict[str, Any]:
        """Network, objective and training settings (``rexjax.families.gradient.Recipe``) by part: "" or " 1", " 2"."""


@runtime_checkable
class Updatable(Protocol):
    """A family whose state follows a log that has grown, for less than a fit."""

    def update(self, state: Any, old: TrainingData, new: TrainingData, run: Run) -> Any:
        """The state for ``new`` from that for ``old``.

        Args:
            state: of ``fit(old, run)``, or of an update that ended at ``old``.
            old: the log that the state knows.
            new: the log now. Dense ids of ``old`` mean the same users and items in it; more may follow them.
            run: as for a fit.

        Returns:
            A state as ``fit(new, run)`` returns it.

        Raises:
            UserError: ``new`` has fewer users or items than ``old``.
        """


ABILITIES = {
    Distillable: "learn from a teacher",
    Narrowable: "lose dimensions",
    Planned: "be planned",
    Updatable: "be updated",
}


def named(models: tuple[Model, ...]) -> dict[str, Model]:
    """Models by their names in tables: ``ItemKNN`` is item_knn, a second one item_knn_2."""
    found: dict[str, Model] = {}
    for model in models:
        name = _BETWEEN_WORDS.sub("_", type(model).__name__).lower()
        count = sum(other == name or other.startswith(f"{name}_") for other in found)
        found[f"{name}_{count + 1}" if count else name] = model
    return found


def need(model: Model, ability: type, key: str) -> Any:
    """``model``, which must have the ability.

    Raises:
        UserError: it has not; the sentence names the model, the ability and the key.
    """
    if isinstance(model, ability):
        return model
    raise UserError(f"{key} is {type(model).__name__}, which cannot {ABILITIES[ability]}: choose another class there")


def need_vectors(scorer: Scorer, key: str, what: str) -> Any:
    """The item rows of a model that scores by dot products.

    Raises:
        UserError: it does not; ``what`` needs it.
    """
    if scorer.vectors is None:
        raise UserError(f"{key} has no item vectors, which {what} needs: choose a model that scores by dot products")
    return scorer.vectors(scorer.state)


def need_history_alone(scorer: Scorer, key: str, what: str) -> None:
    """Raises ``UserError`` where a model reads more of a request than its history and times; ``what`` has no more."""
    if scorer.reads:
        names = ", ".join(scorer.reads)
        raise UserError(
            f"{key} reads the feature {names} of each request, and {what} is given histories alone: choose a model "
            "that answers from the history"
        )


def fit(model: Model, data: TrainingData, run: Run) -> Any:
    """``model.fit``, whose state is checked.

    Raises:
        UserError: a number in the state is NaN.
    """
    state = model.fit(data, run)
    check_state(state, f"{run.key} ({type(model).__name__})")
    return state


def follow(model: Model, state: Any, old: TrainingData, new: TrainingData, run: Run) -> Any:
    """The state for ``new``: updated from the one for ``old`` where the family can (``Updatable``), else fitted.

    Raises:
        UserError: a number in the state is NaN, or ``new`` has fewer users or items than ``old``.
    """
    found = model.update(state, old, new, run) if isinstance(model, Updatable) else model.fit(new, run)
    check_state(found, f"{run.key} ({type(model).__name__})")
    return found


def check_state(state: Any, what: str) -> None:
    """Raises ``UserError`` if a number in ``state`` is NaN."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        if np.issubdtype(np.asarray(leaf).dtype, np.floating) and np.isnan(np.asarray(leaf)).any():
            where = jax.tree_util.keystr(path)
            raise UserError(f"{what} was fitted to NaN in {where}: lower its learning rate or raise its regularisation")
