"""Are a model's probabilities right? Expected calibration error (Naeini et al., AAAI 2015; Guo et al., ICML 2017)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rexjax.distillation.calibration import logit_scale
from rexjax.evaluation import ranking
from rexjax.evaluation.ranking import Requests
from rexjax.models.scorer import USER, Query, Scorer, ask

BINS = 10
USERS = 2048
"""Of a test that are asked, at most."""
_AT_ONCE = 128


class Calibration(NamedTuple):
    """How far the probability of the best item is from how often it is chosen."""

    error: float
    """Expected calibration error, from 0 to 1."""
    confidence: float
    """Mean probability of the best item."""
    hits: float
    """Share of users who chose it."""
    users: int
    """Users who were asked."""


def expected_calibration_error(confidence: np.ndarray, hit: np.ndarray, bins: int = BINS) -> float:
    """Mean over users of the distance between confidence and hits, in bins of equal size.

    Bins of equal size, not of equal width: confidences of a large catalogue are all small.

    Args:
        confidence: float [U], probability of the best item.
        hit: bool [U], whether the user chose it.
        bins: how many; fewer where there are fewer users.

    >>> import numpy as np
    >>> expected_calibration_error(np.full(4, 0.5), np.asarray([True, False, True, False]), bins=1)
    0.0
    """
    order = np.argsort(confidence, kind="stable")
    parts = np.array_split(order, min(bins, len(order)))
    gaps = [abs(float(confidence[part].mean()) - float(hit[part].mean())) * len(part) for part in parts]
    return sum(gaps) / len(order)


def of_scorer(scorer: Scorer, valid: Requests, test: Requests) -> Calibration:
    """The calibration of a scorer whose scores become probabilities by one factor, fitted on validation.

    Args:
        scorer: any model.
        valid: requests by which the factor is fitted; a user with several targets counts by the first.
        test: requests that are judged, the first ``USERS`` of them; items that a user has seen have probability 0.
    """
    first = valid.target_items[valid.target_offsets[:-1]]
    length = valid.histories.shape[1]
    times = np.zeros((len(first), length + 1), np.int32) if valid.times is None else valid.times
    scale = logit_scale(scorer, valid.histories, times, first, valid.features.get(USER))
    users = min(len(test.histories), USERS)
    parts = [_asked(scorer, test, np.arange(start, start + _AT_ONCE), scale) for start in range(0, users, _AT_ONCE)]
    confidence, best = (np.concatenate(column)[:users] for column in zip(*parts, strict=True))
    owners = np.repeat(np.arange(len(test.histories)), np.diff(test.target_offsets))
    hit = np.isin(np.arange(users) * scorer.items + best, owners * scorer.items + test.target_items)
    return Calibration(expected_calibration_error(confidence, hit), float(confidence.mean()), float(hit.mean()), users)


def _asked(scorer: Scorer, asked: Requests, rows: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    rows = np.minimum(rows, len(asked.histories) - 1)
    times = None if asked.times is None else asked.times[rows]
    query = ask(scorer, asked.histories[rows], times, ranking.features_of(asked, rows))
    seen = ranking.padded(asked.seen_items, asked.seen_offsets, rows)
    return tuple(map(np.asarray, _best(scorer, query, seen, jnp.float32(scale))))  # type: ignore[return-value]


@jax.jit
def _best(scorer: Scorer, query: Query, seen: jax.Array, scale: jax.Array) -> Any:
    """Probability and id of the best item not in ``seen`` int32 [B, S] (-1: none): float32 [B], int32 [B]."""
    encoded = scorer.encode(scorer.state, query)
    logits = scale * scorer.score(scorer.state, encoded, jnp.arange(scorer.items))
    rows = jnp.arange(len(seen))[:, None]
    logits = logits.at[rows, jnp.where(seen >= 0, seen, scorer.items)].set(-jnp.inf, mode="drop")
    return jax.nn.softmax(logits.astype(jnp.float32)).max(1), jnp.argmax(logits, 1)
