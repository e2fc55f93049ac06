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
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rexjax.artifacts.store import write_json
from rexjax.config.schema import Student
from rexjax.data.batches import Batch
from rexjax.embedding.rows import gather
from rexjax.errors import UserError
from rexjax.models.recommender import Recommender
from rexjax.models.served import Served
from rexjax.runtime import preemption
from rexjax.runtime.mesh import replicated, sharding
from rexjax.runtime.progress import track
from rexjax.training.objectives import Lists

_CHUNK = 1 << 18  # lists in memory at a time
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
    list_length: int
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
    if found.list_length < wanted.list_length:
        raise UserError(
            f"the lists in {folder} have {found.list_length} items each, fewer than --student.list-length "
            f"{wanted.list_length}: {again}"
        )


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
    """Writes ``list_ids.npy`` and ``list_logits.npy`` for all positions of ``batches``, from where a run was cut off.

    Args:
        folder: where to.
        teacher: the model.
        served: its trained parameters.
        batches: packed training histories (of the log, or altered).
        events: length of the log.
        list_length: K.
        mesh: batches lie over its "data" axis.

    Raises:
        Preempted: the run was asked to stop; what is written is noted.
    """

    @jax.jit
    def lists(served: Served, batch: Batch) -> tuple[jax.Array, jax.Array]:
        vectors, _ = gather(served.items, batch.items)
        users = teacher.user_vectors(served.history, vectors, batch)
        scores = teacher.scale * jnp.einsum("bld,nd->bln", users, served.items)
        top, ids = jax.lax.top_k(scores, list_length)
        return ids, (top - jax.nn.logsumexp(scores, -1, keepdims=True)).astype(jnp.float16)

    served = jax.device_put(served, replicated(mesh))
    note, shape = folder / "written.json", (events, list_length)
    begun = json.loads(note.read_text())["batches"] if note.exists() else 0
    files = [
        np.lib.format.open_memmap(folder / name, "r+" if begun else "w+", dtype, shape)
        for name, dtype in (("list_ids.npy", np.int32), ("list_logits.npy", np.float16))
    ]
    noted = time.monotonic()
    for number, batch in enumerate(track(batches, "teacher's lists"), 1):
        if number <= begun:
            continue
        found = jax.device_get(lists(served, jax.device_put(batch, sharding(mesh, "batch"))))
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


class TeacherLists:
    """One round of lists, or of their first K items, read batch by batch, without items that are not ``scored``
    (bool [N]; None: all are): the teacher has never been asked about them, and what it says of them means nothing."""

    def __init__(self, folder: Path, list_length: int | None = None, scored: np.ndarray | None = None):
        self._scored = scored
        self.ids = np.load(folder / "list_ids.npy", mmap_mode="r")[:, :list_length]
        self.logits = np.load(folder / "list_logits.npy", mmap_mode="r")[:, :list_length]
        altered = folder / "items.npy"
        self.items = np.load(altered, mmap_mode="r") if altered.exists() else None

    def of(self, batch: Batch, share: float, temperature: float = 1.0) -> tuple[Batch, Lists]:
        """``batch`` with the items of this round (labels stay what did happen), and its lists.

        Their weights are the teacher's probabilities at ``temperature``, and sum to ``share`` over a list (or to 0, if
        none of its items is scored).
        """
        ids, logits = self.ids[batch.events], self.logits[batch.events].astype(np.float32) / temperature
        weights = np.exp(logits - logits[..., :1])  # lists begin with the largest
        weights = weights if self._scored is None else weights * self._scored[ids]
        found = Lists(ids, share * weights / np.maximum(weights.sum(-1, keepdims=True), 1e-9))
        return (batch if self.items is None else with_items(batch, self.items)), found


def place(folder: Path, number: int) -> Path:
    """The folder of a round; 0 is that of the log's own histories."""
    return folder / "lists" / str(number)


def share(folder: Path, store: Path, student: Student, seed: int) -> None:
    """Lets the lists of ``folder`` lie in ``store``, where all who ask for the same lists find them."""
    own = store / f"{student.list_length} {student.replaced} {seed if student.rounds else ''}".strip()
    own.mkdir(parents=True, exist_ok=True)
    if not (folder / "lists").exists():
        (folder / "lists").symlink_to(own.absolute())


def taught(
    plain: Callable[[int, int], Iterable[Batch]],
    folder: Path,
    student: Student,
    epochs: int,
    scored: np.ndarray | None = None,
) -> Callable[[int, int], Iterator[tuple[Batch, Lists]]]:
    """Epochs with lists, less their first so many batches.

    They take the rounds in turn, and weight and temperature go from one value to the other. ``scored`` as in
    ``TeacherLists``.
    """
    rounds = [TeacherLists(place(folder, number), student.list_length, scored) for number in range(1 + student.rounds)]
    share, temperature = (_schedule(values, epochs) for values in (student.list_weight, student.list_temperature))

    def epoch(number: int, first: int) -> Iterator[tuple[Batch, Lists]]:
        own, now = rounds[number % len(rounds)], (float(share(number)), float(temperature(number)))
        return (own.of(batch, *now) for batch in plain(number, first))

    return epoch


def _schedule(values: tuple[float, ...], epochs: int) -> optax.Schedule:
    return optax.linear_schedule(values[0], values[-1], max(epochs - 1, 1))


def with_items(batch: Batch, items: np.ndarray) -> Batch:
    """``batch`` with the items of another log, int32 [E]."""
    return batch._replace(items=np.where(batch.items < 0, -1, items[batch.events]))


def alter(lists: TeacherLists, items: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
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
