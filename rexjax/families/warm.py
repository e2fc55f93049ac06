"""What training goes on from when a log has grown: rows of new items, and the histories to train on."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np

from rexjax.families.base import TrainingData
from rexjax.families.log_changes import changed_users, restrict_to_users
from rexjax.models.served import Served
from rexjax.models.text_map import fit_map, predict
from rexjax.training.settings import Training

EPOCHS = 3
"""Passes over the histories that changed, and as many others."""
LEARNERS = 5000
"""Items that the map from text to rows is learnt from, the most popular ones."""


def start(state: Served, old: TrainingData, new: TrainingData) -> Served:
    """``state`` with a row for each item of ``new``.

    Items that training had met keep their rows. The others begin at what their text says, or at the mean row if the
    log has no item vectors.
    """
    known = np.asarray(state.items, np.float32)
    met = np.flatnonzero(old.popularity[: len(known)] > 0)
    rows = np.zeros((new.items, known.shape[1]), np.float32)
    rows[: len(known)] = known
    unmet = np.setdiff1d(np.arange(new.items), met)
    if len(unmet):
        rows[unmet] = _from_text(known, met, unmet, old.popularity, new.vectors)
    return Served(jnp.asarray(rows), state.history)


def _from_text(
    known: np.ndarray, met: np.ndarray, unmet: np.ndarray, popularity: np.ndarray, vectors: np.ndarray
) -> np.ndarray:
    """float32 [M, D], as long as the rows of met items are on average."""
    mean = known[met].mean(0)
    spoken = vectors.any(1) if vectors.shape[1] else np.zeros(len(vectors), bool)
    learners = met[spoken[met]]
    if len(learners) < 2:
        return np.broadcast_to(mean, (len(unmet), known.shape[1]))
    learners = learners[np.argsort(-popularity[learners], kind="stable")][:LEARNERS]
    length = np.linalg.norm(known[learners], axis=1).mean()
    found = length * predict(fit_map(vectors[learners], known[learners]), vectors[unmet])
    return np.where(spoken[unmet, None], found, mean)


def recent(old: TrainingData, new: TrainingData, seed: int) -> TrainingData:
    """The users of ``new`` whose training events changed, and as many others, drawn by the seed.

    The others are rehearsed, so that what was learnt of them is not forgotten (Robins 1995). The log has events of
    these users alone, and counts places in itself. The popularity is that of the whole log.
    """
    changed = changed_users(old, new)
    others = np.setdiff1d(np.arange(new.log.users), changed)
    drawn = np.random.default_rng(seed).permutation(others)[: len(changed)]
    kept = restrict_to_users(new, np.sort(np.concatenate([changed, drawn])))
    log = kept.log._replace(first_event=0)
    return replace(kept, log=log, records=[log._asdict()], popularity=new.popularity)


def settings(training: Training) -> Training:
    """Few epochs, one validation, and a step size that falls to the end."""
    return replace(training, epochs=EPOCHS, warmup=0, decay_steps=-1, validate_every=EPOCHS)
