"""What a model is worth and what it costs: the same questions for every model."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rexjax.embedding.row_format import arrays_by_row
from rexjax.evaluation import cost, metrics, ranking
from rexjax.evaluation.metrics import METRICS, ListContext, Metric
from rexjax.evaluation.ranking import Requests
from rexjax.models.scorer import Query, Scorer, ask
from rexjax.retrieval.answer import answer, top_k_of_scores

_BATCH = 64
_USERS = 256


def top_lists(scorer: Scorer, asked: Requests, k: int = 10, *, traced: bool = True) -> np.ndarray:
    """The k best items of each user who has not seen them.

    Args:
        scorer: any model.
        asked: the users; their targets are not used.
        k: at most N.
        traced: see ``rexjax.evaluation.ranking.evaluate``.

    Returns:
        int32 [U, k], the best first; -1 where fewer than k items are left.
    """
    return top_candidates(scorer, asked, k, traced=traced)[1]


def top_candidates(scorer: Scorer, asked: Requests, k: int, *, traced: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """As ``top_lists``, with their scores: float32 [U, k], -inf where fewer than k items are left, and int32 [U, k]."""
    found, users = [], len(asked.histories)
    for start in range(0, users, _USERS):
        rows = np.minimum(np.arange(start, start + _USERS), users - 1)
        seen = ranking.padded(asked.seen_items, asked.seen_offsets, rows)
        times = None if asked.times is None else asked.times[rows]
        query = ask(scorer, asked.histories[rows], times, ranking.features_of(asked, rows))
        if traced:
            scores, ids = _answered(scorer, query, seen, k)
        else:
            scores, ids = _best(scorer, scorer.encode(scorer.state, query), seen, k)
        found.append((np.asarray(scores), np.where(np.isneginf(scores), -1, ids)))
    scores, ids = (np.concatenate(parts)[:users] for parts in zip(*found, strict=True))
    return scores, ids


@partial(jax.jit, static_argnames="k")
def _answered(scorer: Scorer, query: Query, seen: jax.Array, k: int) -> Any:
    return answer(scorer, k)(scorer.state, query.histories, seen, query.times, query.features)


@partial(jax.jit, static_argnames="k")
def _best(scorer: Scorer, encoded: Any, seen: jax.Array, k: int) -> Any:
    return top_k_of_scores(scorer, scorer.state, encoded, k, seen)


def quality_of(
    name: str,
    scorer: Scorer,
    asked: Mapping[str, Requests],
    ks: tuple[int, ...],
    known: Mapping[str, Metric] = METRICS,
    context: ListContext | None = None,
    *,
    traced: bool = True,
) -> dict[str, ranking.Result]:
    """Full ranking, and the metrics of the recommended lists, on each part.

    Args:
        name: of the model, for the progress bar.
        scorer: the model.
        asked: requests by part, "valid" and "test".
        ks: cut-offs, at most N.
        known: metrics by name.
        context: what metrics from lists know of the catalogue; None: its size alone.
        traced: see ``rexjax.evaluation.ranking.evaluate``.

    Raises:
        UserError: a score is NaN, or a metric returns what it should not.
    """
    ranked, listed = metrics.rank_metrics(known), metrics.list_metrics(known)
    context = context or ListContext(scorer.items)
    results = {}
    for part, requests in asked.items():
        results[part] = ranking.evaluate(
            scorer, requests, ks=ks, measures=ranked, traced=traced, description=f"ranking, {name}"
        )
        if listed:
            lists = top_lists(scorer, requests, max(ks), traced=traced)
            found = metrics.of_lists(lists, replace(context, asked=requests), ks, listed)
            results[part].means.update(metrics.mean(found))
            results[part].per_user.update({key: value for key, value in found.items() if value.ndim})
    return results


TIMES = ("p50_ms", "p50_low_ms", "p50_high_ms", "p99_ms", "encode_p50_ms", "p50_ms_64", "p99_ms_64", "users_per_second")
"""What the clock says of a request: another thing each time."""


def costs_of(scorers: Mapping[str, Scorer], length: int, repeats: int, seed: int = 0) -> dict[str, dict[str, float]]:
    """Cost of a request for ten items by each model: the compiler's count, memory, and the clock.

    A request is encoded, scored, filtered and cut to ten. The models take turns on the clock.

    Args:
        scorers: the models by name.
        length: the longest history, L.
        repeats: requests timed; batches of 64 are timed a tenth as often.
        seed: of the histories.

    Returns:
        By model, ``parameters``, ``bytes_resident``, ``bytes_per_item``, ``flops_per_request``,
        ``flops_user_encoding``, ``bytes_accessed``, and ``TIMES``: median with its 95 % interval and 99th percentile of
        one request, median of its encoding, median and 99th percentile of 64 requests at once, users a second of these.
    """
    alone, encoding, together = {}, {}, {}
    histories = np.random.default_rng(seed)
    for name, scorer in scorers.items():
        request, encode = jax.jit(answer(scorer, 10)), jax.jit(partial(_encode, scorer))
        one = [jnp.asarray(histories.integers(0, scorer.items, (1, length)), jnp.int32) for _ in range(64)]
        alone[name] = request, partial(_asked, scorer.state, one)
        encoding[name] = encode, partial(_asked, scorer.state, one)
        together[name] = request, partial(_asked, scorer.state, [jnp.concatenate(one)])
    single, parts = cost.interleaved(alone, repeats), cost.interleaved(encoding, repeats)
    batches = cost.interleaved(together, max(repeats // 10, 3))
    return {
        name: _counts(scorer, length) | _times(single[name], parts[name], batches[name])
        for name, scorer in scorers.items()
    }


def cost_of(scorer: Scorer, length: int, repeats: int, seed: int = 0) -> dict[str, float]:
    """As ``costs_of``, of one model."""
    return costs_of({"": scorer}, length, repeats, seed)[""]


def _counts(scorer: Scorer, length: int) -> dict[str, float]:
    state, request = scorer.state, answer(scorer, 10)
    one = jnp.full((1, length), -1, jnp.int32).at[0, -5:].set(jnp.arange(5))
    whole = cost.compiled_cost(request, state, one, one, _now(1, length))
    encoding = cost.compiled_cost(scorer.encode, state, ask(scorer, one, _now(1, length)))
    return {
        "parameters": cost.tree_parameters(state),
        "bytes_resident": cost.tree_bytes(state),
        "bytes_per_item": cost.tree_bytes(_by_item(scorer)) / scorer.items,
        "flops_per_request": whole["flops"],
        "flops_user_encoding": encoding["flops"],
        "bytes_accessed": whole["bytes_accessed"],
    }


def _times(single: np.ndarray, encoding: np.ndarray, batches: np.ndarray) -> dict[str, float]:
    p50, low, high = cost.quantile(single, 0.5)
    return {
        "p50_ms": p50,
        "p50_low_ms": low,
        "p50_high_ms": high,
        "p99_ms": cost.quantile(single, 0.99)[0],
        "encode_p50_ms": cost.quantile(encoding, 0.5)[0],
        "p50_ms_64": cost.quantile(batches, 0.5)[0],
        "p99_ms_64": cost.quantile(batches, 0.99)[0],
        "users_per_second": _BATCH / float(np.median(batches)),
    }


def _encode(scorer: Scorer, state: Any, histories: jax.Array, seen: jax.Array, times: jax.Array) -> Any:
    return scorer.encode(state, ask(scorer, histories, times))


def _asked(state: Any, histories: list[jax.Array], number: int) -> tuple[Any, ...]:
    """The arguments of a request by its number."""
    one = histories[number % len(histories)]
    return state, one, one, _now(*one.shape)


def _by_item(scorer: Scorer) -> Any:
    """What grows with the catalogue: without what all item rows share, which counts with the network."""
    return scorer.state if scorer.vectors is None else arrays_by_row(scorer.vectors(scorer.state))


def _now(users: int, length: int) -> jax.Array:
    return jnp.zeros((users, length + 1), jnp.int32)
