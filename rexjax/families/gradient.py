"""Families that are trained by gradients: learned item rows, an item encoder and a history encoder."""

import abc
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import numpy as np

from rexjax.data.features.fitted import FeatureArray
from rexjax.embedding import rows
from rexjax.encoders import reduce
from rexjax.errors import UserError, check_least, check_share
from rexjax.families import warm
from rexjax.families.base import FineTuning, Model, Run, SoftTargets, TrainingData
from rexjax.families.item_features import feature_columns
from rexjax.families.modalities import check_modalities, widths_of
from rexjax.families.unmet import calibrated
from rexjax.families.user_features import epochs_with_features, user_arrays
from rexjax.models import recommender as recommenders
from rexjax.models.fusion import Fusion, Sum, Widths
from rexjax.models.items import ItemEncoder
from rexjax.models.recommender import Params, Recommender
from rexjax.models.scorer import Query, Scorer
from rexjax.models.served import Served
from rexjax.training import objectives
from rexjax.training.catalogue import Catalogue
from rexjax.training.loop import Fitted, Task, train
from rexjax.training.objectives import Objective
from rexjax.training.settings import Training, with_batch, with_steps

Loss = Literal[
    "full_softmax",
    "sampled_softmax",
    "gbce",
    "bce",
    "bpr",
    "warp",
    "listnet",
    "listmle",
    "lambdarank",
    "ndcg",
    "in_batch",
]
"""By their names in a config, see ``rexjax.training.objectives.of_labels``."""


class Recipe(NamedTuple):
    """What a training step is compiled from: the plan compiles the same."""

    recommender: Recommender
    objective: Objective
    training: Training
    adjusted: bool = False
    """Logits are adjusted by popularity."""


@dataclass(frozen=True)
class GradientModel(Model):
    """Item vectors, user vectors and the scores between them, trained by gradients."""

    width: int = 64
    """Width of the item and user vectors."""
    dropout: float = 0.3
    """Dropped share of activations."""
    time: Literal["none", "history", "query"] = "none"
    """What the history encoder is told: the order alone; the times of the history's events; with 'query', also when the
    next one happens, as if the request were made at that moment (not to be compared with figures without it)."""
    activations: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 halves the bytes of activations and is what TPUs multiply; rows, parameters and sums stay float32."""
    fusion: Literal["add", "gated", "text", "init_from_text"] = "add"
    """An item's vector: its row + its projected text; a learned mixture of the two; its projected text alone; its row,
    which starts as the text's first principal components."""
    modalities: Fusion = Sum()
    """How the kinds of vectors that an item has (text, tfidf, each of encode.extra_vectors) become the one that
    ``fusion`` calls its projected text."""
    item_features: tuple[str, ...] = ()
    """Item features by name, of those that data.columns declares: an embedding of each is added to the item's vector.
    Item vectors are computed before serving, so that requests need none of them."""
    temperature: float = 0.0
    """Scores are cosines divided by it; 0: dot products."""
    logit_adjustment: float = 0.0
    """So many times the log of its popularity is added to an item's logits in training: answers lean less to it
    (Menon et al. 2021)."""
    loss: Loss = "full_softmax"
    """Cross-entropy over the whole catalogue, or over ``negatives`` shared samples with logQ correction; gBCE, BCE,
    BPR, WARP, ListNet, ListMLE, LambdaRank and smooth NDCG with as many samples, drawn evenly; cross-entropy over the
    labels of other histories in the batch, with logQ correction."""
    negatives: int = 512
    """Samples of the other losses; of the batch's labels at most so many."""
    training: Training = field(default_factory=Training)
    """How it is trained."""

    def __post_init__(self) -> None:
        name = type(self).__name__
        check_least(self, name, 1, "width", "negatives")
        check_least(self, name, 0, "temperature", "logit_adjustment")
        check_share(self, name, "dropout")

    def item_encoder(self, features: int = 0, widths: Widths = ()) -> nn.Module:
        """The network from an item's row and text, with C = ``features`` columns behind it, to its vector; ``widths``
        of the modalities, () for one."""
        return ItemEncoder(self.width, self.fusion, features, self.modalities, widths)

    @abc.abstractmethod
    def history_encoder(self, length: int) -> nn.Module:
        """The network from item vectors to user vectors, for histories up to L = ``length``."""

    @abc.abstractmethod
    def longest_history(self, state: Served) -> int:
        """L, from the shape of a trained parameter."""

    def names_of_user_features(self) -> tuple[str, ...]:
        """User features that the history encoder reads."""
        return ()

    def check(self, run: Run) -> None:
        """Raises ``UserError`` where the family's settings do not fit the mesh."""

    def recommender(
        self,
        length: int,
        aligned: int = 0,
        features: int = 0,
        users: tuple[FeatureArray, ...] | None = None,
        widths: Widths = (),
    ) -> Recommender:
        """The network and its functions; C item ``features`` and, where training knows them, what user features are and
        how wide each modality is."""
        scale = 1 / self.temperature if self.temperature else 1.0
        items, history = self.item_encoder(features, widths), self.history_encoder(length)
        known = tuple(FeatureArray(name, "ids") for name in self.names_of_user_features()) if users is None else users
        return Recommender(
            items, history, self.temperature > 0, scale, self.activations, aligned=aligned, user_features=known
        )

    def recipe(
        self,
        length: int,
        aligned: int = 0,
        soft: bool = False,
        features: int = 0,
        users: tuple[FeatureArray, ...] | None = None,
        widths: Widths = (),
    ) -> Recipe:
        """Network, objective and training settings; ``soft``: of learning from a teacher."""
        model = self.recommender(length, aligned, features, users, widths)
        objective = objectives.distilled(model, 0.0) if soft else objectives.of_labels(model, self.loss, self.negatives)
        return Recipe(model, objective, self.training, self.logit_adjustment > 0)

    def recipes(self, length: int, aligned: int = 0, soft: bool = False) -> dict[str, Recipe]:
        """The one recipe, for the plan."""
        return {"": self.recipe(length, aligned, soft)}

    def fit(self, data: TrainingData, run: Run) -> Served:
        """Trains on labels; keeps the epoch that is best on validation."""
        features = feature_columns(data, self.item_features, run.key)
        users = user_arrays(data, self.names_of_user_features(), run.key)
        recipe = self.recipe(data.length, features=features.shape[1], users=users, widths=widths_of(data))
        if self.loss in objectives.SAMPLED and self.negatives >= data.items:
            raise UserError(
                f"--{run.key}.loss {self.loss} draws {self.negatives} negatives from a catalogue of {data.items} items:"
                f" set --{run.key}.negatives lower, or --{run.key}.loss full_softmax"
            )
        return self._train(data, run, recipe.recommender, recipe.objective, features)

    def distill(self, data: TrainingData, soft: SoftTargets, run: Run, tuning: FineTuning | None = None) -> Served:
        """Trains on a teacher's top-k and on labels; with ``tuning`` goes on from a state.

        Raises:
            UserError: the model reads user features.
        """
        aligned = 0 if soft.vectors is None else soft.vectors.shape[1]
        features = feature_columns(data, () if tuning else self.item_features, run.key)
        if names := self.names_of_user_features():
            raise UserError(
                f"--{run.key}.user-features names {', '.join(names)}, and a student is served by histories alone: "
                "leave them out, or let such a model teach"
            )
        model = self.recommender(data.length, aligned, features.shape[1], widths=widths_of(data))
        if tuning:
            model = replace(self._of_rows(model), fake_quantize=tuning.fake_quantize, prune=tuning.prune)
        objective = objectives.distilled(model, soft.alignment_weight)
        return self._train(data, run, model, objective, features, soft, tuning)

    def update(self, state: Served, old: TrainingData, new: TrainingData, run: Run) -> Served:
        """Trains on from ``state`` on labels, on the histories that changed and as many others: few steps a new event.

        New items begin at what their text says. The result is near that of ``fit(new, run)``, and not equal to it.
        """
        start, recent = warm.start(state, old, new), warm.recent(old, new, run.seed)
        if not recent.log.users:
            return start
        tuned = replace(self, training=warm.settings(self.training))
        features, users = (
            feature_columns(recent, (), run.key),
            user_arrays(recent, self.names_of_user_features(), run.key),
        )
        model = self._of_rows(self.recommender(new.length, users=users))
        objective = objectives.of_labels(model, self.loss, self.negatives)
        return tuned._train(recent, run, model, objective, features, None, FineTuning(start))

    def _of_rows(self, model: Recommender) -> Recommender:
        """The model whose item vectors are its rows alone: a state holds whole item vectors."""
        return replace(model, items=ItemEncoder(self.width, "init_from_text"))

    def _train(
        self,
        data: TrainingData,
        run: Run,
        model: Recommender,
        objective: Objective,
        columns: np.ndarray,
        soft: SoftTargets | None = None,
        tuning: FineTuning | None = None,
    ) -> Served:
        self._check(data, run)
        settings = self._resolved(data, run)
        features = self._catalogue(data, columns, soft, tuning)
        labels = data.epochs(run.seed, settings.batch, run.mesh)
        labels = epochs_with_features(labels, data, self.names_of_user_features())
        batches = soft.lists(labels, settings.epochs, features.scored) if soft else _without_lists(labels)
        template, text = self.scorer_of(model, data.items), features.text
        plain = replace(model, fake_quantize=None, prune=None)
        unmet = np.zeros(data.items, bool) if features.scored is None else ~features.scored

        def calibrate(model: Recommender, params: Params) -> tuple[Served, dict[str, float]]:
            # one copy on one device: validation sets are small, and every process computes the same numbers
            return calibrated(recommenders.serve(model, params, text, data.items), unmet, measure, run.select)

        def measure(state: Served) -> dict[str, float]:
            return run.validate(replace(template, state=state), settings.validate_users)

        def validate(params: Params) -> dict[str, float]:
            return calibrate(model, params)[1]

        start = self._start(data, tuning)
        task = Task(run.name, model, objective, batches, validate, features, start, run.select)
        fitted: Fitted = train(
            task,
            settings,
            seed=run.seed,
            mesh=run.mesh,
            folder=run.folder,
            wandb_project=run.wandb,
            save_every=run.save_every,
        )
        run.summaries[run.name] = fitted.summary
        if not unmet.any():
            return recommenders.serve(plain, fitted.params, text, data.items)
        return calibrate(plain, fitted.params)[0]

    def _resolved(self, data: TrainingData, run: Run) -> Training:
        """Training settings with what the config leaves open, and its decay in steps."""
        settings, devices = self.training, run.mesh.shape["data"]
        if not settings.batch:
            settings = with_batch(settings, data.steps(run.seed, devices, run.mesh) * devices, devices)
        open_ended = not (settings.epochs and settings.warmup) or settings.decay_steps < 0
        return with_steps(settings, data.steps(run.seed, settings.batch, run.mesh)) if open_ended else settings

    def _start(self, data: TrainingData, tuning: FineTuning | None) -> Params | None:
        if tuning:
            return {"items": {}, "history": tuning.start.history, "rows": tuning.start.items}
        if self.fusion == "init_from_text":
            return {"rows": _principal_components(data.vectors, data.popularity > 0, self.width)}
        return None

    def _catalogue(
        self, data: TrainingData, columns: np.ndarray, soft: SoftTargets | None, tuning: FineTuning | None
    ) -> Catalogue:
        """What training knows of the items. Items that it never meets and that have vectors are not scored by it; in
        fine-tuning rows are whole item vectors already."""
        content = data.vectors if tuning is None else _content_of(tuning, data.items)
        vectors = np.concatenate([np.asarray(content, np.float32), columns], 1)
        unmet = (data.popularity == 0) & (vectors.any(1) if tuning is None else True)
        features = Catalogue(vectors, data.popularity, ~unmet if unmet.any() else None)
        if self.logit_adjustment:
            prior = self.logit_adjustment * np.log1p(data.popularity, dtype=np.float32)[:, None]
            features = features._replace(prior=prior)
        if soft and soft.vectors is not None:
            features = features._replace(aligned=soft.vectors)
        return features

    def _check(self, data: TrainingData, run: Run) -> None:
        rows.check_ids(data.log.items, data.items, "items")
        self.check(run)
        if self.time != "none" and (data.log.times == data.log.times[0]).all():
            raise UserError(f"--{run.key}.time {self.time}: all interactions of this log have the same time; use none")
        check_modalities(self.modalities, self.fusion, data, run.key)
        if self.fusion != "add" and not data.vectors.shape[1]:
            raise UserError(f"--{run.key}.fusion {self.fusion} needs the items' text, and --data.text names no column")
        devices = run.mesh.shape["data"]
        if self.training.batch % devices:
            raise UserError(
                f"--{run.key}.training.batch {self.training.batch} is not divided by {devices} data devices"
            )

    def scorer(self, state: Served) -> Scorer:
        """The model as it answers."""
        template = self.scorer_of(self.recommender(self.longest_history(state)), rows.count(state.items))
        return replace(template, state=state)

    def scorer_of(self, model: Recommender, items: int) -> Scorer:
        """The scorer's functions, without a state."""
        return recommenders.scorer_of(model, None, items, self.explains())

    def explains(self) -> Callable[[Served, Query, jax.Array], jax.Array] | None:
        """See ``Scorer.explain``."""
        return None

    def state_from(self, tree: dict[str, Any]) -> Served:
        """Item rows and history encoder."""
        return Served(tree["items"], tree["history"])

    def variations(self) -> dict[str, Model]:
        """One change of what it is trained by; the vectors' width is the config's choice."""
        rate, dropout = self.training.learning_rate, self.dropout
        return {
            "more dropout": replace(self, dropout=min(round(dropout + 0.1, 2), 0.8)),
            "less dropout": replace(self, dropout=max(round(dropout - 0.1, 2), 0.0)),
            "faster": replace(self, training=replace(self.training, learning_rate=2 * rate)),
            "slower": replace(self, training=replace(self.training, learning_rate=rate / 2)),
        }


def _without_lists(labels: Callable[..., Any]) -> Callable[[int, int], Any]:
    """Epochs for a model that learns from labels alone."""
    return lambda number, first: ((batch, None) for batch in labels(number, first))


def _content_of(tuning: FineTuning, items: int) -> np.ndarray:
    return np.zeros((items, 0)) if tuning.content is None else tuning.content


def _principal_components(vectors: np.ndarray, trained: np.ndarray, width: int) -> np.ndarray:
    """Item vectors [N, W] by the first D principal components of the ``trained`` ones (bool [N]), or as many as there
    are and zeros: [N, D]."""
    kept = min(width, *vectors.shape)
    rows = np.asarray(reduce.apply(reduce.fit(vectors[trained], kept, "pca"), vectors))
    return np.pad(rows, ((0, 0), (0, width - kept)))
