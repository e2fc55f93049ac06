"""One call that evaluates any model: a matrix of scores, a function of histories, or a ``Scorer``."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rexjax.errors import UserError
from rexjax.evaluation.metrics import METRICS, ListContext, Metric, check_cutoffs, list_metrics, with_metrics
from rexjax.evaluation.models import quality_of
from rexjax.evaluation.ranking import Requests, Result
from rexjax.models.scorer import Query, Scorer, score_matrix


def evaluate(
    model: Any,
    requests: Requests,
    ks: Sequence[int] = (10,),
    metrics: Sequence[str | Metric] = tuple(METRICS),
    context: ListContext | None = None,
) -> Result:
    """Ranks every target of every user among all items that the user has not seen.

    >>> import numpy as np
    >>> from rexjax.evaluation.ranking import Requests, ragged
    >>> requests = Requests(
    ...     np.array([[-1, 0], [2, 1]], np.int32),  # two histories, the latest item last
    ...     *ragged([[0], [1, 2]]),  # items that are not recommended again
    ...     *ragged([[1], [3]]),  # items that are looked for
    ... )
    >>> scores = np.array([[9.0, 2.0, 3.0, 1.0], [1.0, 9.0, 9.0, 2.0]])
    >>> evaluate(scores, requests, ks=(1, 2), metrics=("hit_rate", "mrr")).means
    {'hit_rate@1': 0.5, 'mrr@1': 0.5, 'hit_rate@2': 1.0, 'mrr@2': 0.75}

    Args:
        model: scores [U, N] of all items for the users of ``requests``; or a function of histories (int32 [B, L'], B
            users at a time, L' = L or shorter) that returns such scores [B, N], of NumPy or of JAX; or a ``Scorer``.
        requests: U users, see ``Requests``.
        ks: cut-offs, from 1 to N.
        metrics: names of ``METRICS``, or other metrics; by default all that ``context`` suffices for.
        context: what metrics from lists know of the catalogue besides its size.

    Returns:
        Means, values per user in the order of ``requests``, and the spread over tie orders.

    Raises:
        UserError: there is no such metric or cut-off, a metric needs more of ``context``, scores are NaN or of another
            shape.
        ValueError: a user has no target, a target twice, or one that is also seen; an id is not in [0, N).
    """
    known = _chosen(metrics)
    if tuple(metrics) != tuple(METRICS):
        _check_context(known, context)
    traced = isinstance(model, Scorer) or not callable(model)
    if not isinstance(model, Scorer):
        model, requests = _of_function(model, requests) if callable(model) else _of_matrix(model, requests)
    check_cutoffs(ks, model.items, "ks", known)
    return quality_of("model", model, {"asked": requests}, tuple(ks), known, context, traced=traced)["asked"]


def _chosen(metrics: Sequence[str | Metric]) -> dict[str, Metric]:
    known = with_metrics(metric for metric in metrics if isinstance(metric, Metric) and metric not in METRICS.values())
    names = [metric.name if isinstance(metric, Metric) else metric for metric in metrics]
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"there is no metric {unknown[0]!r}: choose some of {', '.join(known)}, and cut-offs in ks")
    return {name: known[name] for name in names}


def _check_context(known: dict[str, Metric], context: ListContext | None) -> None:
    for metric in list_metrics(known):
        needed = [name for name in metric.needs if name != "asked"]  # the requests are set for each part
        if missing := [name for name in needed if getattr(context, name, None) is None]:
            raise UserError(f"the metric {metric.name} reads {' and '.join(missing)}: pass a ListContext that has it")


def _of_matrix(scores: Any, requests: Requests) -> tuple[Scorer, Requests]:
    """User u's history is replaced by the one "item" u."""
    shape, users = np.shape(scores), len(requests.histories)
    if len(shape) != 2 or shape[0] != users:
        raise UserError(f"scores have the shape {shape}: give one row for each of {users} users, [U, N]")
    return score_matrix(jnp.asarray(scores)), requests._replace(
        histories=np.arange(users, dtype=np.int32)[:, None], times=None
    )


def _of_function(function: Callable[[np.ndarray], Any], requests: Requests) -> tuple[Scorer, Requests]:
    def encode(state: Any, query: Query) -> np.ndarray:
        scores = np.asarray(function(np.asarray(query.histories)), np.float32)
        if scores.ndim != 2 or len(scores) != len(query.histories) or scores.shape[1] != items:
            raise UserError(
                f"the function returned the shape {scores.shape} for {len(query.histories)} histories: let it return "
                f"scores of all {items} items, [B, N]"
            )
        return scores

    items = np.shape(function(np.asarray(requests.histories[:2])))[-1]
    return Scorer((), encode, _columns, items), requests


def _columns(state: Any, scores: jax.Array, ids: jax.Array) -> jax.Array:
    return scores[:, ids]
