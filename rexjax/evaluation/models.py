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
    lists, users = [], len(asked.histories)
    for start in range(0, users, _USERS):
        rows = np.minimum(np.arange(start, start + _USERS), users - 1)
        seen = ranking.padded(asked.seen_items, asked.seen_offsets, rows)
        times = None if asked.times is None else asked.times[rows]
        query = ask(scorer, asked.histories[rows], times, ranking.features_of(asked, rows))
        if traced:
            scores, ids = _answered(scorer, query, seen, k)
        else:
            scores, ids = _best(scorer, scorer.encode(scorer.state, query), seen, k)
        lists.append(np.where(np.isneginf(scores), -1, ids))
    return np.concatenate(lists)[:users]


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


def cost_of(scorer: Scorer, length: int, repeats: int, seed: int = 0) -> dict[str, float]:
    """Cost of a request for ten items: by the compiler's count, by memory and by the clock.

    Args:
        scorer: the model.
        length: the longest history, L.
        repeats: requests timed.
        seed: of the histories.
    """
    state, request = scorer.state, jax.jit(answer(scorer, 10))
    one = jnp.full((1, length), -1, jnp.int32).at[0, -5:].set(jnp.arange(5))
    many = jnp.broadcast_to(one, (_BATCH, length))
    whole = cost.compiled_cost(request, state, one, one, _now(1, length))
    encoding = cost.compiled_cost(jax.jit(scorer.encode), state, ask(scorer, one, _now(1, length)))
    histories = np.random.default_rng(seed).integers(0, scorer.items, (64, 1, length)).astype(np.int32)
    requests = [jnp.asarray(history) for history in histories]

    def make_args(number: int) -> tuple[Any, ...]:
        return state, requests[number % 64], requests[number % 64], _now(1, length)

    return {
        "parameters": cost.tree_parameters(state),
        "bytes_resident": cost.tree_bytes(state),
        "bytes_per_item": cost.tree_bytes(_by_item(scorer)) / scorer.items,
        "flops_per_request": whole["flops"],
        "flops_user_encoding": encoding["flops"],
        "bytes_accessed": whole["bytes_accessed"],
        **cost.latency(request, make_args, repeats),
        "users_per_second": cost.throughput(request, (state, many, many, _now(_BATCH, length)), _BATCH, seconds=0.3),
    }


def _by_item(scorer: Scorer) -> Any:
    """What grows with the catalogue: without what all item rows share, which counts with the network."""
    return scorer.state if scorer.vectors is None else arrays_by_row(scorer.vectors(scorer.state))


def _now(users: int, length: int) -> jax.Array:
    return jnp.zeros((users, length + 1), jnp.int32)
