"""From scores of any model to probabilities: temperature scaling (Guo et al. 2017)."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from rexjax.models.scorer import Query, Scorer, ask

_SCALES = np.geomspace(2**-6, 2**10, 65)
_USERS = 2048
_AT_ONCE = 128


def logit_scale(
    scorer: Scorer,
    histories: np.ndarray,
    times: np.ndarray,
    targets: np.ndarray,
    features: Mapping[str, np.ndarray] | None = None,
) -> float:
    """The factor from scores to logits: the scorer's own, or that with the greatest likelihood of ``targets``.

    Args:
        scorer: any model.
        histories: int32 [U, L], requests, as in ``Query``.
        times: int32 [U, L + 1].
        targets: int32 [U], the item that each user chose next.
        features: [U, ...] by name; None: none are known.
    """
    if scorer.scale is not None:
        return scorer.scale
    total, scales = np.zeros(len(_SCALES)), jnp.asarray(_SCALES, jnp.float32)
    for start in range(0, min(len(targets), _USERS), _AT_ONCE):
        at = np.minimum(np.arange(start, start + _AT_ONCE), len(targets) - 1)
        query = ask(scorer, histories[at], times[at], {name: rows[at] for name, rows in (features or {}).items()})
        total += np.asarray(_log_likelihood(scorer, query, targets[at], scales))
    return float(_SCALES[int(np.argmax(total))])


@jax.jit
def _log_likelihood(scorer: Scorer, query: Query, targets: jax.Array, scales: jax.Array) -> jax.Array:
    """float32 [S], of the targets, for each scale."""
    encoded = scorer.encode(scorer.state, query)
    scores = scorer.score(scorer.state, encoded, jnp.arange(scorer.items))
    chosen = jnp.take_along_axis(scores, targets[:, None], 1)[:, 0]

    def of(scale: jax.Array) -> jax.Array:
        return jnp.sum(scale * chosen - jax.nn.logsumexp(scale * scores, -1))

    return jax.lax.map(of, scales)
