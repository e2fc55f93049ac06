"""The teacher's top-K items and their probabilities at every position of every training history, cached on disk.

Stored by the item's place in the log, so that any packing and any order of the histories finds its lists: int32 ids
and float16 log-probabilities, 6 K bytes an interaction, read through memory maps.
"""

from collections.abc import Iterable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from rexjax.data.batches import Batch
from rexjax.mesh import replicated, sharding
from rexjax.models.recommender import Recommender, Served, gather
from rexjax.progress import track
from rexjax.training.objectives import Lists


def write(
    folder: Path,
    teacher: Recommender,
    served: Served,
    batches: Iterable[Batch],
    *,
    events: int,
    list_length: int,
    mesh: jax.sharding.Mesh,
) -> None:
    """Writes ``list_ids.npy`` and ``list_logits.npy`` for all positions of ``batches``.

    Args:
        folder: where to.
        teacher: the model.
        served: its trained parameters.
        batches: packed training histories.
        events: length of the log.
        list_length: K.
        mesh: batches lie over its "data" axis.
    """

    @jax.jit
    def lists(served: Served, batch: Batch) -> tuple[jax.Array, jax.Array]:
        vectors, _ = gather(served.items, batch.items)
        users = teacher.user_vectors(served.history, vectors, batch)
        scores = teacher.scale * jnp.einsum("bld,nd->bln", users, served.items)
        top, ids = jax.lax.top_k(scores, list_length)
        return ids, (top - jax.nn.logsumexp(scores, -1, keepdims=True)).astype(jnp.float16)

    served = jax.device_put(served, replicated(mesh))
    ids = np.lib.format.open_memmap(folder / "list_ids.npy", "w+", np.int32, (events, list_length))
    logits = np.lib.format.open_memmap(folder / "list_logits.npy", "w+", np.float16, (events, list_length))
    for batch in track(batches, "teacher's lists"):
        found_ids, found_logits = jax.device_get(lists(served, jax.device_put(batch, sharding(mesh, "batch"))))
        real = batch.labels >= 0
        ids[batch.events[real]], logits[batch.events[real]] = found_ids[real], found_logits[real]
    ids.flush()
    logits.flush()


class TeacherLists:
    """Reads the lists that belong to a batch."""

    def __init__(self, folder: Path):
        self._ids = np.load(folder / "list_ids.npy", mmap_mode="r")
        self._logits = np.load(folder / "list_logits.npy", mmap_mode="r")

    def of(self, batch: Batch) -> Lists:
        """Ids and probabilities (they sum to 1 over a list; 0 at padding) for each position of ``batch``."""
        real = (batch.labels >= 0)[..., None]
        weights = np.exp(self._logits[batch.events].astype(np.float32)) * real
        return Lists(self._ids[batch.events], weights / np.maximum(weights.sum(-1, keepdims=True), 1e-9))
