"""Two stages as one model: the first retrieves k₁ items, the second ranks them, and all others stay below."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rexjax.data import batches
from rexjax.data.histories import Histories
from rexjax.errors import UserError, check_least, check_share
from rexjax.families.base import Model, Run, TrainingData, Unsuitable, check_state
from rexjax.families.linear import Ease
from rexjax.families.rankers import DCNv2
from rexjax.families.ranking import Ranker
from rexjax.losses.listwise import LISTWISE
from rexjax.losses.sampled import SAMPLED
from rexjax.models.candidates import Candidates, describe, numbers_of, place_ranked, retrieve, standardise
from rexjax.models.fields import Field, Fields
from rexjax.models.scorer import USER, Query, Scorer
from rexjax.training.labelled import Fitted, LabelledTask, LabelledTraining, train_labelled

REQUESTS = 256
"""Requests whose candidates are described at a time."""


@dataclass(frozen=True)
class TwoStage(Model):
    """Retrieval and a ranker, which evaluation, cost and distillation see as one model.

    The ranker learns from the latest part of each training history. The retrieving model and the signals are fitted
    twice: without that part for the ranker's lists, so that they do not know its answers, and with it for requests.
    """

    retrieve: Model = field(default_factory=Ease)
    """The first stage."""
    signals: tuple[Model, ...] = ()
    """Models whose scores of the retrieved items are features of the ranker."""
    ranker: Ranker = field(
        default_factory=lambda: DCNv2(
            width=8,
            hidden=(64,),
            crosses=2,
            training=LabelledTraining(epochs=30, batch=256, learning_rate=1e-3, l2=1e-4, patience=2),
        )
    )
    """The second stage. ``training.batch`` counts lists."""
    k1: int = 100
    """Items that are retrieved and ranked."""
    last: int = 5
    """Items of the history that the ranker reads as a bag."""
    held: float = 0.2
    """Share of each training history, its latest events, that the ranker learns from."""
    negatives: int = 31
    """Retrieved items beside the label in a list."""
    objective: Literal["sampled_softmax", "bce", "lambdarank", "listnet", "ndcg", "warp"] = "listnet"
    """The loss of a list, ``rexjax.losses``."""

    def __post_init__(self) -> None:
        check_least(self, "TwoStage", 1, "k1", "last", "negatives")
        check_share(self, "TwoStage", "held")
        if self.negatives >= self.k1:
            raise UserError(
                f"TwoStage has k1={self.k1} and negatives={self.negatives}: set negatives to {self.k1 - 1} or less"
            )

    @property
    def members(self) -> tuple[Model, ...]:
        """The first stage, then the signals."""
        return (self.retrieve, *self.signals)

    def fit(self, data: TrainingData, run: Run) -> dict[str, Any]:
        """Fits the first stage and the signals twice, then trains the ranker; keeps its best epoch on validation.

        Returns:
            {"members": states by number, "ranker": its state, "moments": of its numbers, "popularity": float32 [N],
            "exclude_seen": bool scalar}.

        Raises:
            UserError: ``k1`` is above the number of items.
            Unsuitable: no history has enough events.
        """
        if self.k1 > data.items:
            raise UserError(f"{run.key} is TwoStage with k1={self.k1}, and the log has {data.items} items: lower k1")
        early = hold_back(data, self.held)
        lists = self._lists(data, early, self._fitted(early, run, "early "), run)
        state = {
            "members": self._fitted(data, run, ""),
            "popularity": _log_popularity(data),
            "exclude_seen": np.asarray(data.exclude_seen),
            "moments": lists.moments,
        }
        return state | {"ranker": self._trained(data, lists, state, run)}

    def scorer(self, state: dict[str, Any]) -> Scorer:
        """Both stages."""
        scorers = [member.scorer(state["members"][str(n)]) for n, member in enumerate(self.members)]
        functions = tuple(replace(own, state=None) for own in scorers)
        return replace(_two_stages(_Second(self.ranker, self.k1, self.last), functions), state=state)

    def state_from(self, tree: dict[str, Any]) -> dict[str, Any]:
        """The members' states as their families have them."""
        stored = tree["members"]
        members = {str(n): member.state_from(stored[str(n)]) for n, member in enumerate(self.members)}
        ranker = {"stats": {}} | tree["ranker"]
        return tree | {"members": members, "ranker": ranker}

    def variations(self) -> dict[str, Model]:
        """Its numbers, and one change of the first stage."""
        first = {f"retrieve: {name}": replace(self, retrieve=own) for name, own in self.retrieve.variations().items()}
        return super().variations() | first

    def _fitted(self, data: TrainingData, run: Run, name: str) -> dict[str, Any]:
        states = {}
        for number, member in enumerate(self.members):
            own = replace(run.member(number), name=f"{run.name} {name}{number + 1}")
            states[str(number)] = member.fit(data, own)
            check_state(states[str(number)], f"--{own.key} ({type(member).__name__})")
        return states

    def _lists(self, data: TrainingData, early: TrainingData, states: dict[str, Any], run: Run) -> "_Lists":
        """A list for each retrieved label of the held part: the label first, then other retrieved items."""
        scorers = [member.scorer(states[str(n)]) for n, member in enumerate(self.members)]
        functions = tuple(replace(own, state=None) for own in scorers)
        popularity, rng = jnp.asarray(_log_popularity(early)), np.random.default_rng([run.seed, 2])
        parts = []
        for query, labels in _held_requests(data, early):
            found = _found(functions, tuple(own.state for own in scorers), query, self.k1, bool(data.exclude_seen))
            chosen = _choose(np.asarray(found.ids), labels, self.negatives, rng)
            if len(chosen.rows):
                parts.append(_described(query, found, chosen, popularity, self.last))
        if not parts:
            raise Unsuitable(
                f"{run.key} is TwoStage, and the first stage retrieves no label of the held part: raise k1 or held"
            )
        joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        moments = {name: _moments(joined[name]) for name in numbers_of(len(self.signals))}
        return _Lists(joined, moments)

    def _trained(self, data: TrainingData, lists: "_Lists", state: dict[str, Any], run: Run) -> dict[str, Any]:
        fields = _fields(data.log.users, data.items, len(self.signals))
        own = replace(run, name=f"{run.name} ranker", key=f"{run.key}.ranker")
        few = {name: jnp.asarray(_flat(values[:1])) for name, values in lists.arrays.items()}
        network, tables = self.ranker.start(fields, few, run.seed)

        def validate(fitted: Fitted) -> float:
            scorer = self.scorer(state | {"ranker": fitted._asdict()})
            return float(run.validate(scorer, 1024)[run.select])

        task = LabelledTask(
            name=own.name,
            key=f"{own.key}.training",
            tables=tables,
            optimizer=self.ranker.optimizer(),
            dense=network["params"],
            stats=network.get("batch_stats", {}),
            ids=partial(_ids, self.ranker, fields),
            loss=partial(_list_loss, self.ranker, fields, self.objective, lists.moments, data.items),
            validate=validate,
            select=run.select,
        )
        found = train_labelled(task, lambda epoch: lists.arrays, self.ranker.training, seed=run.seed, mesh=run.mesh)
        run.summaries[own.name] = found.summary | {"lists": len(lists.arrays["user"])}
        return found.fitted._asdict()


class _Second(NamedTuple):
    """The second stage, as far as requests know it."""

    ranker: Ranker
    k1: int
    last: int


class _Lists(NamedTuple):
    """Lists of 1 + M items, the label first."""

    arrays: dict[str, np.ndarray]
    """[E, 1 + M, …] by name."""
    moments: dict[str, np.ndarray]
    """Mean and deviation of each number, float32 [2]."""


class _Chosen(NamedTuple):
    """Which candidates make a list."""

    rows: np.ndarray
    """int64 [E], requests."""
    places: np.ndarray
    """int64 [E, 1 + M], among the retrieved, the label's first."""


def hold_back(data: TrainingData, share: float) -> TrainingData:
    """``data`` whose training parts end earlier: without the latest ``share`` of each, of two events or more at least
    one, and always with the first.

    Args:
        data: the log.
        share: of the training events of each user.
    """
    log = data.log
    counts = log.valid_start - log.offsets[:-1]
    held = np.where(counts >= 2, np.clip(np.ceil(share * counts).astype(np.int64), 1, counts - 1), 0)
    kept = log._replace(valid_start=log.valid_start - held)
    trained = np.arange(len(log.items)) < np.repeat(kept.valid_start, np.diff(log.offsets))
    popularity = np.bincount(log.items[trained], minlength=data.items)
    return replace(data, log=kept, records=[kept._asdict()], popularity=popularity, packed={})


def _fields(users: int, items: int, signals: int) -> Fields:
    """What the ranker reads of a log."""
    shared = Field("last_items", items + 1, shares="item")
    return Fields((Field("user", users + 1), Field("item", items + 1), shared), numbers_of(signals))


def _log_popularity(data: TrainingData) -> np.ndarray:
    return np.log1p(data.popularity).astype(np.float32)


def _held_requests(data: TrainingData, early: TrainingData) -> Iterator[tuple[Query, list[np.ndarray]]]:
    """A request before each time of the held part, and the items of that time; all requests of a batch of one shape."""
    log, users, stops, labels = data.log, [], [], []
    for user in np.flatnonzero(log.valid_start > early.log.valid_start):
        first, last = early.log.valid_start[user], log.valid_start[user]
        edges = [first, *(first + 1 + np.flatnonzero(np.diff(log.times[first:last]))), last]
        for start, stop in zip(edges[:-1], edges[1:], strict=True):
            users.append(user)
            stops.append(start)
            labels.append(_answers(log, user, start, stop, data.exclude_seen))
    for begin in range(0, len(users), REQUESTS):
        place = np.minimum(np.arange(begin, begin + REQUESTS), len(users) - 1)
        who, where = np.asarray(users)[place], np.asarray(stops)[place]
        histories = batches.latest(log, who, where, data.length)
        times = batches.latest_times(log, who, where, data.length)
        real = min(len(users) - begin, REQUESTS)
        query = Query(jnp.asarray(histories), jnp.asarray(times), {USER: jnp.asarray(who.astype(np.int32))})
        yield query, labels[begin : begin + real]


def _answers(log: Histories, user: int, start: int, stop: int, exclude_seen: bool) -> np.ndarray:
    """Distinct items of some events, without those of the history where they are not recommended."""
    items = np.unique(log.items[start:stop])
    return np.setdiff1d(items, log.items[log.offsets[user] : start]) if exclude_seen else items


@partial(jax.jit, static_argnums=(0, 3, 4))
def _found(scorers: tuple[Scorer, ...], states: Any, query: Query, k: int, exclude_seen: bool) -> Candidates:
    return retrieve(scorers, states, _narrowed(scorers, query), k, jnp.asarray(exclude_seen))


def _narrowed(scorers: tuple[Scorer, ...], query: Query) -> Query:
    """The query with the features that the models read."""
    reads = {name for scorer in scorers for name in scorer.reads}
    return replace(query, features={name: values for name, values in query.features.items() if name in reads})


def _choose(ids: np.ndarray, labels: list[np.ndarray], negatives: int, rng: np.random.Generator) -> _Chosen:
    """One list for each label that was retrieved, with other items that were and are no labels."""
    rows, places = [], []
    for row, wanted in enumerate(labels):
        is_label = np.isin(ids[row], wanted)
        others = np.flatnonzero(~is_label)
        for place in np.flatnonzero(is_label):
            if len(others) >= negatives:
                rows.append(row)
                places.append(np.append(place, rng.choice(others, negatives, replace=False)))
    return _Chosen(np.asarray(rows, np.int64), np.asarray(places, np.int64).reshape(len(rows), 1 + negatives))


def _described(
    query: Query, found: Candidates, chosen: _Chosen, popularity: jax.Array, last: int
) -> dict[str, np.ndarray]:
    """[E, 1 + M, …] by name."""
    ids, scores = np.asarray(found.ids), np.asarray(found.scores)
    rows = chosen.rows[:, None]
    picked = Query(
        np.asarray(query.histories)[chosen.rows],
        np.asarray(query.times)[chosen.rows],
        {USER: np.asarray(query.features[USER])[chosen.rows]},
    )
    flat = describe(
        jax.tree.map(jnp.asarray, picked),
        jnp.asarray(ids[rows, chosen.places]),
        jnp.asarray(scores[rows, chosen.places]),
        jnp.asarray(chosen.places),
        popularity,
        last,
    )
    return {name: np.asarray(v).reshape(*chosen.places.shape, *v.shape[1:]) for name, v in flat.items()}


def _moments(values: np.ndarray) -> np.ndarray:
    return np.asarray([values.mean(), max(values.std(), 1e-3)], np.float32)


def _flat(values: Any) -> Any:
    return values.reshape(-1, *values.shape[2:])


def _ids(ranker: Ranker, fields: Fields, batch: Any) -> dict[str, jax.Array]:
    return ranker.ids(fields, {name: _flat(values) for name, values in batch.items()})


def _list_loss(
    ranker: Ranker,
    fields: Fields,
    objective: str,
    moments: Any,
    items: int,
    dense: Any,
    stats: Any,
    rows: Any,
    batch: Any,
    key: jax.Array,
) -> tuple[jax.Array, Any]:
    arrays = standardise({name: _flat(values) for name, values in batch.items()}, moments)
    logits, stats = ranker.apply(fields, dense, stats, rows, arrays, key)
    scores = logits.reshape(batch["user"].shape)
    negatives = scores.shape[1] - 1
    loss = (SAMPLED | LISTWISE)[objective](
        scores[:, 1:],
        batch["item"][:, 0],
        positive=scores[:, 0],
        sampled=jnp.full(negatives, -1),  # each list has its own, and none of them is the label
        log_expected=jnp.full(negatives, np.log(negatives / items)),
    )
    return loss, stats


@cache  # equal models share their functions: they are static in jit, and new ones would compile again
def _two_stages(second: _Second, scorers: tuple[Scorer, ...]) -> Scorer:
    def fields(state: dict[str, Any]) -> Fields:
        items, numbers = len(state["popularity"]), len(state["moments"])
        users = len(state["ranker"]["tables"]["fields"]) - items - numbers - 2  # two unknown values
        return _fields(users, items, len(scorers) - 1)

    def encode(state: dict[str, Any], query: Query) -> jax.Array:
        states = [state["members"][str(number)] for number in range(len(scorers))]
        found = retrieve(scorers, states, _narrowed(scorers, query), second.k1, jnp.asarray(state["exclude_seen"]))
        ranks = jnp.broadcast_to(jnp.arange(second.k1), found.ids.shape)
        arrays = describe(query, found.ids, found.scores, ranks, jnp.asarray(state["popularity"]), second.last)
        logits = second.ranker.logits(fields(state), state["ranker"], standardise(arrays, state["moments"]))
        return place_ranked(found, logits.reshape(found.ids.shape))

    reads = tuple(sorted({USER, *(name for scorer in scorers for name in scorer.reads)}))
    return Scorer(None, encode, _columns, scorers[0].items, reads=reads)


def _columns(state: Any, encoded: jax.Array, ids: jax.Array) -> jax.Array:
    return encoded[:, ids]
