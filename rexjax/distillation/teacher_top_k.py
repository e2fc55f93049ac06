"""The teacher's top-K items and their probabilities at every position of every training history, cached on disk.

Stored by the item's place in the log, so that any packing and any order of the histories finds its lists: int32 ids
and float16 log-probabilities, 6 K bytes an interaction, read through memory maps.

The log's own histories are those that the teacher knows by heart: there it says with too much confidence what did
happen. So there may be further rounds of lists, over histories that might have happened: a share of the items is
replaced by draws from what the teacher expected in their place (4 bytes an interaction more). The student then sees
more histories than the log has, and what the teacher thinks where it cannot remember.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rexjax.artifacts.files import write_json
from rexjax.data.batches import Batch
from rexjax.distillation.settings import Student
from rexjax.errors import UserError
from rexjax.families.base import SoftTargets
from rexjax.models.scorer import Scorer, positions_of, scores_of_positions
from rexjax.runtime import preemption
from rexjax.runtime.mesh import replicated, sharding
from rexjax.runtime.progress import track
from rexjax.training.objectives import Lists

_CHUNK = 1 << 18  # lists in memory at a time
_SCORES = 1 << 25  # of a batch
NOTE_SECONDS = 15.0
"""Between two notes of how much of a round is written: what a kill costs."""


class Origin(NamedTuple):
    """What a round of lists was made from."""

    teacher: str
    """Content hash of its artifact."""
    items: int
    """N."""
    events: int
    """Of the log, E."""
    top_k: int
    """K."""


def finish(folder: Path, origin: Origin) -> None:
    """Says that the round in ``folder`` is whole, and what it was made from."""
    write_json(folder / "origin.json", origin._asdict())


def finished(folder: Path) -> bool:
    """Whether the round in ``folder`` is whole."""
    return (folder / "origin.json").exists()


def check(folder: Path, wanted: Origin) -> None:
    """Refuses lists of another teacher or another log, or shorter than asked.

    Raises:
        UserError: that.
    """
    found, again = Origin(**json.loads((folder / "origin.json").read_text())), "run `rexjax distill CONFIG --update`"
    if found.teacher != wanted.teacher:
        raise UserError(f"the lists in {folder} were made by another teacher: {again}")
    if (found.items, found.events) != (wanted.items, wanted.events):
        raise UserError(
            f"the lists in {folder} are for {found.items} items and {found.events} events, and the log has "
            f"{wanted.items} and {wanted.events}: {again}"
        )
    if found.top_k < wanted.top_k:
        raise UserError(
            f"the lists in {folder} have {found.top_k} items each, fewer than --student.top-k {wanted.top_k}: {again}"
        )


def write(
    folder: Path,
    scorer: Scorer,
    batches: Iterable[Batch],
    *,
    scale: float,
    events: int,
    top_k: int,
    mesh: jax.sharding.Mesh,
) -> None:
    """Writes ``ids.npy`` and ``logits.npy`` for all positions of ``batches``, from where a run was cut off.

    Args:
        folder: where to.
        scorer: the teacher, any model.
        batches: packed training histories (of the log, or corrupted).
        scale: of scores to logits.
        events: length of the log.
        top_k: K.
        mesh: batches lie over its "data" axis.

    Raises:
        Preempted: the run was asked to stop; what is written is noted.
    """
    scorer = jax.device_put(scorer, replicated(mesh))
    note, shape = folder / "written.json", (events, top_k)
    begun = json.loads(note.read_text())["batches"] if note.exists() else 0
    files = [
        np.lib.format.open_memmap(folder / name, "r+" if begun else "w+", dtype, shape)
        for name, dtype in (("ids.npy", np.int32), ("logits.npy", np.float16))
    ]
    noted = time.monotonic()
    for number, batch in enumerate(track(batches, "teacher's top-k"), 1):
        if number <= begun:
            continue
        found = jax.device_get(top_k_of_batch(scorer, jax.device_put(batch, sharding(mesh, "batch")), scale, top_k))
        real = batch.labels >= 0
        for file, values in zip(files, found, strict=True):
            file[batch.events[real]] = values[real]
        if preemption.asked() or time.monotonic() - noted > NOTE_SECONDS:
            for file in files:
                file.flush()  # before the note that says so
            write_json(note, {"batches": number})
            noted = time.monotonic()
            if preemption.asked():
                raise preemption.Preempted
    for file in files:
        file.flush()
    note.unlink(missing_ok=True)


@partial(jax.jit, static_argnames=("scale", "top_k"))
def top_k_of_batch(scorer: Scorer, batch: Batch, scale: float, top_k: int) -> tuple[jax.Array, jax.Array]:
    """The K best items after each position of packed rows, and the logarithms of their probabilities.

    Returns:
        ids int32 [B, L, K], log-probabilities float16 [B, L, K], falling.
    """
    encoded = positions_of(scorer, scorer.state, batch)
    scores = scale * scores_of_positions(scorer, scorer.state, encoded, jnp.arange(scorer.items))
    top, ids = jax.lax.top_k(scores, top_k)
    return ids, (top - jax.nn.logsumexp(scores, -1, keepdims=True)).astype(jnp.float16)


def rows_at_once(items: int, length: int, devices: int) -> int:
    """Rows of a batch whose scores [B, L, N] take 128 MB or less, a multiple of the devices along "data"."""
    return max(_SCORES // (items * length) // devices, 1) * devices


class TeacherLists:
    """One round of lists, or of their first K items, read batch by batch, without items that are not ``scored``
    (bool [N]; None: all are): the teacher has never been asked about them, and what it says of them means nothing."""

    def __init__(self, folder: Path, top_k: int | None = None, scored: np.ndarray | None = None):
        self._scored = scored
        self.ids = np.load(folder / "ids.npy", mmap_mode="r")[:, :top_k]
        self.logits = np.load(folder / "logits.npy", mmap_mode="r")[:, :top_k]
        altered = folder / "items.npy"
        self.items = np.load(altered, mmap_mode="r") if altered.exists() else None

    def of(self, batch: Batch, share: float, temperature: float = 1.0, rank_decay: float = 0.0) -> tuple[Batch, Lists]:
        """``batch`` with the items of this round (labels stay what did happen), and its lists.

        Their weights are the teacher's probabilities at ``temperature``, and sum over a list to ``share`` times
        ``rank_weights`` (or to 0, if none of its items is scored).
        """
        ids, logits = self.ids[batch.events], self.logits[batch.events].astype(np.float32) / temperature
        weights = np.exp(logits - logits[..., :1])  # lists begin with the largest
        weights = weights if self._scored is None else weights * self._scored[ids]
        share_of_list = share * rank_weights(ids, batch.labels, rank_decay)[..., None]
        found = Lists(ids, share_of_list * weights / np.maximum(weights.sum(-1, keepdims=True), 1e-9))
        return (batch if self.items is None else with_items(batch, self.items)), found


def rank_weights(ids: np.ndarray, labels: np.ndarray, decay: float) -> np.ndarray:
    """How far lists are to be trusted, by where the teacher ranks what did happen (after Cui et al. 2024, DLLM2Rec).

    Args:
        ids: int32 [B, L, K], the best first.
        labels: int32 [B, L].
        decay: see ``Student.rank_decay``.

    Returns:
        float32 [B, L], ``exp(-decay * rank / K)``: 1 where the label heads the list, exp(-decay) where it is not in it.
    """
    hits = ids == labels[..., None]
    rank = np.where(hits.any(-1), hits.argmax(-1), ids.shape[-1])
    return np.exp(-decay / ids.shape[-1] * rank).astype(np.float32)


def place(folder: Path, number: int) -> Path:
    """The folder of a round; 0 is that of the log's own histories."""
    return folder / "top_k" / str(number)


def share(folder: Path, store: Path, student: Student, seed: int) -> None:
    """Lets the soft targets of ``folder`` lie in ``store``, where all who ask for the same ones find them."""
    parts = student.top_k, student.corruption_rate, *["cross-fitted"] * student.cross_fitted
    own = store / " ".join(map(str, (*parts, *[seed] * bool(student.augmented_rounds or student.cross_fitted))))
    own.mkdir(parents=True, exist_ok=True)
    if not (folder / "top_k").exists():
        (folder / "top_k").symlink_to(own.absolute())


def soft_targets(folder: Path, student: Student, vectors: np.ndarray | None = None) -> SoftTargets:
    """What the rounds in ``folder`` teach: epochs take them in turn, weight and temperature change linearly."""

    def lists(labels: Callable[..., Iterable[Batch]], epochs: int, scored: np.ndarray | None) -> Callable[..., Any]:
        numbers = range(1 + student.augmented_rounds)
        rounds = [TeacherLists(place(folder, number), student.top_k, scored) for number in numbers]
        share, temperature = (_schedule(v, epochs) for v in (student.teacher_weight, student.teacher_temperature))

        def epoch(number: int, first: int) -> Iterator[tuple[Batch, Lists]]:
            own, now = rounds[number % len(rounds)], (float(share(number)), float(temperature(number)))
            return (own.of(batch, *now, student.rank_decay) for batch in labels(number, first))

        return epoch

    return SoftTargets(lists, vectors, student.alignment_weight)


def _schedule(values: tuple[float, ...], epochs: int) -> optax.Schedule:
    return optax.linear_schedule(values[0], values[-1], max(epochs - 1, 1))


def with_items(batch: Batch, items: np.ndarray) -> Batch:
    """``batch`` with the items of another log, int32 [E]."""
    return batch._replace(items=np.where(batch.items < 0, -1, items[batch.events]))


def corrupt(lists: TeacherLists, items: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """The log int32 [E] with ``share`` of its items replaced by draws from the list of the event before.

    An event before which there is no list stays: the first one of each user, and what is held out.
    """
    altered = items.copy()
    chosen = 1 + np.flatnonzero(rng.random(len(items) - 1) < share)
    for events in np.split(chosen, range(_CHUNK, len(chosen), _CHUNK)):
        logits = lists.logits[events - 1].astype(np.float32)
        cumulative = np.cumsum(np.exp(logits), 1)
        draws = rng.random((len(events), 1)) * cumulative[:, -1:]
        place = np.minimum((cumulative <= draws).sum(1), logits.shape[1] - 1)
        listed = logits[:, -1] < 0  # the file is zeros where there is no list
        altered[events[listed]] = lists.ids[events - 1, place][listed]
    return altered
