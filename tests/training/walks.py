"""A small log that walks through its catalogue, and models and objectives for it: what the tests of training share."""

import numpy as np

from rexjax.config import Pooled, Training, Transformer, TwoTower
from rexjax.data import batches, splits
from rexjax.data.histories import Histories
from rexjax.models import recommender
from rexjax.training import objectives
from rexjax.training.catalogue import Catalogue

N, W, L, B, K, STEPS = 50, 8, 12, 16, 5, 20
A = 24  # width of the teacher's vectors
CONFIG = Training(learning_rate=3e-3, warmup=5, weight_decay=0.01)
MODELS = {
    "teacher": Transformer(width=16, layers=2, heads=2, dropout=0.3).recommender(L),
    "student": Pooled(width=8, profiles=3, hidden=16, dropout=0.2).recommender(L),
    "aligned": Pooled(width=8, profiles=3, hidden=16).recommender(L, A),
    "in_batch": TwoTower(width=8, profiles=2, hidden=16, dropout=0.2).recommender(L),
}
LOSSES = {
    "teacher": objectives.full_softmax(MODELS["teacher"]),
    "sampled": objectives.sampled(MODELS["teacher"], "sampled_softmax", 16),
    "student": objectives.distilled(MODELS["student"]),
    "aligned": objectives.distilled(MODELS["aligned"], alignment=0.5),
    "in_batch": objectives.in_batch(MODELS["in_batch"], 100),
}


def log(users: int = 150) -> Histories:
    """Histories that walk through the catalogue, so that there is something to learn."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, 20, users)
    walks = [(rng.integers(N) + np.cumsum(rng.integers(1, 4, length))) % N for length in lengths]
    items, offsets = np.concatenate(walks).astype(np.int32), np.append(0, np.cumsum(lengths))
    return Histories(items, np.arange(len(items), dtype=float), offsets, *splits.leave_one_out(offsets))


def catalogue() -> Catalogue:
    rng = np.random.default_rng(1)
    text, wanted = rng.normal(size=(N, W)).astype(np.float32), rng.normal(size=(N, A)).astype(np.float32)
    popularity = np.bincount(log().items, minlength=N)
    return Catalogue(text, popularity, aligned=wanted / np.linalg.norm(wanted, axis=1, keepdims=True))


def net_of(kind: str) -> recommender.Recommender:
    return MODELS[kind if kind in MODELS else "teacher"]


def stream():
    """STEPS batches over several epochs, each with lists as a teacher would give them."""
    rng, record = np.random.default_rng(2), [log()._asdict()]
    found = [b for epoch in range(5) for b in batches.epoch(record, seed=3, epoch=epoch, batch=B, length=L)][:STEPS]
    assert len(found) == STEPS and any((batch.segments == 0).any() for batch in found)
    for batch in found:
        items = rng.permuted(np.tile(np.arange(N, dtype=np.int32), (B, L, 1)), axis=-1)[..., :K]
        weights = 0.7 * rng.dirichlet(np.ones(K), (B, L)).astype(np.float32)
        yield batch, objectives.Lists(items, weights)


def nothing(rows: int) -> batches.Batch:
    """A batch of padding."""
    flat = (np.full((rows, L), fill, np.int32) for fill in (-1, -1, 0, 0, 0))
    return batches.Batch(*flat, np.zeros((rows, L, 2), np.int32))
