"""The one evaluator: every model, from popularity to teacher, is ranked here against the whole catalogue.

Scores exist only for one batch of users and one chunk of items at a time. What is kept of them is, for each target, how
many candidates score above it and how many score the same; :mod:`rexjax.evaluation.metrics` turns the counts into
expected metrics over tie orders. No candidate is sampled (Krichene & Rendle, "On sampled metrics for item
recommendation", KDD 2020), and nothing is sorted.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rexjax.embedding.rows import plain_rows
from rexjax.errors import UserError
from rexjax.evaluation import metrics
from rexjax.evaluation.metrics import RankMetric
from rexjax.models.scorer import Query, Scorer, ask
from rexjax.runtime.progress import track

_SCORES_AT_ONCE = 2 * 2**20  # floats: 8 MiB; larger arrays cost more in page faults than they save
_SHORTEST = 8  # narrower histories and seen lists are not worth a program of their own
_SPREAD = 1e-4  # a tie spread below this is not reported


class Requests(NamedTuple):
    """What is asked of a model, on the host: one history, seen set and target set per user."""

    histories: np.ndarray  # int32 [U, L], padded on the left with -1, latest item last
    seen_items: np.ndarray  # int32 [E], items never recommended to the user, all users in a row
    seen_offsets: np.ndarray  # int64 [U + 1], user u's are seen_items[seen_offsets[u] : seen_offsets[u + 1]]
    target_items: np.ndarray  # int32 [F], relevant items, at least one per user
    target_offsets: np.ndarray  # int64 [U + 1]
    times: np.ndarray | None = None  # int32 [U, L + 1], of the history's events and of the question
    features: Mapping[str, np.ndarray] = MappingProxyType({})  # [U, ...] by name, such as the user's id in the log


class Ranks(NamedTuple):
    """Where the targets of a batch stand; 0 at padding."""

    greater: jax.Array  # int32 [B, T], candidates above the target
    equal: jax.Array  # int32 [B, T], other candidates with the target's score
    nan: jax.Array  # bool [], a score is NaN and the counts mean nothing


class _State(NamedTuple):
    own: jax.Array  # float32 [B, T], the targets' scores
    greater: jax.Array  # int32 [B, T]
    equal: jax.Array  # int32 [B, T], the target itself included
    nan: jax.Array  # bool []


class Result(NamedTuple):
    """Quality of one model on one set of requests."""

    means: dict[str, float]  # expected over tie orders
    per_user: dict[str, np.ndarray]  # float64 [U], in the order of the requests
    spread: dict[str, tuple[float, float]]  # (optimistic, pessimistic) means, where they differ by more than 1e-4


class _Batch(NamedTuple):
    rows: np.ndarray  # int64 [B], users; the last one again and again where users ran out
    users: int  # how many rows are real
    histories: np.ndarray  # int32 [B, L']
    seen: np.ndarray  # int32 [B, S]
    targets: np.ndarray  # int32 [B, T]
    times: np.ndarray | None  # int32 [B, L' + 1]
    features: dict[str, np.ndarray]  # [B, ...]


@partial(jax.jit, static_argnames="chunk")
def count_ranks(
    users: jax.Array, items: jax.Array, seen: jax.Array, targets: jax.Array, *, chunk: int | None = None
) -> Ranks:
    """Counts, for each target, the candidates above it and level with it.

    Scores are ``users @ items.T`` in float32 at the highest precision. Candidates are all N items but the seen ones; an
    item listed twice in ``seen`` is excluded once. The score of a target is read from the scores of its chunk: a dot
    product computed on its own may round differently and would break ties. Several chunks are therefore all visited
    twice by one loop body, first to read the targets' scores, then to count; small ones that stay in cache pay for it.

    Args:
      users: [B, D] user vectors. With B = 1 XLA's matrix-vector product on CPU may score equal rows of ``items``
        differently; `evaluate` never asks for fewer than two.
      items: [N, D] item vectors.
      seen: int32 [B, S], padded with -1.
      targets: int32 [B, T], padded with -1, none of them in ``seen``.
      chunk: at most so many items at a time; by default B x chunk stays under 2 M scores.

    Returns:
      Ranks of the targets.

    >>> users, items = jnp.asarray([[1.0, 0.0], [0.0, 1.0]]), jnp.asarray([[0.1, 0.9], [0.8, 0.2], [0.5, 0.5]])
    >>> seen, targets = jnp.asarray([[1], [-1]]), jnp.asarray([[2], [2]])
    >>> count_ranks(users, items, seen, targets).greater.tolist()
    [[0], [1]]
    """
    users, items = users.astype(jnp.float32), items.astype(jnp.float32)

    def score(first: jax.Array | int, size: int) -> jax.Array:
        rows = jax.lax.dynamic_slice_in_dim(items, first, size)
        return jnp.einsum("bd,nd->bn", users, rows, precision="highest", preferred_element_type=jnp.float32)

    return _count_by_chunks(score, len(items), seen, targets, chunk)


@partial(jax.jit, static_argnames="chunk")
def count_ranks_of(
    scorer: Scorer, encoded: Any, seen: jax.Array, targets: jax.Array, *, chunk: int | None = None
) -> Ranks:
    """As `count_ranks`, by the scores of any model of requests ``encoded`` [B, ...]."""

    def score(first: jax.Array | int, size: int) -> jax.Array:
        return scorer.score(scorer.state, encoded, first + jnp.arange(size)).astype(jnp.float32)

    return _count_by_chunks(score, scorer.items, seen, targets, chunk)


def _count_by_chunks(
    score: Callable[..., jax.Array], items: int, seen: jax.Array, targets: jax.Array, chunk: int | None
) -> Ranks:
    """``score(first, size)`` gives the scores [B, size] of neighbouring items."""
    chunks = -(-items // (chunk or max(_SCORES_AT_ONCE // len(seen), 1)))
    size = -(-items // chunks)

    none = jnp.zeros(targets.shape, jnp.int32)
    state = _State(none.astype(jnp.float32), none, none, jnp.zeros((), bool))
    if chunks == 1:
        scores = jax.lax.optimization_barrier(score(0, size))
        return _ranks(_count(_read(state, scores, 0, 0, targets), scores, 0, 0, seen), targets)

    def visit(state: _State, step: tuple[jax.Array, jax.Array]) -> tuple[_State, None]:
        again, index = step
        # the last chunk reaches back over items of the one before it, rather than over padding of its own
        first = jnp.minimum(index * size, items - size)
        # without the barrier the compiler is free to compute one product for reading and another for counting
        scores = jax.lax.optimization_barrier(score(first, size))
        fresh = index * size

        def count(state: _State) -> _State:
            return _count(state, scores, first, fresh, seen)

        def read(state: _State) -> _State:
            return _read(state, scores, first, fresh, targets)

        return jax.lax.cond(again, count, read, state), None

    order = jnp.arange(2 * chunks, dtype=jnp.int32)
    state, _ = jax.lax.scan(visit, state, (order >= chunks, order % chunks))
    return _ranks(state, targets)


def _ranks(state: _State, targets: jax.Array) -> Ranks:
    real = targets >= 0
    return Ranks(jnp.where(real, state.greater, 0), jnp.where(real, state.equal - 1, 0), state.nan)


def evaluate(
    scorer: Scorer,
    requests: Requests,
    *,
    ks: Sequence[int] = (1, 5, 10, 20, 100),
    measures: Sequence[RankMetric] = metrics.rank_metrics(metrics.METRICS),
    batch: int | None = None,
    chunk: int | None = None,
    traced: bool = True,
    description: str = "evaluating",
) -> Result:
    """Ranks every target of every user among all items the user has not seen.

    Users are sorted by length of history, and each batch of histories is cut on the left to the shortest of 8, 16, 32,
    ... L that holds its longest, so the model compiles for a few lengths and positions must count from the end.

    Args:
      scorer: any model (`rexjax.models.scorer.dot_product` makes one of user and item vectors).
      requests: U users, see `Requests`.
      ks: cutoffs.
      measures: metrics from ranks.
      batch: B, users at a time, at least 2; by default 256, or so many fewer that the catalogue is one chunk for them,
        if that leaves 64.
      chunk: items at a time, see `count_ranks`.
      traced: False calls ``scorer.encode`` outside of jit with arrays of the host, as a model that is no JAX needs.
      description: label of the progress bar.

    Returns:
      Means, values per user in the order of ``requests``, and the spread over tie orders.

    Raises:
      ValueError: a user has no target, a target twice, or one that is also seen; an id is not in [0, N).
      UserError: a score is NaN, or a metric does not give one number for each user.

    >>> from rexjax.models.scorer import dot_product
    >>> scorer = dot_product(lambda histories: jnp.ones((len(histories), 1)), jnp.asarray([[1.0], [3.0], [2.0]]))
    >>> histories = np.asarray([[-1, 1], [-1, 0]], np.int32)
    >>> requests = Requests(histories, *ragged([[1], [0]]), *ragged([[2], [2]]))
    >>> result = evaluate(scorer, requests, ks=[1, 2])  # ranks 1 and 2
    >>> result.means["recall@1"], result.means["recall@2"]
    (0.5, 1.0)
    """
    _check(requests, scorer.items)
    items = None if scorer.vectors is None else plain_rows(scorer.vectors(scorer.state))
    names = ("expected", "best", "worst")
    values: dict[str, dict[str, np.ndarray]] = {name: {} for name in names}
    users = len(requests.histories)
    batch = max(batch or _evenly(users, _users_at_once(scorer.items)), 2)

    def ranked(rows: _Batch) -> tuple[_Batch, Ranks]:
        query = ask(scorer, rows.histories, rows.times, rows.features)
        encoded = (_encode if traced else _call)(scorer.encode, scorer.state, query)
        asked = jnp.asarray(rows.seen), jnp.asarray(rows.targets)
        if items is None:
            return rows, count_ranks_of(scorer, encoded, *asked, chunk=chunk)
        return rows, count_ranks(encoded, items, *asked, chunk=chunk)

    answers = _one_ahead(map(ranked, _batches(requests, batch)))
    for rows, ranks in track(answers, description, total=users, size=batch):
        greater, equal, nan = jax.device_get(ranks)
        if nan:
            raise UserError(f"scores are NaN ({description}): the model has diverged, so lower its learning rate.")
        relevant = rows.targets >= 0
        found = metrics.per_user(greater, equal, relevant, ks, metrics=measures)
        for name in names:
            tied = metrics.per_user(greater, equal, relevant, ks, name, measures) if equal.any() else found
            for metric, value in tied.items():
                whole = values[name].setdefault(metric, np.empty(users))
                whole[rows.rows[: rows.users]] = value[: rows.users]
    means, best, worst = (metrics.mean(values[name]) for name in names)
    spread = {name: (best[name], worst[name]) for name in means if best[name] - worst[name] > _SPREAD}
    return Result(means, values["expected"], spread)


@partial(jax.jit, static_argnums=0)
def _encode(encode: Callable[..., Any], state: Any, query: Query) -> Any:
    return encode(state, query)


def _call(encode: Callable[..., Any], state: Any, query: Query) -> Any:
    return encode(state, query)


def ragged(lists: Iterable[Sequence[int] | np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Item lists of U users as one row of items, int32 [E], and offsets into it, int64 [U + 1].

    >>> items, offsets = ragged([[4, 2], [], [7]])
    >>> items.tolist(), offsets.tolist()
    ([4, 2, 7], [0, 2, 2, 3])
    """
    arrays = [np.asarray(x, np.int32) for x in lists]
    offsets = np.concatenate([[0], np.cumsum([len(x) for x in arrays], dtype=np.int64)]).astype(np.int64)
    return np.concatenate([np.empty(0, np.int32), *arrays]), offsets


def _read(state: _State, scores: jax.Array, first: jax.Array, fresh: jax.Array, targets: jax.Array) -> _State:
    """Takes the score of each target that lies in this chunk."""
    here = (targets >= fresh) & (targets < first + scores.shape[1])
    found = jnp.take_along_axis(scores, jnp.where(here, targets - first, 0), axis=1, mode="clip")
    return state._replace(own=jnp.where(here, found, state.own), nan=state.nan | jnp.isnan(scores).any())


def _count(state: _State, scores: jax.Array, first: jax.Array, fresh: jax.Array, seen: jax.Array) -> _State:
    """Adds this chunk's candidates, one column of targets at a time so that [B, T, size] never exists."""
    size = scores.shape[1]
    local = jnp.where(seen >= first, seen - first, size)
    # NaN, unlike -inf, is neither above nor level with any score, not even with one of -inf.
    scores = scores.at[jnp.arange(len(seen))[:, None], local].set(jnp.nan, mode="drop")
    scores = jnp.where((first + jnp.arange(size) >= fresh)[None, :], scores, jnp.nan)

    def column(own: jax.Array) -> tuple[jax.Array, jax.Array]:
        return (scores > own[:, None]).sum(1, dtype=jnp.int32), (scores == own[:, None]).sum(1, dtype=jnp.int32)

    greater, equal = jax.lax.map(column, state.own.T)
    return state._replace(greater=state.greater + greater.T, equal=state.equal + equal.T)


def _one_ahead(answers: Iterator[tuple[_Batch, Ranks]]) -> Iterator[tuple[_Batch, Ranks]]:
    """Each answer once the next has been asked for: the devices work while the host reads and counts."""
    under_way = next(answers, None)
    while under_way:
        following = next(answers, None)
        yield under_way
        under_way = following


def _users_at_once(items: int) -> int:
    """Scores of one chunk are computed once, of several twice."""
    whole = _SCORES_AT_ONCE // items
    return min(whole, 256) if whole >= 64 else 256


def _evenly(users: int, most: int) -> int:
    """Users at a time, so that the last batch is about as full as the others."""
    return -(-users // -(-users // most))


def _check(requests: Requests, items: int) -> None:
    users = len(requests.histories)
    if not len(requests.seen_offsets) == len(requests.target_offsets) == users + 1:
        raise ValueError(f"{users} users need {users + 1} offsets")
    counts = np.diff(requests.target_offsets)
    if not users or counts.min() < 1:
        raise ValueError(f"{int((counts < 1).sum())} of {users} users have no target: leave them out")
    keys = []
    for name in ("seen", "target"):
        ids, offsets = getattr(requests, f"{name}_items"), getattr(requests, f"{name}_offsets")
        if len(ids) and not 0 <= ids.min() <= ids.max() < items:
            raise ValueError(f"{name} items lie in [{ids.min()}, {ids.max()}], not in [0, {items})")
        keys.append(np.repeat(np.arange(users, dtype=np.int64) * items, np.diff(offsets)) + ids)
    seen, targets = keys
    if len(np.unique(targets)) < len(targets):
        raise ValueError("a user has the same target twice: keep one")
    if both := int(np.isin(targets, seen).sum()):
        raise ValueError(f"{both} targets are among their user's seen items: take them out of one of the two")


def _batches(requests: Requests, batch: int) -> Iterator[_Batch]:
    """Users by length of history, B at a time, every width one of a few."""
    present = requests.histories >= 0
    longest = present.shape[1]
    lengths = np.where(present.any(1), longest - present.argmax(1), 0)
    order = np.argsort(lengths, kind="stable")
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        users = len(rows)
        rows = np.pad(rows, (0, batch - users), mode="edge")
        length = min(_round_up(int(lengths[rows].max()), _SHORTEST), longest)
        histories = np.ascontiguousarray(requests.histories[rows, longest - length :], dtype=np.int32)
        seen = padded(requests.seen_items, requests.seen_offsets, rows)
        targets = padded(requests.target_items, requests.target_offsets, rows, least=1)
        times = None if requests.times is None else requests.times[rows, longest - length :]
        yield _Batch(rows, users, histories, seen, targets, times, features_of(requests, rows))


def features_of(requests: Requests, rows: np.ndarray) -> dict[str, np.ndarray]:
    """The features [B, ...] of the requests in ``rows`` (int [B])."""
    return {name: values[rows] for name, values in requests.features.items()}


def _round_up(size: int, least: int) -> int:
    """The smallest of least, 2 least, 4 least, ... that holds ``size``."""
    return least << max(-(-size // least) - 1, 0).bit_length()


def padded(ids: np.ndarray, offsets: np.ndarray, rows: np.ndarray, *, least: int = _SHORTEST) -> np.ndarray:
    """The ragged lists of ``rows`` (int [B]) as int32 [B, W], padded with -1; W is least times a power of 2."""
    counts = offsets[rows + 1] - offsets[rows]
    position = np.arange(_round_up(int(counts.max()), least))
    padded = np.full((len(rows), len(position)), -1, np.int32)
    inside = position[None, :] < counts[:, None]
    padded[inside] = ids[(offsets[rows][:, None] + position[None, :])[inside]]
    return padded
