"""What a model is worth and what it costs: the same questions for every model."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rexjax.evaluation import cost, metrics, ranking
from rexjax.evaluation.ranking import Requests
from rexjax.models.scorer import Query, Scorer
from rexjax.retrieval.answer import answer

_BATCH = 64
_USERS = 256


def top_lists(scorer: Scorer, asked: Requests, k: int = 10) -> np.ndarray:
    """The k best items of each user who has not seen them: int32 [U, k]."""
    request = jax.jit(answer(scorer, k))
    lists, users = [], len(asked.histories)
    for start in range(0, users, _USERS):
        rows = np.minimum(np.arange(start, start + _USERS), users - 1)
        seen = ranking.padded(asked.seen_items, asked.seen_offsets, rows)
        times = None if asked.times is None else asked.times[rows]
        lists.append(np.asarray(request(scorer.state, asked.histories[rows], seen, times)[1]))
    return np.concatenate(lists)[:users]


def quality_of(name: str, scorer: Scorer, asked: dict[str, Requests], ks: tuple[int, ...]) -> dict[str, ranking.Result]:
    """Full ranking on each part, "valid" and "test"; coverage@10 on test besides."""
    results = {part: ranking.evaluate(scorer, asked[part], ks=ks, description=f"ranking, {name}") for part in asked}
    if "test" in results:
        lists = top_lists(scorer, asked["test"])
        results["test"].means["coverage@10"] = metrics.coverage(lists, scorer.items)
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
    encoding = cost.compiled_cost(jax.jit(scorer.encode), state, Query(one, _now(1, length)))
    histories = np.random.default_rng(seed).integers(0, scorer.items, (64, 1, length)).astype(np.int32)
    requests = [jnp.asarray(history) for history in histories]

    def make_args(number: int) -> tuple[Any, ...]:
        return state, requests[number % 64], requests[number % 64], _now(1, length)

    return {
        "parameters": cost.tree_parameters(state),
        "bytes_resident": cost.tree_bytes(state),
        "bytes_per_item": cost.tree_bytes(state if scorer.vectors is None else scorer.vectors(state)) / scorer.items,
        "flops_per_request": whole["flops"],
        "flops_user_encoding": encoding["flops"],
        "bytes_accessed": whole["bytes_accessed"],
        **cost.latency(request, make_args, repeats),
        "users_per_second": cost.throughput(request, (state, many, many, _now(_BATCH, length)), _BATCH, seconds=0.3),
    }


def _now(users: int, length: int) -> jax.Array:
    return jnp.zeros((users, length + 1), jnp.int32)
