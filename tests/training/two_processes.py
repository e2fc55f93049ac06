"""Trains a tiny teacher for 20 steps on 8 devices, each "epoch" a step, and writes its curve; a test runs it.

REXJAX_COORDINATOR=… REXJAX_PROCESSES=2 REXJAX_PROCESS_ID=0 python two_processes.py FOLDER
"""

import contextlib
import json
import sys
from pathlib import Path

import jax
import numpy as np

from rexjax import processes
from rexjax.config import Config, Data, Teacher, Training
from rexjax.data import splits
from rexjax.data.histories import Histories
from rexjax.mesh import local_rows, make_mesh, place_batches
from rexjax.models import recommender
from rexjax.stages import inputs
from rexjax.training import loop, objectives, saving

N, W, L, B, STEPS = 50, 8, 12, 16, 20
TRAINING = Training(epochs=STEPS, batch=B, learning_rate=3e-3, warmup=5, validate_every=10, patience=9)
CONFIG = Config("", data=Data(length=L), teacher=Teacher(width=16, layers=1, heads=2, dropout=0.3, training=TRAINING))


def prepared() -> inputs.Prepared:
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, 20, 150)
    walks = [(rng.integers(N) + np.cumsum(rng.integers(1, 4, length))) % N for length in lengths]
    items, offsets = np.concatenate(walks).astype(np.int32), np.append(0, np.cumsum(lengths))
    log = Histories(items, np.arange(len(items), dtype=float), offsets, *splits.leave_one_out(offsets))
    return inputs.Prepared(log, [log._asdict()], N, np.bincount(items, minlength=N))


def train(folder: Path, mesh: jax.sharding.Mesh, *, dies: bool) -> loop.Fitted:
    """A run; one that ``dies`` does so in its 13th step, three after its only checkpoint, and goes on."""
    log, model = prepared(), recommender.member(CONFIG.teacher, L)
    catalogue = inputs.catalogue(log, np.random.default_rng(1).normal(size=(N, W)))
    batches = inputs.epochs(log, CONFIG, B, mesh)
    stream = [batch for epoch in range(5) for batch in batches(epoch)]
    asked = []

    def epoch(number: int, first: int):
        asked.append(number)
        saving.SECONDS, saving.SHARE = 0 if len(asked) == 10 else 1e9, np.inf
        if dies and len(asked) == 13:
            raise KeyboardInterrupt
        return [(stream[number], None)][first:]

    validate = inputs.validator(log, CONFIG, model, catalogue.text, 0)
    task = loop.Task("teacher", model, objectives.full_softmax(model), epoch, validate, catalogue)
    if dies:
        with contextlib.suppress(KeyboardInterrupt):
            loop.fit(task, TRAINING, seed=7, mesh=mesh, folder=folder)
    fitted = loop.fit(task, TRAINING, seed=7, mesh=mesh, folder=folder)
    assert asked == ([*range(13), *range(10, STEPS)] if dies else [*range(STEPS)])
    return fitted


def placed(data: int, model: int) -> tuple[list[int], list[int]]:
    """The rows of this process, and the global array that all of them make together."""
    mesh = make_mesh(data, model)
    rows = local_rows(mesh, 8)
    return rows.tolist(), processes.gather(place_batches(10 * rows[None], mesh)[0]).tolist()


def main(folder: Path) -> None:
    processes.start()
    found = {"devices": [jax.local_device_count(), jax.device_count()]}
    found["placed"] = [placed(data, model) for data, model in ((8, 1), (4, 2), (2, 4), (1, 8))]
    for data, model in ((8, 1), (4, 2)):
        fitted = train(folder / f"{data}x{model}", make_mesh(data, model), dies=model > 1)
        curve, leaves = fitted.summary["curve"], jax.tree.leaves(fitted.params)
        found[f"{data}x{model}"] = {
            "losses": [point["loss"] for point in curve],
            "ndcg": [point["ndcg@10"] for point in curve if "ndcg@10" in point],
            "parameters": float(sum(np.abs(leaf, dtype=np.float64).sum() for leaf in leaves)),
        }
    (folder / f"process{jax.process_index()}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
